//! What the product does when machines, disks, processes and networks fail.

mod damage;
pub mod damaged_files;
pub mod durability;
mod full_disk;
mod outages;
mod power_cuts;
mod restored;
mod server_check;

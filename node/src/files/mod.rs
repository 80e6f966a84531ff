//! Files and folders of this machine: the data folder, folders that are shared with containers,
//! archives, and who owns what.

pub mod archive;
pub mod confined_dir;
pub mod data_dir;
pub mod look;
pub mod tree;
pub mod users;

//! The server: doors for customers and developers (`api`), a hub for nodes (`p2p`), the data
//! plane (`data`), the tables (`store`), and the one writer of runs and money (`coordinator`).

pub mod api;
pub mod clock;
pub mod coordinator;
pub mod data;
pub mod p2p;
pub mod secrets;
pub mod store;

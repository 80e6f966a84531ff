//! Who uses the server: users, members, keys, and what each may do.

pub mod caller;

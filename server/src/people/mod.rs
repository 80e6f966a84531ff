//! Who uses the server: users, members, keys and secrets, and what each may do.
//!
//! These are use cases for every API: they take the app, the caller and typed arguments. They may
//! use the store, the secrets, mail, and the coordinator for a newcomer's credits; they know
//! neither HTTP nor the names of any API.
//!
//! Nobody acts but as a [`caller::Caller`], which is made here alone, from a key or a token in
//! force; and nobody acts on other people's money but as a [`server_owner::ServerOwner`].

pub mod access_token;
pub mod attempts;
pub mod caller;
mod guess_pauses;
pub mod keys;
pub mod members;
pub mod profile;
pub mod secrets;
pub mod server_owner;
pub mod sign_in;
pub mod workspace;

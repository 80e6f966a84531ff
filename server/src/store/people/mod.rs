//! Workspaces, users, members, and what they prove themselves with.

pub mod access_codes;
pub mod api_keys;
pub mod invitations;
pub mod members;
pub mod one_time_codes;
pub mod retention;
pub mod revoked_tokens;
pub mod sharing;
pub mod workspaces;

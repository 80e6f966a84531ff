//! What the binary does: a file or a folder for each command.

pub(super) mod bench;
pub(super) mod cache;
pub(super) mod daemon;
pub(super) mod http;
pub(super) mod image;
pub(super) mod job;
pub(super) mod key;
pub(super) mod member;
pub(super) mod nodes;
pub(super) mod package;
pub(super) mod queue;
pub(super) mod run;
pub(super) mod schedule;
pub(super) mod secret;
pub(super) mod sign_in;
pub(super) mod template;
pub(super) mod wallet;
pub(super) mod workspace;

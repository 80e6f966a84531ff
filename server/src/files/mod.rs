//! Files that clients send and fetch by signed links, where the bucket signs no links of its own.
//!
//! A link needs no token: it names one object, one method, its end, and whom it was made for. This
//! room may use `store`, `data` and `quotas`. Its invariant: no byte is served or stored before
//! the link has been checked, and what counts against a workspace's quota is counted first.

mod download;
mod upload;

pub use download::Download;
pub use upload::{Expected, Upload, already_uploading};

use crate::data::bucket::links::{Holder, LinkError};
use crate::error::Error;
use crate::people::caller::Caller;

/// Who the links in an answer to this caller are made for.
pub const fn holder(caller: &Caller) -> Holder {
    Holder { workspace: caller.workspace, user: caller.user, key: caller.key }
}

fn refused(error: LinkError) -> Error {
    Error::Forbidden(error.to_string())
}

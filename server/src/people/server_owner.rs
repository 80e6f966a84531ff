//! Who may act on other people's money: the server's owner.

use common::access::Scope;

use super::caller::Caller;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::people::workspaces;

/// A caller who was found to be the server's owner. Use cases that are the owner's alone take one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOwner(());

impl ServerOwner {
    /// The caller as the server's owner.
    ///
    /// # Errors
    /// `Forbidden` where they are no admin of the server's own workspace: the first that was made
    /// on it.
    pub async fn require(app: &App, caller: &Caller) -> Result<Self> {
        caller.check(Scope::WalletWrite)?;
        if workspaces::owns_server(&app.db, caller.workspace).await? {
            Ok(Self(()))
        } else {
            Err(Error::Forbidden("only the owner of the server may do this".to_owned()))
        }
    }
}

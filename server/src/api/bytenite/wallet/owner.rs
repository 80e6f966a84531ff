//! Who may move other people's money: the server's owner.

use common::access::Scope;

use crate::api::http::call::Call;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::people::workspaces;

/// The caller, if an admin of the server's own workspace: the first that was made on it.
pub async fn server_owner(call: &Call) -> Result<Caller> {
    let caller = call.caller().await?;
    caller.check(Scope::WalletWrite)?;
    if workspaces::owns_server(&call.app().db, caller.workspace).await? {
        Ok(caller)
    } else {
        Err(Error::Forbidden("only the owner of the server may do this".to_owned()))
    }
}

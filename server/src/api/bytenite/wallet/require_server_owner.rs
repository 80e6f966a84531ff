//! Routes that are for the server's owner alone.

use crate::api::http::call::Call;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::people::server_owner::ServerOwner;

/// Who calls, as the server's owner.
pub async fn require_server_owner(call: &Call) -> Result<(Caller, ServerOwner)> {
    let caller = call.caller().await?;
    let owner = ServerOwner::require(call.app(), &caller).await?;
    Ok((caller, owner))
}

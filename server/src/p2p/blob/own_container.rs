//! What one task runs whose texts are known only when it begins: put together under its lease, told
//! to its node, and never stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use common::error_chain::chain;
use common::protocol::OwnContainer;
use common::run::cause::{Cause, CauseKind};
use common::secret::Hidden;

use super::source::Found;
use crate::coordinator::leases::{Late, LiveLease};
use crate::p2p::backend::Port;
use crate::p2p::refusal::Refusal;

/// What the lease's task runs. Where that cannot be, its run ends: no other node would fare better.
pub async fn own_container<P: Port>(port: &P, live: &LiveLease) -> Result<Found, Refusal> {
    let Some(Late { frozen, index }) = &live.late else {
        return Err(Refusal::never("the lease's container has no texts of its own"));
    };
    let mut values = BTreeMap::new();
    for (name, id) in frozen.secrets() {
        values.insert(name.clone(), port.secret(live.spec.workspace, id).await?);
    }
    let hidden = values.values().cloned().map(Hidden).collect();
    let (run, index, evaluated) = (frozen.run, *index, Arc::clone(frozen));
    let evaluating = port.evaluator().evaluate(move || evaluated.container(index, &values));
    let evaluated = evaluating.await.map_err(|error| {
        tracing::error!(%run, error = %chain(&error), "the texts of a container could not be evaluated");
        Refusal::later("the server failed")
    })?;
    let container = match evaluated {
        Ok(container) => container,
        Err(fault) => {
            port.break_off(run, Cause::new(CauseKind::Plan, fault.to_string())).await;
            return Err(Refusal::never(fault.to_string()));
        }
    };
    let own = OwnContainer { container, hidden };
    let json = serde_json::to_vec(&own).expect("a container is written as JSON");
    let bytes = json.len() as u64;
    let whole = async move { Ok(Bytes::from(json)) };
    Ok(Found::Here { bytes, digest: None, stream: Box::pin(futures::stream::once(whole)) })
}

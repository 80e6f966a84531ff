//! Where a draft's data comes from and goes to. Keys that came inside a location are stored as a
//! secret of the job's own.

use std::collections::BTreeMap;

use common::data::location::{Destination, DraftSource, Location};
use common::ids::JobId;
use common::secret::{DataEnd, SecretId};

use crate::app::App;
use crate::error::Result;
use crate::field::Field;
use crate::jobs::secret_use;
use crate::people::caller::Caller;
use crate::secrets;
use crate::secrets::KeyPair;
use crate::store::jobs::{Change, TemplateWork};
use crate::store::secrets::Secret;

/// A location as a caller gives it.
pub struct Given<L> {
    pub location: L,
    /// Keys that came with it: they are stored as a secret before the location is kept.
    pub keys: Option<KeyPair>,
}

/// The changes of source and destination. The location that `before` has already keeps its own
/// keys.
pub async fn changes(
    app: &App,
    caller: &Caller,
    id: JobId,
    before: Option<&TemplateWork>,
    source: Option<Given<DraftSource>>,
    destination: Option<Given<Destination>>,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    if let Some(mut source) = source {
        if let Some(kept) = before.and_then(|work| work.source.as_ref()) {
            source.location = with_own_keys(source.location, kept);
        }
        let own = SecretId::of_job(id, DataEnd::Source);
        changes.push(Change::Source(keep(app, caller, DataEnd::Source, own, source).await?));
    }
    if let Some(mut destination) = destination {
        if let Some(kept) = before.and_then(|work| work.destination.as_ref()) {
            destination.location = with_own_keys(destination.location, kept);
        }
        let own = SecretId::of_job(id, DataEnd::Destination);
        let kept = keep(app, caller, DataEnd::Destination, own, destination).await?;
        changes.push(Change::Destination(kept));
    }
    Ok(changes)
}

/// A location as it is given, with the keys of the same location as it is kept: a client that
/// sends back what it was shown cannot send them.
fn with_own_keys<L: Location + Clone + PartialEq>(given: L, kept: &L) -> L {
    let own = own_secret(kept);
    if own.is_some() && given == kept.clone().with_secret(None) { kept.clone() } else { given }
}

/// The secret of the keys that came with a location.
fn own_secret(location: &impl Location) -> Option<&SecretId> {
    location.secret().filter(|id| !id.is_named())
}

/// The location as it is kept. Keys that came with it become the secret `own`.
pub async fn keep<L: Location>(
    app: &App,
    caller: &Caller,
    end: DataEnd,
    own: SecretId,
    given: Given<L>,
) -> Result<L> {
    let Given { location, keys } = given;
    secret_use::check_location(caller, end, &location)?;
    let (Some(keys), Some(purpose)) = (keys, location.purpose()) else {
        return Ok(location);
    };
    let secret = Secret {
        id: own.clone(),
        purpose,
        name: String::new(),
        access_key: keys.access_key,
        params: BTreeMap::new(),
        expires_at: None,
    };
    app.secrets.keep(caller.workspace, &secret, &keys.secret_key).await?;
    Ok(location.with_secret(Some(own)))
}

/// The location of another job for a new job: its own keys are copied.
///
/// # Errors
/// `Forbidden` where the caller may not use secrets.
pub async fn copied<L: Location>(
    app: &App,
    caller: &Caller,
    end: DataEnd,
    from: Option<L>,
    own: SecretId,
) -> Result<Option<L>> {
    let Some(location) = from else { return Ok(None) };
    let Some(kept) = own_secret(&location) else { return Ok(Some(location)) };
    secret_use::check(caller, Field::LocationKeys(end))?;
    if !app.secrets.copy(caller.workspace, kept, own.clone()).await? {
        return Err(secrets::Error::NotFound(kept.clone()).into());
    }
    Ok(Some(location.with_secret(Some(own))))
}

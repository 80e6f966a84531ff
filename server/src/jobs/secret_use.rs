//! Who may use secrets: naming one takes a scope of its own, apart from what it is named for.
//!
//! What is asked here is whether the caller may; whether the secret is for the place is asked where
//! it is opened (`secrets::Secrets`).

use common::access;
use common::access::Scope;
use common::data::location::{Destination, DraftSource, Location};
use common::secret::{DataEnd, SecretId};

use super::Job;
use crate::error::{Error, Result};
use crate::field::Field;
use crate::people::caller::Caller;
use crate::store::jobs::JobWork;

/// A location that a caller gives.
pub fn check_location(caller: &Caller, end: DataEnd, location: &impl Location) -> Result<()> {
    match location.secret() {
        Some(id) if id.is_named() => check(caller, Field::LocationSecret(end)),
        Some(_) | None => Ok(()),
    }
}

/// Locations that are stored.
pub fn check_locations(
    caller: &Caller,
    source: Option<&DraftSource>,
    destination: Option<&Destination>,
) -> Result<()> {
    source.map_or(Ok(()), |source| check_location(caller, DataEnd::Source, source))?;
    destination.map_or(Ok(()), |to| check_location(caller, DataEnd::Destination, to))
}

/// What a job names: the locations, which may come from its template.
pub fn check_job(caller: &Caller, job: &Job) -> Result<()> {
    if job.callbacks.iter().any(|callback| callback.work.call.secrets().next().is_some()) {
        check(caller, "callbacks")?;
    }
    match &job.work {
        JobWork::Template(work) => check_locations(caller, work.source(), work.destination()),
        JobWork::Call(work) if work.call.secrets().next().is_some() => check(caller, "call"),
        JobWork::Call(_) => Ok(()),
        JobWork::Container(work) => {
            let opens_image = work.images().into_iter().any(|image| image.secret.is_some());
            if opens_image || !work.secrets.is_empty() { check(caller, "secrets") } else { Ok(()) }
        }
        JobWork::Plan(work) => {
            // What came with the job itself is no secret of the workspace.
            let opens = work.images.iter().filter_map(|image| image.secret.as_ref());
            let mut all = opens.chain(work.scope.secrets.values());
            if all.any(SecretId::is_named) { check(caller, "secrets") } else { Ok(()) }
        }
    }
}

/// The secrets that a package lists; `field` says which package.
pub fn check_listed(caller: &Caller, field: impl Into<Field>, ids: &[String]) -> Result<()> {
    if ids.is_empty() { Ok(()) } else { check(caller, field) }
}

/// # Errors
/// `Forbidden`, which names the field.
pub fn check(caller: &Caller, field: impl Into<Field>) -> Result<()> {
    access::check(caller.role, caller.made_with, Scope::SecretsUse)
        .map_err(|denied| Error::SecretDenied(denied).at(field))
}

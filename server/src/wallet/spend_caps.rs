//! Spend caps: the most that the runs of a project may cost in a period.

use common::money::credits::Credits;
use common::money::spend_cap::CapPeriod;

use crate::app::App;
use crate::error::{Error, Result};
use crate::people::caller::Caller;

pub use crate::coordinator::CapView;

/// The most caps of a workspace.
pub const CAPS_MAX: usize = 200;

/// The caller's caps, by the names of their projects.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<CapView>> {
    Ok(app.coordinator.caps(caller.workspace).await?)
}

/// The cap of a project of the caller's.
pub async fn read(app: &App, caller: &Caller, project: &str) -> Result<CapView> {
    let found = list(app, caller).await?.into_iter().find(|cap| cap.project == project);
    found.ok_or_else(|| Error::not_found("spend cap", project))
}

/// Sets the cap of a project. What its runs have cost in the period stays spent, unless the cap is
/// for another period than before.
pub async fn set(
    app: &App,
    caller: &Caller,
    project: &str,
    limit: Credits,
    period: CapPeriod,
) -> Result<CapView> {
    let all = list(app, caller).await?;
    if all.len() >= CAPS_MAX && !all.iter().any(|cap| cap.project == project) {
        return Err(Error::NotNow(format!(
            "a workspace has at most {CAPS_MAX} spend caps: delete some"
        )));
    }
    app.coordinator.set_cap(caller.workspace, project.to_owned(), Some((limit, period))).await?;
    read(app, caller, project).await
}

/// Takes the cap of a project away.
pub async fn remove(app: &App, caller: &Caller, project: &str) -> Result<()> {
    read(app, caller, project).await?;
    Ok(app.coordinator.set_cap(caller.workspace, project.to_owned(), None).await?)
}

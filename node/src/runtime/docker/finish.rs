//! How a container ended that was not ended by the node, and how long it ran.

use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::ContainerState;
use chrono::{DateTime, Utc};
use common::compute::exit;
use tokio::time::sleep;

use super::cgroup::Group;
use super::meter::Baseline;
use super::{Docker, engine};
use crate::runtime::{Ending, Error, Launch};

/// The engine may hear of a kill for lack of memory after the end itself: how often, and at which
/// distance, it is asked.
const ASKED_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// A container that is paused until its timeout has not used its time.
pub const PAUSED: Ending = Ending::Lost("its container was paused from outside");

impl Docker {
    /// What the engine says of a container; `None` where it has none.
    pub(super) async fn state(&self, id: &str) -> Result<Option<ContainerState>, Error> {
        match self.client.inspect_container(id, None).await {
            Ok(container) => Ok(Some(container.state.unwrap_or_default())),
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(engine("tell how a container ended")(error)),
        }
    }

    pub(super) async fn is_paused(&self, id: &str) -> bool {
        let state = self.state(id).await.ok().flatten();
        state.is_some_and(|state| state.paused == Some(true))
    }

    /// What the end of a container with this code means, which the node did not ask for.
    pub(super) async fn judge(
        &self,
        id: &str,
        code: i64,
        launch: &Launch,
        group: Option<&Group>,
    ) -> Result<(Ending, Option<ContainerState>), Error> {
        let mut state = self.state(id).await?;
        let mut asked = 1;
        while exit::KILLED.contains(&code)
            && state.as_ref().is_some_and(|state| state.oom_killed != Some(true))
            && !group.is_some_and(Group::has_killed)
            && asked < ASKED_MAX
        {
            sleep(PAUSE).await;
            asked += 1;
            state = self.state(id).await?;
        }
        let lacked_memory = group.is_some_and(Group::has_killed);
        let ending = ending(code, state.as_ref(), lacked_memory, launch.share.was_full());
        Ok((ending, state))
    }
}

/// Who ended a container is not told by its code alone.
fn ending(
    code: i64,
    state: Option<&ContainerState>,
    lacked_memory: bool,
    disk_was_full: bool,
) -> Ending {
    let Some(state) = state else { return Ending::Lost("its container was removed from outside") };
    let engine_failed = state.error.as_ref().is_some_and(|error| !error.is_empty());
    let lacked_memory = state.oom_killed == Some(true) || lacked_memory;
    if code != 0 && !lacked_memory && engine_failed {
        return Ending::Lost("the container engine failed while it ran");
    }
    of_program(code, lacked_memory, disk_was_full)
}

/// The same of a program in a container that goes on.
pub fn of_program(code: i64, lacked_memory: bool, disk_was_full: bool) -> Ending {
    match code {
        0 => Ending::Exited(0),
        _ if lacked_memory => Ending::OutOfMemory,
        _ if disk_was_full => Ending::DiskLow,
        _ if exit::KILLED.contains(&code) => Ending::Killed(code),
        _ => Ending::Exited(code),
    }
}

/// How long a container ran, by the engine's clock, and no longer than it was attended. Its start
/// is when its own program was seen, which the engine notes a little late.
pub fn wall(state: Option<&ContainerState>, baseline: &Baseline, attended: Duration) -> Duration {
    let time = |text: Option<&String>| -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(text?).ok()?.to_utc())
    };
    let ran = state.and_then(|state| {
        let noted = time(state.started_at.as_ref())?;
        let began = baseline.began.map_or(noted, |began| began.min(noted));
        Some((time(state.finished_at.as_ref())? - began).to_std().unwrap_or_default())
    });
    // What runs takes some time.
    ran.unwrap_or(attended).clamp(Duration::from_millis(1), attended.max(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ContainerState {
        ContainerState { oom_killed: Some(false), ..ContainerState::default() }
    }

    #[test]
    fn exit_code_is_reported_only_for_the_containers_own_end() {
        let oom = ContainerState { oom_killed: Some(true), ..state() };
        let failed = ContainerState { error: Some("the shim died".into()), ..state() };
        let gone = Ending::Lost("its container was removed from outside");
        let engine = Ending::Lost("the container engine failed while it ran");
        for (code, state, lacked_memory, full, expected) in [
            (0, Some(state()), false, true, Ending::Exited(0)),
            (1, Some(state()), false, false, Ending::Exited(1)),
            (1, Some(state()), false, true, Ending::DiskLow),
            (139, Some(state()), false, false, Ending::Exited(139)),
            (137, Some(state()), false, false, Ending::Killed(137)),
            (143, Some(state()), false, false, Ending::Killed(143)),
            (137, Some(state()), true, false, Ending::OutOfMemory),
            (137, Some(oom.clone()), false, false, Ending::OutOfMemory),
            (1, Some(oom), false, true, Ending::OutOfMemory),
            (255, Some(failed), false, false, engine),
            (0, None, false, false, gone),
            (137, None, false, false, gone),
        ] {
            let found = ending(code, state.as_ref(), lacked_memory, full);

            assert_eq!(found, expected, "{code} {state:?}");
        }
    }

    #[test]
    fn container_time_is_that_of_its_program_and_not_of_the_engine() {
        let state = ContainerState {
            started_at: Some("2026-11-28T14:14:09.973128737Z".into()),
            finished_at: Some("2026-11-28T14:14:09.979528737Z".into()),
            ..state()
        };
        let attended = Duration::from_millis(90);
        let ran = |began: Option<&str>, attended| {
            let began = began.map(|text| text.parse().unwrap());
            wall(Some(&state), &Baseline::seen_at(began), attended)
        };

        assert_eq!(ran(None, attended), Duration::from_micros(6400));
        // Seen before the engine noted it.
        assert_eq!(ran(Some("2026-11-28T14:14:09.970528737Z"), attended).as_millis(), 9);
        // A clock that was set meanwhile, or an engine that says nothing.
        assert_eq!(ran(None, Duration::from_millis(3)), Duration::from_millis(3));
        assert_eq!(wall(None, &Baseline::default(), attended), attended);
        let back = ContainerState { finished_at: state.started_at.clone(), ..state.clone() };
        assert_eq!(wall(Some(&back), &Baseline::default(), attended), Duration::from_millis(1));
    }
}

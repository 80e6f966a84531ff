//! Spend caps: what the runs of a project may hold and cost. A run holds whatever it may cost
//! before it costs it, so a cap that holds keep to is never passed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::ids::WorkspaceId;
use crate::market::run::Run;
use crate::market::{Market, Refused};
use crate::money::credits::Credits;
use crate::money::spend_cap::{CapPeriod, SpendCap};
use crate::run::spec::RunSpec;

/// The caps of all projects.
#[derive(Debug, Default)]
pub(in crate::market) struct Caps {
    live: BTreeMap<WorkspaceId, BTreeMap<String, Live>>,
    /// When the first period ends of those that do.
    ends: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy)]
struct Live {
    cap: SpendCap,
    /// What the project's runs hold.
    held: Credits,
}

/// A cap as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapView {
    pub project: String,
    pub cap: SpendCap,
    /// What the project's runs hold now.
    pub held: Credits,
}

impl Caps {
    fn of(&mut self, spec: &RunSpec) -> Option<&mut Live> {
        let project = spec.terms.project.as_ref()?;
        self.live.get_mut(&spec.workspace)?.get_mut(project)
    }

    fn put(&mut self, workspace: WorkspaceId, project: String, live: Live) {
        self.live.entry(workspace).or_default().insert(project, live);
        self.ends = self.ends.into_iter().chain(live.cap.ends()).min();
    }

    fn view(&self, spec: &RunSpec) -> Option<Live> {
        let project = spec.terms.project.as_ref()?;
        self.live.get(&spec.workspace)?.get(project).copied()
    }

    /// What a restart must find again.
    #[cfg(any(test, feature = "testing"))]
    pub fn fingerprint(&self) -> String {
        format!("{:?}", self.live)
    }
}

impl Market {
    /// Takes the caps that were stored, for the runs that are there already.
    pub(in crate::market) fn load_caps(&mut self, caps: Vec<(WorkspaceId, String, SpendCap)>) {
        for (workspace, project, cap) in caps {
            let held = self.held_of(workspace, &project);
            self.caps.put(workspace, project, Live { cap, held });
        }
    }

    /// Sets the cap of a project, or takes it away. What was spent in its period stays spent,
    /// unless the period is another one.
    pub fn set_cap(
        &mut self,
        workspace: WorkspaceId,
        project: String,
        limit: Option<(Credits, CapPeriod)>,
        now: DateTime<Utc>,
    ) {
        let of_workspace = self.caps.live.entry(workspace).or_default();
        let before = of_workspace.remove(&project);
        let mut stored = None;
        if let Some((limit, period)) = limit {
            let before = before.map(|live| live.cap).filter(|cap| cap.period == period);
            let mut cap = before.unwrap_or_else(|| SpendCap::new(limit, period, now));
            cap.limit = limit;
            let held = self.held_of(workspace, &project);
            self.caps.put(workspace, project.clone(), Live { cap, held });
            stored = Some(cap);
        }
        self.outbox.changes.caps.insert((workspace, project), stored);
        self.wet(workspace);
    }

    /// The caps of a workspace, by the names of its projects.
    pub fn caps(&self, workspace: WorkspaceId) -> Vec<CapView> {
        let of_workspace = self.caps.live.get(&workspace).into_iter().flatten();
        let view = |(project, live): (&String, &Live)| CapView {
            project: project.clone(),
            cap: live.cap,
            held: live.held,
        };
        of_workspace.map(view).collect()
    }

    /// Begins the periods that are due; runs that wait for credits may go on.
    pub(in crate::market) fn renew_caps(&mut self, now: DateTime<Utc>) {
        if self.caps.ends.is_none_or(|end| end > now) {
            return;
        }
        let mut renewed = Vec::new();
        for (workspace, projects) in &mut self.caps.live {
            for (project, live) in projects {
                if live.cap.renew(now) {
                    let key = (*workspace, project.clone());
                    self.outbox.changes.caps.insert(key, Some(live.cap));
                    renewed.push(*workspace);
                }
            }
        }
        let all = self.caps.live.values().flat_map(BTreeMap::values);
        self.caps.ends = all.filter_map(|live| live.cap.ends()).min();
        for workspace in renewed {
            self.wet(workspace);
        }
    }

    /// Whether a run's project may hold so much more.
    pub(in crate::market) fn check_cap(
        &self,
        spec: &RunSpec,
        needs: Credits,
    ) -> Result<(), Refused> {
        match self.caps.view(spec) {
            Some(Live { cap, held }) if needs > cap.room(held) => {
                Err(Refused::Cap { limit: cap.limit, room: cap.room(held), needs })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What all runs of the project of a run hold, where it has a cap.
    pub(in crate::market) fn held_in_project(&self, spec: &RunSpec) -> Option<Credits> {
        self.caps.view(spec).map(|live| live.held)
    }

    /// A run holds more.
    pub(in crate::market) fn cap_held(&mut self, spec: &RunSpec, more: Credits) {
        if let Some(live) = self.caps.of(spec) {
            live.held = live.held.saturating_add(more);
        }
    }

    /// A run has given back what it held.
    pub(in crate::market) fn cap_given_back(&mut self, spec: &RunSpec, amount: Credits) {
        if let Some(live) = self.caps.of(spec) {
            live.held = live.held.saturating_sub(amount);
        }
    }

    /// A part of what a run held is spent.
    pub(in crate::market) fn cap_spent(&mut self, spec: &RunSpec, amount: Credits) {
        let Some(live) = self.caps.of(spec) else { return };
        live.held = live.held.saturating_sub(amount);
        live.cap.spent = live.cap.spent.saturating_add(amount);
        if let Some(project) = &spec.terms.project {
            let key = (spec.workspace, project.clone());
            self.outbox.changes.caps.insert(key, Some(live.cap));
        }
    }

    fn held_of(&self, workspace: WorkspaceId, project: &str) -> Credits {
        let is_of = |run: &&Run| {
            let spec = &run.spec;
            spec.workspace == workspace && spec.terms.project.as_deref() == Some(project)
        };
        let held = self.runs.values().filter(is_of).map(Run::held);
        held.fold(Credits::ZERO, Credits::saturating_add)
    }

    /// Compares what is counted of caps with what there is.
    pub(in crate::market) fn check_caps(&self) -> Result<(), String> {
        for (workspace, projects) in &self.caps.live {
            for (project, live) in projects {
                let held = self.held_of(*workspace, project);
                if held != live.held {
                    return Err(format!("runs of {project} hold {held}, counted {live:?}"));
                }
            }
        }
        Ok(())
    }
}

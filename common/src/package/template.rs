//! Templates: a partitioner, an app and an assembler, with defaults for the jobs made from them.

use serde::{Deserialize, Serialize};

use super::config::JobConfig;
use super::loose::Invalid;
use crate::data::location::{Destination, DraftSource, Location};
use crate::ids::{PackageId, WorkspaceId};
use crate::input::exact::Exact;
use crate::plan::Params;

pub const DESCRIPTION_CHARS_MAX: usize = 4000;
const ID_CHARS_MAX: usize = 128;

/// A template that has been checked. The tags are resolved when a job runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Empty where a job names its packages itself.
    pub id: String,
    /// Whose packages the tags name; `None` is the workspace that uses the template.
    pub owner: Option<WorkspaceId>,
    pub description: String,
    pub partitioner: String,
    pub app: String,
    /// The app that the tag named when a job was made of the template, if there was one.
    pub app_id: Option<PackageId>,
    pub assembler: String,
    pub source: Option<DraftSource>,
    pub destination: Option<Destination>,
    pub params: PhaseParams,
    pub config: JobConfig,
}

/// The params of the three phases.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseParams {
    pub partitioner: Params,
    pub app: Params,
    pub assembler: Params,
}

/// Params of the three phases as a caller gives them: a phase that is left out keeps its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ParamsChange {
    pub partitioner: Option<Params>,
    pub app: Option<Params>,
    pub assembler: Option<Params>,
    /// What the app is told as its param `preset`, where its params do not say it.
    pub preset: Option<String>,
}

impl PhaseParams {
    /// These params, with those of the phases that are given in place of their own.
    #[must_use]
    pub fn changed_by(self, change: ParamsChange) -> Self {
        let mut app = change.app;
        if let Some(preset) = change.preset {
            let params = app.get_or_insert_with(|| self.app.clone());
            params.entry("preset".to_owned()).or_insert_with(|| Exact::from(preset));
        }
        Self {
            partitioner: change.partitioner.unwrap_or(self.partitioner),
            app: app.unwrap_or(self.app),
            assembler: change.assembler.unwrap_or(self.assembler),
        }
    }

    /// These params, with each key that `over` gives in place of their own.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let overlay = |base: &Params, over: &Params| {
            base.iter().chain(over).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        Self {
            partitioner: overlay(&self.partitioner, &over.partitioner),
            app: overlay(&self.app, &over.app),
            assembler: overlay(&self.assembler, &over.assembler),
        }
    }
}

impl Template {
    /// Three packages and no defaults, under no id.
    pub fn of(app: String, partitioner: String, assembler: String) -> Self {
        Self {
            id: String::new(),
            owner: None,
            description: String::new(),
            partitioner,
            app,
            app_id: None,
            assembler,
            source: None,
            destination: None,
            params: PhaseParams::default(),
            config: JobConfig::default(),
        }
    }

    /// The template as others use it: its tags name its owner's packages, and locations that take a
    /// secret are left out, because a secret's id would name one of the user's own.
    #[must_use]
    pub fn lent(self, owner: WorkspaceId) -> Self {
        Self {
            owner: Some(owner),
            source: self.source.filter(|source| source.secret().is_none()),
            destination: self.destination.filter(|to| to.secret().is_none()),
            ..self
        }
    }
}

/// Refuses what no template can be called.
pub fn check_id(field: &str, id: &str) -> Result<(), Invalid> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.bytes().all(allowed) || id.starts_with('.') {
        let problem = "must be letters, digits, - _ . and @, at most 128 characters";
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

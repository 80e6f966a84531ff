//! `template.json`: a partitioner, an app and an assembler, with defaults for the jobs made from
//! it.

use serde::{Deserialize, Serialize};

use super::config::JobConfig;
use super::descriptor::Descriptor;
use super::engine;
use super::loose::{Invalid, Loose};
use super::tag::{NotATag, Tag};
use crate::ids::{PackageId, WorkspaceId};
use crate::input::exact::Exact;
use crate::plan::Params;

const ID_CHARS_MAX: usize = 128;
const DESCRIPTION_CHARS_MAX: usize = 4000;
/// What servers write of a template, and nobody else.
pub const SHOWN_FIELDS: [&str; 5] = ["createdAt", "updatedAt", "isPublic", "owner", "userName"];

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
    pub source: Option<Descriptor>,
    pub destination: Option<Descriptor>,
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

impl PhaseParams {
    pub fn read(fields: Loose) -> Result<Self, Invalid> {
        Self::default().changed_by(fields)
    }

    /// These params, with those of the phases that are given in place of their own.
    ///
    /// Clients of 2023 write `data` for `app`, and beside it the name of a preset, which the app
    /// is told as its param `preset`.
    pub fn changed_by(self, mut fields: Loose) -> Result<Self, Invalid> {
        let partitioner = fields.params("partitioner")?;
        let app = fields.params("app")?;
        let assembler = fields.params("assembler")?;
        let old = fields.name("data");
        let data = fields.params("data")?;
        let preset = fields.text("preset")?;
        fields.finish()?;
        if app.is_some() && data.is_some() {
            return Err(Invalid::new(old, "is an old name of app, and both are given: keep app"));
        }
        let mut app = app.or(data);
        if let Some(preset) = preset {
            let params = app.get_or_insert_with(|| self.app.clone());
            params.entry("preset".to_owned()).or_insert_with(|| Exact::from(preset));
        }
        Ok(Self {
            partitioner: partitioner.unwrap_or(self.partitioner),
            app: app.unwrap_or(self.app),
            assembler: assembler.unwrap_or(self.assembler),
        })
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
    /// What a server shows of a template beside may be sent back, and says nothing.
    pub fn read(mut fields: Loose) -> Result<Self, Invalid> {
        let id = fields.required_text("id")?;
        let field = fields.name("id");
        check_id(&field, &id)?;
        let (partitioner, app, assembler) = (
            required_tag(&mut fields, "partitioner")?,
            required_tag(&mut fields, "app")?,
            required_tag(&mut fields, "assembler")?,
        );
        let description = fields.text("description")?.unwrap_or_default();
        if description.chars().count() > DESCRIPTION_CHARS_MAX {
            let problem = format!("must have at most {DESCRIPTION_CHARS_MAX} characters");
            return Err(Invalid::new(fields.name("description"), problem));
        }
        let source = descriptor(&mut fields, "dataSource", Descriptor::check_source)?;
        let destination =
            descriptor(&mut fields, "dataDestination", Descriptor::check_destination)?;
        let params = fields.object("params")?.map(PhaseParams::read).transpose()?;
        let old = fields.object("default_params")?.map(old_params).transpose()?;
        if params.is_some() && old.is_some() {
            let problem = "is an old name of params, and both are given: keep params";
            return Err(Invalid::new(fields.name("default_params"), problem));
        }
        let params = params.or(old).unwrap_or_default();
        check_builtins(&partitioner, &assembler, &params)?;
        let config = fields.object("config")?.map(JobConfig::read).transpose()?;
        for shown in SHOWN_FIELDS {
            fields.ignore(shown);
        }
        fields.finish()?;
        Ok(Self {
            id,
            owner: None,
            description,
            partitioner,
            app,
            app_id: None,
            assembler,
            source,
            destination,
            params,
            config: config.unwrap_or_default(),
        })
    }

    /// The packages that a job names itself, in place of a template; `None` where it names none.
    /// What cuts and folds is `passthrough` where nothing else is said.
    pub fn unnamed(fields: &mut Loose) -> Result<Option<Self>, Invalid> {
        let (partitioner, app, assembler) =
            (tag(fields, "partitioner")?, tag(fields, "app")?, tag(fields, "assembler")?);
        let Some(app) = app else {
            return match partitioner.or(assembler) {
                None => Ok(None),
                Some(_) => Err(Invalid::new(fields.name("app"), "is missing")),
            };
        };
        let passthrough = || "passthrough".to_owned();
        Ok(Some(Self::of(
            app,
            partitioner.unwrap_or_else(passthrough),
            assembler.unwrap_or_else(passthrough),
        )))
    }

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

    /// The template as others use it: its tags name its owner's packages, and places that take a
    /// secret are left out, because a secret's id would name one of the user's own.
    #[must_use]
    pub fn lent(self, owner: WorkspaceId) -> Self {
        let open = |place: Option<Descriptor>| {
            place.filter(|place| place.place("").is_ok_and(|place| place.secret().is_none()))
        };
        Self {
            owner: Some(owner),
            source: open(self.source),
            destination: open(self.destination),
            ..self
        }
    }
}

/// Checks the params of the engines that need no package.
fn check_builtins(partitioner: &str, assembler: &str, params: &PhaseParams) -> Result<(), Invalid> {
    let name = |tag: &str| tag.split('@').next().unwrap_or_default().to_owned();
    if let Some(builtin) = engine::reserved_partitioner(&name(partitioner)) {
        engine::check_partitioner(builtin, &params.partitioner)?;
    }
    if let Some(builtin) = engine::reserved_assembler(&name(assembler)) {
        engine::assembler(builtin, &params.assembler)?;
    }
    Ok(())
}

fn required_tag(fields: &mut Loose, key: &str) -> Result<String, Invalid> {
    let field = fields.name(key);
    tag(fields, key)?.ok_or_else(|| Invalid::new(field, "is missing"))
}

fn tag(fields: &mut Loose, key: &str) -> Result<Option<String>, Invalid> {
    let Some(text) = fields.text(key)? else { return Ok(None) };
    text.parse::<Tag>().map_err(|e: NotATag| Invalid::new(fields.name(key), e.to_string()))?;
    Ok(Some(text))
}

/// Old files keep the params of each phase in `default_params.PHASE.parameters`, beside an
/// `app_id` and a `version` that the tags have taken the place of.
fn old_params(mut fields: Loose) -> Result<PhaseParams, Invalid> {
    let mut phase = |key: &str| -> Result<Params, Invalid> {
        let Some(mut phase) = fields.object(key)? else { return Ok(Params::new()) };
        let params = phase.params("parameters")?.unwrap_or_default();
        let _ = (phase.ignore("app_id"), phase.ignore("version"));
        phase.finish()?;
        Ok(params)
    };
    let params = PhaseParams {
        partitioner: phase("partitioner")?,
        app: phase("app")?,
        assembler: phase("assembler")?,
    };
    fields.finish()?;
    Ok(params)
}

/// A data descriptor as a default for jobs: it is shown to whoever reads the template, so it must
/// not carry a secret's value.
fn descriptor(
    fields: &mut Loose,
    key: &str,
    check: fn(Loose) -> Result<super::descriptor::Checked, Invalid>,
) -> Result<Option<Descriptor>, Invalid> {
    let Some(object) = fields.object(key)? else { return Ok(None) };
    let checked = check(object)?;
    if checked.inline.is_some() {
        let problem = "must not carry keys or passwords in a template: store a secret \
                       (POST /v1/auth/secrets) and give its id as secret_id";
        return Err(Invalid::new(format!("{key}.params"), problem));
    }
    Ok(Some(checked.place.descriptor()))
}

fn check_id(field: &str, id: &str) -> Result<(), Invalid> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    if id.len() > ID_CHARS_MAX || !id.bytes().all(allowed) || id.starts_with('.') {
        let problem = "must be letters, digits, - _ . and @, at most 128 characters";
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Templates as callers write them: a `template.json`, or the packages that a job names itself.

use common::package::engine;
use common::package::loose::{Invalid, Loose};
use common::package::tag::{NotATag, Tag};
use common::package::template::{self, DESCRIPTION_CHARS_MAX, PhaseParams, Template};
use common::plan::Params;

use super::descriptor::{self, Checked};
use super::{config, params};

/// What answers show of a template beside, and nobody else writes.
const SHOWN_FIELDS: [&str; 5] = ["createdAt", "updatedAt", "isPublic", "owner", "userName"];

/// Reads a `template.json`. What answers show of a template beside may be sent back, and has no
/// effect.
pub fn read(mut fields: Loose) -> Result<Template, Invalid> {
    let id = fields.required_text("id")?;
    let field = fields.name("id");
    template::check_id(&field, &id)?;
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
    let source = location(&mut fields, "dataSource", descriptor::read_source)?;
    let destination = location(&mut fields, "dataDestination", descriptor::read_destination)?;
    let params = fields.object("params")?.map(params::read).transpose()?;
    let old = fields.object("default_params")?.map(old_params).transpose()?;
    if params.is_some() && old.is_some() {
        let problem = "is an old name of params, and both are given: keep params";
        return Err(Invalid::new(fields.name("default_params"), problem));
    }
    let params = params.or(old).unwrap_or_default();
    check_builtins(&partitioner, &assembler, &params)?;
    let config = fields.object("config")?.map(config::read).transpose()?;
    for shown in SHOWN_FIELDS {
        fields.ignore(shown);
    }
    fields.finish()?;
    Ok(Template {
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
pub fn unnamed(fields: &mut Loose) -> Result<Option<Template>, Invalid> {
    let (partitioner, app, assembler) =
        (tag(fields, "partitioner")?, tag(fields, "app")?, tag(fields, "assembler")?);
    let Some(app) = app else {
        return match partitioner.or(assembler) {
            None => Ok(None),
            Some(_) => Err(Invalid::new(fields.name("app"), "is missing")),
        };
    };
    let passthrough = || "passthrough".to_owned();
    Ok(Some(Template::of(
        app,
        partitioner.unwrap_or_else(passthrough),
        assembler.unwrap_or_else(passthrough),
    )))
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

/// A location as a default for jobs: it is shown to all who read the template, so it must not
/// carry a secret's value.
fn location<L>(
    fields: &mut Loose,
    key: &str,
    read: fn(Loose) -> Result<Checked<L>, Invalid>,
) -> Result<Option<L>, Invalid> {
    let Some(object) = fields.object(key)? else { return Ok(None) };
    let checked = read(object)?;
    if checked.inline.is_some() {
        let problem = "must not carry keys or passwords in a template: store a secret \
                       (POST /v1/auth/secrets) and give its id as secret_id";
        return Err(Invalid::new(format!("{key}.params"), problem));
    }
    Ok(Some(checked.location))
}

#[cfg(test)]
mod tests;

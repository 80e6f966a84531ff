//! Params held against the schemas that their packages carry.

use common::compute::environment::PARAMS_BYTES_MAX;
use common::ids::WorkspaceId;
use common::package::engine;
use common::package::loose::Invalid;
use common::package::manifest::Kind;
use common::package::schema::Schema;
use common::package::tag::{NotATag, Tag};
use common::package::template::{PhaseParams, Template};
use common::plan::Params;
use serde_json::Value;

use crate::app::App;
use crate::error::{Error, Result};
use crate::store::catalogue::packages;
use crate::store::catalogue::packages::{Family, Which};

/// Checks the params of one phase.
pub async fn check(schema: Option<Value>, phase: &str, params: Params) -> Result<()> {
    check_size(phase, &params)?;
    let Some(schema) = schema else { return Ok(()) };
    let field = format!("params.{phase}");
    apart(move || Schema::new(&schema)?.check(&field, &params)).await
}

/// Checks the params that a template gives, as far as its packages are there already, active or
/// not: jobs may add to them.
pub async fn check_template(app: &App, owner: WorkspaceId, template: &Template) -> Result<()> {
    let params = &template.params;
    for (phase, kind, tag, params) in [
        ("partitioner", Kind::Partitioner, &template.partitioner, &params.partitioner),
        ("app", Kind::App, &template.app, &params.app),
        ("assembler", Kind::Assembler, &template.assembler, &params.assembler),
    ] {
        let tag: Tag = tag.parse().map_err(|e: NotATag| Error::field(phase, e.to_string()))?;
        if let Some(builtin) = reserved(phase, &tag.name) {
            check_engine(phase, builtin, params)?;
            continue;
        }
        check_size(phase, params)?;
        let family = if kind == Kind::App { Family::App } else { Family::Engine };
        let found =
            async |which| packages::resolve(&app.db, owner, owner, family, &tag, which).await;
        let package = match found(Which::Active).await? {
            Some(active) => Some(active),
            None => found(Which::Any).await?,
        };
        let Some(package) = package else {
            if let Some(builtin) = alias(phase, &tag.name) {
                check_engine(phase, builtin, params)?;
            }
            continue;
        };
        let is = package.manifest.kind;
        if is != kind {
            let (is, not) = (is.as_str(), kind.as_str());
            return Err(Error::field(
                phase,
                format!("{:?} is no {not}, it is {is}", tag.to_string()),
            ));
        }
        let Some(schema) = package.schema else { continue };
        let (field, params) = (format!("params.{phase}"), params.clone());
        apart(move || Schema::new(&schema)?.check_part(&field, &params)).await?;
    }
    Ok(())
}

/// Does what may take long away from the threads that serve others.
async fn apart(
    check: impl FnOnce() -> std::result::Result<(), Invalid> + Send + 'static,
) -> Result<()> {
    let checked = tokio::task::spawn_blocking(check).await;
    checked.map_err(|error| Error::Internal(Box::new(error)))?.map_err(Error::from)
}

/// Refuses params that no container can be started with: they are one variable there.
fn check_size(phase: &str, params: &Params) -> Result<()> {
    let bytes = serde_json::to_string(params).map_or(usize::MAX, |text| text.len());
    if bytes <= PARAMS_BYTES_MAX {
        return Ok(());
    }
    let problem = format!(
        "are {bytes} bytes as JSON, and at most {PARAMS_BYTES_MAX} fit into a container's variable: \
         put what is large into the data source or the package"
    );
    Err(Error::field(format!("params.{phase}"), problem))
}

/// Checks the phases for which a caller gives params, laid over the template's, as far as their
/// packages are there already. The run checks all of them.
pub async fn check_given(
    app: &App,
    user: WorkspaceId,
    template: &Template,
    given: &PhaseParams,
) -> Result<()> {
    let whole = template.params.overlaid(given);
    for (phase, family, tag, given, whole) in [
        (
            "partitioner",
            Family::Engine,
            &template.partitioner,
            &given.partitioner,
            whole.partitioner,
        ),
        ("app", Family::App, &template.app, &given.app, whole.app),
        ("assembler", Family::Engine, &template.assembler, &given.assembler, whole.assembler),
    ] {
        let tag: Tag = tag.parse().map_err(|e: NotATag| Error::field(phase, e.to_string()))?;
        if given.is_empty() {
            continue;
        }
        if let Some(builtin) = reserved(phase, &tag.name) {
            check_engine(phase, builtin, &whole)?;
            continue;
        }
        check_size(phase, &whole)?;
        let names = template.owner.unwrap_or(user);
        let db = &app.db;
        if let Some(package) =
            packages::resolve(db, names, user, family, &tag, Which::Active).await?
        {
            check(package.schema, phase, whole).await?;
        } else if let Some(builtin) = alias(phase, &tag.name)
            && packages::resolve(db, names, user, family, &tag, Which::Any).await?.is_none()
        {
            check_engine(phase, builtin, &whole)?;
        }
    }
    Ok(())
}

/// The built-in engine that a name always means in a phase.
fn reserved(phase: &str, name: &str) -> Option<&'static str> {
    match phase {
        "partitioner" => engine::reserved_partitioner(name),
        "assembler" => engine::reserved_assembler(name),
        _ => None,
    }
}

/// The built-in engine that a name means where no package has it.
fn alias(phase: &str, name: &str) -> Option<&'static str> {
    match phase {
        "partitioner" => engine::partitioner_alias(name),
        "assembler" => engine::assembler_alias(name),
        _ => None,
    }
}

fn check_engine(phase: &str, builtin: &'static str, params: &Params) -> Result<()> {
    match phase {
        "partitioner" => engine::check_partitioner(builtin, params)?,
        _ => drop(engine::assembler(builtin, params)?),
    }
    Ok(())
}

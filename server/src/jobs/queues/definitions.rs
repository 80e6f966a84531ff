//! Definitions of jobs: what many jobs run, under a name, in versions that are never changed.

use std::collections::BTreeMap;

use common::compute::container::Command;
use common::ids::DefinitionId;
use common::order::container::{ContainerOrder, ContainerWork};
use common::order::parameters;
use common::run::queue::Label;
use common::secret::{Purpose, SecretId};
use uuid::Uuid;

use crate::app::App;
use crate::clock;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::{definitions, secrets};

pub use crate::store::definitions::{Definition, DefinitionKind};

/// The most versions of all definitions of a workspace.
const VERSIONS_MAX: u64 = 10_000;

/// What is said of a new version.
#[derive(Debug, Clone)]
pub struct NewDefinition {
    /// Empty for none.
    pub project: String,
    pub name: Label,
    pub description: String,
    pub kind: DefinitionKind,
    pub order: ContainerOrder,
    /// Values of parameters where a job gives none.
    pub parameters: parameters::Values,
    /// Variables whose values are kept sealed.
    pub hidden: BTreeMap<String, String>,
}

/// Makes a definition, or the next version of the one of this name.
pub async fn create(app: &App, caller: &Caller, new: NewDefinition) -> Result<Definition> {
    parameters::check(&new.parameters)
        .map_err(|bad| Error::field("parameters", bad.to_string()))?;
    if definitions::count(&app.db, caller.workspace).await? >= VERSIONS_MAX {
        return Err(Error::NotNow(format!(
            "a workspace has at most {VERSIONS_MAX} versions of definitions: delete some"
        )));
    }
    let id = Uuid::now_v7();
    let NewDefinition { project, name, description, kind, mut order, parameters, hidden } = new;
    order.secrets.extend(hidden.keys().map(|name| SecretId::of_variable(id, name)));
    let work = ContainerWork::new(order).map_err(|bad| Error::Invalid(bad.to_string()))?;
    keep_hidden(app, caller, id, &hidden).await?;
    let before = definitions::newest(&app.db, caller.workspace, &project, name.as_str()).await?;
    let definition = Definition {
        id: DefinitionId::new(id),
        workspace: caller.workspace,
        project,
        name,
        version: before + 1,
        description,
        kind,
        work,
        parameters,
        is_active: true,
        created_at: clock::now(),
    };
    definitions::insert(&app.db, &definition).await?;
    Ok(definition)
}

/// Seals values of variables, under the id of what has them.
pub(super) async fn keep_hidden(
    app: &App,
    caller: &Caller,
    owner: Uuid,
    hidden: &BTreeMap<String, String>,
) -> Result<()> {
    for (name, value) in hidden {
        let secret = secrets::Secret {
            id: SecretId::of_variable(owner, name),
            purpose: Purpose::Other,
            name: name.clone(),
            access_key: String::new(),
            params: BTreeMap::new(),
            expires_at: None,
        };
        app.secrets.keep(caller.workspace, &secret, value).await?;
    }
    Ok(())
}

/// The caller's version of this id.
pub async fn read(app: &App, caller: &Caller, id: DefinitionId) -> Result<Definition> {
    let found = definitions::find(&app.db, caller.workspace, id).await?;
    found.ok_or_else(|| Error::not_found("definition", &id.to_string()))
}

/// At most `limit` versions after this one, in the order in which they were made.
pub async fn list(
    app: &App,
    caller: &Caller,
    after: Option<DefinitionId>,
    limit: u32,
) -> Result<Vec<Definition>> {
    Ok(definitions::list(&app.db, caller.workspace, after, limit.into()).await?)
}

/// Says whether jobs may be made of a version.
pub async fn set_active(
    app: &App,
    caller: &Caller,
    id: DefinitionId,
    is_active: bool,
) -> Result<Definition> {
    definitions::set_active(&app.db, caller.workspace, id, is_active).await?;
    read(app, caller, id).await
}

/// Removes a version with its sealed variables. Jobs that were made of it have their own.
pub async fn remove(app: &App, caller: &Caller, id: DefinitionId) -> Result<()> {
    let definition = read(app, caller, id).await?;
    definitions::delete(&app.db, caller.workspace, id).await?;
    for secret in definition.work.secrets.iter().filter(|id| !id.is_named()) {
        secrets::delete(&app.db, caller.workspace, Purpose::Other.kind(), secret).await?;
    }
    Ok(())
}

/// The words of a definition's command, in which parameters are named.
pub(super) fn words(order: &ContainerOrder) -> &[String] {
    match &order.main.command {
        Command::Line(words) => words,
        Command::Image | Command::PackageFile { .. } => &[],
    }
}

//! Job definitions: made in versions, listed, read, switched off and on, and deleted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::compute::container::Command;
use common::ids::DefinitionId;
use common::secret::SecretId;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::definition_in::{self, FIELDS, kind_word};
use super::envelope::{self, Envelope, Id, JSON, Page};
use super::names::{self, PAGE};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::flag;
use crate::error::{Error, Result};
use crate::jobs::queues::definitions::{self, Definition, DefinitionKind};
use crate::jobs::secret_use;

const PATH: &str = "/v1/client/job-definition";

pub fn routes() -> Vec<Route> {
    let one = format!("{PATH}/{{definition}}");
    vec![
        raw(Method::POST, "Daestro_CreateDefinition", PATH, JSON, create)
            .gives::<Envelope<DefinitionOut>>()
            .succeeds_with(201)
            .summary("Creates a job definition, or the next version of the one of this name")
            .body(FIELDS.to_vec()),
        raw(Method::GET, "Daestro_ListDefinitions", PATH, JSON, list)
            .gives::<Envelope<Page<DefinitionOut>>>()
            .summary("Lists all versions of job definitions, in the order of their creation")
            .query(PAGE.to_vec()),
        raw(Method::GET, "Daestro_GetDefinition", one.clone(), JSON, read)
            .gives::<Envelope<DefinitionOut>>()
            .summary("Gets a version of a job definition"),
        raw(Method::PATCH, "Daestro_ChangeDefinition", one.clone(), JSON, change)
            .gives::<Envelope<DefinitionOut>>()
            .summary("Says whether jobs may be made of a version")
            .body(vec![flag("active", "Whether jobs may be made of it").required()]),
        raw(Method::DELETE, "Daestro_DeleteDefinition", one, JSON, remove)
            .gives::<Envelope<Id>>()
            .summary("Deletes a version; jobs that were made of it stay"),
    ]
}

/// A version of a job definition.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroDefinition)]
struct DefinitionOut {
    #[schema(value_type = String)]
    id: DefinitionId,
    /// What a submission calls it.
    job_definition: String,
    project_code: String,
    name: String,
    /// From 1.
    version: u32,
    description: String,
    /// `docker`, or `bash`.
    kind: &'static str,
    docker_image: String,
    container_registry_auth: Option<String>,
    /// Of kind bash.
    script: Option<String>,
    /// Seconds that a job may run.
    execution_timeout: Option<u32>,
    command: Vec<String>,
    command_parameters: BTreeMap<String, String>,
    /// Names alone: values are never shown.
    environment_variables: Vec<String>,
    cpu_millis: u32,
    memory_mib: u32,
    active: bool,
    created_at: DateTime<Utc>,
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let body = call.json().await?;
    let app = call.app();
    let new = definition_in::read(body, &app.settings.script_image)?;
    if new.order.main.image.secret.is_some() {
        secret_use::check(&caller, "container_registry_auth")?;
    }
    let made = definitions::create(app, &caller, new).await?;
    envelope::answer(StatusCode::CREATED, DefinitionOut::from(made))
}

async fn list(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (names::limit(&query)?, names::cursor::<DefinitionId>(&query)?);
    let found = definitions::list(call.app(), &caller, after, limit).await?;
    let next_cursor = names::next(&found, limit, |definition| definition.id);
    let items: Vec<_> = found.into_iter().map(DefinitionOut::from).collect();
    envelope::found(Page { items, next_cursor })
}

async fn read(definition: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let found = definitions::read(call.app(), &caller, definition.id("job definition")?).await?;
    envelope::found(DefinitionOut::from(found))
}

async fn change(definition: Segment, mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let active = body.flag("active")?.ok_or_else(|| Error::field("active", "is missing"))?;
    body.finish()?;
    let id = definition.id("job definition")?;
    let changed = definitions::set_active(call.app(), &caller, id, active).await?;
    envelope::found(DefinitionOut::from(changed))
}

async fn remove(definition: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id: DefinitionId = definition.id("job definition")?;
    definitions::remove(call.app(), &caller, id).await?;
    envelope::found(Id { id: id.to_string() })
}

impl From<Definition> for DefinitionOut {
    fn from(definition: Definition) -> Self {
        let work = &definition.work;
        let words = match &work.main.command {
            Command::Line(words) => words.clone(),
            Command::Image | Command::PackageFile { .. } => Vec::new(),
        };
        let (command, script) = match definition.kind {
            DefinitionKind::Image => (words, None),
            DefinitionKind::Script => (Vec::new(), words.into_iter().next_back()),
        };
        let hidden = work.secrets.iter().filter_map(SecretId::variable);
        let secret = work.main.image.secret.as_ref();
        Self {
            job_definition: format!(
                "{}::{}:{}",
                definition.project, definition.name, definition.version
            ),
            name: definition.name.to_string(),
            version: definition.version,
            kind: kind_word(definition.kind),
            docker_image: work.main.image.name.clone(),
            container_registry_auth: secret.map(ToString::to_string),
            script,
            execution_timeout: work.timeout_secs,
            command,
            environment_variables: hidden.map(str::to_owned).collect(),
            cpu_millis: work.needs.cpu_millis,
            memory_mib: work.needs.memory_mib,
            id: definition.id,
            project_code: definition.project,
            description: definition.description,
            command_parameters: definition.parameters,
            active: definition.is_active,
            created_at: definition.created_at,
        }
    }
}

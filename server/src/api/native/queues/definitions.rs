//! Definitions of jobs: made in versions, listed, read, and removed; and jobs made of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::DefinitionId;
use common::order::container::ContainerOrder;
use serde::Serialize;
use utoipa::ToSchema;

use super::named;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, delete, get, patch, post};
use crate::api::http::shape::{flag, map, one, text, texts};
use crate::api::native::jobs::container_in::{self, CONTAINER, text_map};
use crate::api::native::jobs::container_out::ContainerOut;
use crate::api::native::jobs::job_out::JobOut;
use crate::api::native::page::{self, PAGE};
use crate::error::{Error, Result};
use crate::jobs::draft::NAME_CHARS_MAX;
use crate::jobs::queues::definitions::{self, Definition, DefinitionKind, NewDefinition};
use crate::jobs::queues::submit::{self, Submission};
use crate::jobs::{queues, secret_use};

/// The most words of a command.
const WORDS_MAX: usize = 1024;

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListDefinitions", "/definitions", list)
            .summary("Lists all versions of definitions, in the order in which they were created")
            .query(PAGE.to_vec()),
        post("Fanfold_CreateDefinition", "/definitions", create)
            .summary("Creates a definition of jobs, or the next version of the one of this name")
            .body(
                [
                    &named::FIELDS[..],
                    &[
                        one("container", &CONTAINER, "Words of its command may be Param::name")
                            .required(),
                        map("parameters", "Values of parameters where a job gives none"),
                    ],
                ]
                .concat(),
            ),
        get("Fanfold_GetDefinition", "/definitions/{definition}", read)
            .summary("Gets a version of a definition"),
        patch("Fanfold_ChangeDefinition", "/definitions/{definition}", change)
            .summary("Says whether jobs may be made of a version")
            .body(vec![flag("active", "Whether jobs may be made of it").required()]),
        delete("Fanfold_DeleteDefinition", "/definitions/{definition}", remove)
            .summary("Deletes a version; jobs that were made of it stay"),
        post("Fanfold_SubmitJob", "/definitions/{definition}/jobs", submit_job)
            .creates()
            .summary("Creates a job of a version of a definition, and starts it")
            .body(vec![
                text("queue", "The id of a queue").required(),
                text("name", "The only one in its queue; made up where it is left out"),
                texts("command", "In place of the definition's"),
                map("parameters", "Values of parameters"),
                map("env", "Variables laid over the definition's"),
            ])
            .fails(&[(409, "Another job of the queue has this name")]),
    ]
}

#[derive(Serialize, ToSchema)]
struct DefinitionList {
    /// In the order in which they were created.
    definitions: Vec<DefinitionOut>,
    next_cursor: Option<String>,
}

/// A version of a definition of jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = Definition)]
struct DefinitionOut {
    #[schema(value_type = String)]
    id: DefinitionId,
    /// The project that it belongs to, where it was given one.
    project: Option<String>,
    name: String,
    /// From 1.
    version: u32,
    description: String,
    /// What its jobs run.
    container: ContainerOut,
    /// Values of parameters where a job gives none.
    parameters: BTreeMap<String, String>,
    /// Whether jobs may be made of it.
    active: bool,
    created_at: DateTime<Utc>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedDefinition {
    #[schema(value_type = String)]
    id: DefinitionId,
}

async fn list(call: Call) -> Result<DefinitionList> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (page::limit(&query)?, page::cursor::<DefinitionId>(&query)?);
    let found = definitions::list(call.app(), &caller, after, limit).await?;
    let next_cursor = page::next(&found, limit, |definition| definition.id);
    let definitions = found.into_iter().map(DefinitionOut::from).collect();
    Ok(DefinitionList { definitions, next_cursor })
}

async fn create(mut call: Call) -> Result<DefinitionOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let named::Named { name, project, description } = named::read(&mut body)?;
    let field = body.name("container");
    let container = body.object("container")?.ok_or_else(|| Error::field(field, "is missing"))?;
    let work = container_in::read(container)?;
    let order = ContainerOrder::clone(&work);
    let parameters = text_map(&mut body, "parameters")?;
    body.finish()?;
    let ids: Vec<_> = order.secrets.iter().map(ToString::to_string).collect();
    secret_use::check_listed(&caller, "container.secrets", &ids)?;
    let new = NewDefinition {
        project,
        name,
        description,
        kind: DefinitionKind::Image,
        order,
        parameters,
        hidden: BTreeMap::new(),
    };
    Ok(definitions::create(call.app(), &caller, new).await?.into())
}

async fn read(definition: Segment, call: Call) -> Result<DefinitionOut> {
    let caller = call.caller().await?;
    let id = definition.id("definition")?;
    Ok(definitions::read(call.app(), &caller, id).await?.into())
}

async fn change(definition: Segment, mut call: Call) -> Result<DefinitionOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let field = body.name("active");
    let active = body.flag("active")?.ok_or_else(|| Error::field(field, "is missing"))?;
    body.finish()?;
    let id = definition.id("definition")?;
    Ok(definitions::set_active(call.app(), &caller, id, active).await?.into())
}

async fn remove(definition: Segment, call: Call) -> Result<DeletedDefinition> {
    let caller = call.caller().await?;
    let id = definition.id("definition")?;
    definitions::remove(call.app(), &caller, id).await?;
    Ok(DeletedDefinition { id })
}

async fn submit_job(definition: Segment, mut call: Call) -> Result<JobOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let key = idempotency::key(&call, &bytes)?;
    let mut body = call.object(&bytes)?;
    let field = body.name("queue");
    let queue = body.required_text("queue")?;
    let queue = queue.parse().map_err(|bad| Error::field(field, format!("{bad}")))?;
    let name = body.line("name", NAME_CHARS_MAX)?;
    let has_command = body.has("command");
    let command = body.texts("command", WORDS_MAX)?;
    let variable =
        |(name, value): (String, String)| (name, submit::Variable { value, is_sensitive: false });
    let (parameters, env) = (text_map(&mut body, "parameters")?, text_map(&mut body, "env")?);
    body.finish()?;
    let app = call.app();
    let definition = definitions::read(app, &caller, definition.id("definition")?).await?;
    if !definition.is_active {
        return Err(Error::NotNow("this version is not active: choose another one".to_owned()));
    }
    let submission = Submission {
        definition,
        queue: queues::read(app, &caller, queue).await?,
        name,
        command: has_command.then_some(command),
        parameters,
        variables: env.into_iter().map(variable).collect(),
        start_at: None,
        rules: None,
        api: None,
        told: Vec::new(),
        told_late: Vec::new(),
    };
    Ok(submit::submit(app, &caller, key.as_ref(), submission, |_| Vec::new()).await?.into())
}

impl From<Definition> for DefinitionOut {
    fn from(definition: Definition) -> Self {
        Self {
            id: definition.id,
            project: Some(definition.project).filter(|name| !name.is_empty()),
            name: definition.name.to_string(),
            version: definition.version,
            description: definition.description,
            container: (&definition.work).into(),
            parameters: definition.parameters,
            active: definition.is_active,
            created_at: definition.created_at,
        }
    }
}

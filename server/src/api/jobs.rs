//! Jobs as drafts: made from a template, changed until they run.

use std::sync::Arc;

use common::ids::{JobId, NotAnId};
use common::package::config::JobConfig;
use common::package::loose::Loose;
use common::package::template::PhaseParams;
use uuid::Uuid;
use warp::Filter as _;

use super::call::{Call, Segment, call};
use super::described;
use super::draft::{change, read_data, refuse_started};
use super::error::{Error, Result};
use super::job_out::{self, JobAnswer};
use super::reply::{Done, done};
use super::token::Caller;
use super::{App, Doors, Route, any_of, reply};
use crate::clock;
use crate::store::jobs::{self, Change, Job, Priority, Regions};
use crate::store::templates;

pub const NAME_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 4000;

pub fn routes(doors: &Arc<Doors>) -> Route {
    let create = warp::path!("jobs")
        .and(warp::post())
        .and(call(doors))
        .then(create)
        .map(reply::json_reply)
        .boxed();
    let clone = warp::path!("jobs" / Segment / "clone")
        .and(warp::post())
        .and(call(doors))
        .then(clone)
        .map(reply::json_reply)
        .boxed();
    let delete = warp::path!("jobs" / Segment)
        .and(warp::delete())
        .and(call(doors))
        .then(delete)
        .map(reply::json_reply)
        .boxed();
    any_of([create, clone, delete])
}

/// Makes a job, or changes the draft of the given id.
async fn create(mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let app = call.app();
    let template_id = body.required_text("templateId")?;
    let template = templates::find(&app.db, caller.workspace, &template_id)
        .await?
        .ok_or_else(|| Error::not_found("template", &template_id))?
        .template;
    let id = match body.text("jobId")? {
        None => JobId::new(Uuid::now_v7()),
        Some(text) => text.parse().map_err(|e: NotAnId| Error::field("jobId", e.to_string()))?,
    };
    let existing = jobs::find(&app.db, caller.workspace, id).await?;
    if let Some(existing) = &existing {
        refuse_started(existing)?;
    }
    let mut job = Job {
        id,
        workspace: caller.workspace,
        name: String::new(),
        description: String::new(),
        template: template.clone(),
        source: None,
        destination: None,
        params: PhaseParams::default(),
        config: JobConfig::default(),
        priority: Priority::default(),
        regions: Regions::default(),
        tags: Vec::new(),
        start_at: None,
        upload_bytes: None,
        draft: 0,
        run: None,
        created_at: clock::now(),
        submitted_at: None,
        deleted_at: None,
    };
    let mut changes = vec![Change::Template(Box::new(template))];
    changes.extend(read_changes(app, &caller, id, &mut body).await?);
    if existing.is_some() {
        return change(app, &caller, id, changes).await;
    }
    if jobs::is_taken(&app.db, id).await? {
        return Err(Error::not_found("job", &id.to_string()));
    }
    for change in changes {
        job.change(change);
    }
    jobs::insert(&app.db, &job).await?;
    job_out::answer(app, job, None).await
}

/// The changes that a create call asks for.
async fn read_changes(
    app: &App,
    caller: &Caller,
    id: JobId,
    body: &mut Loose,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    if let Some(name) = body.line("name", NAME_CHARS_MAX)? {
        changes.push(Change::Name(name));
    }
    let field = body.name("description");
    if let Some(text) = body.text("description")? {
        if text.chars().count() > DESCRIPTION_CHARS_MAX {
            let problem = format!("must have at most {DESCRIPTION_CHARS_MAX} characters");
            return Err(Error::field(field, problem));
        }
        changes.push(Change::Description(text));
    }
    if let Some(params) = body.object("params")? {
        changes.push(Change::Params(PhaseParams::read(params)?));
    }
    if let Some(config) = body.object("config")? {
        changes.push(Change::Config(JobConfig::read(config)?));
    }
    described::read(body, &mut changes)?;
    changes.extend(read_data(app, caller, id, body).await?);
    Ok(changes)
}

/// Makes a draft like an existing job, under a name of its own where one is given. A file must be
/// uploaded anew.
async fn clone(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let name = body.line("name", NAME_CHARS_MAX)?;
    body.finish()?;
    let app = call.app();
    let from = find(app, &caller, &id).await?;
    let copy = Job {
        id: JobId::new(Uuid::now_v7()),
        name: name.unwrap_or_else(|| from.name.clone()),
        upload_bytes: None,
        draft: 0,
        run: None,
        created_at: clock::now(),
        submitted_at: None,
        ..from
    };
    jobs::insert(&app.db, &copy).await?;
    job_out::answer(app, copy, None).await
}

/// Deletes a draft, or hides a job whose run has ended.
async fn delete(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = find(app, &caller, &id).await?;
    let deleted = match job_out::run_of(app, &job).await? {
        None => jobs::delete_draft(&app.db, caller.workspace, job.id).await?,
        Some(run) if run.state.is_final() => {
            jobs::delete_ended(&app.db, caller.workspace, job.id).await?
        }
        Some(_) => false,
    };
    if !deleted {
        return Err(Error::NotNow("this job is running: abort it first".to_owned()));
    }
    Ok(done())
}

/// The caller's own job of this id.
pub async fn find(app: &App, caller: &Caller, id: &Segment) -> Result<Job> {
    jobs::find(&app.db, caller.workspace, id.id("job")?)
        .await?
        .ok_or_else(|| Error::not_found("job", &id.0))
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use super::super::testing::Door;
    use super::*;

    #[tokio::test]
    async fn a_job_takes_its_templates_defaults_and_its_own_fields() {
        let door = Door::open().await;
        door.post(
            "/v1/dev/templates",
            json!({"id": "t", "app": "a", "partitioner": "lines", "assembler": "concat",
                   "dataSource": {"dataSourceDescriptor": "bypass"},
                   "params": {"app": {"case": "upper", "n": 1}},
                   "config": {"taskTimeout": 60, "maxTaskRetries": 3}}),
        )
        .await;

        let (status, body) = door
            .post(
                "/v1/computing/jobs",
                json!({"templateId": "t", "name": "my job", "params": {"app": {"case": "lower"}},
                       "data_destination": {"data_source_descriptor": "bucket"},
                       "config": {"taskTimeout": "90"}}),
            )
            .await;

        let job = &body["job"];
        assert_eq!((status, &job["state"]), (200, &json!("JOB_STATE_NEW")));
        assert_eq!(job["params"]["app"], json!({"case": "lower", "n": 1}));
        assert_eq!(job["config"]["taskTimeout"], 90);
        assert_eq!(job["config"]["maxTaskRetries"], 3);
        assert_eq!(job["dataSource"]["dataSourceDescriptor"], "bypass");
        assert_eq!(job["dataDestination"]["dataSourceDescriptor"], "bucket");
        assert_eq!(job["paymentAmount"].to_string(), "0.0");
        assert_eq!(body["templateInfo"]["partitioner"], "lines");
        assert!(job["stateTimestamps"]["JOB_STATE_NEW"].is_string());
    }

    #[tokio::test]
    async fn a_given_id_is_created_then_updated_and_never_anothers() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        let id = Uuid::now_v7();
        let body = |name: &str| json!({"templateId": "t", "jobId": id, "name": name});

        assert_eq!(door.job(body("one")).await, id.to_string());
        let (_, second) = door.post("/v1/customer/jobs", body("two")).await;
        assert_eq!(second["job"]["name"], "two");
        assert_eq!(door.get("/v1/customer/jobs").await.1["pagination"]["total"], 1);

        let stranger = door.stranger().await;
        let template = json!({"id": "t", "app": "a", "partitioner": "lines", "assembler": "zip"});
        door.call_as(&stranger, Method::POST, "/v1/dev/templates", Some(template)).await;
        let taken =
            door.call_as(&stranger, Method::POST, "/v1/customer/jobs", Some(body("three"))).await;
        assert_eq!(taken.0, 404);
        let (status, body) =
            door.post("/v1/customer/jobs", json!({"templateId": "t", "jobId": "7"})).await;
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().starts_with("jobId"));
    }

    #[tokio::test]
    async fn another_workspaces_job_is_not_there() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        let id = door.job(json!({"templateId": "t"})).await;
        let stranger = door.stranger().await;
        let job = format!("/v1/customer/jobs/{id}");
        for (method, path, body) in [
            (Method::GET, job.clone(), None),
            (Method::DELETE, job.clone(), None),
            (Method::PATCH, format!("{job}/jobname"), Some(json!("x"))),
            (Method::PATCH, format!("{job}/params"), Some(json!({}))),
            (Method::PATCH, format!("{job}/configs"), Some(json!({}))),
            (Method::PATCH, format!("{job}/datasource"), Some(json!({}))),
            (Method::PATCH, format!("{job}/uploadcompleted"), None),
            (Method::POST, format!("{job}/run"), None),
            (Method::POST, format!("{job}/abort"), None),
            (Method::GET, format!("{job}/results"), None),
            (Method::GET, format!("{job}/progress"), None),
            (Method::GET, format!("{job}/tasks"), None),
            (Method::POST, "/v1/customer/logs".to_owned(), Some(json!({"jobId": id}))),
        ] {
            let (status, _) = door.call_as(&stranger, method.clone(), &path, body).await;

            assert_eq!(status, 404, "{method} {path}");
        }
        let asked = json!({"jobsIds": [id]});
        let path = "/v1/customer/jobs/runningTasks";
        let (_, body) = door.call_as(&stranger, Method::POST, path, Some(asked)).await;
        assert_eq!(body["jobsRunningTasks"], json!({}));
    }

    #[tokio::test]
    async fn a_draft_is_deleted_by_delete_and_by_abort() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        for (method, path) in [(Method::DELETE, ""), (Method::POST, "/abort")] {
            let id = door.job(json!({"templateId": "t"})).await;
            let job = format!("/v1/customer/jobs/{id}");

            assert_eq!(door.call(method, &format!("{job}{path}"), None).await.0, 200);
            assert_eq!(door.get(&job).await.0, 404);
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        for (body, status, says) in [
            (json!({}), 400, "templateId: is missing"),
            (json!({"templateId": "nope"}), 404, "template"),
            (json!({"templateId": "t", "config": {"taskTimeout": -1}}), 400, "config.taskTimeout"),
            (json!({"templateId": "t", "params": {"app": 7}}), 400, "params.app"),
            (json!({"templateId": "t", "name": "a\nb"}), 400, "name"),
            (
                json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "ftp"}}),
                400,
                "dataSource.dataSourceDescriptor",
            ),
        ] {
            let (got, body) = door.post("/v1/customer/jobs", body).await;

            assert_eq!(got, status, "{body}");
            assert!(body["message"].as_str().unwrap().starts_with(says), "{body}");
        }
        assert_eq!(door.get("/v1/customer/jobs?orderBy=nothing").await.0, 400);
        assert_eq!(door.get("/v1/customer/jobs?pagination.limit=x").await.0, 400);
        assert_eq!(
            door.get("/v1/customer/jobs?pagination.offset=18446744073709551615").await.0,
            400
        );
    }

    #[tokio::test]
    async fn a_clone_is_a_draft_of_its_own() {
        let door = Door::open().await;
        let id = door.running_job().await;
        let clone = format!("/v1/customer/jobs/{id}/clone");

        let (status, body) = door.post(&clone, json!({"name": "again"})).await;

        let copy = &body["job"];
        assert_eq!((status, &copy["state"]), (200, &json!("JOB_STATE_NEW")), "{body}");
        assert_eq!((&copy["name"], &copy["numChunks"]), (&json!("again"), &json!(0)));
        assert_eq!(copy["dataSource"]["dataSourceDescriptor"], "bypass");
        assert_ne!(copy["id"], id);
        let run = format!("/v1/customer/jobs/run/{}", copy["id"].as_str().unwrap());
        assert_eq!(door.post(&run, json!({})).await.0, 200);
        let stranger = door.stranger().await;
        assert_eq!(door.call_as(&stranger, Method::POST, &clone, None).await.0, 404);
    }

    #[tokio::test]
    async fn the_flow_of_2023_works() {
        let door = Door::open().await;
        let first = door.running_job().await;
        let id = door.job(json!({"templateId": "t", "name": "old way"})).await;
        let source = json!({"dataSource": {"dataSourceDescriptor": "local"},
                            "dataDestination": {"dataSourceDescriptor": "bucket"}});

        let (_, body) = door.post(&format!("/v1/customer/jobs/datasource/{id}"), source).await;
        let link = body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap();
        assert_eq!(door.client.put(link).body("data").send().await.unwrap().status(), 200);

        for (path, body) in [
            ("params", json!({"app": {"preset": "x"}})),
            ("uploadcompleted", json!({})),
            ("run", json!({})),
        ] {
            let (status, body) = door.post(&format!("/v1/customer/jobs/{path}/{id}"), body).await;
            assert_eq!(status, 200, "{path}: {body}");
        }
        let (_, list) = door.get("/v1/customer/jobs?orderBy=createdAt").await;
        assert_eq!(list["data"][0]["id"], first);
        assert_eq!(list["data"][1]["params"]["app"]["preset"], "x");
    }
}

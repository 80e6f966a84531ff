//! Changing drafts: the data, the params, the name, the config, and the uploaded file.

use common::ids::{JobId, WorkspaceId};
use common::json;
use common::package::config::JobConfig;
use common::package::descriptor::{Checked, Descriptor};
use common::package::loose::{Loose, check_line};
use common::package::template::PhaseParams;
use serde_json::Value;

use super::job_out::{self, JobAnswer};
use super::jobs::{NAME_CHARS_MAX, find};
use super::params;
use crate::api::App;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::error::{Error, Result};
use crate::api::http::reply::{Done, done};
use crate::api::http::route::{Body, Route, patch, post};
use crate::api::http::shape::{Field, one};
use crate::api::http::token::Caller;
use crate::api::work::{CONFIG, DATA, PARAMS};
use crate::data::key::BlobKey;
use crate::store::jobs::{self, Change, Job, Upload};
use crate::store::secrets::Secret;

pub fn routes() -> Vec<Route> {
    vec![
        patch("Customer_SetJobDataSource", "/jobs/{jobId}/datasource", set_data)
            .summary("Sets a draft's source and destination")
            .body(PLACES),
        patch("Customer_SetJobParams", "/jobs/{jobId}/params", set_params)
            .summary("Sets a draft's params")
            .body(PARAMS.fields),
        patch("Customer_SetJobName", "/jobs/{jobId}/jobname", set_name)
            .summary("Renames a job")
            .takes(Body::Text("The new name")),
        patch("Customer_SetJobConfig", "/jobs/{jobId}/configs", set_config)
            .summary("Sets a draft's timeouts and retries")
            .body(CONFIG.fields),
        patch("Customer_UploadCompleted", "/jobs/{jobId}/uploadcompleted", upload_completed)
            .summary("Says that the source file has been uploaded"),
        post("Customer_UploadCompleted2023", "/jobs/uploadcompleted/{jobId}", upload_completed)
            .summary("Says that the source file has been uploaded")
            .deprecated(),
        post("Customer_SetJobDataSource2023", "/jobs/datasource/{jobId}", set_data)
            .summary("Sets a draft's source and destination")
            .body(PLACES)
            .deprecated(),
        post("Customer_SetJobParams2023", "/jobs/params/{jobId}", set_params)
            .summary("Sets a draft's params")
            .body(PARAMS.fields)
            .deprecated(),
    ]
}

const PLACES: &[Field] = &[one("dataSource", &DATA, ""), one("dataDestination", &DATA, "")];

async fn set_data(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let job = find(call.app(), &caller, &id).await?;
    refuse_started(&job)?;
    let changes = read_data(call.app(), &caller, job.id, &mut body).await?;
    if changes.is_empty() {
        return Err(Error::field("dataSource", "is missing, and so is dataDestination"));
    }
    change(call.app(), &caller, job.id, changes).await
}

async fn set_params(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    // Both the bare params and a wrapped form are in use.
    let body = match body.object("params")? {
        Some(inner) => inner,
        None => body,
    };
    let given = PhaseParams::read(body)?;
    let job = find(call.app(), &caller, &id).await?;
    params::check_given(call.app(), job.workspace, &job.template, &given).await?;
    change(call.app(), &caller, job.id, vec![Change::Params(given)]).await
}

/// Takes a bare JSON string.
async fn set_name(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let name = match json::read("", &bytes)? {
        Value::String(name) => name,
        wrapped @ Value::Object(_) => Loose::new("", wrapped)?.required_text("name")?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            return Err(Error::field("body", "must be a JSON string: the job's name"));
        }
    };
    check_line("name", &name, NAME_CHARS_MAX)?;
    let job = find(call.app(), &caller, &id).await?;
    change(call.app(), &caller, job.id, vec![Change::Name(name)]).await
}

async fn set_config(id: Segment, mut call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let body = match body.object("config")? {
        Some(inner) => inner,
        None => body,
    };
    let config = JobConfig::read(body)?;
    let job = find(call.app(), &caller, &id).await?;
    change(call.app(), &caller, job.id, vec![Change::Config(config)]).await
}

/// Notes that the file has been uploaded, once it is really there.
async fn upload_completed(id: Segment, call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = find(app, &caller, &id).await?;
    if job.source().is_none_or(|source| source.name != "file") {
        return Err(Error::NotNow(
            "dataSource.dataSourceDescriptor: this job's source is not a file".to_owned(),
        ));
    }
    let Some(stat) = app.data.stat(&BlobKey::Upload(job.id)).await? else {
        return Err(Error::NotNow(
            "nothing has been uploaded yet: PUT the file to dataSource.params.tempUrl first"
                .to_owned(),
        ));
    };
    let upload = Upload { size: stat.size, version: stat.version };
    change(app, &caller, job.id, vec![Change::Uploaded(upload)]).await?;
    Ok(done())
}

pub async fn change(
    app: &App,
    caller: &Caller,
    id: JobId,
    changes: Vec<Change>,
) -> Result<JobAnswer> {
    if !jobs::change(&app.db, caller.workspace, id, changes).await? {
        return Err(started());
    }
    let job = jobs::find(&app.db, caller.workspace, id)
        .await?
        .ok_or_else(|| Error::not_found("job", &id.to_string()))?;
    job_out::answer(app, job, None).await
}

/// Refuses what would touch a job that runs: even its secrets stay as they are.
pub fn refuse_started(job: &Job) -> Result<()> {
    if job.run.is_some() { Err(started()) } else { Ok(()) }
}

fn started() -> Error {
    Error::NotNow(
        "this job has been started: it cannot be changed any more, create another one".to_owned(),
    )
}

/// The changes of source and destination. Keys that came inside them go where secrets are.
pub async fn read_data(
    app: &App,
    caller: &Caller,
    id: JobId,
    body: &mut Loose,
) -> Result<Vec<Change>> {
    let source = body.object("dataSource")?.map(Descriptor::check_source).transpose()?;
    let destination =
        body.object("dataDestination")?.map(Descriptor::check_destination).transpose()?;
    let mut changes = Vec::new();
    if let Some(source) = source {
        let kept = keep(app, caller.workspace, format!("job-{id}-source"), source).await?;
        changes.push(Change::Source(kept));
    }
    if let Some(destination) = destination {
        let secret = format!("job-{id}-destination");
        let kept = keep(app, caller.workspace, secret, destination).await?;
        changes.push(Change::Destination(kept));
    }
    Ok(changes)
}

pub async fn keep(
    app: &App,
    owner: WorkspaceId,
    secret_id: String,
    checked: Checked,
) -> Result<Descriptor> {
    let Some(inline) = checked.inline else { return Ok(checked.place.descriptor()) };
    let secret = Secret {
        id: secret_id.clone(),
        kind: "other".to_owned(),
        name: String::new(),
        access_key: inline.access_key,
        params: std::collections::BTreeMap::new(),
        hidden: true,
        expires_at: None,
    };
    app.secrets.keep(owner, &secret, &inline.secret_key).await?;
    Ok(checked.place.with_secret(secret_id).descriptor())
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use serde_json::json;

    use crate::api::testing::Door;

    #[tokio::test]
    async fn every_patch_changes_its_part() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        let id = door.job(json!({"templateId": "t"})).await;
        let job = format!("/v1/customer/jobs/{id}");
        let url = json!({"dataSource": {"dataSourceDescriptor": "url",
                                        "params": {"url": "https://example.com/a"}}});

        for (part, body) in [
            ("datasource", url),
            ("params", json!({"app": {"case": "title"}})),
            ("jobname", json!("renamed")),
            ("configs", json!({"jobTimeout": 7, "isTestJob": true})),
        ] {
            let (status, body) = door.patch(&format!("{job}/{part}"), body).await;
            assert_eq!(status, 200, "{part}: {body}");
        }

        let (_, body) = door.get(&job).await;
        let job = &body["job"];
        assert_eq!(job["dataSource"]["params"]["url"], "https://example.com/a");
        assert_eq!(job["params"]["app"]["case"], "title");
        assert_eq!(job["name"], "renamed");
        assert_eq!(
            (&job["config"]["jobTimeout"], &job["config"]["isTestJob"]),
            (&json!(7), &json!(true))
        );
    }

    #[tokio::test]
    async fn inline_keys_become_a_secret_and_are_never_shown() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        let source = json!({"dataSourceDescriptor": "s3", "params": {"name": "n",
            "bucketName": "b", "accessKey": "AK", "secretKey": "TOPSECRET"}});

        let id = door.job(json!({"templateId": "t", "dataSource": source})).await;

        let (_, body) = door.get(&format!("/v1/customer/jobs/{id}")).await;
        let secret = body["job"]["dataSource"]["params"]["secret_id"].as_str().unwrap();
        assert!(!body.to_string().contains("TOPSECRET"));
        let pair = door.app.secrets.reveal(door.workspace, secret).await.ok().unwrap();
        assert_eq!(pair.secret_key, "TOPSECRET");
        assert_eq!(door.get("/v1/auth/secrets").await.1["secrets"], json!([]));
    }

    #[tokio::test]
    async fn a_file_is_uploaded_to_its_link_and_noted_when_it_is_there() {
        let door = Door::open().await;
        door.template("lines", "concat").await;
        let source = json!({"dataSourceDescriptor": "file", "params": {}});
        let id = door.job(json!({"templateId": "t", "dataSource": source})).await;
        let job = format!("/v1/customer/jobs/{id}");

        let (_, body) = door.get(&job).await;
        let link = body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap();
        let (early, body) = door.call(Method::PATCH, &format!("{job}/uploadcompleted"), None).await;
        assert_eq!((early, body["code"].as_i64()), (400, Some(9)));
        let put = door.client.put(link).header("content-disposition", "attachment").body("a\nb\n");
        assert_eq!(put.send().await.unwrap().status(), 200);
        let old = format!("/v1/customer/jobs/uploadcompleted/{id}");

        assert_eq!(door.call(Method::PATCH, &format!("{job}/uploadcompleted"), None).await.0, 200);
        assert_eq!(door.call(Method::POST, &old, None).await.0, 200);
        // The link is still good, but what it brings now is not what was called complete.
        assert_eq!(door.client.put(link).body("x\ny\n").send().await.unwrap().status(), 200);
        let run = door.post(&format!("{job}/run"), json!({})).await;
        assert_eq!(run.0, 400);
        let message = run.1["message"].as_str().unwrap();
        assert!(message.contains("has changed since its upload"), "{message}");
    }
}

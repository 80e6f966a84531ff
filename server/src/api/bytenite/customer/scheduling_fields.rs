//! What a customer says of a job beside its work: how urgent it is, when and where it may run, its
//! tags.

use chrono::DateTime;
use common::package::loose::{Loose, check_line};
use common::run::scheduling::Regions;

use crate::api::bytenite::names;
use crate::error::{Error, Result};
use crate::jobs::draft::{self, DraftChange, LABEL_CHARS_MAX, LABELS_MAX};

/// What is said of a job beside its work.
pub fn read(body: &mut Loose, change: &mut DraftChange) -> Result<()> {
    let field = body.name("priority");
    if let Some(name) = body.text("priority")? {
        let problem =
            || Error::field(field, format!("must be one of {}", names::PRIORITIES.join(", ")));
        change.priority = Some(names::priority(&name).ok_or_else(problem)?);
    }
    if let Some(mut regions) = body.object("regions")? {
        let mut list = |key: &str| read_labels(&mut regions, key);
        let (whitelist, blacklist) = (list("whitelist")?, list("blacklist")?);
        regions.finish()?;
        change.regions = Some(Regions { whitelist, blacklist });
    }
    if body.has("tags") {
        change.tags = Some(read_labels(body, "tags")?);
    }
    let field = body.name("startAt");
    if let Some(text) = body.text("startAt")? {
        let Ok(time) = DateTime::parse_from_rfc3339(&text) else {
            return Err(Error::field(field, "must be a time such as 2027-01-31T12:00:00Z"));
        };
        let start_at = draft::start_at(time.to_utc()).map_err(|refused| refused.about(&field))?;
        change.start_at = Some(start_at);
    }
    Ok(())
}

fn read_labels(fields: &mut Loose, key: &str) -> Result<Vec<String>> {
    let field = fields.name(key);
    let labels = fields.texts(key, LABELS_MAX)?;
    for label in &labels {
        check_line(&field, label, LABEL_CHARS_MAX)?;
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn scheduling_fields_are_kept_and_shown() {
        let server = TestServer::open().await;
        server.template("lines", "concat").await;

        let (status, body) = server
            .post(
                "/v1/customer/jobs",
                json!({"templateId": "t", "priority": "EXECUTION_PRIORITY_FAST",
                       "regions": {"whitelist": ["eu"], "blacklist": []},
                       "tags": ["nightly", "a"], "start_at": "2027-01-01T00:00:00Z"}),
            )
            .await;

        assert_eq!(status, 200, "{body}");
        let (_, read) =
            server.get(&format!("/v1/customer/jobs/{}", body["job"]["id"]).replace('"', "")).await;
        assert_eq!(read["job"]["priority"], "EXECUTION_PRIORITY_FAST");
        assert_eq!(read["job"]["regions"], json!({"blacklist": [], "whitelist": ["eu"]}));
        assert_eq!(read["job"]["tags"], json!(["nightly", "a"]));
        assert_eq!(read["job"]["startAt"], "2027-01-01T00:00:00Z");
    }

    #[tokio::test]
    async fn scheduling_fields_that_cannot_be_honoured_are_refused_by_name() {
        let server = TestServer::open().await;
        server.template("lines", "concat").await;
        for (field, value, named) in [
            ("startAt", json!("2999-01-01T00:00:00Z"), "startAt"),
            ("startAt", json!("tomorrow"), "startAt"),
            ("priority", json!("URGENT"), "priority"),
            ("regions", json!({"whitlist": []}), "regions.whitlist"),
            ("tags", json!(["a\nb"]), "tags"),
            ("tags", json!(vec!["a"; 51]), "tags"),
        ] {
            let (status, body) =
                server.post("/v1/customer/jobs", json!({"templateId": "t", field: value})).await;

            assert_eq!(status, 400, "{body}");
            assert!(body["message"].as_str().unwrap().starts_with(named), "{body}");
        }
    }
}

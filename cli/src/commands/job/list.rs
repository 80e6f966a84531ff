//! `fanfold job list`.

use clap::builder::PossibleValuesParser;
use serde::Deserialize;
use serde_json::json;

use super::{Job, url};
use crate::client::failure::Failure;
use crate::client::output::{Page, Table, moment};
use crate::client::session::Session;
use crate::commands::wallet::digits;

/// What a job can be.
const STATUSES: [&str; 8] =
    ["new", "scheduled", "accepted", "running", "ending", "succeeded", "failed", "cancelled"];

/// Which jobs are listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only jobs in this state; repeatable, or with commas
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(STATUSES))]
    status: Vec<String>,
    /// Only jobs of this template
    #[arg(long, value_name = "ID", conflicts_with = "kind")]
    template: Option<String>,
    /// Jobs of this kind, or of all; jobs of templates where it is left out. It takes one --status at
    /// most
    #[arg(long, value_parser = ["call", "container", "plan", "template", "all"], conflicts_with = "offset")]
    kind: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Deserialize)]
struct Jobs {
    data: Vec<Job>,
}

/// Jobs of any kind.
#[derive(Deserialize)]
struct Others {
    jobs: Vec<Other>,
}

#[derive(Deserialize)]
struct Other {
    id: String,
    kind: String,
    state: String,
    created_at: String,
    name: String,
}

pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    if let Some(kind) = &args.kind {
        return others(kind, args, session).await;
    }
    let mut filters = Vec::new();
    if !args.status.is_empty() {
        filters.push(json!({"field": "status", "condition": "IN", "value": args.status}));
    }
    if let Some(template) = &args.template {
        filters.push(json!({"field": "templateId", "condition": "EQ", "value": template}));
    }
    let is_filtered = !filters.is_empty();
    let Page { limit, offset } = args.page;
    let body = json!({"filters": filters, "pagination": {"limit": limit, "offset": offset}});
    let answer = session.client.post(url(session, &["filter"]), &body).await?;
    let jobs: Jobs = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["id", "template", "state", "chunks", "credits", "created", "name"],
        rows: jobs.data.iter().map(row).collect(),
        empty: if is_filtered {
            "no such jobs"
        } else {
            "no jobs of templates yet: fanfold job create TEMPLATE --source file:PATH --destination \
             bucket --watch; --kind all lists those of every kind"
        },
    })
}

async fn others(kind: &str, args: &Args, session: &Session) -> Result<(), Failure> {
    let mut url = session.client.url("/v1/jobs", &[]);
    if kind != "all" {
        url.query_pairs_mut().append_pair("kind", kind);
    }
    url.query_pairs_mut().append_pair("limit", &args.page.limit.to_string());
    match &args.status[..] {
        [] => {}
        [status] => {
            url.query_pairs_mut().append_pair("state", status);
        }
        _ => return Err(Failure::Usage("--kind takes one --status at most".to_owned())),
    }
    let answer = session.client.get(url).await?;
    let Others { jobs } = answer.read()?;
    let row = |job: Other| vec![job.id, job.kind, job.state, moment(&job.created_at), job.name];
    session.output.table(&answer.text, || Table {
        header: &["id", "kind", "state", "created", "name"],
        rows: jobs.into_iter().map(row).collect(),
        empty: if kind == "all" && args.status.is_empty() { "no jobs yet" } else { "no such jobs" },
    })
}

fn row(job: &Job) -> Vec<String> {
    let is_test = job.config.as_ref().and_then(|config| config.is_test_job) == Some(true);
    let mark = if is_test { " (test)" } else { "" };
    vec![
        job.id.clone(),
        job.template_id.clone(),
        job.status.clone(),
        job.num_chunks.to_string(),
        job.payment_amount.as_deref().map_or("0", digits).to_owned(),
        moment(&job.created_at),
        format!("{}{mark}", job.name.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_line_has_template_state_chunks_cost_and_time() {
        let text = r#"{"id":"j","templateId":"t","status":"cancelled","numChunks":3,
            "paymentAmount":0.00150000,"createdAt":"2026-11-28T15:26:48.1Z","name":"n",
            "config":{"isTestJob":true}}"#;

        let job: Job = serde_json::from_str(text).unwrap();

        let expected =
            ["j", "t", "cancelled", "3", "0.00150000", "2026-11-28 15:26:48", "n (test)"];
        assert_eq!(row(&job), expected);
    }
}

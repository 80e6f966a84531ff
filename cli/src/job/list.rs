//! `fanfold job list`.

use serde::Deserialize;

use super::{Job, url};
use crate::failure::Failure;
use crate::output::{Table, moment};
use crate::session::Session;
use crate::wallet::digits;

#[derive(Deserialize)]
struct Page {
    data: Vec<Job>,
}

pub async fn run(limit: u32, offset: u32, session: &Session) -> Result<(), Failure> {
    let mut url = url(session, &[]);
    url.query_pairs_mut()
        .append_pair("pagination.limit", &limit.to_string())
        .append_pair("pagination.offset", &offset.to_string());
    let answer = session.client.get(url).await?;
    let page: Page = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["id", "template", "state", "chunks", "credits", "created", "name"],
        rows: page.data.iter().map(row).collect(),
        empty: "no jobs yet: fanfold job create TEMPLATE --source file:PATH --destination bucket --watch",
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
        let text = r#"{"id":"j","templateId":"t","status":"aborted","numChunks":3,
            "paymentAmount":0.00150000,"createdAt":"2026-11-28T15:26:48.1Z","name":"n",
            "config":{"isTestJob":true}}"#;

        let job: Job = serde_json::from_str(text).unwrap();

        let expected = ["j", "t", "aborted", "3", "0.00150000", "2026-11-28 15:26:48", "n (test)"];
        assert_eq!(row(&job), expected);
    }
}

//! `fanfold job attempts`: how often the calls of a job were made, and what came of it.

use serde::Deserialize;

use crate::client::failure::Failure;
use crate::client::output::{Table, moment};
use crate::client::session::Session;

/// The most that one answer lists.
const LIMIT: &str = "1000";

#[derive(Deserialize)]
struct Job {
    run: Option<Run>,
}

#[derive(Deserialize)]
struct Run {
    id: String,
}

#[derive(Deserialize)]
struct Attempts {
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    number: u32,
    began_at: String,
    duration_ms: Option<u32>,
    next_at: Option<String>,
    status: Option<u16>,
    error: Option<String>,
}

pub async fn run(id: &str, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    let Job { run } = client.get(client.url("/v1/jobs", &[id])).await?.read()?;
    let run = run.ok_or_else(|| Failure::Refused {
        message: format!("job {id} has no run: fanfold job run {id}"),
    })?;
    let mut url = client.url("/v1/runs", &[&run.id, "attempts"]);
    url.query_pairs_mut().append_pair("limit", LIMIT);
    let answer = client.get(url).await?;
    let Attempts { attempts } = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["attempt", "started", "took", "answer", "next"],
        rows: attempts.into_iter().map(Attempt::row).collect(),
        empty: "no calls have been made by its latest run",
    })
}

impl Attempt {
    fn row(self) -> Vec<String> {
        let status = self.status.map(|status| status.to_string());
        vec![
            self.number.to_string(),
            moment(&self.began_at),
            self.duration_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
            self.error.or(status).unwrap_or_else(|| "-".to_owned()),
            self.next_at.as_deref().map_or_else(|| "-".to_owned(), moment),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_is_shown_with_its_answer_and_the_time_of_the_next() {
        let text = r#"{"number": 2, "began_at": "2027-01-31T08:30:00Z", "duration_ms": 12,
            "next_at": "2027-01-31T08:30:30Z", "status": 503, "error": null}"#;
        let attempt: Attempt = serde_json::from_str(text).unwrap();

        let row = attempt.row();

        let expected = ["2", "2027-01-31 08:30:00", "12 ms", "503", "2027-01-31 08:30:30"];
        assert_eq!(row, expected);
    }
}

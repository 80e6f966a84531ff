//! `fanfold job retry`: go on with what is not done of a run that has ended.

use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::session::Session;
use crate::commands::run::follow_again;

const JOBS: &str = "/v1/jobs";
const RUNS: &str = "/v1/runs";

#[derive(Deserialize)]
struct Retried {
    id: String,
    job: String,
}

/// `id` names a job, whose latest run is meant, or a run.
pub async fn run(id: &str, watch: bool, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    let path = match client.get(client.url(JOBS, &[id])).await {
        Ok(_) => JOBS,
        Err(Failure::Refused { .. }) => RUNS,
        Err(failure) => return Err(failure),
    };
    let answer = client.post(client.url(path, &[id, "retry"]), &json!({})).await?;
    if watch {
        return follow_again(&answer, session).await;
    }
    let Retried { id, job } = answer.read()?;
    session.output.result(&answer.text, || vec![format!("job {job} goes on with run {id}")])
}

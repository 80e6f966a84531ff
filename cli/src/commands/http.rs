//! `fanfold http`: an HTTP request that the server makes, again until it is accepted.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep};

use crate::client::failure::Failure;
use crate::client::output::{Output, line, moment, note};
use crate::client::session::Session;

const RUNS: &str = "/v1/runs";
/// A wait for the end of a run looks for new attempts after so many seconds.
const WAIT_SECS: u32 = 1;
/// Between two tries to reach a server that is away.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a server may be away, say for a restart, before the command gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Command {
    /// HTTP method, such as POST
    method: String,
    /// Address of the receiver
    #[arg(value_name = "URL")]
    receiver: String,
    /// Header of the request; repeatable
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Header with the value of a secret; repeatable
    #[arg(long = "secret-header", value_name = "NAME: SECRET", value_parser = header)]
    secret_headers: Vec<(String, String)>,
    /// Body of the request
    #[arg(long, short, value_name = "TEXT")]
    data: Option<String>,
    /// Seconds that one attempt may take [default: 30]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Number of retries [default: 5]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Secret with the key that signs the request; repeatable
    #[arg(long, value_name = "SECRET")]
    sign: Vec<String>,
    /// Address that is told how each run has ended; repeatable
    #[arg(long = "callback", value_name = "URL")]
    callbacks: Vec<String>,
    /// Name of the job
    #[arg(long)]
    name: Option<String>,
    /// Create the job and start no run
    #[arg(long)]
    no_run: bool,
    /// Do not wait for the end of the run
    #[arg(long, short = 'D')]
    detach: bool,
}

#[derive(Deserialize)]
struct Job {
    id: String,
}

#[derive(Deserialize)]
struct Started {
    run: Option<Run>,
}

#[derive(Deserialize)]
struct Run {
    id: String,
    state: String,
    ended_at: Option<String>,
    cause: Option<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    message: String,
}

#[derive(Deserialize)]
struct Attempts {
    attempts: Vec<Attempt>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Attempt {
    number: u32,
    /// Of one that has ended.
    duration_ms: Option<u32>,
    next_at: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    error: Option<String>,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let (client, output) = (&session.client, &session.output);
    let answer = client.post(client.url("/v1/jobs", &[]), &command.body()).await?;
    let job: Job = answer.read()?;
    if command.no_run {
        return output.result(&answer.text, || vec![format!("job {}", job.id)]);
    }
    let answer = client.post(client.url("/v1/jobs", &[&job.id, "runs"]), &json!({})).await?;
    let started: Started = answer.read()?;
    let Some(run) = started.run else {
        return Err(Failure::Refused { message: "the server started no run".to_owned() });
    };
    if command.detach {
        return output
            .result(&answer.text, || vec![format!("job {}", job.id), format!("run {}", run.id)]);
    }
    note(format_args!("job {} run {}", job.id, run.id));
    let ended = tokio::select! {
        ended = follow(&run.id, session) => ended?,
        Ok(()) = ctrl_c() => return Err(Failure::Interrupted { job: job.id }),
    };
    if *output == Output::Json {
        let answer = client.get(client.url(RUNS, &[&run.id, "attempts"])).await?;
        output.result::<String>(&answer.text, Vec::new)?;
    }
    match (ended.state.as_str(), ended.cause) {
        ("succeeded", _) => Ok(()),
        (_, Some(cause)) => Err(Failure::Refused { message: cause.message }),
        (state, None) => Err(Failure::Refused { message: state.to_owned() }),
    }
}

/// Shows each attempt of a run as it ends, and the last answer; gives the run as it is then.
async fn follow(id: &str, session: &Session) -> Result<Run, Failure> {
    let mut shown = Shown::default();
    let mut heard = Instant::now();
    loop {
        let mut url = session.client.url(RUNS, &[id]);
        url.query_pairs_mut().append_pair("wait", &WAIT_SECS.to_string());
        // Asked before the attempts: all of an ended run's are there.
        let asked = async {
            let run: Run = session.client.get(url).await?.read()?;
            shown.next(id, run.ended_at.is_some(), session).await?;
            Ok(run)
        };
        match asked.await {
            Ok(run) if run.ended_at.is_some() => {
                if let (Output::Text, Some(body)) = (session.output, shown.answer) {
                    line(body)?;
                }
                return Ok(run);
            }
            Ok(_) => heard = Instant::now(),
            Err(Failure::Unreachable { .. }) if heard.elapsed() < PATIENCE => sleep(PAUSE).await,
            Err(failure) => return Err(failure),
        }
    }
}

/// How many attempts have been shown.
#[derive(Debug, Default)]
struct Shown {
    cursor: Option<String>,
    /// What came with the last of them.
    answer: Option<String>,
}

impl Shown {
    /// Shows what is new: one attempt at a time, because each may come with a long answer.
    async fn next(&mut self, id: &str, is_over: bool, session: &Session) -> Result<(), Failure> {
        loop {
            let mut url = session.client.url(RUNS, &[id, "attempts"]);
            url.query_pairs_mut().append_pair("limit", "1");
            if let Some(cursor) = &self.cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let Attempts { attempts, next_cursor } = session.client.get(url).await?.read()?;
            let Some(attempt) = attempts.into_iter().next() else { return Ok(()) };
            if attempt.duration_ms.is_none() && !is_over {
                return Ok(());
            }
            note(attempt.told());
            self.answer = attempt.body.filter(|body| !body.is_empty());
            let Some(next) = next_cursor else { return Ok(()) };
            self.cursor = Some(next);
        }
    }
}

impl Attempt {
    fn told(&self) -> String {
        let status = self.status.map(|status| status.to_string());
        let what = self.error.clone().or(status).unwrap_or_default();
        let next = self.next_at.as_deref().map(|at| format!("; the next one is at {}", moment(at)));
        format!("attempt {}: {what}{}", self.number, next.unwrap_or_default())
    }
}

impl Command {
    /// The order.
    fn body(&self) -> Value {
        let mut call = Map::new();
        call.insert("method".to_owned(), json!(self.method.to_ascii_uppercase()));
        call.insert("url".to_owned(), json!(self.receiver));
        let texts = self.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
        let secret = |(name, id): &(String, String)| (name.clone(), json!({ "secret": id }));
        let headers: Map<_, _> = texts.chain(self.secret_headers.iter().map(secret)).collect();
        if !headers.is_empty() {
            call.insert("headers".to_owned(), Value::Object(headers));
        }
        if let Some(data) = &self.data {
            call.insert("body".to_owned(), json!(data));
        }
        if let Some(secs) = self.timeout {
            call.insert("timeout_secs".to_owned(), json!(secs));
        }
        if let Some(retries) = self.retries {
            call.insert("retry".to_owned(), json!({ "retries": retries }));
        }
        if !self.sign.is_empty() {
            call.insert("sign".to_owned(), json!(self.sign));
        }
        let mut body = json!({ "call": call });
        if let Some(name) = &self.name {
            body["name"] = json!(name);
        }
        if !self.callbacks.is_empty() {
            body["callbacks"] = callbacks(&self.callbacks);
        }
        body
    }
}

/// Requests to these addresses at the end of each run.
pub(super) fn callbacks(urls: &[String]) -> Value {
    urls.iter().map(|url| json!({ "call": { "url": url } })).collect()
}

/// Reads `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must look like Name: value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_command_orders_what_it_says() {
        let command = Command {
            method: "post".to_owned(),
            receiver: "https://h.example/".to_owned(),
            headers: vec![header("X-A: b:c").unwrap()],
            secret_headers: vec![header("Authorization: token").unwrap()],
            data: Some("{}".to_owned()),
            timeout: Some(5),
            retries: Some(2),
            sign: vec!["key".to_owned()],
            callbacks: vec!["https://h.example/end".to_owned()],
            name: Some("n".to_owned()),
            no_run: false,
            detach: false,
        };

        let expected = json!({"name": "n", "call": {
            "method": "POST", "url": "https://h.example/", "body": "{}", "timeout_secs": 5,
            "headers": {"X-A": "b:c", "Authorization": {"secret": "token"}},
            "retry": {"retries": 2}, "sign": ["key"],
        }, "callbacks": [{"call": {"url": "https://h.example/end"}}]});
        assert_eq!(command.body(), expected);
        assert!(header("none").is_err());
    }
}

//! `fanfold job get`: a job in a few lines; `--json` has every field.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{url, watch};
use crate::client::failure::Failure;
use crate::client::output::moment;
use crate::client::session::Session;
use crate::commands::wallet::digits;

#[derive(Debug, Deserialize)]
struct Answer {
    job: Job,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    id: String,
    name: String,
    status: String,
    phase: Option<String>,
    template_id: String,
    template_info: Template,
    data_source: Option<Location>,
    data_destination: Location,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    num_chunks: u64,
    tasks_without_results: u64,
    payment_amount: Box<RawValue>,
    hold: Option<Hold>,
    warning: String,
    error_message: String,
}

#[derive(Debug, Deserialize)]
struct Template {
    partitioner: String,
    app: String,
    assembler: String,
}

#[derive(Debug, Deserialize)]
struct Hold {
    amount: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    data_source_descriptor: String,
    #[serde(default)]
    params: Value,
}

impl Location {
    /// As `aws demo/in/*.csv` or `file sales.csv`.
    fn shown(&self) -> String {
        let text = |key: &str| self.params[key].as_str().filter(|text| !text.is_empty());
        let bucket = ["bucketName", "containerName"].into_iter().find_map(text);
        let path = ["name", "url"].into_iter().find_map(text);
        let place: Vec<&str> = bucket.into_iter().chain(path).collect();
        format!("{} {}", self.data_source_descriptor, place.join("/")).trim_end().to_owned()
    }
}

impl Job {
    fn lines(&self) -> Vec<String> {
        let state = match self.phase.as_deref().filter(|_| self.status == "running") {
            Some(phase) => format!("running ({phase})"),
            None => self.status.clone(),
        };
        let Template { partitioner, app, assembler } = &self.template_info;
        let packages = format!("partitioner {partitioner}, app {app}, assembler {assembler}");
        let chunks = match self.tasks_without_results {
            0 => self.num_chunks.to_string(),
            empty => format!("{}, {empty} without results", self.num_chunks),
        };
        let held = self.hold.as_ref().map(|hold| format!(", {} held", hold.amount));
        let paid = format!("{} credits{}", digits(&self.payment_amount), held.unwrap_or_default());
        let source = self.data_source.as_ref().map_or_else(|| "-".to_owned(), Location::shown);
        let has_stopped = watch::is_final(&self.status) || self.status == "ending";
        let why = if has_stopped { "reason" } else { "waits" };
        let lines = [
            ("job", format!("{}  {}", self.id, self.name)),
            ("state", state),
            ("template", format!("{} ({packages})", self.template_id)),
            ("source", source),
            ("results", self.data_destination.shown()),
            ("times", times(&self.created_at, &self.started_at, &self.ended_at)),
            ("chunks", chunks),
            ("paid", paid),
            (why, self.error_message.clone()),
            ("warning", self.warning.clone()),
        ];
        let lines = lines.into_iter().filter(|(_, text)| !text.is_empty());
        lines.map(|(name, text)| format!("{name:<9} {text}").trim_end().to_owned()).collect()
    }
}

/// A call or a container: what Fanfold's own API says of it.
#[derive(Debug, Deserialize)]
struct Plain {
    id: String,
    name: String,
    state: String,
    call: Option<Call>,
    container: Option<Container>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    run: Option<String>,
    cause: Option<Cause>,
}

#[derive(Debug, Deserialize)]
struct Call {
    method: String,
    url: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    main: Program,
}

#[derive(Debug, Deserialize)]
struct Program {
    image: String,
    command: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    message: String,
}

impl Plain {
    fn lines(&self, paid: &str) -> Vec<String> {
        let call = self.call.as_ref().map(|call| format!("{} {}", call.method, call.url));
        let main = self.container.as_ref().map(|container| &container.main);
        let command = main.and_then(|main| main.command.as_ref()).map(|words| words.join(" "));
        let lines = [
            ("job", Some(format!("{}  {}", self.id, self.name))),
            ("state", Some(self.state.clone())),
            ("call", call),
            ("image", main.map(|main| main.image.clone())),
            ("command", command),
            ("run", self.run.clone()),
            ("times", Some(times(&self.created_at, &self.started_at, &self.ended_at))),
            ("paid", Some(format!("{paid} credits"))),
            ("reason", self.cause.as_ref().map(|cause| cause.message.clone())),
        ];
        let lines = lines.into_iter().filter_map(|(name, text)| Some((name, text?)));
        lines.map(|(name, text)| format!("{name:<9} {text}").trim_end().to_owned()).collect()
    }
}

/// When a job was created, started and ended, as far as it has been.
fn times(created: &str, started: &Option<String>, ended: &Option<String>) -> String {
    let started = started.as_deref().map(|at| format!(", started {}", moment(at)));
    let ended = ended.as_deref().map(|at| format!(", ended {}", moment(at)));
    let [started, ended] = [started, ended].map(Option::unwrap_or_default);
    format!("created {}{started}{ended}", moment(created))
}

pub async fn run(id: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(url(session, &[id])).await?;
    let Answer { job } = answer.read()?;
    if !job.template_info.app.is_empty() {
        return session.output.result(&answer.text, || job.lines());
    }
    let answer = session.client.get(session.client.url("/v1/jobs", &[id])).await?;
    let plain: Plain = answer.read()?;
    session.output.result(&answer.text, || plain.lines(digits(&job.payment_amount)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_is_shown_in_a_few_lines_with_its_digits() {
        let text = r#"{"job": {"id": "j", "name": "n", "status": "running", "phase": "process",
            "templateId": "t", "templateInfo": {"partitioner": "lines", "app": "a@0.1",
            "assembler": "concat"}, "dataSource": {"dataSourceDescriptor": "file", "params":
            {"name": "sales.csv"}}, "dataDestination": {"dataSourceDescriptor": "bucket"},
            "createdAt": "2026-11-28T15:26:48.1Z", "startedAt": "2026-11-28T15:27:00Z",
            "endedAt": null, "numChunks": 3, "tasksWithoutResults": 1, "paymentAmount":
            0.00150000, "hold": {"amount": "0.03333333"}, "warning": "",
            "errorMessage": "2 of 2 nodes are busy"}}"#;

        let Answer { job } = serde_json::from_str(text).unwrap();

        assert_eq!(
            job.lines(),
            [
                "job       j  n",
                "state     running (process)",
                "template  t (partitioner lines, app a@0.1, assembler concat)",
                "source    file sales.csv",
                "results   bucket",
                "times     created 2026-11-28 15:26:48, started 2026-11-28 15:27:00",
                "chunks    3, 1 without results",
                "paid      0.00150000 credits, 0.03333333 held",
                "waits     2 of 2 nodes are busy",
            ]
        );
    }

    #[test]
    fn call_and_container_are_shown_as_what_they_are() {
        let text = |kind: &str| {
            format!(
                r#"{{"id": "j", "name": "n", "state": "failed", "created_at":
                "2026-11-28T15:26:48.1Z", "started_at": null, "ended_at": null, "run": "r",
                "cause": {{"message": "no"}}, {kind}}}"#
            )
        };
        let shown = |kind: &str| {
            let plain: Plain = serde_json::from_str(&text(kind)).unwrap();
            plain.lines("0.1")[2..4].join("; ")
        };

        let call = r#""call": {"method": "POST", "url": "https://h.example/"}"#;
        let container = r#""container": {"main": {"image": "a:1", "command": ["b", "c"]}}"#;
        assert_eq!(shown(call), "call      POST https://h.example/; run       r");
        assert_eq!(shown(container), "image     a:1; command   b c");
    }
}

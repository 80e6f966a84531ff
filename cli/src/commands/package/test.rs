//! `fanfold app test`: the app run on one chunk, with all that it wrote.

use std::collections::BTreeMap;

use common::input::exact::Exact;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Kind;
use crate::client::failure::Failure;
use crate::client::output::note;
use crate::client::session::Session;
use crate::commands::job::locator::Source;
use crate::commands::job::{DataSource, json_object};
use crate::commands::wallet::digits;

const PATH: &str = "/v1/dev/tests";
/// Seconds that one question waits for the test's end.
const WAIT_SECS: &str = "50";

const NO_DATA: &str = "the app ran, but on no data, which shows little: put a file into the package's \
                       test/source folder and push it again, or name a place with --source (bypass \
                       for an app that needs no data)";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The app: NAME, NAME@MAJOR.MINOR, an id, or OWNER/NAME of a published one
    pub tag: String,
    /// url:URL, s3:BUCKET/KEY[?region=R&endpoint=URL&secret=ID] or bypass; by default the first
    /// file in the package's test/source, or nothing
    #[arg(long)]
    pub source: Option<Source>,
    /// JSON such as {"app":{…}}, or @FILE
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub params: Option<Exact>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    id: String,
    passed: Option<bool>,
    error_message: String,
    payment_amount: Box<RawValue>,
    logs: Vec<Line>,
    results: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct JobAnswer {
    job: Job,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    #[serde(default)]
    data_source: Option<DataSource>,
}

#[derive(Debug, Deserialize)]
struct Line {
    log: String,
}

#[derive(Debug, Deserialize)]
struct Item {
    name: String,
    link: String,
}

impl Test {
    fn lines(&self, is_empty: bool) -> Vec<String> {
        let logs = self.logs.iter().map(|line| line.log.trim_end().to_owned());
        let results = self.results.iter().map(|item| format!("{}  {}", item.name, item.link));
        let end = match self.passed {
            Some(true) if is_empty => "ran on no data".to_owned(),
            Some(true) => "passed".to_owned(),
            _ => format!("failed: {}", self.error_message),
        };
        let end = format!("{end}, {} credits", digits(&self.payment_amount));
        logs.chain(results).chain([end]).collect()
    }
}

pub async fn run(kind: Kind, args: Args, session: &Session) -> Result<(), Failure> {
    if kind == Kind::Engine {
        let problem = "only apps can be tested by themselves: test an engine in a job of its own";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let mut body = BTreeMap::from([("id", Exact::from(args.tag))]);
    match &args.source {
        Some(Source::File(path)) => {
            let problem = format!(
                "put {} into the package's test/source folder instead, and push it",
                path.display()
            );
            return Err(Failure::Usage(problem));
        }
        Some(source @ (Source::Url(_) | Source::Cloud(..) | Source::Bypass)) => {
            body.insert("data", source.json().into());
        }
        None => {}
    }
    if let Some(params) = args.params {
        body.insert("params", params);
    }
    let client = &session.client;
    let mut answer = client.post(client.url(PATH, &[]), &body).await?;
    let mut test: Test = answer.read()?;
    note(format_args!("test {} runs", test.id));
    while test.passed.is_none() {
        let mut job = client.url("/v1/customer/jobs", &[&test.id]);
        job.query_pairs_mut().append_pair("wait", WAIT_SECS);
        client.get(job).await?;
        answer = client.get(client.url(PATH, &[&test.id])).await?;
        test = answer.read()?;
    }
    let job: JobAnswer = client.get(client.url("/v1/customer/jobs", &[&test.id])).await?.read()?;
    let source = job.job.data_source.map(|source| source.data_source_descriptor);
    let is_empty = args.source.is_none() && source.as_deref() == Some("bypass");
    session.output.result(&answer.text, || test.lines(is_empty))?;
    match test.passed {
        Some(true) if is_empty => return Err(Failure::Usage(NO_DATA.to_owned())),
        Some(true) => return Ok(()),
        Some(false) | None => {}
    }
    Err(Failure::JobFailed { job: test.id, reason: test.error_message })
}

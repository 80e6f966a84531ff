//! `fanfold schedule`: when jobs make runs by themselves.

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Subcommand};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::secret::time;
use crate::client::failure::Failure;
use crate::client::output::{Table, moment};
use crate::client::session::Session;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set when a job makes runs, in place of what was set before
    Set {
        /// Id of the job
        job: String,
        #[command(flatten)]
        when: When,
        #[command(flatten)]
        rules: Rules,
    },
    /// Show the schedule of a job
    Show { job: String },
    /// List schedules
    List(Page),
    /// Make no runs until the schedule is resumed
    Pause { job: String },
    /// Make runs again; times that have passed make none
    Resume { job: String },
    /// Remove the schedule of a job
    #[command(visible_alias = "delete")]
    Remove { job: String },
    /// List times that made no run, and why
    Skips {
        job: String,
        #[command(flatten)]
        page: Page,
    },
    /// Show the next times of a schedule; nothing is stored
    Preview {
        #[command(flatten)]
        when: When,
        /// Number of times
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
        count: u32,
    },
}

/// When runs are due.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("when").required(true).args(["cron", "every", "at"])))]
pub struct When {
    /// Cron pattern of five fields, such as "30 9 * * mon-fri", or @hourly, @daily, @weekly,
    /// @monthly, @yearly
    #[arg(long, value_name = "PATTERN")]
    cron: Option<String>,
    /// Time zone of the pattern, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    time_zone: Option<String>,
    /// A run each so many seconds
    #[arg(long, value_name = "SECONDS")]
    every: Option<u32>,
    /// First time of --every [default: one interval from now]
    #[arg(long, value_name = "TIME", requires = "every", value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// A single time, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<DateTime<Utc>>,
}

/// What becomes of times that come too early or too late.
#[derive(Debug, clap::Args)]
pub struct Rules {
    /// While a run goes on: skip the time, make a run beside it, or cancel it [default: forbid]
    #[arg(long, value_parser = ["forbid", "allow", "replace"])]
    overlap: Option<String>,
    /// Maximum number of runs at once, with --overlap allow [default: 2]
    #[arg(long, value_name = "N")]
    max_runs: Option<u32>,
    /// Of times that could not be kept [default: run_once]
    #[arg(long, value_parser = ["skip", "run_once", "run_all"])]
    missed: Option<String>,
    /// How late a run may start at the most
    #[arg(long, value_name = "SECONDS")]
    grace: Option<u32>,
    /// Start runs up to so much later, each by another time
    #[arg(long, value_name = "SECONDS")]
    jitter: Option<u32>,
}

/// Which part of a list is shown.
#[derive(Debug, clap::Args)]
pub struct Page {
    /// Maximum number of rows
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// next_cursor of the page before, which --json shows
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Schedule {
    job: String,
    name: String,
    state: String,
    cron: Option<String>,
    time_zone: Option<String>,
    every_secs: Option<u32>,
    at: Option<String>,
    overlap: String,
    max_runs: Option<u32>,
    missed: String,
    grace_secs: Option<u32>,
    jitter_secs: u32,
    next_at: Option<String>,
    last_at: Option<String>,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Set { job, when, rules } => {
            let body = Value::Object(given([when.fields(), rules.fields()].concat()));
            let answer = session.client.send(Method::PUT, of(session, &job, &[]), &body).await?;
            shown(&answer.text, &answer.read()?, session)
        }
        Command::Show { job } => {
            let answer = session.client.get(of(session, &job, &[])).await?;
            shown(&answer.text, &answer.read()?, session)
        }
        Command::List(page) => list(&page, session).await,
        Command::Pause { job } => {
            let answer = session.client.post(of(session, &job, &["pause"]), &json!({})).await?;
            shown(&answer.text, &answer.read()?, session)
        }
        Command::Resume { job } => {
            let answer = session.client.post(of(session, &job, &["resume"]), &json!({})).await?;
            shown(&answer.text, &answer.read()?, session)
        }
        Command::Remove { job } => {
            let answer = session.client.delete(of(session, &job, &[])).await?;
            session.output.result(&answer.text, || vec![format!("removed the schedule of {job}")])
        }
        Command::Skips { job, page } => skips(&job, &page, session).await,
        Command::Preview { when, count } => preview(&when, count, session).await,
    }
}

/// The address of a job's schedule, or of what is below it.
fn of(session: &Session, job: &str, below: &[&str]) -> Url {
    session.client.url("/v1/jobs", &[&[job, "schedule"], below].concat())
}

fn shown(text: &str, schedule: &Schedule, session: &Session) -> Result<(), Failure> {
    session.output.result(text, || schedule.lines())
}

async fn list(page: &Page, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        schedules: Vec<Schedule>,
    }
    let mut url = session.client.url("/v1/schedules", &[]);
    page.ask(&mut url);
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    let row = |schedule: Schedule| {
        let (when, next) = (schedule.when(), time_or_dash(schedule.next_at.as_deref()));
        vec![schedule.job, schedule.state, next, when, schedule.name]
    };
    session.output.table(&answer.text, || Table {
        header: &["job", "state", "next", "when", "name"],
        rows: list.schedules.into_iter().map(row).collect(),
        empty: "no schedules yet: fanfold schedule set JOB --cron '0 3 * * *'",
    })
}

async fn skips(job: &str, page: &Page, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        skips: Vec<Skip>,
    }
    #[derive(Deserialize)]
    struct Skip {
        first: String,
        last: String,
        cause: String,
        message: Option<String>,
    }
    let mut url = of(session, job, &["skips"]);
    page.ask(&mut url);
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    let row = |skip: Skip| {
        let (first, last) = (moment(&skip.first), moment(&skip.last));
        let why = skip.message.unwrap_or_else(|| skip_reason(&skip.cause).to_owned());
        vec![first, last, skip.cause, why]
    };
    session.output.table(&answer.text, || Table {
        header: &["first", "last", "cause", "message"],
        rows: list.skips.into_iter().map(row).collect(),
        empty: "no times were skipped",
    })
}

/// What a skip of this cause means.
fn skip_reason(cause: &str) -> &'static str {
    match cause {
        "missed" => "the server did not get to it in time",
        "overlap" => "an earlier run had not ended",
        _ => "",
    }
}

async fn preview(when: &When, count: u32, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Preview {
        times: Vec<String>,
    }
    let fields = [when.fields(), vec![("count", Some(json!(count)))]].concat();
    let url = session.client.url("/v1/schedules/preview", &[]);
    let answer = session.client.post(url, &Value::Object(given(fields))).await?;
    let Preview { times } = answer.read()?;
    session.output.result(&answer.text, || times)
}

/// A field of a body, where it is given.
type Given = (&'static str, Option<Value>);

fn given(fields: Vec<Given>) -> Map<String, Value> {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect()
}

impl When {
    fn fields(&self) -> Vec<Given> {
        vec![
            ("cron", self.cron.as_ref().map(|text| json!(text))),
            ("time_zone", self.time_zone.as_ref().map(|text| json!(text))),
            ("every_secs", self.every.map(|secs| json!(secs))),
            ("from", self.from.map(|time| json!(time))),
            ("at", self.at.map(|time| json!(time))),
        ]
    }
}

impl Rules {
    fn fields(&self) -> Vec<Given> {
        vec![
            ("overlap", self.overlap.as_ref().map(|text| json!(text))),
            ("max_runs", self.max_runs.map(|runs| json!(runs))),
            ("missed", self.missed.as_ref().map(|text| json!(text))),
            ("grace_secs", self.grace.map(|secs| json!(secs))),
            ("jitter_secs", self.jitter.map(|secs| json!(secs))),
        ]
    }
}

impl Page {
    fn ask(&self, url: &mut Url) {
        url.query_pairs_mut().append_pair("limit", &self.limit.to_string());
        if let Some(cursor) = &self.cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
    }
}

impl Schedule {
    /// As `30 9 * * mon-fri in Europe/Berlin`.
    fn when(&self) -> String {
        match (&self.cron, self.every_secs, &self.at) {
            (Some(cron), ..) => {
                format!("{cron} in {}", self.time_zone.as_deref().unwrap_or("UTC"))
            }
            (None, Some(secs), _) => format!("every {secs} s"),
            (None, None, Some(at)) => format!("once at {}", moment(at)),
            (None, None, None) => String::new(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let runs = self.max_runs.map_or_else(String::new, |runs| format!(", {runs} runs at once"));
        let grace = self.grace_secs.map_or_else(String::new, |secs| format!(", grace {secs} s"));
        let jitter = Some(self.jitter_secs).filter(|secs| *secs > 0);
        let lines = [
            ("job", format!("{}  {}", self.job, self.name)),
            ("state", self.state.clone()),
            ("when", self.when()),
            ("overlap", format!("{}{runs}", self.overlap)),
            ("missed", format!("{}{grace}", self.missed)),
            ("jitter", jitter.map_or_else(String::new, |secs| format!("{secs} s"))),
            ("next", time_or_dash(self.next_at.as_deref())),
            ("last", time_or_dash(self.last_at.as_deref())),
        ];
        let lines = lines.into_iter().filter(|(_, text)| !text.is_empty());
        lines.map(|(name, text)| format!("{name:<8} {text}").trim_end().to_owned()).collect()
    }
}

fn time_or_dash(time: Option<&str>) -> String {
    time.map_or_else(|| "-".to_owned(), moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_is_shown_in_a_few_lines() {
        let text = r#"{"job": "j", "name": "n", "state": "active", "cron": "30 9 * * *",
            "time_zone": "Europe/Berlin", "every_secs": null, "from": null, "at": null,
            "overlap": "allow", "max_runs": 2, "missed": "run_once", "grace_secs": 90,
            "jitter_secs": 5, "next_at": "2027-01-31T08:30:00Z", "last_at": null}"#;

        let schedule: Schedule = serde_json::from_str(text).unwrap();

        assert_eq!(
            schedule.lines(),
            [
                "job      j  n",
                "state    active",
                "when     30 9 * * * in Europe/Berlin",
                "overlap  allow, 2 runs at once",
                "missed   run_once, grace 90 s",
                "jitter   5 s",
                "next     2027-01-31 08:30:00",
                "last     -",
            ]
        );
    }
}

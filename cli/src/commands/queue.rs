//! `fanfold queue`: the workspace's queues of runs.

use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::failure::Failure;
use crate::client::output::Table;
use crate::client::session::Session;

const PATH: &str = "/v1/queues";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List queues
    List,
    /// Create a queue
    Create {
        /// Letters, digits, hyphens and underscores
        name: String,
        #[command(flatten)]
        rules: Rules,
    },
    /// Change a queue; what is left out stays as it is
    Set {
        id: String,
        #[command(flatten)]
        rules: Rules,
    },
    /// Take runs and hand out nothing
    Pause { id: String },
    /// Hand out again
    Resume { id: String },
    /// Show what runs and waits in a queue, in the order of service
    Status { id: String },
    /// Delete a queue whose runs have ended
    #[command(visible_alias = "delete")]
    Remove { id: String },
}

#[derive(Debug, clap::Args)]
pub struct Rules {
    /// 1 to 1000; the lower one is served first
    #[arg(long)]
    rank: Option<u16>,
    /// Tasks that nodes may hold at once; 0 is no limit
    #[arg(long, value_name = "N")]
    max_running: Option<u32>,
    /// Seconds after which a run that has not begun fails; 0 is no limit
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Queue {
    id: String,
    name: String,
    rank: u16,
    max_running: u32,
    enabled: bool,
    paused: bool,
}

impl Rules {
    fn body(&self) -> Value {
        let Self { rank, max_running, timeout } = self;
        json!({ "rank": rank, "max_running": max_running, "timeout_secs": timeout })
    }
}

impl Queue {
    fn state(&self) -> &'static str {
        match (self.enabled, self.paused) {
            (false, _) => "disabled",
            (true, true) => "paused",
            (true, false) => "open",
        }
    }

    fn row(self) -> Vec<String> {
        let most = match self.max_running {
            0 => "no limit".to_owned(),
            most => most.to_string(),
        };
        vec![self.id.clone(), self.name.clone(), self.rank.to_string(), most, self.state().into()]
    }
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::List => list(session).await,
        Command::Create { name, rules } => {
            let mut body = rules.body();
            body["name"] = name.into();
            let answer = session.client.post(session.client.url(PATH, &[]), &body).await?;
            let queue: Queue = answer.read()?;
            session.output.result(&answer.text, || vec![queue.id])
        }
        Command::Set { id, rules } => change(&id, &rules.body(), session).await,
        Command::Pause { id } => change(&id, &json!({ "paused": true }), session).await,
        Command::Resume { id } => change(&id, &json!({ "paused": false }), session).await,
        Command::Status { id } => status(&id, session).await,
        Command::Remove { id } => {
            let answer = session.client.delete(session.client.url(PATH, &[&id])).await?;
            session.output.result(&answer.text, || vec![format!("removed queue {id}")])
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        queues: Vec<Queue>,
    }
    let mut url = session.client.url(PATH, &[]);
    url.query_pairs_mut().append_pair("limit", "1000");
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["id", "name", "rank", "at once", "state"],
        rows: list.queues.into_iter().map(Queue::row).collect(),
        empty: "no queues yet: fanfold queue create NAME",
    })
}

async fn change(id: &str, body: &Value, session: &Session) -> Result<(), Failure> {
    let url = session.client.url(PATH, &[id]);
    let answer = session.client.send(Method::PATCH, url, body).await?;
    let queue: Queue = answer.read()?;
    session.output.result(&answer.text, || vec![format!("{} is {}", queue.name, queue.state())])
}

async fn status(id: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Snapshot {
        runs: usize,
        tasks_running: u32,
        stopped_by: Option<String>,
        waiting: Vec<String>,
    }
    let answer = session.client.get(session.client.url(PATH, &[id, "snapshot"])).await?;
    let snapshot: Snapshot = answer.read()?;
    session.output.result(&answer.text, || {
        let Snapshot { runs, tasks_running, stopped_by, waiting } = snapshot;
        let mut lines = vec![format!("{runs} runs, {tasks_running} tasks running")];
        lines.extend(stopped_by.map(|why| format!("hands out nothing: it is {why}")));
        lines.extend((1..).zip(waiting).map(|(n, run): (u32, _)| format!("{n:>4}  {run}")));
        lines
    })
}

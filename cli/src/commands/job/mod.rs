//! `fanfold job`: order work, watch it, fetch what came out.

use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::client::failure::Failure;
use crate::client::session::Session;

mod attempts;
mod chores;
mod create;
mod get;
mod list;
pub(super) mod locator;
mod logs;
mod quote;
pub(super) mod results;
mod retry;
mod submit;
mod terms;
mod watch;
mod words;

pub use create::json_object;

const PATH: &str = "/v1/customer/jobs";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a job from a template; `file:` sources are uploaded
    Create(Box<create::Args>),
    /// Start a job of several steps from a job file, and follow it to its end
    Submit(submit::Args),
    /// Start a job
    Run {
        id: String,
        /// Follow it to its end; exit code 1 if it fails
        #[arg(long)]
        watch: bool,
    },
    /// Follow a job to its end; exit code 1 if it fails
    Watch { id: String },
    /// List results, or download them
    Results {
        id: String,
        /// Results of the accepted tasks of a failed or aborted job
        #[arg(long)]
        partial: bool,
        /// Download into this folder
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Show the logs of the job's containers
    Logs(logs::Args),
    /// Abort a job; a draft is deleted
    Abort { id: String },
    /// List jobs of templates, or of another kind, newest first
    List(list::Args),
    /// Show one job; --json shows every field
    Get { id: String },
    /// Show what a job is expected to cost, and why
    Quote { id: String },
    /// Explain why a job waits, or what it does
    Explain { id: String },
    /// List a job's tasks: on which node each is, and how it ended
    Tasks(chores::TasksArgs),
    /// List the attempts of the calls of a job's latest run, and what was answered
    Attempts { id: String },
    /// Deliver the results again of a job that failed after its last task; costs nothing
    Deliver {
        id: String,
        /// Show its progress until it ends
        #[arg(long)]
        watch: bool,
    },
    /// Go on with a run that failed or was cancelled, or with the latest of a job: only what is not
    /// done is done, and what was paid stays paid
    Retry {
        /// Id of the job, or of its run
        id: String,
        /// Follow it to its end; exit code 1 if it fails
        #[arg(long)]
        watch: bool,
    },
    /// Clone a job
    Clone { id: String },
    /// Upload the file of a job that is still a draft
    Upload { id: String, file: PathBuf },
    /// Delete a job that does not run
    Delete { id: String },
}

/// What the commands need to know of a job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    id: String,
    #[serde(default)]
    name: Option<String>,
    /// Our own word for its state.
    status: String,
    #[serde(default)]
    template_id: String,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    payment_amount: Option<Box<RawValue>>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    num_chunks: u64,
    #[serde(default)]
    tasks_without_results: u64,
    #[serde(default)]
    warning: Option<String>,
    #[serde(default)]
    data_source: Option<DataSource>,
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    is_test_job: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataSource {
    #[serde(default)]
    pub data_source_descriptor: String,
    #[serde(default)]
    params: Option<DataSourceParams>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataSourceParams {
    #[serde(default)]
    temp_url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Done {
    message: String,
}

#[derive(Debug, Deserialize)]
struct JobAnswer {
    job: Job,
}

impl Job {
    fn is_final(&self) -> bool {
        watch::is_final(&self.status)
    }

    /// What its customer should know beside its state.
    fn remarks(&self) -> Vec<String> {
        let (empty, chunks) = (self.tasks_without_results, self.num_chunks);
        let empty = (empty > 0).then(|| format!("{empty} of {chunks} tasks gave no results"));
        let warning = self.warning.clone().filter(|warning| !warning.is_empty());
        empty.into_iter().chain(warning).collect()
    }
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create::run(*args, session).await,
        Command::Submit(args) => submit::run(&args, session).await,
        Command::Run { id, watch } => {
            let answer = start(&id, session).await?;
            if watch {
                return watch::run(&id, session).await;
            }
            session.output.result(&answer.text, || vec![format!("job {id} is started")])
        }
        Command::Watch { id } => watch::run(&id, session).await,
        Command::Results { id, partial, output } => {
            results::run(&id, partial, output.as_deref(), session).await
        }
        Command::Logs(args) => logs::run(&args, session).await,
        Command::Abort { id } => {
            let answer = session.client.post(url(session, &[&id, "abort"]), &json!({})).await?;
            let Done { message } = answer.read()?;
            session.output.result(&answer.text, || {
                vec![if message.is_empty() {
                    format!("job {id} was a draft and is deleted")
                } else {
                    format!("job {id} is cancelled: {message}")
                }]
            })
        }
        Command::List(args) => list::run(&args, session).await,
        Command::Get { id } => get::run(&id, session).await,
        Command::Quote { id } => quote::run(&id, session).await,
        Command::Explain { id } => chores::explain(&id, session).await,
        Command::Tasks(args) => chores::tasks(&args, session).await,
        Command::Attempts { id } => attempts::run(&id, session).await,
        Command::Deliver { id, watch } => {
            let answer = session.client.post(url(session, &[&id, "deliver"]), &json!({})).await?;
            if watch {
                return watch::run(&id, session).await;
            }
            session.output.result(&answer.text, || {
                vec![format!("the results of job {id} are delivered again, at no cost")]
            })
        }
        Command::Retry { id, watch } => retry::run(&id, watch, session).await,
        Command::Clone { id } => chores::clone(&id, session).await,
        Command::Upload { id, file } => create::upload(&id, file, session).await,
        Command::Delete { id } => chores::delete(&id, session).await,
    }
}

async fn start(id: &str, session: &Session) -> Result<crate::client::Answer, Failure> {
    let started = session.client.post(url(session, &[id, "run"]), &json!({})).await;
    started.map_err(words::own)
}

fn url(session: &Session, names: &[&str]) -> Url {
    session.client.url(PATH, names)
}

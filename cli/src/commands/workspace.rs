//! `fanfold workspace`: the workspace that one acts in, and its settings.

use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::moment;
use crate::client::session::Session;

const PATH: &str = "/v1/workspace";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the workspace and its settings
    Get,
    /// Change settings of the workspace
    Set {
        /// Days after the end of a run for which its logs are kept; "server" is as long as the
        /// server keeps them
        #[arg(long, value_name = "DAYS", value_parser = days)]
        log_days: LogDays,
    },
}

/// Days, or the server's own.
#[derive(Debug, Clone, Copy)]
pub struct LogDays(Option<u32>);

#[derive(Deserialize)]
struct Workspace {
    id: String,
    name: String,
    created_at: String,
    log_days: u32,
}

fn days(text: &str) -> Result<LogDays, String> {
    match text {
        "server" => Ok(LogDays(None)),
        _ => text
            .parse()
            .map(|days| LogDays(Some(days)))
            .map_err(|_| "give a whole number of days, or \"server\"".to_owned()),
    }
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    let url = client.url(PATH, &[]);
    let answer = match command {
        Command::Get => client.get(url).await?,
        Command::Set { log_days: LogDays(days) } => {
            client.send(Method::PATCH, url, &json!({ "log_days": days })).await?
        }
    };
    let workspace: Workspace = answer.read()?;
    session.output.result(&answer.text, || {
        vec![
            format!("{}  {}", workspace.id, workspace.name),
            format!("created {}", moment(&workspace.created_at)),
            format!("logs are kept for {} days after the end of their run", workspace.log_days),
        ]
    })
}

//! `fanfold workspace`: the workspace that one acts in, and its settings.

use clap::{ArgGroup, Subcommand};
use common::compute::container::Sharing;
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
    #[command(group(ArgGroup::new("settings").required(true).multiple(true)))]
    Set {
        /// Days after the end of a run for which its logs are kept; "server" is as long as the
        /// server keeps them
        #[arg(long, value_name = "DAYS", value_parser = days, group = "settings")]
        log_days: Option<LogDays>,
        /// Which tasks may follow one another in a container on a node: those of one stage of a
        /// run, or those of all runs of the workspace whose containers are the same
        #[arg(long, value_parser = Sharing::ALL.map(Sharing::as_str), group = "settings")]
        containers: Option<String>,
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
    containers: String,
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
        Command::Set { log_days, containers } => {
            let mut body = serde_json::Map::new();
            if let Some(LogDays(days)) = log_days {
                body.insert("log_days".to_owned(), json!(days));
            }
            if let Some(containers) = containers {
                body.insert("containers".to_owned(), json!(containers));
            }
            client.send(Method::PATCH, url, &body).await?
        }
    };
    let workspace: Workspace = answer.read()?;
    session.output.result(&answer.text, || {
        vec![
            format!("{}  {}", workspace.id, workspace.name),
            format!("created {}", moment(&workspace.created_at)),
            format!("logs are kept for {} days after the end of their run", workspace.log_days),
            format!("tasks share containers within their {}", workspace.containers),
        ]
    })
}

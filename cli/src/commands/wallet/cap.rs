//! `fanfold wallet cap`: the most that the runs of a project may cost.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::Table;
use crate::client::session::Session;

const PATH: &str = "/v1/spend_caps";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List spend caps, and what is spent of them
    List,
    /// Set the most that the runs of a project may cost in a period
    Set {
        /// What jobs give as their project
        project: String,
        /// The most, in credits
        credits: String,
        /// Of UTC, or in total
        #[arg(long, default_value = "month", value_parser = ["day", "month", "total"])]
        period: String,
    },
    /// Remove the spend cap of a project
    #[command(visible_alias = "delete")]
    Remove { project: String },
}

#[derive(Deserialize)]
struct Cap {
    project: String,
    credits: String,
    period: String,
    spent: String,
    held: String,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        Command::List => list(session).await,
        Command::Set { project, credits, period } => {
            let body = json!({ "project": project, "credits": credits, "period": period });
            let answer = client.post(client.url(PATH, &[]), &body).await?;
            let cap: Cap = answer.read()?;
            session.output.result(&answer.text, || {
                let Cap { project, credits, period, spent, .. } = cap;
                vec![format!(
                    "project {project}: at most {credits} credits ({period}), {spent} spent"
                )]
            })
        }
        Command::Remove { project } => {
            let answer = client.delete(client.url(PATH, &[&project])).await?;
            session.output.result(&answer.text, || vec![format!("project {project} has no cap")])
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Caps {
        spend_caps: Vec<Cap>,
    }
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let Caps { spend_caps } = answer.read()?;
    let row = |Cap { project, credits, period, spent, held }: Cap| {
        vec![project, credits, period, spent, held]
    };
    session.output.table(&answer.text, || Table {
        header: &["project", "credits", "period", "spent", "held"],
        rows: spend_caps.into_iter().map(row).collect(),
        empty: "no spend caps: fanfold wallet cap set PROJECT CREDITS makes one",
    })
}

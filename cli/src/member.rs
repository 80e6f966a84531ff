//! `fanfold member`: who belongs to the workspace, and as what.

use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

const PATH: &str = "/v1/auth/members";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List members and invitations
    List,
    /// Invite an e-mail address; whoever signs in with it is a member from then on
    Invite {
        email: String,
        /// none, user, developer or admin
        #[arg(long, default_value = "user")]
        role: String,
    },
    /// Give a member another role: none, user, developer or admin
    Role { id: String, role: String },
    /// End a membership, with its keys, or take an invitation back
    Remove { id: String },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        Command::List => list(session).await,
        Command::Invite { email, role } => {
            let body = json!({ "email": email, "role": role });
            let answer = client.post(client.url(PATH, &[]), &body).await?;
            session.output.result(&answer.text, || vec![format!("invited {email}")])
        }
        Command::Role { id, role } => {
            let body = json!({ "role": role });
            let answer = client.send(Method::PATCH, client.url(PATH, &[&id]), &body).await?;
            session.output.result(&answer.text, || vec![format!("{id} is now {role}")])
        }
        Command::Remove { id } => {
            let answer = client.delete(client.url(PATH, &[&id])).await?;
            session.output.result(&answer.text, || vec![format!("removed {id}")])
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        members: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        id: String,
        state: String,
        role: String,
        email: String,
        username: String,
    }
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let list: List = answer.read()?;
    session.output.result(&answer.text, || {
        let line = |member: &Member| {
            let name = if member.email.is_empty() { &member.username } else { &member.email };
            format!("{}  {:<7}  {:<14}  {name}", member.id, member.state, member.role)
        };
        list.members.iter().map(line).collect()
    })
}

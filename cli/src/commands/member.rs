//! `fanfold member`: who belongs to the workspace, and as what.

use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::{Table, note};
use crate::client::session::Session;

const PATH: &str = "/v1/auth/members";
const ROLES: [&str; 4] = ["none", "user", "developer", "admin"];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List members and invitations
    List,
    /// Invite an e-mail address; the user who signs in with it becomes a member
    Invite {
        email: String,
        #[arg(long, default_value = "user", value_parser = ROLES)]
        role: String,
    },
    /// Give a member, by id or e-mail address, another role
    Role {
        member: String,
        #[arg(value_parser = ROLES)]
        role: String,
    },
    /// Remove a member with their keys, or an invitation, by id or e-mail address
    Remove { member: String },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        Command::List => list(session).await,
        Command::Invite { email, role } => {
            let body = json!({ "email": email, "role": role });
            let answer = client.post(client.url(PATH, &[]), &body).await?;
            session.output.result(&answer.text, || vec![format!("invited {email}")])?;
            note(format_args!(
                "they join with: fanfold sign-in {email} --url {}",
                client.address()
            ));
            Ok(())
        }
        Command::Role { member, role } => {
            let id = find(&member, session).await?;
            let body = json!({ "role": role });
            let answer = client.send(Method::PATCH, client.url(PATH, &[&id]), &body).await?;
            session.output.result(&answer.text, || vec![format!("{member} is now {role}")])
        }
        Command::Remove { member } => {
            let id = find(&member, session).await?;
            let answer = client.delete(client.url(PATH, &[&id])).await?;
            session.output.result(&answer.text, || vec![format!("removed {member}")])
        }
    }
}

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

async fn list(session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let list: List = answer.read()?;
    let row = |member: Member| {
        let name = if member.email.is_empty() { member.username } else { member.email };
        let role = member.role.trim_start_matches("ROLE_").to_lowercase();
        vec![member.id, member.state.to_lowercase(), role, name]
    };
    session.output.table(&answer.text, || Table {
        header: &["id", "state", "role", "member"],
        rows: list.members.into_iter().map(row).collect(),
        empty: "no members yet: fanfold member invite EMAIL",
    })
}

/// The id of a member or an invitation, which may be named by its e-mail address.
async fn find(member: &str, session: &Session) -> Result<String, Failure> {
    if !member.contains('@') {
        return Ok(member.to_owned());
    }
    let list: List = session.client.get(session.client.url(PATH, &[])).await?.read()?;
    let found = list.members.into_iter().find(|known| known.email.eq_ignore_ascii_case(member));
    found.map(|found| found.id).ok_or_else(|| Failure::Refused {
        message: format!(
            "no member and no invitation has the address {member}: fanfold member list shows those \
             there are"
        ),
    })
}

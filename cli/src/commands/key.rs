//! `fanfold key`: API keys, with which programs act for their holder.

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use common::access::Scope;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::{Table, moment};
use crate::client::session::Session;
use crate::commands::sign_in;

const DAY_SECS: u64 = 24 * 3600;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an API key (shown once); a user with an e-mail address is sent a code first
    Create {
        name: String,
        /// What the key may do; repeatable [default: all that you may]. A key whose jobs name
        /// secrets needs secrets:use beside jobs:write
        #[arg(long = "scope", value_name = "SCOPE", value_parser = scopes())]
        scopes: Vec<String>,
        /// Days until it expires
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
    },
    /// List API keys, without their text
    List,
    /// Revoke an API key
    Revoke { id: String },
}

fn scopes() -> PossibleValuesParser {
    PossibleValuesParser::new(Scope::ALL.map(Scope::name))
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Create { name, scopes, days } => create(&name, &scopes, days, session).await,
        Command::List => list(session).await,
        Command::Revoke { id } => {
            let url = session.client.url("/v1/auth/api_keys", &[&id, "revoke"]);
            let answer = session.client.post(url, &json!({})).await?;
            session.output.result(&answer.text, || vec![format!("revoked key {id}")])
        }
    }
}

async fn create(
    name: &str,
    scopes: &[String],
    days: u64,
    session: &Session,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Whose {
        user: User,
    }
    #[derive(Deserialize)]
    struct User {
        email: String,
    }
    #[derive(Deserialize)]
    struct Made {
        token: String,
    }
    let whose: Whose =
        session.client.get(session.client.url("/v1/auth/user", &[])).await?.read()?;
    let mut body = json!({ "name": name, "duration": days * DAY_SECS, "scopes": scopes });
    // The owner of a server may have no address, and then needs no code.
    if !whose.user.email.is_empty() {
        let ask = json!({ "email": whose.user.email, "isNewUser": false });
        let sent = sign_in::code(session, &ask).await?;
        body["nonce"] = json!(sent.nonce);
        body["code"] = json!(sent.code);
    }
    let answer = session.client.post(session.client.url("/v1/auth/api_key", &[]), &body).await?;
    let made: Made = answer.read()?;
    session.output.result(&answer.text, || vec![made.token])
}

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct List {
        api_keys: Vec<Key>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Key {
        id: String,
        name: String,
        expires_at: Option<String>,
        last_used_at: Option<String>,
        revoked: bool,
        scopes: Vec<String>,
    }
    let answer = session.client.get(session.client.url("/v1/auth/api_keys", &[])).await?;
    let list: List = answer.read()?;
    let row = |key: Key| {
        let ends = if key.revoked {
            "revoked".to_owned()
        } else {
            key.expires_at.map_or_else(|| "never".to_owned(), |time| moment(&time))
        };
        let used = key.last_used_at.map_or_else(|| "never".to_owned(), |time| moment(&time));
        let scopes = if key.scopes.is_empty() { "all".to_owned() } else { key.scopes.join(",") };
        vec![key.id, ends, used, scopes, key.name]
    };
    session.output.table(&answer.text, || Table {
        header: &["id", "ends", "last used", "scopes", "name"],
        rows: list.api_keys.into_iter().map(row).collect(),
        empty: "no keys yet: fanfold key create NAME",
    })
}

//! `fanfold secret`: the keys to customers' own buckets and servers.

use std::io::Read;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::{Table, moment};
use crate::client::session::Session;

const PATH: &str = "/v1/auth/secrets";
const KEY_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a secret; its secret key is read from stdin and never shown again
    Add {
        /// Its name in data sources
        id: String,
        /// Purpose: aws, gcp, storj, azure, url (a user and a password for one server), registry
        /// (a login for images), or other (for containers and calls)
        #[arg(long = "type", default_value = "aws")]
        secret_type: String,
        /// Public part: the access key, Azure's account, or the user's name
        #[arg(long, default_value = "")]
        access_key: String,
        /// Server that it is sent to: https://host for url and azure, a host such as ghcr.io for
        /// registry
        #[arg(long)]
        endpoint: Option<String>,
        /// Expiry, such as 2027-01-31 or 2027-01-31T12:00:00Z [default: never]
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<DateTime<Utc>>,
    },
    /// List secrets, without their secret keys
    List,
    /// Remove a secret
    #[command(visible_alias = "delete")]
    Remove {
        id: String,
        /// Its type [default: that of the one secret with this id]
        #[arg(long = "type")]
        secret_type: Option<String>,
    },
}

#[derive(Deserialize)]
struct Secrets {
    secrets: Vec<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    id: String,
    secret_type: String,
    access_key: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    expires_at: Option<String>,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add { id, secret_type, access_key, endpoint, expires } => {
            let secret = json!({
                "id": id,
                "secretType": secret_type,
                "accessKey": access_key,
                "endpoint": endpoint,
                "expiresAt": expires,
            });
            let body = json!({ "secret": secret, "secretKey": secret_key()? });
            let answer = session.client.post(session.client.url(PATH, &[]), &body).await?;
            session.output.result(&answer.text, || vec![format!("stored secret {id}")])
        }
        Command::List => list(session).await,
        Command::Remove { id, secret_type } => {
            let secret_type = match secret_type {
                Some(secret_type) => secret_type,
                None => type_of(&id, session).await?,
            };
            let url = session.client.url(PATH, &[&secret_type, &id]);
            let answer = session.client.delete(url).await?;
            session.output.result(&answer.text, || vec![format!("removed secret {id}")])
        }
    }
}

/// Reads the secret key from stdin: an argument would show in the list of processes.
fn secret_key() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(KEY_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Usage(format!("cannot read the secret key: {error}")))?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        let how = "give the secret key on stdin: fanfold secret add ID --access-key A < key-file";
        return Err(Failure::Usage(how.to_owned()));
    }
    Ok(key.to_owned())
}

/// The type of the secret with this id: ids of different types may be the same.
async fn type_of(id: &str, session: &Session) -> Result<String, Failure> {
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let Secrets { secrets } = answer.read()?;
    let types: Vec<_> = secrets.into_iter().filter(|s| s.id == id).map(|s| s.secret_type).collect();
    match &types[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::Refused {
            message: format!("secret {id:?} not found: fanfold secret list shows those there are"),
        }),
        several => Err(Failure::Usage(format!(
            "there are several secrets {id:?}: add --type, one of {}",
            several.join(", ")
        ))),
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let list: Secrets = answer.read()?;
    let row = |s: Secret| {
        let expires = s.expires_at.map_or_else(|| "never".to_owned(), |time| moment(&time));
        vec![s.id, s.secret_type, s.access_key, s.endpoint, expires]
    };
    session.output.table(&answer.text, || Table {
        header: &["id", "type", "access key", "endpoint", "expires"],
        rows: list.secrets.into_iter().map(row).collect(),
        empty: "no secrets yet: fanfold secret add ID --access-key A < key-file",
    })
}

/// A day, which stands for its beginning in UTC, or a time.
pub fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let start = day.and_then(|day| day.and_hms_opt(0, 0, 0)).map(|time| time.and_utc());
    start.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())).ok_or_else(
        || format!("{text:?} is not a time, such as 2027-01-31 or 2027-01-31T12:00:00Z"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_expires_on_a_day_or_at_a_time() {
        let day = time("2027-01-31").unwrap();

        assert_eq!(day.to_rfc3339(), "2027-01-31T00:00:00+00:00");
        assert_eq!(time("2027-01-31T02:00:00+02:00"), Ok(day));
        assert!(time("tomorrow").is_err() && time("").is_err());
    }
}

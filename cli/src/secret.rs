//! `fanfold secret`: the keys to customers' own buckets and servers.

use std::io::Read;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

const PATH: &str = "/v1/auth/secrets";
const KEY_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a secret; its secret key is read from stdin and never shown again
    Add {
        /// Its name in data sources
        id: String,
        /// What it is for: aws, gcp, storj, azure, url (a user and a password for one server), or
        /// other (for containers)
        #[arg(long = "type", default_value = "aws")]
        secret_type: String,
        /// The public half: the access key, Azure's account, or the user's name
        #[arg(long, default_value = "")]
        access_key: String,
        /// The one server that it is sent to, such as https://host; for url and azure
        #[arg(long)]
        endpoint: Option<String>,
    },
    /// List secrets, without their secret keys
    List,
    /// Remove a secret
    Remove {
        id: String,
        #[arg(long = "type", default_value = "aws")]
        secret_type: String,
    },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Add { id, secret_type, access_key, endpoint } => {
            let secret = json!({
                "id": id,
                "secretType": secret_type,
                "accessKey": access_key,
                "endpoint": endpoint,
            });
            let body = json!({ "secret": secret, "secretKey": secret_key()? });
            let answer = session.client.post(session.client.url(PATH, &[]), &body).await?;
            session.output.result(&answer.text, || vec![format!("stored secret {id}")])
        }
        Command::List => list(session).await,
        Command::Remove { id, secret_type } => {
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

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
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
    }
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let list: List = answer.read()?;
    session.output.result(&answer.text, || {
        let line = |s: &Secret| {
            let line = format!("{}  {}  {}  {}", s.id, s.secret_type, s.access_key, s.endpoint);
            line.trim_end().to_owned()
        };
        list.secrets.iter().map(line).collect()
    })
}

//! Whom the client commands talk to, and as whom.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::client::failure::Failure;
use crate::file;

/// Where `fanfold up` in this folder leaves its credentials.
const FILE_HERE: &str = ".fanfold/credentials.json";
/// What API keys begin with, and access tokens do not.
const KEY_PREFIX: &str = "ff_";
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The options of every client command.
#[derive(Debug, Clone, Args)]
pub struct Access {
    /// Credentials file [default: ./.fanfold/credentials.json]
    #[arg(long, global = true, env = "FANFOLD_CREDENTIALS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Address of the server, instead of what the credentials file or the endpoint.json beside it say
    #[arg(long, global = true, env = "FANFOLD_URL")]
    pub url: Option<String>,
    /// API key, instead of the credentials file's
    #[arg(long, global = true, env = "FANFOLD_API_KEY", hide_env_values = true, hide = true)]
    pub api_key: Option<String>,
}

/// `credentials.json`: what `fanfold up` writes once, on its first start, or `fanfold sign-in`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub url: String,
    /// The key, or the access token of a sign-in.
    pub api_key: String,
    pub workspace_id: String,
}

/// `endpoint.json`: where a server listens now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    pub url: String,
    /// Addresses for nodes.
    pub nodes: Vec<String>,
}

/// An address and a key, from wherever they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub url: String,
    pub api_key: String,
}

impl Access {
    /// Finds the address and the key. What is said on the command line or in the environment
    /// overrides the files; `endpoint.json` overrides the address of the first start.
    pub fn login(&self) -> Result<Login, Failure> {
        if let (Some(url), Some(api_key)) = (&self.url, &self.api_key) {
            return Ok(Login { url: url.clone(), api_key: api_key.clone() });
        }
        let path = self.path();
        let file: Credentials = read(&path)?;
        let endpoint = path.with_file_name("endpoint.json");
        let url = match &self.url {
            Some(url) => url.clone(),
            None if endpoint.exists() => read::<Endpoint>(&endpoint)?.url,
            None => file.url,
        };
        Ok(Login { url, api_key: self.api_key.clone().unwrap_or(file.api_key) })
    }

    /// Where to sign in: nobody needs a key for that.
    pub fn stranger(&self) -> Result<Login, Failure> {
        let endpoint = self.path().with_file_name("endpoint.json");
        let url = match &self.url {
            Some(url) => url.clone(),
            None if endpoint.exists() => read::<Endpoint>(&endpoint)?.url,
            None => {
                return Err(Failure::Usage("say where to sign in: --url ADDRESS".to_owned()));
            }
        };
        Ok(Login { url, api_key: String::new() })
    }

    /// Where a sign-in is kept. A file with an API key, which cannot be had again, is not
    /// written over.
    pub fn check_replaceable(&self) -> Result<(), Failure> {
        let path = self.path();
        if path.exists() && read::<Credentials>(&path)?.api_key.starts_with(KEY_PREFIX) {
            return Err(Failure::Usage(format!(
                "{} holds an API key; name another file with --credentials FILE",
                path.display()
            )));
        }
        Ok(())
    }

    pub fn keep(&self, credentials: &Credentials) -> Result<PathBuf, Failure> {
        self.check_replaceable()?;
        let path = self.path();
        let text = serde_json::to_vec_pretty(credentials).expect("texts become JSON");
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.and_then(|()| file::write(&path, 0o600, &text)).map_err(|error| {
            Failure::local(format_args!("cannot write {}", path.display()), error)
        })?;
        Ok(path)
    }

    fn path(&self) -> PathBuf {
        self.credentials.clone().unwrap_or_else(|| FILE_HERE.into())
    }
}

/// Reads one of the two files; one that cannot be read means no right to anything.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = file::read_text(path, FILE_BYTES_MAX).map_err(|error| {
        Failure::Unauthorised(format!(
            "cannot read {}: {error}; start `fanfold up` here, or name its file with \
             --credentials FILE or FANFOLD_CREDENTIALS",
            path.display()
        ))
    })?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::Unauthorised(format!("{} is damaged: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(folder: &Path) -> Access {
        Access { credentials: Some(folder.join("credentials.json")), url: None, api_key: None }
    }

    #[test]
    fn endpoint_beside_the_credentials_is_the_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("credentials.json", r#"{"url":"http://old/","apiKey":"ff_k","workspaceId":"w"}"#);

        let access = access(folder.path());
        assert_eq!(access.login().unwrap().url, "http://old/");
        write("endpoint.json", r#"{"url":"http://new/","nodes":[]}"#);
        assert_eq!(access.login().unwrap().url, "http://new/");
        let said = Access { url: Some("http://said/".into()), ..access };
        let login = Login { url: "http://said/".into(), api_key: "ff_k".into() };
        assert_eq!(said.login().unwrap(), login);
    }

    #[test]
    fn sign_in_replaces_an_older_sign_in_but_not_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let access = access(folder.path());
        let credentials = |api_key: &str| Credentials {
            url: "http://here/".into(),
            api_key: api_key.into(),
            workspace_id: "w".into(),
        };

        access.keep(&credentials("a.b.c")).unwrap();
        access.keep(&credentials("ff_key")).unwrap();

        assert!(matches!(access.keep(&credentials("a.b.c")), Err(Failure::Usage(_))));
        assert_eq!(access.login().unwrap().api_key, "ff_key");
    }

    #[test]
    fn missing_credentials_error_names_the_remedy() {
        let folder = tempfile::tempdir().unwrap();

        let failure = access(folder.path()).login().unwrap_err();

        assert!(matches!(&failure, Failure::Unauthorised(text) if text.contains("fanfold up")));
    }
}

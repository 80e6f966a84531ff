//! `fanfold server`: the server alone; nodes join it from elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use common::ids::WorkspaceId;
use server::check::{self, Finding};
use server::{Config, Server};
use tokio::time::timeout;

use super::folder::Folder;
use super::signals;
use crate::client::credentials;
use crate::client::credentials::{Credentials, Endpoint};
use crate::client::failure::Failure;
use crate::client::output::line;
use crate::log;

/// How long a clean stop may take before the process goes anyway; everything that was
/// acknowledged is on disk by then.
pub const STOP_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file (TOML); FANFOLD_… variables override it
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Print every setting with its value and where that comes from, and start nothing
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    pub log: log::Options,
    #[command(subcommand)]
    chore: Option<Chore>,
}

/// What is done to a server that does not run.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Chore {
    /// Seal all secrets under a new key and remove the old one; after an interruption, run it
    /// again
    RotateSecretsKey,
    /// Read everything that is kept (database, books, secrets, bucket) and list what is damaged and
    /// what to do; ends with code 1 where something is, and with 5 where it cannot be read
    Check,
}

pub async fn run(args: Args) -> Result<(), Failure> {
    let file = args.config.as_deref();
    let unusable = |error: server::config::Error| Failure::Usage(error.to_string());
    if args.print_config {
        return Config::printed(file).map_err(unusable)?.iter().try_for_each(line);
    }
    let stop = signals::stop()?;
    let config = Config::load(file).map_err(unusable)?;
    let folder = Folder::take(&config.data_dir)?;
    match args.chore {
        Some(Chore::RotateSecretsKey) => return rotate_secrets_key(&config).await,
        Some(Chore::Check) => return check(&config).await,
        None => {}
    }
    let server = start(config).await?;

    let ready = introduce(&server, &folder).await.and_then(|_| {
        line(format_args!(
            "fanfold server is ready at {}; documents at {0}/docs/; nodes join at {}",
            server.url(),
            entrance(&server)
        ))
    });
    let served = match ready {
        Ok(()) => tokio::select! {
            () = stop.cancelled() => Ok(()),
            error = server.failed() => Err(Failure::caused("the server stopped", &error)),
        },
        Err(failure) => Err(failure),
    };
    end(server).await;
    served
}

/// Where nodes join, with what keeps others away where it is.
pub fn entrance(server: &Server) -> String {
    let addresses = server.node_addresses();
    let only = if addresses.iter().all(|address| crate::commands::nodes::is_local(address)) {
        " (from this machine only: for others, listen at /ip4/0.0.0.0/tcp/8701)"
    } else {
        ""
    };
    format!("{}{only}", addresses.join(" "))
}

async fn rotate_secrets_key(config: &Config) -> Result<(), Failure> {
    let resealed = server::rotate_secrets_key(config)
        .await
        .map_err(|error| Failure::caused("cannot change the key of the secrets", &error))?;
    line(format_args!("{} secrets lie under the new key", resealed.done))?;
    if resealed.broken > 0 {
        return Err(Failure::local(
            format_args!("{} secrets do not open", resealed.broken),
            "the log names them, and the old key is kept; remove them, and ask again",
        ));
    }
    Ok(())
}

async fn check(config: &Config) -> Result<(), Failure> {
    let found = check::check(config)
        .await
        .map_err(|error| Failure::caused("the data cannot be checked", &error))?;
    for Finding { part, which, problem, advice } in &found {
        line(format_args!("{part}\t{which}\t{problem}: {advice}"))?;
    }
    if found.is_empty() {
        return line(format_args!("database, books, secrets and bucket are intact"));
    }
    Err(Failure::Refused { message: format!("{} things are damaged", found.len()) })
}

pub async fn start(config: Config) -> Result<Server, Failure> {
    Server::start(config).await.map_err(|error| Failure::caused("cannot start the server", &error))
}

/// Stops a server cleanly if that can be had in time.
pub async fn end(server: Server) {
    if timeout(STOP_MAX, server.stop()).await.is_err() {
        tracing::warn!("the server took too long to stop");
    }
}

/// Writes who may use the server, once, and where it listens, every time. Gives back the
/// workspace of the first start.
pub async fn introduce(server: &Server, folder: &Folder) -> Result<WorkspaceId, Failure> {
    let path = folder.path().join("credentials.json");
    if !path.exists() {
        let owner = server
            .owner()
            .await
            .map_err(|error| Failure::caused("cannot make the first workspace", &error))?;
        let credentials = Credentials {
            url: server.url().to_owned(),
            api_key: owner.api_key,
            workspace_id: owner.workspace.to_string(),
        };
        folder.write("credentials.json", 0o600, &credentials)?;
    }
    let endpoint = Endpoint { url: server.url().to_owned(), nodes: server.node_addresses() };
    folder.write("endpoint.json", 0o644, &endpoint)?;
    let credentials: Credentials = credentials::read(&path)?;
    let known = server.knows_key(&credentials.api_key).await;
    if !known.map_err(|error| Failure::caused("cannot look up the API key", &error))? {
        tracing::error!(
            file = %path.display(),
            "the API key in this file was not issued by this server, or is revoked: put the \
             file back from a backup, or move it away and start again, which makes a new key"
        );
    }
    credentials
        .workspace_id
        .parse()
        .map_err(|error| Failure::local(format_args!("{} is damaged", path.display()), error))
}

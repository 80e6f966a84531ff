//! A server process of the benchmark's own, in a folder that goes with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::process::{self, Usage};
use crate::client::credentials::{Access, Endpoint, read};
use crate::client::failure::Failure;
use crate::client::output::Output;
use crate::client::session::Session;

/// How long a server may take until it is ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// A server, killed and removed when it is dropped.
pub struct World {
    folder: TempDir,
    settings: String,
    server: Child,
    pub session: Session,
    /// Where nodes call.
    pub addresses: Vec<String>,
}

impl World {
    /// Starts a server with an empty data folder; on SQLite, unless a database is named.
    pub async fn start(database: Option<&str>) -> Result<Self, Failure> {
        Self::start_with(&format!("database_url = {:?}\n", database.unwrap_or_default())).await
    }

    /// The same with these lines in its configuration.
    pub async fn start_with(settings: &str) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("fanfold-bench-").tempdir();
        let folder =
            folder.map_err(|error| Failure::local("cannot make a temporary folder", error))?;
        let settings = settings.to_owned();
        configure(folder.path(), &settings, "/ip4/127.0.0.1/tcp/0")?;
        let server = spawn(folder.path()).await?;
        let (session, endpoint) = open(folder.path())?;
        Ok(Self { folder, settings, server, session, addresses: endpoint.nodes })
    }

    /// Kills the server as a loss of power would, starts it again where nodes expect it, and
    /// gives the time until it was ready.
    pub async fn kill_and_restart(&mut self) -> Result<Duration, Failure> {
        self.kill().await?;
        self.restart().await
    }

    /// Kills the server as a loss of power would.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.server.kill().await.map_err(|error| Failure::local("cannot kill the server", error))
    }

    /// Starts a server that was killed where nodes expect it; gives the time until it was ready.
    pub async fn restart(&mut self) -> Result<Duration, Failure> {
        let address = self.addresses.first().and_then(|address| address.split("/p2p/").next());
        configure(self.folder.path(), &self.settings, address.unwrap_or_default())?;
        let start = Instant::now();
        self.server = spawn(self.folder.path()).await?;
        let time = start.elapsed();
        (self.session, _) = open(self.folder.path())?;
        Ok(time)
    }

    /// The file of a server on SQLite.
    pub fn database_file(&self) -> PathBuf {
        data_folder(self.folder.path()).join("fanfold.sqlite")
    }

    pub fn usage(&self) -> Result<Usage, Failure> {
        process::usage(self.server.id().unwrap_or_default())
    }

    /// Whether a run is not settled.
    pub async fn holds_credits(&self) -> Result<bool, Failure> {
        #[derive(Deserialize)]
        struct Balance {
            held: String,
        }
        let client = &self.session.client;
        let balance: Balance = client.get(client.url("/v1/balance", &[])).await?.read()?;
        Ok(balance.held.bytes().any(|b| matches!(b, b'1'..=b'9')))
    }

    /// Transactions of the coordinator up to the end of its last run, as the server logged it.
    pub fn transactions(&self) -> Result<u64, Failure> {
        let log = std::fs::read_to_string(log_file(self.folder.path()))
            .map_err(|error| Failure::local("cannot read the server's log", error))?;
        let last = log.rsplit_once("transactions=").map_or("", |(_, after)| after);
        let digits = last.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().map_err(|error| Failure::local("no run has ended", error))
    }

    /// The number of the last transaction of the coordinator, as the server notes it.
    pub fn batches(&self) -> Result<u64, Failure> {
        let failed = |error| Failure::local("cannot read the number of the last batch", error);
        let text = std::fs::read_to_string(data_folder(self.folder.path()).join("last-batch"));
        let text = text.map_err(|error| failed(error.to_string()))?;
        let number = text.split_whitespace().next().unwrap_or_default();
        number.parse().map_err(|error: std::num::ParseIntError| failed(error.to_string()))
    }

    /// A folder beside the server's, for what the benchmark itself needs.
    pub fn aside(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::local(format!("cannot make {}", path.display()), error))?;
        Ok(path)
    }
}

fn configure(folder: &Path, settings: &str, listen: &str) -> Result<(), Failure> {
    let data = data_folder(folder);
    let text = format!(
        "http_listen = \"127.0.0.1:0\"\np2p_listen = [{listen:?}]\ndata_dir = {data:?}\n\
         promotional_credits = \"1000000\"\n{settings}\
         [limits]\nrequests_per_minute = 100000000\n\
         [data]\nallow_private_addresses = true\n\
         [calls]\nat_once_per_workspace = 256\nat_once_per_host = 256\n"
    );
    std::fs::write(folder.join("server.toml"), text)
        .map_err(|error| Failure::local("cannot write the server's configuration", error))
}

/// Starts this very binary as a server and waits until it says that it is ready.
async fn spawn(folder: &Path) -> Result<Child, Failure> {
    let failed = |error| Failure::local("cannot start a server", error);
    let log = File::options().create(true).append(true).open(log_file(folder)).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANFOLD_") {
            command.env_remove(name);
        }
    }
    let mut server = command
        .args(["server", "--config"])
        .arg(folder.join("server.toml"))
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdout = server.stdout.take().expect("it was asked for");
    let mut line = String::new();
    let ready = timeout(READY_MAX, BufReader::new(stdout).read_line(&mut line)).await;
    if matches!(ready, Ok(Ok(1..))) {
        return Ok(server);
    }
    let log = std::fs::read_to_string(log_file(folder)).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it said nothing").to_owned();
    Err(Failure::local("the server did not start", last))
}

fn open(folder: &Path) -> Result<(Session, Endpoint), Failure> {
    let data = data_folder(folder);
    let credentials = Some(data.join("credentials.json"));
    let access = Access { credentials, url: None, api_key: None };
    Ok((Session::open(&access, Output::Json)?, read(&data.join("endpoint.json"))?))
}

fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

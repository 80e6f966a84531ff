//! A server alone, as a process, with a second workspace.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::client::Client;
use harness::machine::process::Process;
use serde_json::json;
use server::store;
use server::store::people::{api_keys, workspaces};
use server::store::{Db, nodes};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Nothing that a test waits for takes longer, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// Starts a server with these settings, such as `("HTTP__STALL_TIMEOUT_SECS", "1")`.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_with_files(settings, None).await
    }

    /// The same, with this limit of open files.
    pub async fn start_with_files(settings: &[(&str, &str)], files: Option<u32>) -> Result<Self> {
        // Another test of this process may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let mut env: Vec<(String, String)> = settings
            .iter()
            .map(|(name, value)| (format!("FANFOLD_{name}"), (*value).to_owned()))
            .collect();
        let data = folder.path().join("server").display().to_string();
        env.extend([
            ("FANFOLD_DATA_DIR".to_owned(), data),
            ("FANFOLD_HTTP_LISTEN".to_owned(), "0.0.0.0:0".to_owned()),
            ("FANFOLD_P2P_LISTEN".to_owned(), r#"["/ip4/127.0.0.1/tcp/0"]"#.to_owned()),
        ]);
        let log = folder.path().join("server.log");
        let mut process = match files {
            None => Process::start(&["server"], &env, &log)?,
            Some(files) => Process::start_with_files(files, &["server"], &env, &log)?,
        };
        process.wrote(" is ready at ").await?;
        let endpoint = std::fs::read(folder.path().join("server/endpoint.json"))?;
        let endpoint: serde_json::Value = serde_json::from_slice(&endpoint)?;
        let url = endpoint["url"].as_str().context("a URL")?;
        let mut address: SocketAddr = url.trim_start_matches("http://").parse()?;
        address.set_ip([127, 0, 0, 1].into());
        Ok(Self { process, address, folder })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("server.log"))?)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    pub fn owner_key(&self) -> Result<String> {
        let credentials = std::fs::read(self.data().join("credentials.json"))?;
        let credentials: serde_json::Value = serde_json::from_slice(&credentials)?;
        Ok(credentials["apiKey"].as_str().context("a key")?.to_owned())
    }

    /// The first workspace's client.
    pub async fn owner(&self) -> Result<Client> {
        Client::with_key(&self.url(), &self.owner_key()?).await
    }

    /// A client of another workspace.
    pub async fn other(&self) -> Result<Client> {
        let db = self.database().await?;
        let workspace = workspaces::create_workspace(&db, "other").await?;
        let user = workspaces::create_user(&db, workspace, "other").await?;
        let key = api_keys::issue(&db, workspace, user, "key").await?;
        db.close().await?;
        Client::with_key(&self.url(), &key).await
    }

    /// A node of the first workspace.
    pub async fn node(&self) -> Result<String> {
        let answer = self.owner().await?.post("/v1/dev/nodes/tokens", json!({})).await?;
        let token = answer["token"].as_str().context("a token")?;
        let db = self.database().await?;
        let id = nodes::join(&db, "zebra", token).await?.context("the token is in force")?;
        db.close().await?;
        Ok(id.to_string())
    }

    async fn database(&self) -> Result<Db> {
        Ok(store::open(&format!("sqlite://{}/fanfold.sqlite", self.data().display())).await?)
    }

    /// A connection from this loopback address.
    pub async fn connect_from(&self, last: u8) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        Ok(socket.connect(self.address).await?)
    }

    /// A connection that has sent these bytes.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(bytes.as_ref()).await?;
        Ok(stream)
    }

    /// What comes back for these bytes until the server closes.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes.as_ref()).await;
        Ok(String::from_utf8_lossy(&rest(&mut stream).await?).into_owned())
    }

    /// Whether an ordinary client at this loopback address is served.
    pub async fn serves(&self, last: u8) -> Result<()> {
        let client = reqwest::Client::builder()
            .local_address(Some([127, 0, 0, last].into()))
            .timeout(PATIENCE)
            .build()?;
        let status = client.get(format!("{}/healthz", self.url())).send().await?.status();
        ensure!(status == 200, "health: {status}");
        Ok(())
    }
}

/// Pushes a package that needs no container's image, and lets it take jobs.
pub async fn push(client: &Client, name: &str, kind: &str) -> Result<()> {
    let manifest = json!({"name": name, "version": "0.1", "platform": "binary", "type": kind,
                          "entrypoint": "main"});
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [("manifest.json", manifest.to_string()), ("app/main", "x".to_owned())] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_bytes())?;
    }
    let family = if kind == "app" { "apps" } else { "engines" };
    let data = STANDARD.encode(tar.into_inner()?);
    client.post(&format!("/v1/dev/{family}"), json!({ "data": data })).await?;
    client.post(&format!("/v1/dev/{family}/{name}/activate"), json!({})).await?;
    Ok(())
}

/// Reads until the other end closes, which it must do before a test's patience ends.
pub async fn rest(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard))
        .await
        .context("the connection stays open")?;
    Ok(heard)
}

/// Reads until the text has come.
pub async fn until(stream: &mut TcpStream, text: &str) -> Result<String> {
    let mut heard = String::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while !heard.contains(text) {
            let n = stream.read(&mut buffer).await?;
            ensure!(n > 0, "closed after {heard:?}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, reading).await.context("no answer")??;
    Ok(heard)
}

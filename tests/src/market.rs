//! A server and its nodes as processes of their own, on folders that outlive them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use common::digest::Digest;
use sea_orm::{Database, DatabaseConnection};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::books;
use crate::client::{Client, text};
use crate::machine::busybox;
use crate::machine::power::{MountedImage, RecordedDisk, WriteLog};
use crate::machine::process::{self, Process};
use crate::machine::tmpfs::Tmpfs;
use crate::say::say;
use crate::wait::until;

/// A server that another process robbed of its port tries again, so often.
const STARTS_MAX: usize = 5;
/// Within this everything stops that is asked to.
const STOP: Duration = Duration::from_secs(20);

/// What a test wants to be there.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    nodes: usize,
    /// Nodes in the server's own process, as `fanfold up` has them.
    inside: usize,
    env: Vec<(String, String)>,
    /// For nodes alone.
    node_env: Vec<(String, String)>,
    /// The size of the server's own disk, where it has one.
    disk_mib: Option<u32>,
    /// The same, of one whose writes are logged.
    recorded_mib: Option<u64>,
    /// What the server resolves names by, in place of /etc/resolv.conf.
    resolver: Option<PathBuf>,
}

impl Shape {
    pub fn nodes(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
            .set("NODES__LEASE_SECS", "3")
            .set("DATA__ALLOW_PRIVATE_ADDRESSES", "true")
            // However full the machine that tests run on is.
            .set("NODE_DISK", "20")
            .set("NODE_KEEP_FREE", "0.5")
    }

    /// `fanfold up` with this many nodes, all in one process.
    pub fn up(nodes: usize) -> Self {
        Self { inside: nodes, ..Self::nodes(0) }
    }

    /// Sets a variable for nodes alone; the last word counts.
    pub fn set_nodes(mut self, name: &str, value: &str) -> Self {
        self.node_env.push((format!("FANFOLD_{name}"), value.to_owned()));
        self
    }

    /// Lets nodes use the container engine at this address, in place of the machine's.
    pub fn engine(mut self, host: &str) -> Self {
        self.node_env.push(("DOCKER_HOST".to_owned(), host.to_owned()));
        self
    }

    /// Gives the server's folder a disk of its own of this many MiB.
    pub fn disk(self, mib: u32) -> Self {
        Self { disk_mib: Some(mib), ..self }
    }

    /// Gives the server's folder a disk of its own of this many MiB that can lose its power.
    pub fn recorded_disk(self, mib: u64) -> Self {
        Self { recorded_mib: Some(mib), ..self }
    }

    /// Lets the server resolve names by this file, in place of /etc/resolv.conf. As root only.
    pub fn resolver(self, file: PathBuf) -> Self {
        Self { resolver: Some(file), ..self }
    }

    /// Sets one of the server's settings; the last word counts.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.push((format!("FANFOLD_{name}"), value.to_owned()));
        self
    }
}

#[derive(Debug)]
pub struct Market {
    folder: TempDir,
    env: Vec<(String, String)>,
    node_env: Vec<(String, String)>,
    inside: usize,
    /// Where nodes reach the server, if not at its own address.
    gateway: Option<SocketAddr>,
    server: Option<Process>,
    nodes: Vec<Option<Process>>,
    disk: Option<Tmpfs>,
    recorded: Option<RecordedDisk>,
    restored: Option<MountedImage>,
    resolver: Option<PathBuf>,
    finished: bool,
}

impl Market {
    /// Runs a test in a market of this shape with busybox pushed as an image, and checks the
    /// books at its end. Says "skipped" where there can be no containers.
    pub async fn open(
        shape: Shape,
        test: impl AsyncFnOnce(&mut Self, Client) -> Result<()>,
    ) -> Result<()> {
        if !busybox::is_possible() {
            return Ok(());
        }
        busybox::make()?;
        let folder = tempfile::tempdir()?;
        let mut market = Self {
            folder,
            env: shape.env,
            node_env: shape.node_env,
            inside: shape.inside,
            gateway: None,
            server: None,
            nodes: Vec::new(),
            disk: None,
            recorded: None,
            restored: None,
            resolver: shape.resolver,
            finished: false,
        };
        let disk = shape.disk_mib.map(|mib| Tmpfs::mount(&market.server_folder(), mib));
        market.disk = disk.transpose()?;
        if let Some(mib) = shape.recorded_mib {
            let place = market.folder.path().join("recorded");
            let disk = RecordedDisk::mount(&place, &market.server_folder(), mib).await?;
            market.recorded = Some(disk);
        }
        let tested = Box::pin(market.drive(shape.nodes, test)).await;
        market.finished = tested.is_ok();
        tested
    }

    async fn drive(
        &mut self,
        nodes: usize,
        test: impl AsyncFnOnce(&mut Self, Client) -> Result<()>,
    ) -> Result<()> {
        self.start_server().await?;
        let client = self.client().await?;
        self.push_image(busybox::IMAGE).await?;
        for _ in 0..nodes {
            self.add_node().await?;
        }
        test(self, client).await?;
        books::check(&self.books().await?).await?;
        // One that is killed while the engine makes a container for it leaves that behind.
        let inside = self.server.as_mut().filter(|_| self.inside > 0);
        for process in self.nodes.iter_mut().flatten().chain(inside) {
            process.end(STOP).await?;
        }
        Ok(())
    }

    pub async fn client(&self) -> Result<Client> {
        Client::sign_in(&self.server_folder()).await
    }

    /// Takes an image from the local engine to the server, as a customer does.
    pub async fn push_image(&self, reference: &str) -> Result<()> {
        self.customer(&["image", "push", reference]).await
    }

    /// Runs one of the customer's commands, whatever comes of it. Servers of the test's own answer
    /// meanwhile.
    pub async fn command(&self, args: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(process::fanfold()?);
        command.args(args);
        command.env("FANFOLD_CREDENTIALS", self.server_folder().join("credentials.json"));
        Ok(command.output().await?)
    }

    /// The same, of a command that does what it should.
    pub async fn customer(&self, args: &[&str]) -> Result<()> {
        let output = self.command(args).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fanfold {args:?}: {said}");
        Ok(())
    }

    /// Starts the server, on the ports that it had before.
    pub async fn start_server(&mut self) -> Result<()> {
        for _ in 1..STARTS_MAX {
            match self.try_start_server().await {
                Err(error) if error.to_string().contains("cannot listen") => {}
                done => return done,
            }
        }
        self.try_start_server().await
    }

    async fn try_start_server(&mut self) -> Result<()> {
        let mut env = self.env.clone();
        let (http, p2p) = match self.endpoint() {
            Ok(endpoint) => ports(&endpoint)?,
            Err(_) => ("127.0.0.1:0".to_owned(), "/ip4/127.0.0.1/tcp/0".to_owned()),
        };
        let folder = self.server_folder().display().to_string();
        let inside = self.inside.to_string();
        let args = if self.inside > 0 {
            ["up", "--data-dir", &folder, "--nodes", &inside, "--listen", &http]
                .into_iter()
                .chain(["--node-listen", &p2p])
                .collect()
        } else {
            vec!["server"]
        };
        env.extend([
            ("FANFOLD_DATA_DIR".to_owned(), folder.clone()),
            ("FANFOLD_HTTP_LISTEN".to_owned(), http.clone()),
            ("FANFOLD_P2P_LISTEN".to_owned(), p2p.clone()),
            ("FANFOLD_NODE_RUNTIME_DIR".to_owned(), self.runtime_folder("server")),
        ]);
        let log = self.log("server");
        // What an earlier process wrote would look like this one's word.
        let _ = std::fs::rename(&log, self.log("server-before"));
        let mut server = match &self.resolver {
            Some(resolver) => Process::start_with_resolver(resolver, &args, &env, &log)?,
            None => Process::start(&args, &env, &log)?,
        };
        server.wrote(" is ready at ").await?;
        self.server = Some(server);
        Ok(())
    }

    pub fn kill_server(&mut self) -> Result<()> {
        self.server()?.kill()
    }

    /// How much has been written to the server's disk, where that is logged.
    pub fn logged(&self) -> Result<u64> {
        self.recorded.as_ref().context("the disk is not recorded")?.logged()
    }

    /// Takes the power from the server: kills it, and gives what was written to its disk. Its
    /// folder is empty then.
    pub fn cut_power(&mut self) -> Result<WriteLog> {
        self.kill_server()?;
        self.recorded.take().context("the disk is not recorded")?.stop()
    }

    /// Gives the server the disk of this image.
    pub fn insert_disk(&mut self, image: &Path) -> Result<()> {
        self.restored = Some(MountedImage::mount(image, &self.server_folder())?);
        Ok(())
    }

    pub fn server(&mut self) -> Result<&mut Process> {
        self.server.as_mut().context("there is no server")
    }

    /// Joins another node.
    pub async fn add_node(&mut self) -> Result<()> {
        let client = self.client().await?;
        let token = text(&client.post("/v1/dev/nodes/tokens", json!({})).await?["token"])?;
        self.nodes.push(None);
        self.run_node(self.nodes.len() - 1, &token)
    }

    /// Starts a node again that has joined before.
    pub fn start_node(&mut self, number: usize) -> Result<()> {
        self.run_node(number, "")
    }

    fn run_node(&mut self, number: usize, token: &str) -> Result<()> {
        let address = self.nodes_address()?;
        let folder = self.node_folder(number).display().to_string();
        // For runs of the tests without root's rights.
        let mut args =
            vec!["node", "--server", &address, "--data-dir", &folder, "--run-as-own-user"];
        if !token.is_empty() {
            args.extend(["--token", token]);
        }
        let log = self.log(&format!("node-{number}"));
        let mut env = [&self.env[..], &self.node_env[..]].concat();
        let runtime = self.runtime_folder(&number.to_string());
        env.push(("FANFOLD_NODE_RUNTIME_DIR".to_owned(), runtime));
        self.nodes[number] = Some(Process::start(&args, &env, &log)?);
        Ok(())
    }

    pub fn kill_node(&mut self, number: usize) -> Result<()> {
        self.node(number)?.kill()
    }

    pub fn node(&mut self, number: usize) -> Result<&mut Process> {
        self.nodes[number].as_mut().context("the node does not run")
    }

    /// The node's process: the same as long as nobody killed it.
    pub fn node_ids(&self) -> Vec<u32> {
        self.nodes.iter().flatten().map(Process::id).collect()
    }

    /// How many containers of this market's nodes there are.
    pub fn containers(&self) -> Result<usize> {
        let mut found = 0;
        for folder in self.node_folders() {
            found += containers(&folder)?.len();
        }
        Ok(found)
    }

    /// Waits until no container is left.
    pub async fn containers_end(&self) -> Result<()> {
        until("the end of all containers", async || Ok((self.containers()? == 0).then_some(())))
            .await
    }

    /// The server's database, for a look behind the API.
    pub fn database(&self) -> PathBuf {
        self.server_folder().join("fanfold.sqlite")
    }

    /// The same, opened to be read, wherever it is.
    pub async fn books(&self) -> Result<DatabaseConnection> {
        let url = self.env.iter().rfind(|(name, _)| name == "FANFOLD_DATABASE_URL");
        match url {
            Some((_, url)) => Ok(Database::connect(url).await?),
            None => books::open(&self.database()).await,
        }
    }

    /// From now on nodes that are started reach the server through this address.
    pub fn reach_through(&mut self, gateway: SocketAddr) {
        self.gateway = Some(gateway);
    }

    /// Where the server listens for nodes.
    pub fn listens_at(&self) -> Result<SocketAddr> {
        let address = text(&self.endpoint()?["nodes"][0])?;
        let port = address.split('/').nth(4).context("a port")?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))
    }

    /// Where nodes reach the server.
    fn nodes_address(&self) -> Result<String> {
        let address = text(&self.endpoint()?["nodes"][0])?;
        let Some(gateway) = self.gateway else { return Ok(address) };
        let (_, server) = address.split_once("/p2p/").context("the server's key")?;
        Ok(format!("/ip4/{}/tcp/{}/p2p/{server}", gateway.ip(), gateway.port()))
    }

    /// Of each node its own: the machine's other nodes are of other tests.
    fn runtime_folder(&self, of: &str) -> String {
        self.folder.path().join(format!("runtime-{of}")).display().to_string()
    }

    pub fn server_folder(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    pub fn node_folder(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node-{number}"))
    }

    /// The folders of all nodes that have ever started, as the nodes name them.
    fn node_folders(&self) -> Vec<PathBuf> {
        let apart = (0..self.nodes.len()).map(|number| self.node_folder(number));
        let nodes = self.server_folder().join("nodes");
        let inside = (1..=self.inside).map(|number| nodes.join(number.to_string()));
        apart.chain(inside).filter_map(|folder| folder.canonicalize().ok()).collect()
    }

    fn endpoint(&self) -> Result<Value> {
        let path = self.server_folder().join("endpoint.json");
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// The file that holds what a process has written: `server`, or `node-` and its number.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn print_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.path()) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|kind| kind == "log") {
                say(format_args!("==> {} <==\n{}", path.display(), process::tail(&path)));
            }
        }
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        if !self.finished {
            self.print_logs();
        }
        let folders = self.node_folders();
        self.nodes.clear();
        self.server = None;
        (self.disk, self.recorded, self.restored) = (None, None, None);
        for folder in folders {
            remove_traces(&folder);
        }
    }
}

/// Removes what a node that runs no more has left with the container engine; its folder is named as
/// the node names it.
pub fn remove_traces(node_folder: &Path) {
    remove_containers(node_folder);
    remove_images(node_folder);
}

/// The addresses of a server's earlier start, to listen on again.
fn ports(endpoint: &Value) -> Result<(String, String)> {
    let http = text(&endpoint["url"])?.trim_start_matches("http://").to_owned();
    let p2p = text(&endpoint["nodes"][0])?;
    let p2p = p2p.split("/p2p/").next().unwrap_or_default().to_owned();
    Ok((http, p2p))
}

/// What a node's containers and images are labelled with.
fn label(node_folder: &Path) -> String {
    Digest::of(node_folder.as_os_str().as_encoded_bytes()).to_string()[..32].to_owned()
}

/// Removes the images that a node has brought.
fn remove_images(node_folder: &Path) {
    let own = format!("reference=fanfold/*:{}-*", label(node_folder));
    let format = "{{.Repository}}:{{.Tag}}";
    let listed = busybox::docker(&["image", "ls", "--filter", &own, "--format", format]);
    for name in listed.unwrap_or_default().lines() {
        let _ = busybox::docker(&["image", "rm", name]);
    }
}

/// The containers of a node, found by the label that it gives.
fn containers(node_folder: &Path) -> Result<Vec<String>> {
    let label = label(node_folder);
    let filter = format!("label=fanfold.node={label}");
    let found = busybox::docker(&["ps", "--all", "--quiet", "--filter", &filter])?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// Removes what a killed node left behind.
fn remove_containers(node_folder: &Path) {
    for id in containers(node_folder).unwrap_or_default() {
        // A container that ends by itself at this moment is gone as well.
        let _ = busybox::docker(&["rm", "--force", &id]);
    }
}

//! Simulated nodes: the real link to the server, and no containers behind it. They answer every
//! assignment at once with a signed receipt.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::compute::device::Device;
use common::compute::resources::{Resources, Usage};
use common::digest::Digest;
use common::error_chain::chain;
use common::protocol::{
    Assignment, Contents, Level, LogBatch, LogLine, Orders, Outcome, Output, Receipt,
    SignedReceipt, Stream, Sync, UnsignedReceipt, sign_together,
};
use common::run::task::Lease;
use futures::StreamExt as _;
use node::link::{self, Link};
use node::{Ahead, IDLE_WAIT_MS};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::failure::Failure;
use crate::client::session::Session;

/// How long a node waits after the server has not answered.
const PAUSE: Duration = Duration::from_millis(200);
/// Results stored at a time by one node.
const PUTS: usize = 4;
/// What the benchmark's app asks for.
const NEEDS: Resources = Resources::new(1000, 1024);

/// What the simulated nodes are like.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Size {
    /// Simulated nodes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub nodes: u32,
    /// Tasks that a node runs at once; it holds up to 256 ahead, as a real one whose
    /// tasks take no time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub slots: u32,
    /// What each chunk gives
    #[arg(long, value_enum, default_value_t = Results::Small)]
    pub results: Results,
    /// Log lines that each task writes
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub lines: u32,
}

/// What each chunk gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Results {
    /// No result
    None,
    /// One of a few bytes, as small results come
    Small,
    /// One that does not travel with its receipt and is stored for itself
    Large,
}

impl Results {
    /// The bytes of the one result.
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Small => Some(b"done\n".to_vec()),
            Self::Large => Some(vec![b'x'; Contents::BYTES_MAX + 1]),
        }
    }
}

/// Nodes that work until this is dropped.
pub struct Fleet {
    _nodes: JoinSet<()>,
    _stop: tokio_util::sync::DropGuard,
}

impl Fleet {
    /// Joins the nodes to the session's workspace and lets them work.
    pub async fn join(
        session: &Session,
        server: &[String],
        folder: &Path,
        size: Size,
    ) -> Result<Self, Failure> {
        let result = match size.results.bytes() {
            Some(bytes) => Some(Arc::new(TaskResult::write(folder, bytes)?)),
            None => None,
        };
        let stop = CancellationToken::new();
        let mut nodes = JoinSet::new();
        for number in 0..size.nodes {
            let key_file = folder.join(format!("{number}.key"));
            let options =
                link::Options { server: server.to_vec(), key_file, allow_private_addresses: false };
            let link = Link::start(options, stop.clone())
                .map_err(|error| Failure::caused("cannot start a simulated node", &error))?;
            let node = Node {
                link,
                token: token(session).await?,
                size,
                incarnation: number.into(),
                ahead: Ahead::new(crate::commands::daemon::PREFETCH),
                result: result.clone(),
                ended: Vec::new(),
                logs: Vec::new(),
            };
            nodes.spawn(node.work());
        }
        Ok(Self { _nodes: nodes, _stop: stop.drop_guard() })
    }
}

/// What a task writes.
fn lines(n: u32) -> Vec<LogLine> {
    let line = |n: u32| LogLine {
        at_us: n.into(),
        level: Level::Unknown,
        stream: Stream::Out,
        text: format!("step {n}: what a program says of what it has done so far"),
    };
    (0..n).map(line).collect()
}

/// A one-time token for the session's own workspace.
pub async fn token(session: &Session) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Issued {
        token: String,
    }
    let url = session.client.url("/v1/dev/nodes/tokens", &[]);
    Ok(session.client.post(url, &json!({})).await?.read::<Issued>()?.token)
}

/// What each task gives.
struct TaskResult {
    file: PathBuf,
    output: Output,
    /// Its bytes, where they travel with the receipt.
    contents: Contents,
}

impl TaskResult {
    fn write(folder: &Path, bytes: Vec<u8>) -> Result<Self, Failure> {
        let file = folder.join("result");
        std::fs::write(&file, &bytes)
            .map_err(|error| Failure::local("cannot write a result", error))?;
        let (name, size) = ("out.txt".to_owned(), bytes.len() as u64);
        let output = Output { name, size, digest: Digest::of(&bytes) };
        let mut contents = Contents::default();
        // A large one does not fit, and is stored for itself.
        let _ = contents.add(bytes);
        Ok(Self { file, output, contents })
    }
}

struct Node {
    link: Link,
    token: String,
    size: Size,
    incarnation: u64,
    ahead: Ahead,
    result: Option<Arc<TaskResult>>,
    /// What is done and not settled yet.
    ended: Vec<(Lease, SignedReceipt)>,
    /// What is written and not safe yet.
    logs: Vec<LogBatch>,
}

impl Node {
    async fn work(mut self) {
        loop {
            let (message, sent) = (self.message(), Instant::now());
            match self.link.sync(message).await {
                Ok(Orders::Work { assign, settled, cancel, logged, .. }) => {
                    if !self.ended.is_empty() {
                        self.ahead.answered(sent.elapsed());
                    }
                    self.logs.retain(|batch| !logged.contains(&(batch.lease, batch.end())));
                    self.ended
                        .retain(|(lease, _)| !settled.contains(lease) && !cancel.contains(lease));
                    self.run(assign).await;
                }
                Ok(Orders::Refused(why)) => {
                    tracing::error!(error = why, "a simulated node was refused");
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "a simulated node got no answer");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn message(&mut self) -> Sync {
        let Size { slots, .. } = self.size;
        Sync {
            incarnation: self.incarnation,
            number: 0,
            token: Some(self.token.clone()),
            capacity: Resources::new(NEEDS.cpu_millis * slots, NEEDS.memory_mib * slots)
                .with_disk(u32::MAX),
            engine_away: false,
            prefetch: self.ahead.tasks(Instant::now()),
            device: Device::default(),
            holding: Vec::new(),
            receipts: self.ended.iter().map(|(_, receipt)| receipt.clone()).collect(),
            logs: self.logs.clone(),
            samples: Vec::new(),
            probe: None,
            wait_ms: IDLE_WAIT_MS,
        }
    }

    async fn run(&mut self, assigned: Vec<Assignment>) {
        let known = |lease| self.ended.iter().any(|(ended, _)| *ended == lease);
        let fresh: Vec<Lease> = assigned
            .iter()
            .map(|assignment| assignment.lease)
            .filter(|lease| !known(*lease))
            .collect();
        let node = &*self;
        let done: Vec<_> = futures::stream::iter(fresh.clone())
            .map(|lease| async move { (lease, node.process(lease).await) })
            .buffer_unordered(PUTS)
            .collect()
            .await;
        let (leases, receipts): (Vec<_>, _) = done.into_iter().unzip();
        let signed = sign_together(receipts, |bytes| self.link.sign(bytes));
        leases.iter().for_each(|_| self.ahead.ended(Instant::now()));
        self.ended.extend(leases.into_iter().zip(signed));
        if self.size.lines > 0 {
            let some = |lease: Lease| LogBatch { lease, first: 0, lines: lines(self.size.lines) };
            self.logs.extend(fresh.into_iter().map(some));
        }
    }

    async fn process(&self, lease: Lease) -> UnsignedReceipt {
        let outcome = match self.store(lease).await {
            Ok(outputs) => Outcome::Succeeded { outputs, value: None },
            Err(error) => Outcome::NodeFault { message: error.to_string() },
        };
        let usage = Usage { cpu_ms: 1, memory_mib_ms: 1024, wall_ms: 1, ..Usage::default() };
        let contents = self.result.as_ref().map(|result| result.contents.clone());
        UnsignedReceipt::new(&Receipt { lease, usage, outcome }, contents.unwrap_or_default())
    }

    async fn store(&self, lease: Lease) -> Result<Vec<Output>, link::Error> {
        let Some(result) = &self.result else { return Ok(Vec::new()) };
        let Output { size, digest, .. } = result.output;
        if result.contents.is_empty() {
            self.link.put(lease, size, digest, &result.file).await?;
        }
        Ok(vec![result.output.clone()])
    }
}

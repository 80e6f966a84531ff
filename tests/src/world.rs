//! The rest of a server, as the hub sees it, in memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use common::compute::image::Pinned;
use common::compute::resources::Resources;
use common::data::chunk_table::ChunkTable;
use common::data::object_list::{Object, Objects, Place};
use common::digest::Digest;
use common::ids::{NodeId, RunId, WorkspaceId};
use common::plan::{BlockId, Container, Phase, Pipeline};
use common::protocol::{CacheFile, LogBatch, Orders, Sync, Version};
use common::run::cause::Cause;
use common::run::spec::RunSpec;
use common::run::task::{Lease, StageNo};
use common::secret::{Hidden, Secret, SecretId};
use common::testing;
use futures::TryStreamExt as _;
use sea_orm::DbErr;
use server::coordinator::leases::{LiveInputs, LiveLease};
use server::coordinator::{self, CheckedSync};
use server::data::bucket::blob_key::{BlobKey, Whose};
use server::data::bucket::caches::OpenedCached;
use server::data::bucket::upload_links::UploadLink;
use server::data::{self, ByteStream, Direct, Stored};
use server::expressions::Evaluator;
use server::p2p::Port;
use server::registry;
use server::secrets;
use server::store::market::tasks::TaskOutputs;
use tokio::sync::watch;
use uuid::Uuid;

/// Clones are the same world.
#[derive(Clone, Default)]
pub struct World {
    state: Arc<Mutex<State>>,
    /// The newest message's wait ends that of all before it.
    newest: Arc<watch::Sender<u64>>,
    evaluator: Evaluator,
}

#[derive(Default)]
pub struct State {
    pub token: Option<String>,
    /// How often it was asked which node a peer is.
    pub lookups: usize,
    pub nodes: HashMap<String, NodeId>,
    pub leases: HashMap<(NodeId, Lease), Arc<LiveLease>>,
    pub objects: HashMap<BlobKey, Bytes>,
    /// The bytes of each object of every source.
    pub source: Bytes,
    /// Where the source can be read without the server.
    pub url: Option<String>,
    pub results: Vec<TaskOutputs>,
    pub secrets: HashMap<(WorkspaceId, String), Secret>,
    pub syncs: Vec<CheckedSync>,
    /// Where nodes are told to store their results themselves.
    pub upload_link: Option<UploadLink>,
    /// Bytes of results that were counted because they came with receipts, or by a link.
    pub counted_bytes: u64,
    /// Lines that were stored.
    pub logs: Vec<LogBatch>,
}

impl World {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it changes the world")
    }

    /// Makes a node of a peer.
    pub fn join_now(&self, peer: &str) -> NodeId {
        let mut state = self.state();
        let node = NodeId::new(Uuid::from_u128(state.nodes.len() as u128 + 1));
        *state.nodes.entry(peer.to_owned()).or_insert(node)
    }

    pub fn grant(&self, node: NodeId, lease: Lease, inputs: LiveInputs) {
        self.grant_with(node, lease, inputs, spec());
    }

    pub fn grant_with(&self, node: NodeId, lease: Lease, inputs: LiveInputs, spec: RunSpec) {
        let (stage, _) = spec.plan.container_of(Phase::Process).expect("it has process tasks");
        let block = BlockId::new(u16::try_from(stage.number()).expect("it is a block's own"));
        let spec = Arc::new(spec);
        let live = Arc::new(LiveLease {
            spec,
            block,
            inputs,
            late: None,
            stored: Default::default(),
            log: Default::default(),
        });
        self.state().leases.insert((node, lease), live);
    }
}

impl Port for World {
    async fn find(&self, peer: &str) -> Result<Option<NodeId>, DbErr> {
        let mut state = self.state();
        state.lookups += 1;
        Ok(state.nodes.get(peer).copied())
    }

    async fn join(&self, peer: &str, token: &str) -> Result<Option<NodeId>, DbErr> {
        let good = self.state().token.take_if(|good| good == token).is_some();
        Ok(good.then(|| self.join_now(peer)))
    }

    async fn sync(&self, _: NodeId, sync: CheckedSync) -> Result<Orders, coordinator::Error> {
        let wait = sync.sync.wait_ms > 0;
        let settled = sync.receipts.iter().map(|(receipt, _)| receipt.lease).collect();
        let mut newest = self.newest.subscribe();
        let own = newest.borrow_and_update().wrapping_add(1);
        self.newest.send_replace(own);
        self.state().syncs.push(sync);
        if wait {
            newest.wait_for(|newest| *newest > own).await.expect("the world has its sender");
        }
        Ok(Orders::Work {
            works: Vec::new(),
            assign: Vec::new(),
            cancel: Vec::new(),
            settled,
            logged: Vec::new(),
            probe: false,
        })
    }

    async fn store_lines(&self, _: NodeId, logs: Vec<LogBatch>) -> Vec<(Lease, u32)> {
        let logged = logs.iter().map(|batch| (batch.lease, batch.end())).collect();
        self.state().logs.extend(logs);
        logged
    }

    fn lease(&self, node: NodeId, lease: Lease) -> Option<Arc<LiveLease>> {
        self.state().leases.get(&(node, lease)).cloned()
    }

    async fn results(
        &self,
        _: RunId,
        _: StageNo,
        after: Option<u32>,
        tasks: u64,
    ) -> Result<Vec<TaskOutputs>, DbErr> {
        let from = after.map_or(0, |after| u64::from(after) + 1);
        let page = from..from + tasks;
        let results = self.state().results.clone();
        Ok(results.into_iter().filter(|task| page.contains(&u64::from(task.index))).collect())
    }

    async fn direct(&self, _: &LiveLease, object: &Object) -> Result<Option<Direct>, data::Error> {
        let is_source = matches!(object.place, Place::Source { .. });
        let version = object.version.clone();
        let version = version.map(|etag| Version { path: object.shown().to_owned(), etag });
        Ok(self.state().url.clone().filter(|_| is_source).map(|url| Direct { url, version }))
    }

    async fn read(
        &self,
        _: &LiveLease,
        _: &Object,
        range: Range<u64>,
    ) -> Result<ByteStream, data::Error> {
        Ok(part(&self.state().source, range))
    }

    async fn secrets(
        &self,
        owner: WorkspaceId,
        ids: &[String],
    ) -> Result<Vec<Secret>, secrets::Error> {
        let state = self.state();
        let find = |id: &String| {
            let secret = state.secrets.get(&(owner, id.clone())).cloned();
            secret.ok_or_else(|| secrets::Error::NotFound(SecretId::stored(id.clone())))
        };
        ids.iter().map(find).collect()
    }

    async fn secret(&self, owner: WorkspaceId, id: &SecretId) -> Result<String, secrets::Error> {
        let found = self.secrets(owner, &[id.as_str().to_owned()]).await?;
        Ok(found.into_iter().map(|secret| secret.secret_key.0).collect())
    }

    fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    async fn break_off(&self, _: RunId, _: Cause) {}

    async fn pull_token(
        &self,
        _: WorkspaceId,
        secret: Option<&SecretId>,
        _: &Pinned,
    ) -> Result<Option<Hidden>, registry::Error> {
        Err(secrets::Error::NotFound(secret.expect("a test's images are private").clone()).into())
    }

    async fn cached(&self, whose: Whose) -> Result<Vec<CacheFile>, data::Error> {
        let state = self.state();
        let of = |(key, bytes): (&BlobKey, &Bytes)| {
            let BlobKey::Cached { whose: of, name } = key else { return None };
            let version = Digest::of(bytes).to_string();
            let file = CacheFile { name: name.clone(), size: bytes.len() as u64, version };
            (*of == whose).then_some(file)
        };
        Ok(state.objects.iter().filter_map(of).collect())
    }

    async fn open_cached(
        &self,
        key: &BlobKey,
        version: &str,
        from: u64,
    ) -> Result<OpenedCached, data::Error> {
        let bytes = self.state().objects.get(key).cloned();
        let bytes = bytes.filter(|bytes| Digest::of(bytes).to_string() == version);
        let bytes = bytes.ok_or_else(|| data::Error::NotFound(key.path()))?;
        let size = bytes.len() as u64;
        Ok(OpenedCached::Bytes { size, bytes: part(&bytes, from..size) })
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, data::Error> {
        Ok(self.state().objects.get(key).map(|bytes| bytes.len() as u64))
    }

    async fn get(&self, key: &BlobKey, range: Range<u64>) -> Result<ByteStream, data::Error> {
        let bytes = self.state().objects.get(key).cloned();
        Ok(part(&bytes.ok_or_else(|| data::Error::NotFound(key.path()))?, range))
    }

    async fn count_results(&self, _: WorkspaceId, _: RunId, bytes: u64) -> Result<(), data::Error> {
        self.state().counted_bytes += bytes;
        Ok(())
    }

    async fn upload_link(&self, _: Lease, _: Stored) -> Result<Option<UploadLink>, data::Error> {
        Ok(self.state().upload_link.clone())
    }

    async fn put(
        &self,
        _: WorkspaceId,
        lease: Lease,
        expected: Stored,
        bytes: ByteStream,
    ) -> Result<(), data::Error> {
        let key = BlobKey::Result { lease, digest: expected.digest };
        let bytes: Vec<Bytes> = bytes.try_collect().await?;
        let bytes = bytes.concat();
        if (bytes.len() as u64, Digest::of(&bytes)) != (expected.size, expected.digest) {
            return Err(data::Error::Mismatch);
        }
        self.state().objects.insert(key, bytes.into());
        Ok(())
    }
}

fn part(bytes: &Bytes, range: Range<u64>) -> ByteStream {
    let at = |at| usize::try_from(at).expect("test data is small");
    let part = bytes.slice(at(range.start)..at(range.end));
    Box::pin(futures::stream::iter([Ok(part)]))
}

/// A lease of one run.
pub fn lease(index: u32) -> Lease {
    testing::process(RunId::new(Uuid::from_u128(7)), index, 1)
}

/// A source of one object, cut into chunks of this many bytes.
pub fn table(size: u64, chunk: u64) -> Arc<ChunkTable> {
    let place = Place::Source { path: "data.csv".to_owned() };
    let version = Some("\"1\"".to_owned());
    let object = Object { name: "data.csv".to_owned(), size, place, version };
    let objects = Objects::pack(&[object]).expect("one object");
    Arc::new(ChunkTable::every(objects, chunk).expect("the chunks are not empty"))
}

/// A message that says nothing and waits for nothing.
pub fn message() -> Sync {
    Sync { capacity: Resources::new(1000, 1024), prefetch: 0, ..testing::sync() }
}

/// The workspace whose runs these are.
pub const WORKSPACE: WorkspaceId = WorkspaceId::new(Uuid::from_u128(1));

pub fn spec() -> RunSpec {
    spec_of(container())
}

/// The order for a run whose process tasks are of this container.
pub fn spec_of(process: Container) -> RunSpec {
    testing::order(WORKSPACE, &Pipeline { process, ..testing::pipeline() })
}

/// The container of the run's process tasks.
pub fn container() -> Container {
    let mut container = testing::container();
    testing::code_of(&mut container).package.digest = Digest::of(b"package");
    container.needs = Resources::new(1000, 128);
    container
}

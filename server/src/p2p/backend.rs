//! What the hub needs of the rest of the server. The loopback tests bring their own, so that the
//! wire can be tested without a database.

use std::ops::Range;
use std::sync::Arc;

use common::compute::image::Pinned;
use common::data::object_list::Object;
use common::error_chain::chain;
use common::ids::{NodeId, RunId, WorkspaceId};
use common::protocol::{CacheFile, LogBatch, Orders};
use common::run::cause::{Cause, CauseKind};
use common::run::task::{Lease, StageNo, TaskRef};
use common::secret::{Hidden, Secret, SecretId, Target};

use crate::coordinator::leases::{Leases, LiveLease};
use crate::coordinator::{self, CheckedSync, Coordinator};
use crate::data::bucket::blob_key::{BlobKey, Whose};
use crate::data::bucket::caches::OpenedCached;
use crate::data::bucket::upload_links::UploadLink;
use crate::data::{self, ByteStream, Data, Direct, Stored};
use crate::expressions::Evaluator;
use crate::logs::writer::LogWriter;
use crate::registry::{self, Registries};
use crate::secrets::{self, Secrets};
use crate::store::market::tasks::TaskOutputs;
use crate::store::{self, Db};

pub trait Port: Clone + Send + Sync + 'static {
    /// The node with this peer id, if it has joined.
    fn find(&self, peer: &str)
    -> impl Future<Output = Result<Option<NodeId>, store::Error>> + Send;

    /// Joins a node by a one-time token.
    fn join(
        &self,
        peer: &str,
        token: &str,
    ) -> impl Future<Output = Result<Option<NodeId>, store::Error>> + Send;

    fn sync(
        &self,
        node: NodeId,
        sync: CheckedSync,
    ) -> impl Future<Output = Result<Orders, coordinator::Error>> + Send;

    /// Stores lines that a node sends, and gives up to which line each of the logs is safe. It
    /// does not wait long: what is not stored soon is left out.
    fn store_lines(
        &self,
        node: NodeId,
        logs: Vec<LogBatch>,
    ) -> impl Future<Output = Vec<(Lease, u32)>> + Send;

    fn lease(&self, node: NodeId, lease: Lease) -> Option<Arc<LiveLease>>;

    /// The accepted results of up to `tasks` process tasks after task `after`, in task order.
    fn results(
        &self,
        run: RunId,
        stage: StageNo,
        after: Option<u32>,
        tasks: u64,
    ) -> impl Future<Output = Result<Vec<TaskOutputs>, store::Error>> + Send;

    fn direct(
        &self,
        live: &LiveLease,
        object: &Object,
    ) -> impl Future<Output = Result<Option<Direct>, data::Error>> + Send;

    fn read(
        &self,
        live: &LiveLease,
        object: &Object,
        range: Range<u64>,
    ) -> impl Future<Output = Result<ByteStream, data::Error>> + Send;

    /// The secrets of a workspace with these ids.
    fn secrets(
        &self,
        owner: WorkspaceId,
        ids: &[String],
    ) -> impl Future<Output = Result<Vec<Secret>, secrets::Error>> + Send;

    /// The value of a secret of a workspace, for a text of a container.
    fn secret(
        &self,
        owner: WorkspaceId,
        id: &SecretId,
    ) -> impl Future<Output = Result<String, secrets::Error>> + Send;

    /// Evaluates the expressions of texts of containers.
    fn evaluator(&self) -> &Evaluator;

    /// Ends a run for a reason that is its customer's.
    fn break_off(&self, run: RunId, cause: Cause) -> impl Future<Output = ()> + Send;

    /// What pulls a private image with the login that a secret of the workspace holds.
    fn pull_token(
        &self,
        owner: WorkspaceId,
        secret: Option<&SecretId>,
        image: &Pinned,
    ) -> impl Future<Output = Result<Option<Hidden>, registry::Error>> + Send;

    /// The files that were uploaded for a cache.
    fn cached(
        &self,
        whose: Whose,
    ) -> impl Future<Output = Result<Vec<CacheFile>, data::Error>> + Send;

    /// A file of a cache at this version, from byte `from` on.
    fn open_cached(
        &self,
        key: &BlobKey,
        version: &str,
        from: u64,
    ) -> impl Future<Output = Result<OpenedCached, data::Error>> + Send;

    fn size(&self, key: &BlobKey) -> impl Future<Output = Result<Option<u64>, data::Error>> + Send;

    fn get(
        &self,
        key: &BlobKey,
        range: Range<u64>,
    ) -> impl Future<Output = Result<ByteStream, data::Error>> + Send;

    /// Counts results of a workspace's run that came with a receipt, or come by a link.
    fn count_results(
        &self,
        owner: WorkspaceId,
        run: RunId,
        bytes: u64,
    ) -> impl Future<Output = Result<(), data::Error>> + Send;

    /// Where a node can store a result itself; `None` where it has to send it here.
    fn upload_link(
        &self,
        lease: Lease,
        expected: Stored,
    ) -> impl Future<Output = Result<Option<UploadLink>, data::Error>> + Send;

    /// Stores a result of a workspace's run.
    fn put(
        &self,
        owner: WorkspaceId,
        lease: Lease,
        expected: Stored,
        bytes: ByteStream,
    ) -> impl Future<Output = Result<(), data::Error>> + Send;
}

/// The real parts of the server.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub coordinator: Coordinator,
    pub leases: Leases,
    pub logs: LogWriter,
    pub data: Data,
    pub secrets: Secrets,
    pub registries: Registries,
}

impl Port for Parts {
    async fn find(&self, peer: &str) -> Result<Option<NodeId>, store::Error> {
        store::nodes::find_by_peer(&self.db, peer).await
    }

    async fn join(&self, peer: &str, token: &str) -> Result<Option<NodeId>, store::Error> {
        store::nodes::join(&self.db, peer, token).await
    }

    async fn sync(&self, node: NodeId, sync: CheckedSync) -> Result<Orders, coordinator::Error> {
        self.coordinator.sync(node, sync).await
    }

    async fn store_lines(&self, node: NodeId, logs: Vec<LogBatch>) -> Vec<(Lease, u32)> {
        self.logs.store(node, logs).await
    }

    fn lease(&self, node: NodeId, lease: Lease) -> Option<Arc<LiveLease>> {
        self.leases.get(node, lease)
    }

    async fn results(
        &self,
        run: RunId,
        stage: StageNo,
        after: Option<u32>,
        tasks: u64,
    ) -> Result<Vec<TaskOutputs>, store::Error> {
        store::market::tasks::outputs(&self.db, run, stage, after, tasks).await
    }

    async fn direct(
        &self,
        live: &LiveLease,
        object: &Object,
    ) -> Result<Option<Direct>, data::Error> {
        self.data.direct(live.spec.workspace, live.source(), object).await
    }

    async fn read(
        &self,
        live: &LiveLease,
        object: &Object,
        range: Range<u64>,
    ) -> Result<ByteStream, data::Error> {
        self.data.read(live.spec.workspace, live.source(), object, range).await
    }

    async fn secrets(
        &self,
        owner: WorkspaceId,
        ids: &[String],
    ) -> Result<Vec<Secret>, secrets::Error> {
        self.secrets.for_container(owner, ids).await
    }

    async fn secret(&self, owner: WorkspaceId, id: &SecretId) -> Result<String, secrets::Error> {
        Ok(self.secrets.open(owner, id, &Target::Container).await?.secret_key)
    }

    fn evaluator(&self) -> &Evaluator {
        self.coordinator.evaluator()
    }

    async fn break_off(&self, run: RunId, cause: Cause) {
        if let Err(error) = self.coordinator.break_off_run(run, cause).await {
            tracing::debug!(%run, error = %chain(&error), "the run had ended");
        }
    }

    async fn pull_token(
        &self,
        owner: WorkspaceId,
        secret: Option<&SecretId>,
        image: &Pinned,
    ) -> Result<Option<Hidden>, registry::Error> {
        self.registries.pull_token(owner, secret, image).await
    }

    async fn cached(&self, whose: Whose) -> Result<Vec<CacheFile>, data::Error> {
        Ok(self.data.cached(whose).await?.into_iter().map(|cached| cached.file).collect())
    }

    async fn open_cached(
        &self,
        key: &BlobKey,
        version: &str,
        from: u64,
    ) -> Result<OpenedCached, data::Error> {
        self.data.open_cached(key, version, from).await
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, data::Error> {
        self.data.size(key).await
    }

    async fn get(&self, key: &BlobKey, range: Range<u64>) -> Result<ByteStream, data::Error> {
        let BlobKey::Result { lease, digest } = key else {
            return self.data.get(key, range).await;
        };
        // Here, so that nodes do not ask again and again for a file that has rotted.
        let TaskRef { stage, index, .. } = lease.task;
        let name = format!("result of task {index} of stage {stage}");
        self.data.get_result(key, *digest, &name, range).await
    }

    async fn count_results(
        &self,
        owner: WorkspaceId,
        run: RunId,
        bytes: u64,
    ) -> Result<(), data::Error> {
        let counted = self.data.count_results(owner, run, bytes).await;
        self.end_if_full(run, counted).await
    }

    async fn upload_link(
        &self,
        lease: Lease,
        expected: Stored,
    ) -> Result<Option<UploadLink>, data::Error> {
        let key = BlobKey::Result { lease, digest: expected.digest };
        self.data.result_link(&key, expected).await
    }

    async fn put(
        &self,
        owner: WorkspaceId,
        lease: Lease,
        expected: Stored,
        bytes: ByteStream,
    ) -> Result<(), data::Error> {
        let (run, key) = (lease.task.run, BlobKey::Result { lease, digest: expected.digest });
        let put = self.data.put_result(owner, run, &key, expected, bytes).await;
        self.end_if_full(run, put).await
    }
}

impl Parts {
    /// Ends a run whose results have no room: it is the customer's, not the node's, and no other
    /// node would fare better.
    async fn end_if_full(
        &self,
        run: RunId,
        stored: Result<(), data::Error>,
    ) -> Result<(), data::Error> {
        if let Err(data::Error::Full(full)) = &stored {
            self.break_off(run, Cause::new(CauseKind::Storage, full.to_string())).await;
        }
        stored
    }
}

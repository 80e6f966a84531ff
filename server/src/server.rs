//! A whole server: its parts, put together.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::error_chain::chain;
use common::ids::WorkspaceId;
use common::market::{Checks, Policy};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::app::{AccessCode, App, Settings};
use crate::config::{Config, S3Config};
use crate::coordinator::leases::Leases;
use crate::coordinator::{self, Coordinator, Fires};
use crate::data::ssrf_guard::Guard;
use crate::data::{self, Bucket, Data};
use crate::jobs::auto_delete;
use crate::jobs::schedules::firing;
use crate::limits::quotas::Quotas;
use crate::logs::compactor;
use crate::logs::writer::LogWriter;
use crate::mail::{self, Mail};
use crate::maintenance;
use crate::metrics::Metrics;
use crate::p2p::{self, Hub};
use crate::people::attempts::Attempts;
use crate::registry::Registries;
use crate::secrets::key_check;
use crate::secrets::master_keys::Keys;
use crate::secrets::{self, Resealed, Secrets};
use crate::startup::database;
use crate::startup::last_batch::LastBatch;
use crate::store;
use crate::store::market::batch_number;
use crate::store::people::workspaces;
use crate::store::{Db, nodes};
use crate::supervisor::Supervisor;
use crate::traces::{self, Traces};

/// A running server. Dropping it stops nothing; call `stop`.
pub struct Server {
    url: String,
    hub: Hub,
    db: Db,
    coordinator: Coordinator,
    promotional: common::money::credits::Credits,
    allow_private_addresses: bool,
    tasks: TaskTracker,
    supervisor: Supervisor,
}

/// Who may use a server that has just been made. It has no `Debug`, so that no log shows the key.
pub struct Credentials {
    pub api_key: String,
    pub workspace: WorkspaceId,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: String, source: io::Error },
    #[error("the data folder cannot be used")]
    Folder(#[source] io::Error),
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error("the database cannot be used")]
    Db(#[from] store::Error),
    #[error(transparent)]
    Keys(#[from] key_check::Error),
    #[error("the bucket cannot be used")]
    Data(#[from] data::Error),
    #[error(
        "the bucket does not let the server in ({0}): check bucket, region, endpoint, access_key \
         and secret_key under [data.s3] in the configuration"
    )]
    Bucket(String),
    #[error("the hub for nodes cannot start")]
    Hub(#[from] p2p::Error),
    #[error("the secrets cannot be re-encrypted")]
    Secrets(#[from] secrets::Error),
    #[error("mail cannot be configured")]
    Mail(#[from] mail::Error),
    #[error("traces cannot be sent")]
    Traces(#[from] traces::Error),
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
    #[error("a critical task failed: {0}")]
    TaskFailed(String),
}

impl Server {
    /// Opens everything and begins to serve. Runs that were under way go on.
    pub async fn start(config: Config) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.data_dir).map_err(Error::Folder)?;
        let listener = listen(&config).await?;
        let address = listener.local_addr().map_err(Error::Folder)?;
        let url = format!("http://{address}");
        let public_url = public_url(&config, &url);

        std::fs::create_dir_all(spool(&config.data_dir)).map_err(Error::Folder)?;
        let (db, keys, secrets) = checked(&config).await?;
        let metrics = metrics_of(&db);
        let registries = Registries::new(secrets.clone(), guard(&config));
        let data = open_data(&config, &db, &secrets, public_url.clone(), keys.link).await?;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let last_batch = LastBatch::open(&config.data_dir, batch_number::last(&db).await?)
            .map_err(Error::Folder)?;
        let (coordinator, leases, fires, engine) = Coordinator::start(
            db.clone(),
            data.clone(),
            policy(&config),
            last_batch.clone(),
            metrics.clone(),
            Traces::start(&config.traces, &db, &tasks, &stop)?,
            stop.clone(),
        )
        .await?;
        let supervisor = Supervisor::new(stop.clone());
        tasks.spawn(supervisor.clone().run_fallible("the coordinator", engine));
        let logs = start_logs(&db, &data, &leases, &coordinator, &tasks, &supervisor);
        // Where the start fails, what it has begun is told to end before its handles go.
        let unfinished = stop.clone().drop_guard();
        let hub = Hub::start(
            hub_options(&config, &metrics),
            p2p::Parts {
                db: db.clone(),
                coordinator: coordinator.clone(),
                leases,
                logs,
                data: data.clone(),
                secrets: secrets.clone(),
                registries: registries.clone(),
            },
            supervisor.clone(),
        )
        .await?;
        tasks.spawn(last_batch.keep_synced(stop.clone()));
        maintenance::start(&config, &db, &data, &coordinator, &tasks, &stop);
        let mail = mail(&config, public_url, &tasks, &stop)?;
        let app = App {
            db: db.clone(),
            data,
            coordinator: coordinator.clone(),
            secrets,
            mail,
            registries,
            attempts: Attempts::default(),
            metrics,
            settings: settings(&config, keys.token, hub.addresses()),
        };
        serve(app, listener, fires, &tasks, &supervisor);
        unfinished.disarm();
        Ok(Self {
            url,
            hub,
            db,
            coordinator,
            promotional: config.promotional_credits,
            allow_private_addresses: config.data.allow_private_addresses,
            tasks,
            supervisor,
        })
    }

    /// Where the API listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where nodes call, with the server's peer id.
    pub fn node_addresses(&self) -> Vec<String> {
        self.hub.addresses()
    }

    /// Whether its owner lets data be read from private and loopback addresses.
    pub fn allows_private_addresses(&self) -> bool {
        self.allow_private_addresses
    }

    /// A new API key of the first workspace, which is made and given its promotional credits
    /// where there is none. Asking again after a crash gives another key and no more credits.
    pub async fn owner(&self) -> Result<Credentials, Error> {
        let owner = workspaces::owner(&self.db).await?;
        let key = format!("welcome {}", owner.workspace);
        self.coordinator.grant(owner.workspace, self.promotional, &key).await?;
        Ok(Credentials { api_key: owner.api_key, workspace: owner.workspace })
    }

    /// A one-time token with which a node joins this workspace.
    pub async fn node_token(&self, workspace: WorkspaceId) -> Result<String, Error> {
        Ok(nodes::issue_token(&self.db, workspace).await?)
    }

    /// Whether this API key of a workspace is in force.
    pub async fn knows_key(&self, key: &str) -> Result<bool, Error> {
        Ok(store::people::api_keys::find_by_text(&self.db, key).await?.is_some())
    }

    /// Waits until a part of the server has died, and says of what.
    pub async fn failed(&self) -> Error {
        Error::TaskFailed(self.supervisor.failed().await)
    }

    /// Stops cleanly: nothing new is taken, what is under way is answered.
    pub async fn stop(self) {
        self.supervisor.stop().cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.hub.stopped().await;
        if let Err(error) = self.db.close().await {
            tracing::warn!(error = %chain(&error), "the database did not close");
        }
    }
}

/// Starts what stores lines of logs, and what moves them to the bucket.
fn start_logs(
    db: &Db,
    data: &Data,
    leases: &Leases,
    coordinator: &Coordinator,
    tasks: &TaskTracker,
    supervisor: &Supervisor,
) -> LogWriter {
    let stop = supervisor.stop();
    let (logs, writing) =
        LogWriter::new(db.clone(), leases.clone(), coordinator.clone(), stop.clone());
    tasks.spawn(supervisor.clone().run("the log writer", writing));
    tasks.spawn(compactor::run(db.clone(), data.clone(), stop.clone()));
    logs
}

/// Answers clients, and does what is due of jobs by itself.
fn serve(
    app: App,
    listener: TcpListener,
    fires: Fires,
    tasks: &TaskTracker,
    supervisor: &Supervisor,
) {
    let firing = firing::run(app.clone(), fires, supervisor.stop().clone());
    tasks.spawn(supervisor.clone().run("schedules", firing));
    tasks.spawn(auto_delete::run(app.clone(), supervisor.stop().clone()));
    let serving = api::serve(app, listener, supervisor.stop().clone());
    tasks.spawn(supervisor.clone().run("the HTTP API", serving));
}

/// The metrics, with those of the pool of connections.
fn metrics_of(db: &Db) -> Arc<Metrics> {
    let (metrics, db) = (Metrics::new(), db.clone());
    let pool = metrics.database.clone();
    metrics.before_scrape(move || pool.stands(db.connections(), db.idle_connections()));
    metrics
}

/// Where clients reach the server: at `url`, where nothing else is configured.
fn public_url(config: &Config, url: &str) -> String {
    if config.public_url.is_empty() { url.to_owned() } else { config.public_url.clone() }
}

async fn listen(config: &Config) -> Result<TcpListener, Error> {
    let address = config.http_listen;
    let failed = |source| Error::Listen { address: address.to_string(), source };
    TcpListener::bind(address).await.map_err(failed)
}

/// The database and the keys, where both are what they were.
async fn checked(config: &Config) -> Result<(Db, Keys, Secrets), Error> {
    let db = database::open(config).await?;
    let (keys, secrets) = key_check::load(&config.data_dir, &db).await?;
    Ok((db, keys, secrets))
}

/// The data plane over the configured bucket.
async fn open_data(
    config: &Config,
    db: &Db,
    secrets: &Secrets,
    public_url: String,
    link_key: [u8; 32],
) -> Result<Data, Error> {
    let options = data::Options {
        bucket: bucket(&config.data_dir, config.data.s3.clone()),
        guard: guard(config),
        public_url,
        link_key,
    };
    let quotas = Quotas::new(db.clone(), config.storage.quota_bytes());
    admitted(Data::open(options, db.clone(), secrets.clone(), quotas).await?).await
}

/// Finds wrong keys of the bucket before the server says that it is ready. A bucket that is away
/// is waited for by what needs it.
async fn admitted(data: Data) -> Result<Data, Error> {
    let Err(error) = data.probe().await else { return Ok(data) };
    if let Some(said) = error.refusal() {
        return Err(Error::Bucket(said));
    }
    tracing::warn!(error = %chain(&error), "the bucket cannot be reached yet");
    Ok(data)
}

/// The market's rules, with a new secret that draws which tasks are checked.
fn policy(config: &Config) -> Policy {
    let policy = config.policy();
    Policy { checks: Checks { key: rand::random(), ..policy.checks }, ..policy }
}

/// Which of customers' addresses the server connects to.
fn guard(config: &Config) -> Guard {
    Guard::new(config.data.allow_private_addresses).with_ports(config.data.allowed_ports)
}

fn hub_options(config: &Config, metrics: &Arc<Metrics>) -> p2p::Options {
    p2p::Options {
        listen: config.p2p_listen.clone(),
        key_file: config.data_dir.join("keys").join("p2p.key"),
        limits: p2p::Limits::default(),
        metrics: Arc::clone(metrics),
    }
}

/// What sends letters, if the owner has named a mail server.
fn mail(
    config: &Config,
    url: String,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Mail, Error> {
    let Some(config) = &config.mail else { return Ok(Mail::to_log()) };
    let (mail, sending) = Mail::start(config, url, stop.clone())?;
    tasks.spawn(sending);
    Ok(mail)
}

/// Makes a new master key, seals all secrets under it, and forgets the old one. The server must
/// not be running. A change that was broken off is ended. Where secrets do not open, the old key
/// stays: they can be looked into, removed, and the change ended by asking again.
pub async fn rotate_secrets_key(config: &Config) -> Result<Resealed, Error> {
    let db = database::open(config).await?;
    let mut keys = key_check::load_master(&config.data_dir, &db).await?;
    keys.begin_change().map_err(Error::Folder)?;
    let resealed = Secrets::new(db.clone(), keys.sealer()).reseal().await?;
    if resealed.broken == 0 {
        keys.end_change().map_err(Error::Folder)?;
    }
    db.close().await?;
    Ok(resealed)
}

fn settings(config: &Config, token_key: [u8; 32], node_addresses: Vec<String>) -> Settings {
    Settings {
        token_key,
        access_codes: config.sign_up_codes.iter().map(AccessCode::from).collect(),
        welcome: config.promotional_credits,
        trusted_proxies: config.trusted_proxies.clone(),
        limits: config.limits,
        http: config.http,
        spool: spool(&config.data_dir),
        wallet: config.wallet.clone(),
        script_image: config.containers.script_image.clone(),
        log_days: config.storage.log_days,
        node_addresses,
        metrics_token: config.metrics.token_hash(),
    }
}

/// Where bodies wait for their turn, in files without a name.
fn spool(data_dir: &Path) -> PathBuf {
    data_dir.join("spool")
}

/// Where the server keeps its objects.
pub(crate) fn bucket(data_dir: &Path, s3: Option<S3Config>) -> Bucket {
    match s3 {
        None => Bucket::Folder(data_dir.join("bucket")),
        Some(s3) => Bucket::S3 {
            bucket: s3.bucket,
            region: s3.region,
            endpoint: s3.endpoint,
            access_key: s3.access_key,
            secret_key: s3.secret_key.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use common::secret::{Purpose, SecretId};

    use super::*;
    use crate::secrets::master_keys::MasterKeys;

    #[tokio::test]
    async fn secrets_open_under_the_new_key_alone_after_each_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None).unwrap();
        config.data_dir = folder.path().to_owned();
        let keys = || MasterKeys::load_or_make(&folder.path().join("keys")).unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        let owner = WorkspaceId::new(uuid::Uuid::now_v7());
        let id = SecretId::named("s").unwrap();
        let secret = store::secrets::Secret {
            id: id.clone(),
            purpose: Purpose::Other,
            name: String::new(),
            access_key: String::new(),
            params: std::collections::BTreeMap::new(),
            expires_at: None,
        };
        let db = store::open(&config.database()).await.unwrap();
        let first = Secrets::new(db.clone(), keys().sealer());
        first.keep(owner, &secret, "hush").await.unwrap();

        for _ in 0..2 {
            let resealed = rotate_secrets_key(&config).await.unwrap();

            assert_eq!(resealed, Resealed { done: 1, broken: 0 });
            let now = Secrets::new(db.clone(), keys().sealer());
            let listed = [id.as_str().to_owned()];
            let opened = now.for_container(owner, &listed).await.ok().unwrap();
            assert_eq!(opened[0].secret_key.0, "hush");
            assert!(first.for_container(owner, &listed).await.is_err());
        }
    }
}

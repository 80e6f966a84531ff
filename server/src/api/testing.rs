//! A whole app behind a real socket, for the tests of the APIs.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::access::Role;
use common::digest::Digest;
use common::ids::WorkspaceId;
use common::market::Policy;
use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::serve;
use crate::app::{AccessCode, App, Settings};
use crate::config::{Config, LimitsConfig, WalletConfig};
use crate::coordinator::Coordinator;
use crate::data::ssrf_guard::Guard;
use crate::data::{self, Data};
use crate::jobs::schedules::firing;
use crate::limits::quotas::Quotas;
use crate::mail::Mail;
use crate::metrics::Metrics;
use crate::people::attempts::Attempts;
use crate::registry::Registries;
use crate::secrets::Secrets;
use crate::startup::last_batch::LastBatch;
use crate::store;
use crate::store::Db;
use crate::store::people::members;
use crate::store::people::members::Changed;
use crate::store::people::{api_keys, workspaces};
use crate::traces::Traces;

/// What a workspace may store on a test server.
pub const QUOTA_BYTES: u64 = 64 << 20;

/// A fresh database in a folder that goes with the second value.
pub async fn database() -> (Db, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db", folder.path().display());
    (store::open(&url).await.unwrap(), folder)
}

/// A served app with one workspace. Everything ends when it is dropped.
pub struct TestServer {
    pub app: App,
    pub url: String,
    pub key: String,
    pub workspace: WorkspaceId,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
    _stop: DropGuard,
    folder: TempDir,
}

/// Settings with access codes, a welcome gift, and no wait for earnings.
fn settings(limits: LimitsConfig, spool: &Path) -> Settings {
    Settings {
        token_key: [9; 32],
        access_codes: vec![
            AccessCode { hash: Digest::of(b"beta"), uses_max: None },
            AccessCode { hash: Digest::of(b"one"), uses_max: NonZeroU32::new(1) },
        ],
        welcome: Credits::from_units(500_000_000).unwrap(),
        // Tests say where they come from, as a proxy does.
        trusted_proxies: vec![Ipv4Addr::LOCALHOST.into()],
        limits,
        http: Config::load(None).unwrap().http,
        spool: spool.to_owned(),
        wallet: WalletConfig {
            rates: serde_json::from_value(json!({"USD": "0.03311", "XTS": "1000000"})).unwrap(),
            payout_min: Credits::from_units(1).unwrap(),
            call_price: Credits::from_units(10_000).unwrap(),
            earnings_delay_secs: 0,
        },
        script_image: "localhost/script".to_owned(),
        log_days: Config::load(None).unwrap().storage.log_days,
        node_addresses: Vec::new(),
        metrics_token: Some(Digest::of(b"scrape")),
    }
}

impl TestServer {
    /// The folder that is the server's bucket.
    pub fn bucket(&self) -> std::path::PathBuf {
        self.folder.path().join("bucket")
    }

    pub async fn open() -> Self {
        Self::open_with(Mail::to_log(), NonZeroU32::MAX).await
    }

    /// With another sender of e-mail, and other limits per minute.
    pub async fn open_with(mail: Mail, per_minute: NonZeroU32) -> Self {
        let limits = LimitsConfig {
            requests_per_minute: per_minute,
            stranger_requests_per_minute: per_minute,
            source_tests_per_minute: NonZeroU32::new(60).unwrap(),
        };
        let (db, folder) = database().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let secrets = Secrets::new(db.clone(), [7; 32]);
        let options = data::Options {
            bucket: data::Bucket::Folder(folder.path().join("bucket")),
            guard: Guard::new(true),
            public_url: url.clone(),
            link_key: [8; 32],
        };
        let quotas = Quotas::new(db.clone(), QUOTA_BYTES);
        let data = Data::open(options, db.clone(), secrets.clone(), quotas).await.unwrap();
        let (stop, metrics) = (CancellationToken::new(), Metrics::new());
        let batch = store::market::batch_number::last(&db).await.unwrap();
        let noted = LastBatch::open(folder.path(), batch).unwrap();
        let (policy, off) = (Policy::default(), Traces::off());
        let (coordinator, _, fires, engine) = Coordinator::start(
            db.clone(),
            data.clone(),
            policy,
            noted,
            metrics.clone(),
            off,
            stop.clone(),
        )
        .await
        .unwrap();
        tokio::spawn(engine);
        // The second test in the same process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let first = workspaces::owner(&db).await.unwrap();
        let settings = settings(limits, folder.path());
        let registries = Registries::new(secrets.clone(), Guard::new(true));
        let attempts = Attempts::default();
        let app =
            App { db, data, coordinator, secrets, mail, registries, attempts, metrics, settings };
        tokio::spawn(firing::run(app.clone(), fires, stop.clone()));
        tokio::spawn(serve(app.clone(), listener, stop.clone()));
        Self {
            app,
            url,
            key: first.api_key,
            workspace: first.workspace,
            client: reqwest::Client::new(),
            _stop: stop.clone().drop_guard(),
            stop,
            folder,
        }
    }

    /// A job of one chunk that has been started and that no node takes.
    pub async fn running_job(&self) -> String {
        self.running_job_with(json!({}), json!({})).await
    }

    /// The same, with these fields beside its own, and with this body for the start.
    pub async fn running_job_with(&self, draft: Value, body: Value) -> String {
        let amount = Credits::from_units(100_000_000_000).unwrap();
        self.app.coordinator.grant(self.workspace, amount, "first").await.unwrap();
        self.template("passthrough", "passthrough").await;
        let mut job = json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "bypass"},
                             "dataDestination": {"dataSourceDescriptor": "bucket"}});
        job.as_object_mut().unwrap().extend(draft.as_object().unwrap().clone());
        let id = self.job(job).await;
        let run = format!("/v1/customer/jobs/{id}/run");
        assert_eq!(self.post(&run, body).await.0, 200);
        id
    }

    /// Another workspace's key to the same server.
    pub async fn stranger(&self) -> String {
        let workspace = workspaces::create_workspace(&self.app.db, "other").await.unwrap();
        let user = workspaces::create_user(&self.app.db, workspace, "other").await.unwrap();
        api_keys::issue(&self.app.db, workspace, user, "key").await.unwrap()
    }

    /// A new member of the workspace: their id and a key of theirs.
    pub async fn member(&self, role: Role) -> (String, String) {
        let db = &self.app.db;
        let user = workspaces::create_user(db, self.workspace, role.name()).await.unwrap();
        assert_eq!(members::change(db, self.workspace, user, role).await, Ok(Changed::Done));
        let key = api_keys::issue(db, self.workspace, user, "key").await.unwrap();
        (user.to_string(), key)
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_as(&self.key, method, path, body).await
    }

    pub async fn call_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        request = request.header("authorization", key);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        read(request).await
    }

    /// Posts under an `Idempotency-Key`.
    pub async fn post_named(&self, name: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.url));
        let request = request.header("authorization", &self.key).header("idempotency-key", name);
        read(request.body(body.to_string())).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// Pushes and activates an app and a template `t` of it.
    pub async fn template(&self, partitioner: &str, assembler: &str) {
        let data = package(&binary("a", "0.1"));
        let (status, body) = self.post("/v1/dev/apps", json!({ "data": data })).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(self.post("/v1/dev/apps/a/activate", json!({})).await.0, 200);
        let template =
            json!({"id": "t", "app": "a", "partitioner": partitioner, "assembler": assembler});
        let (status, body) = self.post("/v1/dev/templates", template).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Creates a job and gives its id.
    pub async fn job(&self, body: Value) -> String {
        let (status, body) = self.post("/v1/customer/jobs", body).await;
        assert_eq!(status, 200, "{body}");
        body["job"]["id"].as_str().unwrap().to_owned()
    }
}

async fn read(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The manifest of an app that is a static program.
pub fn binary(name: &str, version: &str) -> Value {
    json!({"name": name, "version": version, "platform": "binary", "entrypoint": "main"})
}

/// A package of this manifest, as pushes carry it.
pub fn package(manifest: &Value) -> String {
    package_with(manifest, &[])
}

/// The same, with further files.
pub fn package_with(manifest: &Value, more: &[(&str, &str)]) -> String {
    let mut tar = tar::Builder::new(Vec::new());
    let entrypoint = manifest["entrypoint"].as_str().unwrap_or("main.py");
    let mut files = vec![
        ("manifest.json".to_owned(), manifest.to_string()),
        (format!("app/{entrypoint}"), "code".to_owned()),
    ];
    files.extend(more.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    STANDARD.encode(tar.into_inner().unwrap())
}

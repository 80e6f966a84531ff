//! A server in memory, for tests: it has packages, images and inputs, breaks connections, and
//! keeps what it is given.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::compute::container::{Command, ContainerSpec, Content, Parts, Program, Sharing};
use common::compute::environment::Environment;
use common::compute::resources::Resources;
use common::digest::Digest;
use common::ids::{RunId, WorkspaceId};
use common::plan::Image;
use common::protocol::{
    BlobReply, BlobRequest, Cache, CacheFile, Contents, InputFile, Orders, Receipt,
    ReceiptSignature, SignedReceipt, Sync, Work, WorkPackage,
};
use common::run::task::Lease;
use common::secret::{Hidden, Secret};
pub use common::testing::secret;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::attempt::Tools;
use crate::attempt::progress::Progress;
use crate::disk::{Disk, Limits, Share};
use crate::files::data_dir::DataDir;
use crate::files::users::{IdRange, Jobs, Users};
use crate::link::{Error, Fetched};
use crate::logs::LogBook;
use crate::metrics::NodeMetrics;
use crate::net::ssrf_guard::SsrfGuard;
use crate::runtime::docker::{Allowed, Docker, Images};
use crate::runtime::warm::Pool;
use crate::server_client::ServerClient;
use crate::storage::caches::{Caches, Sizes};
use crate::storage::packages::{BYTES_MAX, Packages};

/// A static program that is a whole system.
pub const BUSYBOX: &str = "/bin/busybox";
/// busybox's programs as one function, for there is nothing else in an image made from scratch.
pub const PRELUDE: &str = "#!/test/package/busybox sh\nb() { /test/package/busybox \"$@\"; }\n";

/// What the tests' caches may take.
pub const SIZES: Sizes = Sizes { user_bytes: 4 << 20, shared_bytes: 1 << 20 };

/// What the tests' nodes may take of the disk.
pub const DISK: Limits = Limits { budget: 1 << 30, keep_free: 0 };

/// A message of the node, and where its answer goes.
pub type Asked = (Sync, oneshot::Sender<Result<Orders, Error>>);

#[derive(Clone)]
pub struct FakeServer {
    state: Arc<Mutex<State>>,
    asked: mpsc::Sender<Asked>,
    pub bucket_away: watch::Sender<bool>,
}

#[derive(Default)]
pub struct State {
    pub package: Vec<u8>,
    pub image: Vec<u8>,
    pub inputs: BTreeMap<String, Vec<u8>>,
    /// Announced in place of the inputs: one of this many bytes.
    pub input_size: Option<u64>,
    /// Each connection breaks after this many bytes.
    pub breaks_after: Option<usize>,
    /// So many requests are answered with the wrong bytes.
    pub spoils: usize,
    pub fetches: usize,
    pub stored: HashMap<Digest, Vec<u8>>,
    pub secrets: Vec<Secret>,
    pub pull_token: Option<String>,
    /// What a task runs whose texts are its own, as JSON.
    pub own: Vec<u8>,
    /// What was uploaded, by the name of the file: its version and bytes.
    pub cached: BTreeMap<(Cache, String), (String, Vec<u8>)>,
    /// Lists of caches that were asked for.
    pub lists: usize,
    /// So many uploads fail.
    pub put_failures: usize,
}

impl FakeServer {
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asked, syncs) = mpsc::channel(16);
        (Self { state: Arc::default(), asked, bucket_away: watch::Sender::new(false) }, syncs)
    }

    /// Stores the results that travel with a receipt.
    pub fn keep(&self, contents: &Contents) {
        let each = contents.iter().map(|content| (content.digest, content.bytes.clone()));
        self.state().stored.extend(each);
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerClient for FakeServer {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        Digest::of(bytes).bytes().to_vec()
    }

    async fn sync(&self, message: Sync) -> Result<Orders, Error> {
        message.receipts.iter().for_each(|signed| self.keep(&signed.contents));
        let (answer, answered) = oneshot::channel();
        self.asked.send((message, answer)).await.map_err(|_| Error::Disconnected)?;
        answered.await.unwrap_or(Err(Error::Disconnected))
    }

    fn is_bucket_away(&self) -> watch::Receiver<bool> {
        self.bucket_away.subscribe()
    }

    async fn inputs(&self, _: Lease) -> Result<Vec<InputFile>, Error> {
        let file = |(name, bytes): (&String, &Vec<u8>)| InputFile {
            name: name.clone(),
            size: bytes.len() as u64,
            digest: Some(Digest::of(bytes)),
        };
        let state = self.state();
        if let Some(size) = state.input_size {
            return Ok(vec![InputFile { name: "large".to_owned(), size, digest: None }]);
        }
        Ok(state.inputs.iter().map(file).collect())
    }

    async fn cached(&self, _: Lease, cache: Cache) -> Result<Vec<CacheFile>, Error> {
        let mut state = self.state();
        state.lists += 1;
        let of = state.cached.iter().filter(|((of, _), _)| *of == cache);
        let file = |((_, name), (version, bytes)): (&(Cache, String), &(String, Vec<u8>))| {
            let (name, version) = (name.clone(), version.clone());
            CacheFile { name, size: bytes.len() as u64, version }
        };
        Ok(of.map(file).collect())
    }

    async fn reply(&self, request: BlobRequest) -> Result<BlobReply, Error> {
        let state = self.state();
        if let BlobRequest::Secrets { .. } = request {
            return Ok(BlobReply::Secrets(state.secrets.clone()));
        }
        assert!(matches!(request, BlobRequest::PullToken { .. }), "{request:?} is no such request");
        Ok(BlobReply::PullToken(state.pull_token.clone().map(Hidden)))
    }

    async fn fetch(&self, request: BlobRequest) -> Result<Fetched, Error> {
        let mut state = self.state();
        state.fetches += 1;
        let (bytes, from) = match request.clone() {
            BlobRequest::Package { from, .. } => (&state.package, from),
            BlobRequest::Image { from, .. } => (&state.image, from),
            BlobRequest::Container { .. } => (&state.own, 0),
            BlobRequest::Input { n, from, .. } => {
                (state.inputs.values().nth(n as usize).expect("an input of the list"), from)
            }
            BlobRequest::CacheFile { cache, name, version, from, .. } => {
                match state.cached.get(&(cache, name)) {
                    Some((current, bytes)) if *current == version => (bytes, from),
                    _ => {
                        let message = "the file has been replaced".to_owned();
                        return Err(Error::Refused { message, again: false });
                    }
                }
            }
            BlobRequest::Inputs { .. }
            | BlobRequest::Secrets { .. }
            | BlobRequest::PullToken { .. }
            | BlobRequest::Cached { .. }
            | BlobRequest::Put { .. } => panic!("{request:?} is not fetched"),
        };
        let mut part = bytes[usize::try_from(from).unwrap()..].to_vec();
        let bytes = part.len() as u64;
        if state.spoils > 0 {
            state.spoils -= 1;
            part.iter_mut().for_each(|byte| *byte ^= 1);
        }
        part.truncate(state.breaks_after.unwrap_or(part.len()));
        Ok(Fetched { bytes, digest: None, reader: Box::pin(std::io::Cursor::new(part)) })
    }

    async fn put(&self, _: Lease, size: u64, digest: Digest, file: &Path) -> Result<(), Error> {
        let bytes = std::fs::read(file)?;
        assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (size, digest));
        let mut state = self.state();
        if state.put_failures > 0 {
            state.put_failures -= 1;
            return Err(Error::Disconnected);
        }
        state.stored.insert(digest, bytes);
        Ok(())
    }
}

pub const WORKSPACE: WorkspaceId = WorkspaceId::new(uuid::Uuid::from_u128(2));

pub fn lease(index: u32) -> Lease {
    common::testing::process(RunId::new(uuid::Uuid::from_u128(1)), index, 1)
}

/// The container of the tests' tasks: it runs the package's file `run`.
pub fn parts() -> Parts {
    let path = |path: &str| path.parse().unwrap();
    let dirs = [
        (Content::Package, "PACKAGE", "/test/package"),
        (Content::Inputs, "INPUTS", "/test/inputs"),
        (Content::Results, "RESULTS", "/test/results"),
        (Content::WorkspaceCache, "CACHE", "/test/cache"),
        (Content::SharedCache, "SHARED", "/test/shared"),
    ];
    let named = dirs.map(|(_, name, dir)| (name.to_owned(), dir.to_owned()));
    let fixed = [("HOME", "/tmp"), ("PARAMS", r#"{"case":"upper"}"#)];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let run = Command::PackageFile { path: "run".parse().unwrap(), interpreters: Vec::new() };
    let program = Program { working_dir: Some(path("/test/package")), ..Program::new(run) };
    Parts {
        environment: named.into_iter().chain(fixed).collect::<BTreeMap<_, _>>().try_into().unwrap(),
        mounts: dirs.into_iter().map(|(content, _, dir)| (content, path(dir))).collect(),
        ..Parts::of(program)
    }
}

/// What the tests' tasks have in common.
pub fn work() -> Work {
    Work {
        run: lease(0).task.run,
        workspace: WORKSPACE,
        stage: lease(0).task.stage,
        package: Some(WorkPackage { owner: WORKSPACE, digest: Digest::of(b"") }),
        images: vec![Image::Binary],
        container: ContainerSpec::new(parts()).unwrap(),
        secrets: false,
        sharing: Sharing::default(),
        late: false,
        needs: Resources::new(1000, 64).with_disk(10),
        task_timeout_secs: Some(60),
    }
}

/// The variables of one task.
pub fn number(n: u32) -> Environment {
    BTreeMap::from([("NUMBER".to_owned(), n.to_string())]).try_into().unwrap()
}

/// A package as a customer's tool packs it: one folder on top.
pub fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in [("manifest.json", &b"{}"[..])].iter().chain(files) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(if name.ends_with("busybox") { 0o755 } else { 0o644 });
        tar.append_data(&mut header, format!("pack/{name}"), *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Reads a receipt, and checks that it is signed.
pub fn opened(signed: &SignedReceipt) -> Receipt {
    let signature = ReceiptSignature::read(&signed.signature).unwrap();
    let bytes = signature.signed_bytes(&signed.receipt);
    assert_eq!(signature.signature, Digest::of(&bytes).bytes());
    postcard::from_bytes(&signed.receipt).unwrap()
}

/// A package that runs `script` in an image made from scratch.
pub fn script_package(script: &str) -> Vec<u8> {
    let (run, busybox) = (format!("{PRELUDE}{script}"), std::fs::read(BUSYBOX).unwrap());
    package(&[("app/run", run.as_bytes()), ("app/busybox", &busybox)])
}

/// What a node's attempts share, with the real engine; `None`, said aloud, where it is missing.
pub async fn tools(server: &FakeServer, dir: &Path) -> Option<Arc<Tools<FakeServer>>> {
    tools_of(server, dir, Allowed { plain: true, network: None }, true).await
}

/// The same of a node whose owner allows nothing.
pub async fn closed_tools(server: &FakeServer, dir: &Path) -> Option<Arc<Tools<FakeServer>>> {
    tools_of(server, dir, Allowed::default(), false).await
}

async fn tools_of(
    server: &FakeServer,
    dir: &Path,
    allowed: Allowed,
    lends_local: bool,
) -> Option<Arc<Tools<FakeServer>>> {
    if !Path::new(BUSYBOX).exists() {
        println!("skipped: {BUSYBOX} is missing (Debian package busybox-static)");
        return None;
    }
    let data_dir = DataDir::open(&dir.join("home")).unwrap();
    let images = Images::new(SsrfGuard::new(false), lends_local, DISK.kept());
    let users = Users::new(&data_dir, IdRange::default(), Jobs::OfOne).unwrap();
    let engine = match Docker::connect(data_dir.label(), users, images, allowed).await {
        Ok(engine) => engine,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    Some(Arc::new(Tools {
        remote: server.clone(),
        packages: Packages::open(&data_dir, BYTES_MAX).unwrap(),
        caches: Caches::open(&data_dir, SIZES).unwrap(),
        warm: Pool::open(&data_dir.work(), &data_dir.temporary()).unwrap(),
        data_dir,
        engine,
        logs: LogBook::default(),
        downloads: Semaphore::new(2),
        uploads: Semaphore::new(2),
        disk: Disk::open(dir, DISK).unwrap(),
        metrics: NodeMetrics::new(),
        progress: Progress::default(),
    }))
}

/// Makes an image of busybox in the engine, under a name of its own.
pub fn busybox_image() -> String {
    let name = format!("fanfold-test/{}:1", uuid::Uuid::new_v4().simple());
    let mut tar = tar::Builder::new(Vec::new());
    let bytes = std::fs::read(BUSYBOX).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, "bin/busybox", &bytes[..]).unwrap();
    let applets = std::process::Command::new(BUSYBOX).arg("--list").output().unwrap().stdout;
    for applet in std::str::from_utf8(&applets).unwrap().lines().filter(|name| *name != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    let folders = ["etc", "tmp"].map(|name| (name, 0o1777));
    for (name, mode) in folders {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        tar.append_data(&mut header, name, std::io::empty()).unwrap();
    }
    docker(&["import", "-", &name], &tar.into_inner().unwrap());
    name
}

pub fn remove_image(name: &str) {
    docker(&["image", "rm", name], &[]);
}

fn docker(args: &[&str], input: &[u8]) {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = std::process::Command::new("docker");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(input).unwrap();
    assert!(running.wait().unwrap().success(), "docker {args:?}");
}

/// A task's part of a disk of its own.
pub fn share(writes_max: u64) -> Arc<Share> {
    let disk = Disk::open(&std::env::temp_dir(), DISK).unwrap();
    disk.share(0, 0, writes_max).unwrap()
}

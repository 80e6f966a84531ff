//! Packages on disk, by digest: fetched once, verified, unpacked once, bounded in size.
//!
//! A folder under its digest's name is whole: its files are on the disk before it gets that name,
//! in one step; everything else is removed when the node starts. Its files are checked when it is
//! used, because disks lose bytes too: a damaged package is fetched again.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use common::digest::Digest;
use common::error_chain::chain;
use common::protocol::BlobRequest;
use common::run::task::Lease;

use crate::disk::count;
use crate::files::archive;
use crate::files::data_dir::DataDir;
use crate::files::tree::{self, Scratch, remove_file, remove_tree};
use crate::server_client::ServerClient;
use crate::server_client::transfer::{self, Expected};
use crate::storage::keyed_mutex::KeyedMutex;
use seal::Seal;

mod seal;

/// What the unpacked packages may take before the ones unused for longest are removed.
pub const BYTES_MAX: u64 = 8 << 30;
/// The most bytes of a package's archive.
const ARCHIVE_BYTES_MAX: u64 = 2 << 30;
/// The package in its folder, and beside it what its files were when it was unpacked.
const UNPACKED: &str = "unpacked";
const SEAL: &str = "seal";

/// The node's packages.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    temporary: PathBuf,
    bytes_max: u64,
    entries: Mutex<HashMap<Digest, Entry>>,
    fetching: KeyedMutex<Digest>,
}

/// An unpacked package; it stays on disk as long as somebody holds this.
#[derive(Debug)]
pub struct Package {
    folder: PathBuf,
    seal: Seal,
}

#[derive(Debug)]
struct Entry {
    package: Arc<Package>,
    bytes: u64,
    used: SystemTime,
}

/// The package cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the package cannot be fetched")]
    Fetch(#[from] transfer::Error),
    #[error(transparent)]
    Archive(archive::Error),
    #[error("node package cache error")]
    Io(#[from] io::Error),
}

impl Package {
    /// The folder that a container sees.
    pub fn app(&self) -> PathBuf {
        self.folder.join(UNPACKED).join("app")
    }

    fn at(folder: PathBuf) -> Self {
        let seal = Seal::new(folder.join(UNPACKED), folder.join(SEAL));
        Self { folder, seal }
    }
}

impl Packages {
    /// Takes over what an earlier process left.
    pub fn open(data_dir: &DataDir, bytes_max: u64) -> io::Result<Self> {
        let mut entries = HashMap::new();
        for entry in fs::read_dir(data_dir.packages())? {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            let Some(digest) = digest else {
                remove_tree(&entry.path())?;
                continue;
            };
            let package = Arc::new(Package::at(entry.path()));
            let used = entry.metadata()?.modified()?;
            let bytes = count::tree(&entry.path());
            entries.insert(digest, Entry { package, bytes, used });
        }
        Ok(Self {
            folder: data_dir.packages(),
            temporary: data_dir.temporary(),
            bytes_max,
            entries: Mutex::new(entries),
            fetching: KeyedMutex::default(),
        })
    }

    /// The package, fetched under `lease` where it is not here yet. Whoever else wants it
    /// meanwhile waits for that.
    pub async fn get<R: ServerClient>(
        &self,
        remote: &R,
        lease: Lease,
        digest: Digest,
    ) -> Result<Arc<Package>, Error> {
        if let Some(package) = self.sound(digest).await? {
            return Ok(package);
        }
        let _only = self.fetching.lock(digest).await;
        if let Some(package) = self.sound(digest).await? {
            return Ok(package);
        }
        let scratch = Scratch::new(&self.temporary)?;
        let file = scratch.0.join("package.tar");
        let expected = Expected { bytes: None, digest: Some(digest), bytes_max: ARCHIVE_BYTES_MAX };
        let request = |from| BlobRequest::Package { lease, from };
        transfer::fetch(remote, request, &file, expected).await?;
        let folder = self.folder.join(digest.to_string());
        let bytes = tokio::task::spawn_blocking({
            let folder = folder.clone();
            move || unpack(&scratch, &file, &folder)
        })
        .await
        .map_err(io::Error::other)??;
        tracing::info!(%digest, bytes, "package unpacked");
        Ok(self.insert(digest, folder, bytes))
    }

    /// The package, if it is here and its files are what they were. A damaged one is removed.
    async fn sound(&self, digest: Digest) -> io::Result<Option<Arc<Package>>> {
        let Some(package) = self.find(digest) else { return Ok(None) };
        let checked = Arc::clone(&package);
        let checking = tokio::task::spawn_blocking(move || checked.seal.is_intact());
        if checking.await.map_err(io::Error::other)? {
            return Ok(Some(package));
        }
        tracing::warn!(%digest, "a package on this node's disk is damaged; it is fetched again");
        let mut entries = self.lock();
        if entries.get(&digest).is_some_and(|entry| Arc::ptr_eq(&entry.package, &package)) {
            entries.remove(&digest);
            self.evict(&package.folder);
        }
        Ok(None)
    }

    fn find(&self, digest: Digest) -> Option<Arc<Package>> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&digest)?;
        entry.used = SystemTime::now();
        Some(entry.package.clone())
    }

    fn insert(&self, digest: Digest, folder: PathBuf, bytes: u64) -> Arc<Package> {
        let package = Arc::new(Package::at(folder));
        let mut entries = self.lock();
        let entry = Entry { package: package.clone(), bytes, used: SystemTime::now() };
        entries.insert(digest, entry);
        let mut total: u64 = entries.values().map(|entry| entry.bytes).sum();
        while total > self.bytes_max {
            let Some(entry) = idle(&entries).and_then(|(_, digest)| entries.remove(&digest)) else {
                break;
            };
            total -= entry.bytes;
            self.evict(&entry.package.folder);
        }
        package
    }

    /// What all packages take of the disk.
    pub fn bytes(&self) -> u64 {
        self.lock().values().map(|entry| entry.bytes).sum()
    }

    /// When the package was used last that nobody has used for longest.
    pub fn oldest_idle(&self) -> Option<SystemTime> {
        idle(&self.lock()).map(|(used, _)| used)
    }

    /// Removes that package; gives whether there was one.
    pub fn evict_oldest(&self) -> bool {
        let mut entries = self.lock();
        let entry = idle(&entries).and_then(|(_, digest)| entries.remove(&digest));
        if let Some(entry) = &entry {
            self.evict(&entry.package.folder);
        }
        entry.is_some()
    }

    /// Removes a package: renamed first, so that half a package never has a whole one's name.
    fn evict(&self, folder: &Path) {
        let away = self.temporary.join(uuid::Uuid::new_v4().to_string());
        if let Err(error) = fs::rename(folder, &away).and_then(|()| remove_tree(&away)) {
            tracing::warn!(
                error = %chain(&error),
                folder = %folder.display(),
                "an old package cannot be removed"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The package that nobody uses, and nobody has used for longest.
fn idle(entries: &HashMap<Digest, Entry>) -> Option<(SystemTime, Digest)> {
    let idle = entries.iter().filter(|(_, entry)| Arc::strong_count(&entry.package) == 1);
    idle.map(|(digest, entry)| (entry.used, *digest)).min()
}

/// Unpacks beside, then moves into place once all of it is on the disk. Gives the package's size on
/// disk.
fn unpack(scratch: &Scratch, file: &Path, to: &Path) -> Result<u64, Error> {
    let (loose, whole) = (scratch.0.join("loose"), scratch.0.join("whole"));
    tree::dir_with_mode(&loose, 0o755)?;
    tree::dir_with_mode(&whole, 0o755)?;
    let mut archive = fs::File::open(file)?;
    let root = archive::unpack(&mut archive, &loose, archive::LIMITS).map_err(|error| {
        if let archive::Error::Io(error) = error { error.into() } else { Error::Archive(error) }
    })?;
    remove_file(file)?;
    let unpacked = whole.join(UNPACKED);
    fs::rename(&root, &unpacked)?;
    Seal::write(&unpacked, &whole.join(SEAL))?;
    tree::sync_tree(&whole)?;
    let bytes = count::tree(&whole);
    match fs::rename(&whole, to) {
        // An eviction that failed half way may have left an unknown folder here.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
            remove_tree(to)?;
            fs::rename(&whole, to)?;
        }
        other => other?,
    }
    to.parent().map_or(Ok(()), tree::sync_folder)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::testing::{FakeServer, lease, package};

    async fn get(packages: &Packages, server: &FakeServer) -> Result<Arc<Package>, Error> {
        let digest = Digest::of(&server.state().package);
        packages.get(server, lease(0), digest).await
    }

    fn with_main(main: &[u8]) -> FakeServer {
        let (server, _) = FakeServer::new();
        server.state().package = package(&[("app/main.py", main)]);
        server
    }

    #[tokio::test]
    async fn package_is_fetched_once_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let packages = Packages::open(&data_dir, BYTES_MAX).unwrap();
        let server = with_main(b"print(1)");

        let both = tokio::join!(get(&packages, &server), get(&packages, &server));
        let app = both.0.unwrap().app();
        both.1.unwrap();
        drop((packages, data_dir));
        let data_dir = DataDir::open(dir.path()).unwrap();
        let packages = Packages::open(&data_dir, BYTES_MAX).unwrap();
        get(&packages, &server).await.unwrap();

        assert_eq!(server.state().fetches, 1);
        assert_eq!(fs::read(app.join("main.py")).unwrap(), b"print(1)");
        assert_eq!(fs::read_dir(data_dir.temporary()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn damaged_package_is_fetched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let server = with_main(b"print(1)");
        let packages = Packages::open(&data_dir, BYTES_MAX).unwrap();
        let main = get(&packages, &server).await.unwrap().app().join("main.py");
        let package = main.parent().unwrap().parent().unwrap().to_owned();
        let seal = package.with_file_name(SEAL);
        let damage = |what: &str| match what {
            "a bit" => fs::write(&main, b"print(3)").unwrap(),
            "emptied" => fs::write(&main, b"").unwrap(),
            "gone" => fs::remove_file(&main).unwrap(),
            "more" => fs::write(main.with_file_name("x.py"), b"").unwrap(),
            "the seal" => fs::write(&seal, b"").unwrap(),
            "everything" => fs::remove_dir_all(&package).unwrap(),
            _ => unreachable!(),
        };
        let damages = ["a bit", "emptied", "gone", "more", "the seal", "everything"];

        for (n, what) in damages.into_iter().enumerate() {
            damage(what);
            // Both a node that runs and one that has just started notice.
            let restarted = Packages::open(&data_dir, BYTES_MAX).unwrap();
            let packages = if n % 2 == 0 { &restarted } else { &packages };

            get(packages, &server).await.unwrap();

            assert_eq!(fs::read(&main).unwrap(), b"print(1)", "{what}");
            assert_eq!(server.state().fetches, n + 2, "{what}");
        }
        get(&packages, &server).await.unwrap();
        assert_eq!(server.state().fetches, damages.len() + 1);
    }

    #[tokio::test]
    async fn download_resumes_where_the_connection_broke() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let packages = Packages::open(&data_dir, BYTES_MAX).unwrap();
        let server = with_main(&[7; 4000]);
        server.state().breaks_after = Some(3000);

        get(&packages, &server).await.unwrap();

        let bytes = server.state().package.len();
        assert_eq!(server.state().fetches, bytes.div_ceil(3000));
    }

    #[tokio::test]
    async fn wrong_bytes_are_fetched_anew_a_limited_number_of_times() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let packages = Packages::open(&data_dir, BYTES_MAX).unwrap();
        let server = with_main(b"");

        server.state().spoils = 2;
        get(&packages, &server).await.unwrap();

        let liar = with_main(b"other");
        liar.state().spoils = 3;
        let result = get(&packages, &liar).await;
        assert!(matches!(result, Err(Error::Fetch(transfer::Error::Spoiled))));
        assert_eq!(fs::read_dir(data_dir.packages()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(data_dir.temporary()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn least_recently_used_package_is_removed_and_used_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let packages = Packages::open(&data_dir, 200_000).unwrap();

        let used = get(&packages, &with_main(&[1; 80_000])).await.unwrap();
        let idle = get(&packages, &with_main(&[2; 80_000])).await.unwrap().app();
        let last = get(&packages, &with_main(&[3; 80_000])).await.unwrap();

        assert!(used.app().is_dir() && last.app().is_dir());
        assert!(!idle.exists());
    }
}

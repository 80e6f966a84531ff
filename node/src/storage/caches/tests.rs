use std::os::unix::fs::symlink;

use super::*;
use crate::testing::{FakeServer, SIZES, WORKSPACE, lease};

struct Bench {
    server: FakeServer,
    caches: Caches,
    data_dir: DataDir,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&dir.path().join("home")).unwrap();
        let caches = Caches::open(&data_dir, SIZES).unwrap();
        Self { server: FakeServer::new().0, caches, data_dir, dir }
    }

    fn upload(&self, cache: Cache, name: &str, version: &str, bytes: &[u8]) {
        let file = (version.to_owned(), bytes.to_vec());
        self.server.state().cached.insert((cache, name.to_owned()), file);
    }

    /// The caches for the first task of a run.
    async fn ready(&self, run: u128) -> Result<Mounted, Error> {
        self.ready_of(run, WORKSPACE).await
    }

    async fn ready_of(&self, run: u128, workspace: WorkspaceId) -> Result<Mounted, Error> {
        self.ready_with(run, workspace, workspace).await
    }

    async fn ready_with(
        &self,
        run: u128,
        workspace: WorkspaceId,
        package_owner: WorkspaceId,
    ) -> Result<Mounted, Error> {
        let mut lease = lease(0);
        lease.task.run = RunId::new(uuid::Uuid::from_u128(run));
        self.caches.ready(&self.server, lease, workspace, package_owner).await
    }

    fn fetches(&self) -> usize {
        self.server.state().fetches
    }
}

fn text(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok()
}

#[tokio::test]
async fn files_are_downloaded_once_for_each_version() {
    let bench = Bench::new();
    bench.upload(Cache::User, "models/a.bin", "1", b"one");
    bench.upload(Cache::Shared, "b", "1", b"for all");

    let first = bench.ready(1).await.unwrap();
    let second = bench.ready(1).await.unwrap();
    bench.ready(2).await.unwrap();

    assert_eq!(text(&first.user, "models/a.bin").as_deref(), Some("one"));
    assert_eq!(text(&first.shared, "b").as_deref(), Some("for all"));
    assert_eq!((&first.user, &first.shared), (&second.user, &second.shared));
    assert_eq!((bench.fetches(), bench.server.state().lists), (2, 4));

    bench.upload(Cache::User, "models/a.bin", "2", b"two");
    bench.ready(3).await.unwrap();
    assert_eq!(text(&first.user, "models/a.bin").as_deref(), Some("two"));
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn file_replaced_during_a_run_is_downloaded_again() {
    let bench = Bench::new();
    bench.upload(Cache::User, "a", "1", b"one");
    let user = bench.ready(1).await.unwrap().user;

    bench.upload(Cache::User, "a", "2", b"two");
    fs::remove_file(user.join("a")).unwrap();
    bench.ready(1).await.unwrap();

    assert_eq!(text(&user, "a").as_deref(), Some("two"));
}

#[tokio::test]
async fn container_changes_to_a_cache_stay() {
    let bench = Bench::new();
    bench.upload(Cache::User, "gone", "1", b"x");
    bench.upload(Cache::User, "kept", "1", b"x");
    let user = bench.ready(1).await.unwrap().user;
    fs::write(user.join("own"), "mine").unwrap();

    bench.server.state().cached.remove(&(Cache::User, "gone".to_owned()));
    bench.ready(2).await.unwrap();

    assert_eq!(text(&user, "own").as_deref(), Some("mine"));
    assert_eq!((text(&user, "gone"), text(&user, "kept").as_deref()), (None, Some("x")));
}

#[tokio::test]
async fn downloaded_file_that_a_container_changed_is_downloaded_again() {
    let bench = Bench::new();
    bench.upload(Cache::User, "a", "1", b"right");
    let user = bench.ready(1).await.unwrap().user;
    fs::write(user.join("a"), "wrong").unwrap();

    bench.ready(1).await.unwrap();

    assert_eq!(text(&user, "a").as_deref(), Some("right"));
}

#[tokio::test]
async fn links_of_a_container_are_not_followed_by_the_agent() {
    let bench = Bench::new();
    bench.upload(Cache::User, "models/passwd", "1", b"ours");
    let outside = bench.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("passwd"), "theirs").unwrap();
    let user = bench.ready(1).await.unwrap().user;

    for to in [outside.as_path(), Path::new("/"), Path::new("../../..")] {
        fs::remove_dir_all(user.join("models"))
            .or_else(|_| fs::remove_file(user.join("models")))
            .unwrap();
        symlink(to, user.join("models")).unwrap();
        bench.ready(1).await.unwrap();

        assert_eq!(text(&user, "models/passwd").as_deref(), Some("ours"));
        assert_eq!(text(&outside, "passwd").as_deref(), Some("theirs"));
    }
    // Nor when the file is deleted.
    fs::remove_dir_all(user.join("models")).unwrap();
    symlink(&outside, user.join("models")).unwrap();
    bench.server.state().cached.clear();
    bench.ready(2).await.unwrap();
    assert_eq!(text(&outside, "passwd").as_deref(), Some("theirs"));
}

#[tokio::test]
async fn names_that_lead_outside_are_never_downloaded() {
    let bench = Bench::new();
    for name in ["../x", "/etc/x", "a/../../x", "..", ""] {
        bench.upload(Cache::User, name, "1", b"evil");
        bench.upload(Cache::Shared, name, "1", b"evil");
    }

    bench.ready(1).await.unwrap();

    assert_eq!(bench.fetches(), 0);
}

#[tokio::test]
async fn cache_of_a_workspace_is_hidden_from_others() {
    let bench = Bench::new();
    let other = WorkspaceId::new(uuid::Uuid::from_u128(99));
    let mine = bench.ready(1).await.unwrap();
    fs::write(mine.user.join("secret"), "mine").unwrap();

    let theirs = bench.ready_of(2, other).await.unwrap();

    assert_ne!(mine.user, theirs.user);
    assert!(!theirs.user.starts_with(&mine.user) && !mine.user.starts_with(&theirs.user));
    assert_eq!(fs::read_dir(&theirs.user).unwrap().count(), 0);
}

/// Somebody else, whose packages the workspace imports.
fn owner(n: usize) -> WorkspaceId {
    WorkspaceId::new(uuid::Uuid::from_u128(500 + n as u128))
}

#[tokio::test]
async fn imported_package_leaves_nothing_for_the_workspaces_own() {
    let bench = Bench::new();
    bench.upload(Cache::User, "models/a", "1", b"uploaded");
    let imported = bench.ready_with(1, WORKSPACE, owner(1)).await.unwrap();
    fs::write(imported.user.join("planted.so"), "evil").unwrap();
    fs::write(imported.user.join("models/a"), "evil").unwrap();

    let own = bench.ready(2).await.unwrap();
    let others = bench.ready_with(3, WORKSPACE, owner(2)).await.unwrap();

    for mounted in [&own, &others] {
        assert_ne!(mounted.user, imported.user);
        assert!(!mounted.user.starts_with(&imported.user));
        assert!(!imported.user.starts_with(&mounted.user));
        assert_eq!(text(&mounted.user, "planted.so"), None);
        assert_eq!(text(&mounted.user, "models/a").as_deref(), Some("uploaded"));
    }
    let again = bench.ready_with(4, WORKSPACE, owner(1)).await.unwrap();
    assert_eq!(text(&again.user, "planted.so").as_deref(), Some("evil"), "its own stays");
}

#[tokio::test]
async fn folders_of_a_workspace_count_together_and_uploads_once() {
    let bench = Bench::new();
    bench.upload(Cache::User, "a", "1", &[1; 1000]);
    let imported = bench.ready_with(1, WORKSPACE, owner(1)).await.unwrap();
    let own = bench.ready(2).await.unwrap();

    assert_eq!(imported.counted, own.counted);
    assert!(own.user.starts_with(&own.counted) && imported.user.starts_with(&own.counted));
    assert_eq!(imported.user_bytes_max, SIZES.user_bytes);
    assert_eq!(own.user_bytes_max, SIZES.user_bytes + 1000);

    let half = vec![0; usize::try_from(SIZES.user_bytes / 2).unwrap()];
    for user in [&imported.user, &own.user] {
        fs::write(user.join("half"), &half).unwrap();
    }
    let (first, second) = (imported.user.clone(), own.user.clone());
    drop((imported, own));
    bench.ready(3).await.unwrap();
    assert!(!first.join("half").exists() && !second.join("half").exists(), "both are emptied");
}

#[tokio::test]
async fn workspace_keeps_the_folders_of_few_owners() {
    let bench = Bench::new();
    for n in 0..OWNERS_MAX + 3 {
        let counted = bench.ready_with(1, WORKSPACE, owner(n)).await.unwrap().counted;

        assert!(fs::read_dir(counted).unwrap().count() <= OWNERS_MAX, "{n}");
    }
}

#[tokio::test]
async fn full_cache_is_emptied_before_the_next_container_and_not_during_one() {
    let bench = Bench::new();
    bench.upload(Cache::User, "a", "1", b"x");
    let running = bench.ready(1).await.unwrap();
    let user = running.user.clone();
    fs::write(user.join("large"), vec![0; usize::try_from(SIZES.user_bytes).unwrap()]).unwrap();

    bench.ready(1).await.unwrap();
    assert!(user.join("large").exists(), "its container still runs");
    drop(running);
    bench.ready(1).await.unwrap();

    assert!(!user.join("large").exists());
    assert_eq!(text(&user, "a").as_deref(), Some("x"));
}

#[tokio::test]
async fn uploads_that_no_node_keeps_are_refused_and_shared_ones_left_out() {
    let bench = Bench::new();
    let large = vec![0; usize::try_from(SIZES.shared_bytes).unwrap()];
    bench.upload(Cache::Shared, "a", "1", &large);
    bench.upload(Cache::Shared, "b", "1", b"too much");
    let shared = bench.ready(1).await.unwrap().shared;
    assert!(shared.join("a").exists() && !shared.join("b").exists());

    for n in 0..5 {
        bench.upload(Cache::User, &n.to_string(), "1", &large);
    }
    let refused = bench.ready(2).await;
    assert!(matches!(refused, Err(Error::Unusable(_))), "{refused:?}");
}

#[tokio::test]
async fn caches_of_few_workspaces_stay() {
    let bench = Bench::new();
    let workspace = |n: usize| WorkspaceId::new(uuid::Uuid::from_u128(100 + n as u128));
    let in_use = bench.ready_of(1, workspace(0)).await.unwrap();
    let mut users = Vec::new();
    for n in 1..WORKSPACES_MAX + 3 {
        users.push(bench.ready_of(1, workspace(n)).await.unwrap().user);
    }

    assert!(in_use.user.exists(), "its container still runs");
    assert!(!users[0].exists() && users.last().unwrap().exists());
    let left = fs::read_dir(bench.caches.root.join("users")).unwrap().count();
    assert!(left <= WORKSPACES_MAX + 1, "{left}");
}

#[tokio::test]
async fn downloads_are_known_after_a_restart() {
    let bench = Bench::new();
    bench.upload(Cache::User, "a", "1", b"x");
    bench.ready(1).await.unwrap();

    let Bench { server, caches, data_dir, dir } = bench;
    drop((caches, data_dir));
    let data_dir = DataDir::open(&dir.path().join("home")).unwrap();
    let caches = Caches::open(&data_dir, SIZES).unwrap();
    caches.ready(&server, lease(0), WORKSPACE, WORKSPACE).await.unwrap();

    assert_eq!(server.state().fetches, 1);
}

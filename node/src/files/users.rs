//! The users that containers run as: one for each workspace, and none that is the machine's.
//!
//! The kernel counts watches, pipes, signals and locked memory by user, so containers of different
//! tenants must not share one. A workspace has the same number each time, so that what its
//! containers leave in its cache stays its own.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;
use std::str::FromStr;

use common::digest::Digest;
use common::ids::WorkspaceId;

use crate::files::data_dir::DataDir;
use crate::files::tree::{dir_with_mode, remove_file};

/// Numbers that no system gives to users, services or namespaces.
const DEFAULT: IdRange = IdRange { first: 0x7000_0000, last: 0x7fff_fffe };
/// What an engine that maps users offers: a namespace has 65,536 numbers.
const IN_NAMESPACE: IdRange = IdRange { first: 1000, last: 64_999 };
/// With fewer, two workspaces would soon have the same.
const LENGTH_MIN: u32 = 1000;

/// A user and a group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// As engines read it.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Numbers of users and groups, such as `1879048192-2147483646`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    first: u32,
    last: u32,
}

impl Default for IdRange {
    fn default() -> Self {
        DEFAULT
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends =
            text.split_once('-').map(|(first, last)| (first.parse::<u32>(), last.parse::<u32>()));
        match ends {
            // The last number of all means "no user".
            Some((Ok(first), Ok(last)))
                if first > 0 && last < u32::MAX && last.checked_sub(first) >= Some(LENGTH_MIN) =>
            {
                Ok(Self { first, last })
            }
            _ => Err(format!(
                "must be FIRST-LAST with at least {LENGTH_MIN} numbers, such as {DEFAULT}"
            )),
        }
    }
}

/// Whose jobs a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    /// Those of strangers: the node must be able to keep them apart.
    OfStrangers,
    /// Those of the node's owner: without root's rights, containers run as the node's user.
    OfOne,
}

/// Which user a container runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// One of these for each workspace, as the machine counts them.
    Range(IdRange),
    /// The same, where the engine gives them other numbers on the machine.
    Mapped,
    /// The node's own user for all of them.
    Own(User),
}

/// Containers cannot have users of their own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "only root can keep the containers of different tenants apart: run the node as root (it \
         never runs a container as root), or, if you trust every job, with --run-as-own-user"
    )]
    NotRoot,
    #[error(
        "the users {range} for containers overlap with {with}: choose others with --container-uids"
    )]
    Taken { range: IdRange, with: String },
    #[error("a file cannot be given to user {user}: choose other users with --container-uids")]
    Refused { user: User, source: io::Error },
}

impl Users {
    /// The users for a node's containers.
    pub fn new(data_dir: &DataDir, range: IdRange, jobs: Jobs) -> Result<Self, Error> {
        let owner = data_dir.owner();
        if owner.uid != 0 {
            let gid = if owner.gid == 0 { owner.uid } else { owner.gid };
            return match jobs {
                Jobs::OfStrangers => Err(Error::NotRoot),
                Jobs::OfOne => Ok(Self::Own(User { gid, ..owner })),
            };
        }
        for file in ["/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"] {
            let text = fs::read_to_string(file).unwrap_or_default();
            if let Some(line) = overlap(range, &text) {
                return Err(Error::Taken { range, with: format!("{line:?} in {file}") });
            }
        }
        let user = User { uid: range.last, gid: range.last };
        let probe = data_dir.temporary().join("owner");
        let given = fs::File::create(&probe)
            .and_then(|_| chown(&probe, Some(user.uid), Some(user.gid)))
            .and_then(|()| remove_file(&probe));
        given.map_err(|source| Error::Refused { user, source })?;
        Ok(Self::Range(range))
    }

    /// The user of a workspace's containers.
    pub fn of(&self, workspace: WorkspaceId) -> User {
        let range = match self {
            Self::Range(range) => *range,
            Self::Mapped => IN_NAMESPACE,
            Self::Own(user) => return *user,
        };
        let digest = *Digest::of(workspace.uuid().as_bytes()).bytes();
        let number = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let id = range.first + number % (range.last - range.first + 1);
        User { uid: id, gid: id }
    }

    /// Makes a folder that a workspace's containers can write to, in one that only the node can
    /// enter.
    pub fn writable_dir(&self, path: &Path, workspace: WorkspaceId) -> io::Result<()> {
        match self {
            Self::Range(_) => {
                dir_with_mode(path, 0o700)?;
                let User { uid, gid } = self.of(workspace);
                chown(path, Some(uid), Some(gid))
            }
            Self::Mapped | Self::Own(_) => dir_with_mode(path, 0o777),
        }
    }
}

/// A line of a list of users or groups, or of ranges of them, that has numbers of this range.
fn overlap(range: IdRange, text: &str) -> Option<&str> {
    text.lines().find(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
        // `name:first:count` in lists of ranges, `name:x:number` in the others.
        let (first, count) = match (number(1), number(2)) {
            (Some(first), Some(count)) => (first, count),
            (_, Some(first)) => (first, 1),
            _ => return false,
        };
        first <= range.last && first.saturating_add(count) > range.first
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn workspace(n: u128) -> WorkspaceId {
        WorkspaceId::new(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn workspace_keeps_a_user_of_its_own() {
        let users = Users::Range(IdRange::default());
        let mut ids: Vec<_> = (0..1000).map(|n| users.of(workspace(n)).uid).collect();

        assert_eq!(users.of(workspace(7)), users.of(workspace(7)));
        assert!(ids.iter().all(|id| (DEFAULT.first..=DEFAULT.last).contains(id)));
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() > 995, "{}", ids.len());
    }

    #[test]
    fn range_is_two_numbers_of_sufficient_size() {
        let range: IdRange = "100000-165535".parse().unwrap();
        assert_eq!(range.to_string(), "100000-165535");
        assert_eq!(DEFAULT.to_string().parse(), Ok(DEFAULT));

        for text in ["", "5", "0-100000", "100000-100001", "9-1", "1-4294967295", "a-b"] {
            assert!(text.parse::<IdRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn users_of_the_machine_are_found_in_its_lists() {
        let range: IdRange = "100000-165535".parse().unwrap();

        assert_eq!(overlap(range, "root:x:0:0::/root:\nann:x:1000:1000::/home/ann:\n"), None);
        assert_eq!(overlap(range, "ann:100000:65536"), Some("ann:100000:65536"));
        assert_eq!(overlap(range, "ann:34464:65536"), None);
        assert_eq!(overlap(range, "ann:34465:65536"), Some("ann:34465:65536"));
        assert_eq!(overlap(range, "eve:x:165535:1:::"), Some("eve:x:165535:1:::"));
    }

    #[test]
    fn workspace_folder_is_accessible_to_its_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        if data_dir.owner().uid != 0 {
            println!("skipped: only root can give a folder away");
            assert!(Users::new(&data_dir, IdRange::default(), Jobs::OfStrangers).is_err());
            return;
        }
        let users = Users::new(&data_dir, IdRange::default(), Jobs::OfStrangers).unwrap();
        let folder = data_dir.work().join("results");

        users.writable_dir(&folder, workspace(1)).unwrap();

        let meta = fs::metadata(&folder).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o700);
        assert_eq!(meta.uid(), users.of(workspace(1)).uid);
        assert_ne!(meta.uid(), users.of(workspace(2)).uid);
    }
}

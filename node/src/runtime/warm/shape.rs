//! What tasks have in common that may follow one another in a container.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use common::compute::container::{ContainerPath, Content, Isolation, Network, Profile, Sharing};
use common::compute::resources::Resources;
use common::ids::{RunId, WorkspaceId};
use common::plan::Image as Source;
use common::protocol::{Work, WorkPackage};
use common::run::task::StageNo;

use crate::runtime::docker::Image;

/// Whose tasks they are. A container is never used for those of another scope. A node works for one
/// server, so its ids name nothing of another server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One stage of a run.
    Stage(RunId, StageNo),
    /// All runs of a workspace that has allowed it.
    Workspace(WorkspaceId),
}

/// Everything that is decided when a container is made. What comes with each task is no part of it:
/// its command, its variables, the bytes of its files, and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    scope: Scope,
    pub(super) isolation: Isolation,
    /// The engine's name of the very image.
    image: String,
    package: Option<WorkPackage>,
    mounts: BTreeMap<Content, ContainerPath>,
    shared: Vec<ContainerPath>,
    files: Vec<ContainerPath>,
    working_dir: Option<ContainerPath>,
    profile: Profile,
    network: Network,
    needs: Resources,
    /// The folders that are mounted for all of them, beside those of the container itself.
    folders: Vec<PathBuf>,
    /// Of the workspace's cache, where it is mounted.
    cache_bytes_max: Option<u64>,
}

/// What is mounted for all tasks of a shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Common {
    pub folders: Vec<PathBuf>,
    pub cache_bytes_max: Option<u64>,
}

/// For whom an image is held, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scope: Scope,
    images: Vec<Source>,
}

impl Scope {
    pub fn of(work: &Work) -> Self {
        match work.sharing {
            Sharing::Run => Self::Stage(work.run, work.stage),
            Sharing::Workspace => Self::Workspace(work.workspace),
        }
    }
}

impl Shape {
    pub fn of(work: &Work, image: &Image, common: Common) -> Self {
        let spec = &work.container;
        Self {
            scope: Scope::of(work),
            isolation: spec.isolation,
            image: image.id.clone(),
            package: work.package,
            mounts: spec.mounts.clone(),
            shared: spec.shared.clone(),
            files: spec.files.keys().cloned().collect(),
            working_dir: spec.steps.first().and_then(|step| step.working_dir.clone()),
            profile: spec.profile,
            network: spec.network,
            needs: work.needs,
            folders: common.folders,
            cache_bytes_max: common.cache_bytes_max,
        }
    }

    /// The folders as they are now: a new one of the same name is another.
    pub(super) fn mounted(&self) -> io::Result<Vec<(u64, u64)>> {
        let of = |path: &PathBuf| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        self.folders.iter().map(of).collect()
    }
}

impl Origin {
    /// `None` where the same name may be another image the next time.
    pub(super) fn of(work: &Work) -> Option<Self> {
        let (scope, images) = (Scope::of(work), work.images.clone());
        let is_fixed = |image: &Source| match image {
            Source::Stored { .. } | Source::Registry { .. } | Source::Binary => true,
            // A stage keeps the image that its first container was made from.
            Source::Local { .. } => matches!(scope, Scope::Stage(..)),
        };
        images.iter().all(is_fixed).then_some(Self { scope, images })
    }
}

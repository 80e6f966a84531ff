//! What a node runs: containers as the server has compiled them. A node obeys this description
//! and knows nothing of what it was compiled from.
//!
//! Left to the node is what it alone can know: the container's user, its GPU, the values of
//! secrets, the variables that the loader and GPU drivers heed, and how it is confined.

mod check;
mod path;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

pub use check::SpecError;
pub use path::{
    ContainerPath, ENGINE_FILES, InvalidPath, RelativePath, SYSTEM_DIRS, TMP, is_within,
};

use crate::compute::environment::Environment;

/// The containers of a task, checked: when they are compiled, and when a node reads them from the
/// wire. Clones share the parts.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use common::compute::container::{Command, ContainerSpec, Content, Parts, SpecError};
/// use common::compute::environment::Environment;
///
/// let words = ["sh", "-c", "wc -l /in/* > /out/lines.txt"];
/// let mut parts = Parts {
///     steps: vec![Command::Line(words.map(str::to_owned).to_vec())],
///     environment: Environment::default(),
///     working_dir: "/tmp".parse()?,
///     mounts: BTreeMap::from([
///         (Content::Inputs, "/in".parse()?),
///         (Content::Results, "/out".parse()?),
///     ]),
///     files: BTreeMap::new(),
/// };
///
/// assert!(ContainerSpec::new(parts.clone()).is_ok());
/// parts.mounts.remove(&Content::Results);
/// assert_eq!(ContainerSpec::new(parts), Err(SpecError::NoResults));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Parts")]
pub struct ContainerSpec(Arc<Parts>);

/// What a [`ContainerSpec`] is made of. All that tasks of a stage have in common: variables that
/// differ from task to task come with each one's lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Containers that run one after the other, until one fails. They share all mounts.
    pub steps: Vec<Command>,
    pub environment: Environment,
    pub working_dir: ContainerPath,
    pub mounts: BTreeMap<Content, ContainerPath>,
    /// Files that the containers find, by their path, and can only read.
    pub files: BTreeMap<ContainerPath, String>,
}

/// What a container is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// A program with its arguments.
    Line(Vec<String>),
    /// A file of the package. It is run by the interpreter that its first line names; where it
    /// names none, by the first of `interpreters` that the image has; and where there are none,
    /// it is itself the program.
    PackageFile { path: RelativePath, interpreters: Vec<String> },
}

/// What a node mounts into containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The package's files, read-only.
    Package,
    /// What the task reads, read-only.
    Inputs,
    /// What is written here is the task's result.
    Results,
    /// The workspace's cache on this node, which can be written to.
    WorkspaceCache,
    /// The server's cache for everybody, read-only.
    SharedCache,
}

impl Content {
    pub const fn is_writable(self) -> bool {
        match self {
            Self::Results | Self::WorkspaceCache => true,
            Self::Package | Self::Inputs | Self::SharedCache => false,
        }
    }
}

impl ContainerSpec {
    /// # Errors
    /// The parts are more than a node accepts, or contradict one another.
    pub fn new(parts: Parts) -> Result<Self, SpecError> {
        check::check(&parts)?;
        Ok(Self(Arc::new(parts)))
    }

    /// About what it takes in a message.
    pub fn bytes(&self) -> usize {
        let files: usize =
            self.files.iter().map(|(path, text)| path.as_str().len() + text.len()).sum();
        let steps: usize = self.steps.iter().map(Command::bytes).sum();
        self.environment.bytes() + files + steps
    }

    /// All paths at which something is mounted.
    pub fn mount_points(&self) -> impl Iterator<Item = &ContainerPath> {
        self.mounts.values().chain(self.files.keys())
    }

    /// The files of the package that are run.
    pub fn package_files(&self) -> impl Iterator<Item = &RelativePath> {
        self.steps.iter().filter_map(|step| match step {
            Command::PackageFile { path, .. } => Some(path),
            Command::Line(_) => None,
        })
    }
}

impl Command {
    fn bytes(&self) -> usize {
        self.words().map(str::len).sum()
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let (path, words) = match self {
            Self::Line(words) => (None, words),
            Self::PackageFile { path, interpreters } => (Some(path.as_str()), interpreters),
        };
        path.into_iter().chain(words.iter().map(String::as_str))
    }
}

impl Serialize for ContainerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parts::serialize(self, serializer)
    }
}

impl Deref for ContainerSpec {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl TryFrom<Parts> for ContainerSpec {
    type Error = SpecError;

    fn try_from(parts: Parts) -> Result<Self, SpecError> {
        Self::new(parts)
    }
}

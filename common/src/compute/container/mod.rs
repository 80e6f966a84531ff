//! What a node runs: containers as the server has compiled them. A node obeys this description
//! and knows nothing of what it was compiled from.
//!
//! Left to the node is what it alone can know: the container's user, its GPU, the values of
//! secrets, the variables that the loader and GPU drivers heed, and how it is confined.

mod check;
mod isolation;
mod path;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

pub use check::{FILES_BYTES_MAX, SpecError};
pub use isolation::{Grants, Isolation, Network, Profile, Sharing};
pub use path::{
    ContainerPath, ENGINE_FILES, InvalidPath, RelativePath, SYSTEM_DIRS, TMP, is_within,
};

use crate::compute::environment::Environment;
use crate::compute::resources::Resources;

/// The containers of a task, checked: when they are compiled, and when a node reads them from the
/// wire. Clones share the parts.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use common::compute::container::{Command, ContainerSpec, Content, Parts, Program, SpecError};
///
/// let words = ["sh", "-c", "wc -l /in/* > /out/lines.txt"];
/// let command = Command::Line(words.map(str::to_owned).to_vec());
/// let mut parts = Parts {
///     mounts: BTreeMap::from([
///         (Content::Inputs, "/in".parse()?),
///         (Content::Results, "/out".parse()?),
///     ]),
///     ..Parts::of(Program::new(command))
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
    pub steps: Vec<Program>,
    /// Containers that run beside the steps: they are started before the first and ended after
    /// the last. They share all mounts but the results, and one private network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<Side>,
    /// Variables of all containers; a program's own come before them.
    pub environment: Environment,
    pub mounts: BTreeMap<Content, ContainerPath>,
    /// Folders that are empty at first, and that all containers can write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<ContainerPath>,
    /// The file, in one of the shared folders, whose text is the value of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ContainerPath>,
    /// Files that the containers find, by their path, and can only read.
    pub files: BTreeMap<ContainerPath, String>,
    #[serde(default)]
    pub profile: Profile,
    #[serde(default)]
    pub network: Network,
    #[serde(default, skip_serializing_if = "Isolation::is_default")]
    pub isolation: Isolation,
}

/// What one container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// What logs call it; empty where there is no other.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Which of the task's images it is made from, counted from 0.
    #[serde(default)]
    pub image: u8,
    pub command: Command,
    /// `None` is the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<ContainerPath>,
    #[serde(default)]
    pub environment: Environment,
}

/// A container that runs beside the steps. The steps reach it at `localhost` and at its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    pub program: Program,
    /// Its part of what the task needs.
    pub needs: Resources,
    /// The steps begin when something listens on this TCP port; `None` is at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
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
    /// What the image itself says.
    Image,
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
        let programs: usize = self.programs().map(Program::bytes).sum();
        self.environment.bytes() + files + programs
    }

    /// What all containers run: steps and those beside them.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.steps.iter().chain(self.sides.iter().map(|side| &side.program))
    }

    /// All paths at which something is mounted.
    pub fn mount_points(&self) -> impl Iterator<Item = &ContainerPath> {
        self.mounts.values().chain(self.files.keys()).chain(&self.shared)
    }

    /// The number of the shared folder in which the file for the task's value lies, and its name
    /// there.
    pub fn value_file(&self) -> Option<(usize, &str)> {
        let (dir, name) = self.value.as_ref()?.as_str().rsplit_once('/')?;
        let folder = self.shared.iter().position(|shared| shared.as_str() == dir)?;
        Some((folder, name))
    }

    /// What a step may use of what the task needs: all but what containers beside it have.
    pub fn needs_of_steps(&self, task: Resources) -> Resources {
        self.sides.iter().fold(task, |left, side| left.minus(side.needs))
    }

    /// What the owner of a node must allow.
    pub fn asks(&self) -> Grants {
        Grants {
            plain: self.profile == Profile::Plain,
            network: self.network == Network::Internet,
            local_images: false,
        }
    }

    /// The files of the package that are run.
    pub fn package_files(&self) -> impl Iterator<Item = &RelativePath> {
        self.programs().filter_map(|program| match &program.command {
            Command::PackageFile { path, .. } => Some(path),
            Command::Line(_) | Command::Image => None,
        })
    }
}

impl Parts {
    /// The parts of a task of one container, without mounts.
    pub fn of(program: Program) -> Self {
        Self {
            steps: vec![program],
            sides: Vec::new(),
            environment: Environment::default(),
            mounts: BTreeMap::new(),
            shared: Vec::new(),
            value: None,
            files: BTreeMap::new(),
            profile: Profile::default(),
            network: Network::default(),
            isolation: Isolation::default(),
        }
    }
}

impl Program {
    /// A command in the task's first image, in the image's working folder.
    pub fn new(command: Command) -> Self {
        let (name, environment) = (String::new(), Environment::default());
        Self { name, image: 0, command, working_dir: None, environment }
    }

    fn bytes(&self) -> usize {
        self.command.bytes() + self.environment.bytes()
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
            Self::Image => (None, const { &Vec::new() }),
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

//! How far a container is kept apart from its machine, and what the machine's owner allows of it.

use serde::{Deserialize, Serialize};

/// How a container is confined. Both have no capabilities, no new privileges, an allow-list of
/// system calls, private namespaces and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A user that its workspace alone has on the node, and a root that can only be read.
    #[default]
    Sealed,
    /// As the image's maker meant it: its own user, and a root that can be written to.
    Plain,
}

/// How far a task is kept apart from the other tasks of its stage on the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// They may follow one another in a container, of which nothing is left in between.
    #[default]
    Warm,
    /// Each has a container in which nothing has run before.
    Fresh,
}

/// Which tasks may follow one another in a container, where nothing asks for a fresh one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Those of one stage of a run.
    #[default]
    Run,
    /// Those of all runs of a workspace, where their containers are the same.
    Workspace,
}

/// What a container reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Itself, and the containers of its own task.
    #[default]
    None,
    /// What the network reaches that the node's owner has chosen for it.
    Internet,
}

/// What tasks ask of a node, or what its owner allows them beyond sealed containers of packages.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Containers of the profile `plain`.
    pub plain: bool,
    /// A network.
    pub network: bool,
    /// Images of the node's own engine.
    pub local_images: bool,
}

impl Isolation {
    pub const ALL: [Self; 2] = [Self::Warm, Self::Fresh];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Fresh => "fresh",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isolation| isolation.as_str() == name)
    }

    /// Whether it is what tasks have where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Sharing {
    pub const ALL: [Self; 2] = [Self::Run, Self::Workspace];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Workspace => "workspace",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sharing| sharing.as_str() == name)
    }

    /// Whether it is what workspaces have that have said nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Profile {
    pub const ALL: [Self; 2] = [Self::Sealed, Self::Plain];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Plain => "plain",
        }
    }
}

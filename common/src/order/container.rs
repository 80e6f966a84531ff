//! Containers without a package: programs of images, which run as one task on one node.

mod compile;

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Serialize, Serializer};

use crate::compute::container::{Command, ContainerPath, Isolation, Network, Profile, SpecError};
use crate::compute::environment::{Environment, InvalidEnvironment};
use crate::compute::resources::Resources;
use crate::expression::Template;
use crate::secret::SecretId;

/// Containers that a customer orders, checked. The images are still names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ContainerOrder")]
pub struct ContainerWork(Box<ContainerOrder>);

/// What a [`ContainerWork`] is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerOrder {
    /// What does the work.
    pub main: OrderedProgram,
    /// What runs before it, one after the other, until one fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<OrderedProgram>,
    /// What runs after it has succeeded, one after the other, until one fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<OrderedProgram>,
    /// What runs beside all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<OrderedSide>,
    /// Folders that all containers share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<ContainerPath>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<ContainerPath, String>,
    /// Where the containers write what the run gives; `None` is a folder that
    /// `FANFOLD_RESULTS` names, and nothing of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<ContainerPath>,
    /// The ids of secrets that all containers get as variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretId>,
    /// Variables of `main` that are templates over `run` and `job`: they are known when a run begins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late: BTreeMap<String, Template>,
    /// What the programs that run one after the other need.
    pub needs: Resources,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// Seconds that one attempt may run; `None` is what the server gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
    /// Further attempts after the first failed.
    #[serde(default)]
    pub retries: u32,
    #[serde(default)]
    pub profile: Profile,
    #[serde(default)]
    pub network: Network,
    #[serde(default, skip_serializing_if = "Isolation::is_default")]
    pub isolation: Isolation,
    /// Only nodes of the workspace's own may run it.
    #[serde(default)]
    pub own_nodes: bool,
}

/// What one container runs, as it is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderedProgram {
    /// `None` is a name that says what it is among the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub image: ImageName,
    pub command: Command,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<ContainerPath>,
    #[serde(default)]
    pub environment: Environment,
}

/// What one container runs beside the others, as it is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderedSide {
    pub program: OrderedProgram,
    pub needs: Resources,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// An image as its customer calls it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageName {
    pub name: String,
    /// The secret that opens it at its registry; `None` for one that anybody may pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretId>,
}

/// Why an order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrder {
    #[error("there are more than {} images", u8::MAX)]
    Images,
    #[error("the variable {0} names what is not there when a run begins")]
    Late(String),
    #[error(transparent)]
    Environment(#[from] InvalidEnvironment),
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl ContainerOrder {
    /// An order of one container, with these resources and nothing else.
    pub fn of(main: OrderedProgram, needs: Resources) -> Self {
        Self {
            main,
            before: Vec::new(),
            after: Vec::new(),
            beside: Vec::new(),
            shared: Vec::new(),
            files: BTreeMap::new(),
            results: None,
            secrets: Vec::new(),
            late: BTreeMap::new(),
            needs,
            gpus: Vec::new(),
            timeout_secs: None,
            retries: 0,
            profile: Profile::default(),
            network: Network::default(),
            isolation: Isolation::default(),
            own_nodes: false,
        }
    }

    fn programs(&self) -> impl Iterator<Item = &OrderedProgram> {
        let steps = self.before.iter().chain([&self.main]).chain(&self.after);
        steps.chain(self.beside.iter().map(|side| &side.program))
    }
}

impl ContainerWork {
    /// # Errors
    /// No node can run it.
    pub fn new(order: ContainerOrder) -> Result<Self, InvalidOrder> {
        let work = Self(Box::new(order));
        let is_known =
            |template: &Template| template.roots().iter().all(|root| ["job", "run"].contains(root));
        if let Some((name, _)) = work.late.iter().find(|(_, template)| !is_known(template)) {
            return Err(InvalidOrder::Late(name.clone()));
        }
        work.spec()?;
        Ok(work)
    }

    /// The images that it names, each once.
    pub fn images(&self) -> Vec<&ImageName> {
        let mut images: Vec<_> = self.programs().map(|program| &program.image).collect();
        images.sort_unstable();
        images.dedup();
        images
    }
}

impl Deref for ContainerWork {
    type Target = ContainerOrder;

    fn deref(&self) -> &ContainerOrder {
        &self.0
    }
}

impl TryFrom<ContainerOrder> for ContainerWork {
    type Error = InvalidOrder;

    fn try_from(order: ContainerOrder) -> Result<Self, InvalidOrder> {
        Self::new(order)
    }
}

impl Serialize for ContainerWork {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;

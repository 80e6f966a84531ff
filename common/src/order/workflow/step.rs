//! What a job file says of a step.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::{Cpu, Mebibytes, Seconds};
use super::document::{CallFile, ChildFile, EachFile};
use crate::compute::container::{ContainerPath, Isolation, Network, Profile};
use crate::expression::Template;
use crate::plan::Name;
use crate::run::scheduling::TaskPriority;
use crate::secret::SecretId;

/// One step: a container, or one of call, each, parallel, steps and job.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// What other steps and lists call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The steps of the same list that end before it begins; the one before it where it is left
    /// out, and none where the list is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Vec<String>>,
    /// The step is skipped where this gives the text false.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub condition: Option<Template>,
    /// The name under which later steps read its value, as tasks.NAME: what the container writes to
    /// the file $FANFOLD_OUTPUT, the body of a call's answer, or the output of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub var: Option<Name>,

    /// An image that was pushed, or of a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The secret of type registry that opens the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub image_secret: Option<SecretId>,
    /// The program with its arguments, in place of the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub command: Option<Vec<Template>>,
    /// A script for sh, in place of a command. It holds no expressions: give it variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Variables: texts by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Template>,
    /// The image's own where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub workdir: Option<ContainerPath>,
    /// Texts by the paths at which the containers find them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub files: BTreeMap<ContainerPath, Template>,
    /// Folders that all containers of the step share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub shared: Vec<ContainerPath>,
    /// What runs before it in the same task, until one fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Program>,
    /// What runs after it has succeeded in the same task, until one fails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Program>,
    /// What runs beside all of these. They reach it at localhost and at its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Side>,
    /// The folder whose files are the results of the run. One step of a job can have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub results: Option<ContainerPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// From 0 to 9: of steps of a run that wait for nodes, those with a higher one get them first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u8>")]
    pub priority: Option<TaskPriority>,
    /// Names of GPUs: it gets one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// The longest time of one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// sealed, or plain for the image's own user and a root to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub profile: Option<Profile>,
    /// none, or internet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub network: Option<Network>,
    /// warm, or fresh for a container in which nothing has run before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub isolation: Option<Isolation>,
    /// Only nodes of the job's own workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_nodes: Option<bool>,

    /// An HTTP request, which the server makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Box<CallFile>>,
    /// One step, once for each element of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<Box<EachFile>>,
    /// Steps side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<Vec<Self>>,
    /// Steps as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Self>>,
    /// A run of its own, of the same job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<ChildFile>>,
}

/// What one more container of a step runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    /// Lower-case letters, digits and hyphens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The step's own where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub image_secret: Option<SecretId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub command: Option<Vec<Template>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Template>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub workdir: Option<ContainerPath>,
}

/// A container that runs beside those of a step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Side {
    pub program: Program,
    pub needs: Needs,
    /// The TCP port on which it listens before the others begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What the containers of a step need: one vCPU, 1 GiB of memory and 2 GiB of disk where nothing
/// is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Needs {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Mebibytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Mebibytes>,
}

/// Further attempts after the first failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many.
    pub limit: u32,
    /// The time before the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Seconds>,
    /// How the time grows from each to the next, from 1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<u32>,
}

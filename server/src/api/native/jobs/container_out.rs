//! Containers as they are shown.

use std::collections::BTreeMap;

use common::compute::container::{Command, ContainerPath};
use common::order::container::{ContainerWork, OrderedProgram, OrderedSide};
use common::secret::SecretId;
use serde::Serialize;
use utoipa::ToSchema;

use super::container_in::{NETWORKS, PROFILES};

/// The containers of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Container)]
pub struct ContainerOut {
    /// What does the work.
    main: ProgramOut,
    /// What runs before it, until one fails.
    before: Vec<ProgramOut>,
    /// What runs after it has succeeded, until one fails.
    after: Vec<ProgramOut>,
    /// What runs beside all of these.
    beside: Vec<SideOut>,
    /// Folders that all containers share.
    shared: Vec<String>,
    /// Texts by the paths at which the containers find them.
    files: BTreeMap<String, String>,
    /// The folder whose files are the results.
    results: Option<String>,
    /// Ids of secrets that the containers get as variables.
    secrets: Vec<String>,
    /// Thousandths of a vCPU.
    cpu_millis: u32,
    /// MiB of memory.
    memory_mib: u32,
    /// MiB that it may write.
    disk_mib: u32,
    /// Names of GPUs: it gets one of them.
    gpus: Vec<String>,
    /// For one attempt; null is the server's own.
    timeout_secs: Option<u32>,
    /// Further attempts after the first failed.
    retries: u32,
    /// How the containers are confined: `sealed`, or `plain`.
    profile: &'static str,
    /// What the containers reach: `none`, or `internet`.
    network: &'static str,
    /// `warm`, or `fresh`: whether tasks follow one another in a container.
    isolation: &'static str,
    /// Only nodes of the workspace may run it.
    own_nodes: bool,
}

/// What one container runs.
#[derive(Serialize, ToSchema)]
#[schema(as = Program)]
struct ProgramOut {
    /// What it is called among several.
    name: Option<String>,
    /// The image as the job names it.
    image: String,
    /// The secret that opens the image.
    image_secret: Option<String>,
    /// The program with its arguments; null is the image's own.
    command: Option<Vec<String>>,
    /// Null is the image's own.
    workdir: Option<String>,
    /// Variables by their names.
    env: BTreeMap<String, String>,
}

/// What one container runs beside the others.
#[derive(Serialize, ToSchema)]
#[schema(as = SideContainer)]
struct SideOut {
    /// What it runs.
    program: ProgramOut,
    /// Thousandths of a vCPU of its own.
    cpu_millis: u32,
    /// MiB of memory of its own.
    memory_mib: u32,
    /// The TCP port on which it listens before the others begin.
    port: Option<u16>,
}

impl From<&ContainerWork> for ContainerOut {
    fn from(work: &ContainerWork) -> Self {
        let text = |path: &ContainerPath| path.as_str().to_owned();
        Self {
            main: (&work.main).into(),
            before: work.before.iter().map(ProgramOut::from).collect(),
            after: work.after.iter().map(ProgramOut::from).collect(),
            beside: work.beside.iter().map(SideOut::from).collect(),
            shared: work.shared.iter().map(text).collect(),
            files: work.files.iter().map(|(path, file)| (text(path), file.clone())).collect(),
            results: work.results.as_ref().map(text),
            secrets: work
                .secrets
                .iter()
                .filter_map(SecretId::variable)
                .map(str::to_owned)
                .collect(),
            cpu_millis: work.needs.cpu_millis,
            memory_mib: work.needs.memory_mib,
            disk_mib: work.needs.disk_mib,
            gpus: work.gpus.clone(),
            timeout_secs: work.timeout_secs,
            retries: work.retries,
            profile: PROFILES[usize::from(work.profile != Default::default())],
            network: NETWORKS[usize::from(work.network != Default::default())],
            isolation: work.isolation.as_str(),
            own_nodes: work.own_nodes,
        }
    }
}

impl From<&OrderedProgram> for ProgramOut {
    fn from(program: &OrderedProgram) -> Self {
        let command = match &program.command {
            Command::Line(words) => Some(words.clone()),
            Command::Image | Command::PackageFile { .. } => None,
        };
        let pairs = program.environment.pairs();
        Self {
            name: program.name.clone(),
            image: program.image.name.clone(),
            image_secret: program.image.secret.as_ref().map(|id: &SecretId| id.as_str().to_owned()),
            command,
            workdir: program.working_dir.as_ref().map(ToString::to_string),
            env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }
}

impl From<&OrderedSide> for SideOut {
    fn from(side: &OrderedSide) -> Self {
        let needs = side.needs;
        Self {
            program: (&side.program).into(),
            cpu_millis: needs.cpu_millis,
            memory_mib: needs.memory_mib,
            port: side.port,
        }
    }
}

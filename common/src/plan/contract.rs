//! What packages are promised: where their containers find things, and the variables for that.
//!
//! This is the only place that knows these folders and variables. A container is compiled for all
//! tasks of a stage at once; a task adds the few variables that are its own. So a task that waits
//! costs nothing, and one that is handed out a few short texts, not its params.
//! `docs/reference/containers.md` describes it for the authors of packages.

#[cfg(test)]
mod reference;

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::{Code, Container, Image, ImageCode, PackageCode, params_text};
use crate::compute::container::{
    Command, ContainerPath, ContainerSpec, Content, Parts, Program, RelativePath, SpecError,
};
use crate::compute::environment::{Environment, InvalidEnvironment};

/// What a chunk's file is called in the inputs' folder.
pub const CHUNK_FILE: &str = "data.bin";

/// The most bytes of a name or a key that a task is given.
const NAME_BYTES_MAX: usize = 4096;

/// When the run of a task was due by its job's schedule.
const SCHEDULED_FOR: &str = "FANFOLD_SCHEDULED_FOR";

/// The name of the variable that holds the path of the file for a container's value.
const VALUE_VARIABLE: &str = "FANFOLD_OUTPUT";
const VALUE_DIR: &str = "/fanfold/output";
/// Where containers whose value somebody reads write it.
pub const VALUE_FILE: &str = "/fanfold/output/value";
/// Where they may write how far they are: a number from 0 to 100.
pub const PROGRESS_FILE: &str = "/fanfold/output/progress";
/// What the file is called in the folder of that of the value.
pub const PROGRESS_NAME: &str = "progress";

const APP: &str = "/opt/fanfold/app";
const USER_CACHE: &str = "/opt/fanfold/cache/user";
const SHARED_CACHE: &str = "/opt/fanfold/cache/shared";

/// How a container is told what to do: which folders and variables it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contract {
    Partition,
    Process,
    Assemble,
}

/// A contract's own folders and variables.
struct Layout {
    inputs: &'static str,
    inputs_names: &'static [&'static str],
    results: &'static str,
    results_name: &'static str,
    params_name: &'static str,
}

impl Contract {
    const fn layout(self) -> Layout {
        match self {
            Self::Partition => Layout {
                inputs: "/opt/fanfold/source",
                inputs_names: &["SOURCE_DIR"],
                results: "/opt/fanfold/chunks",
                results_name: "CHUNKS_DIR",
                params_name: "PARTITIONER_PARAMS",
            },
            Self::Process => Layout {
                inputs: "/opt/fanfold/task",
                inputs_names: &["TASK_DIR"],
                results: "/opt/fanfold/results",
                results_name: "TASK_RESULTS_DIR",
                params_name: "APP_PARAMS",
            },
            Self::Assemble => Layout {
                inputs: "/opt/fanfold/results",
                inputs_names: &["TASK_RESULTS_DIR", "RESULTS_DIR"],
                results: "/opt/fanfold/output",
                results_name: "OUTPUT_DIR",
                params_name: "ASSEMBLER_PARAMS",
            },
        }
    }

    /// The variables of one task: its number, for one of a chunk the name and the key of the file
    /// that it is of, and for one of a scheduled run the nominal time.
    pub fn task_environment(
        self,
        index: u32,
        file: Option<(&str, &str)>,
        nominal: Option<DateTime<Utc>>,
    ) -> Environment {
        let mut variables: Vec<_> = scheduled_for(nominal).into_iter().collect();
        if self == Self::Process {
            variables.reserve_exact(3);
            variables.push(("CHUNK_NUMBER", index.to_string()));
            if let Some((name, key)) = file {
                variables.push(("CHUNK_NAME", variable_text(name)));
                variables.push(("CHUNK_KEY", variable_text(key)));
            }
        }
        Environment::of(variables).expect("names and keys are cut to a length that fits")
    }
}

/// The variables of a task without a package: for one of a scheduled run the nominal time.
pub(super) fn schedule_environment(nominal: Option<DateTime<Utc>>) -> Environment {
    Environment::of(scheduled_for(nominal).into_iter().collect()).expect("a time fits")
}

fn scheduled_for(nominal: Option<DateTime<Utc>>) -> Option<(&'static str, String)> {
    Some((SCHEDULED_FOR, nominal?.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

/// Why no container can be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncompilable {
    #[error(transparent)]
    Environment(#[from] InvalidEnvironment),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("a program names an image or a file of a package that is not there")]
    Images,
    #[error("a template stands at a place that is not there, or is there twice")]
    Late,
    #[error("a container of a package gives no value")]
    Value,
}

impl Container {
    /// What its tasks' nodes run. A plan does it once, when it is made. Where it gives a value, its
    /// programs find a file to write it to.
    pub(super) fn compile(&self, gives_value: bool) -> Result<ContainerSpec, Uncompilable> {
        match &self.code {
            Code::Package(_) if gives_value => Err(Uncompilable::Value),
            Code::Package(code) => code.compile(),
            Code::Images(code @ ImageCode { images, spec, .. }) => {
                let has_image = |program: &Program| usize::from(program.image) < images.len();
                let is_fine = spec.programs().all(has_image) && spec.package_files().count() == 0;
                if !is_fine {
                    return Err(Uncompilable::Images);
                }
                code.check_late()?;
                if gives_value { with_value(spec) } else { Ok(spec.clone()) }
            }
        }
    }
}

/// The same containers, with a file for the value that they give.
fn with_value(spec: &ContainerSpec) -> Result<ContainerSpec, Uncompilable> {
    let mut parts = Parts::clone(spec);
    let value = dir(VALUE_FILE);
    parts.shared.push(dir(VALUE_DIR));
    let variable = (VALUE_VARIABLE.to_owned(), value.as_str().to_owned());
    let own = parts.environment.pairs().map(|(name, text)| (name.to_owned(), text.to_owned()));
    parts.environment = own.chain([variable]).collect::<BTreeMap<_, _>>().try_into()?;
    parts.value = Some(value);
    Ok(ContainerSpec::new(parts)?)
}

impl PackageCode {
    fn compile(&self) -> Result<ContainerSpec, Uncompilable> {
        let Layout { inputs, inputs_names, results, results_name, params_name } =
            self.contract.layout();
        // Programs ask for their user's name, and the user has no entry in the image's list.
        let mut variables = vec![
            ("HOME", "/tmp".to_owned()),
            ("USER", "fanfold".to_owned()),
            ("LOGNAME", "fanfold".to_owned()),
            ("USER_CACHE_DIR", USER_CACHE.to_owned()),
            ("SHARED_CACHE_DIR", SHARED_CACHE.to_owned()),
            (results_name, results.to_owned()),
            (params_name, params_text(&self.params)),
        ];
        variables.extend(inputs_names.iter().map(|name| (*name, inputs.to_owned())));
        let path = self.entrypoint.clone();
        let interpreters = match self.image {
            Image::Binary => Vec::new(),
            Image::Stored { .. } | Image::Registry { .. } | Image::Local { .. } => {
                interpreters(&path)
            }
        };
        let command = Command::PackageFile { path, interpreters };
        let program = Program { working_dir: Some(dir(APP)), ..Program::new(command) };
        Ok(ContainerSpec::new(Parts {
            environment: Environment::of(variables)?,
            mounts: BTreeMap::from([
                (Content::Package, dir(APP)),
                (Content::Inputs, dir(inputs)),
                (Content::Results, dir(results)),
                (Content::WorkspaceCache, dir(USER_CACHE)),
                (Content::SharedCache, dir(SHARED_CACHE)),
            ]),
            isolation: self.isolation,
            ..Parts::of(program)
        })?)
    }
}

/// The programs that usually run files with this suffix.
fn interpreters(file: &RelativePath) -> Vec<String> {
    let programs: &[&str] = match file.suffix() {
        Some("py") => &["python3", "python"],
        Some("sh") => &["sh"],
        Some("js") => &["node"],
        _ => &[],
    };
    programs.iter().map(|program| (*program).to_owned()).collect()
}

/// A text that fits into a variable: its value would end at the first NUL, and the names of
/// objects may have one.
fn variable_text(text: &str) -> String {
    text[..text.floor_char_boundary(NAME_BYTES_MAX)].replace('\0', "\u{fffd}")
}

fn dir(path: &str) -> ContainerPath {
    path.parse().expect("the contract's folders are plain")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::environment::PARAMS_BYTES_MAX;
    use crate::secret::is_variable;
    use crate::testing;

    pub fn container(contract: Contract) -> PackageCode {
        let mut code = PackageCode { contract, ..testing::code() };
        code.params.insert("a".to_owned(), 1.into());
        code
    }

    pub const ALL: [Contract; 3] = [Contract::Partition, Contract::Process, Contract::Assemble];

    #[test]
    fn contract_has_its_folders_and_variables() {
        let cases = [
            (
                Contract::Partition,
                "SOURCE_DIR=/opt/fanfold/source CHUNKS_DIR=/opt/fanfold/chunks \
                 PARTITIONER_PARAMS={\"a\":1}",
            ),
            (
                Contract::Process,
                "TASK_DIR=/opt/fanfold/task TASK_RESULTS_DIR=/opt/fanfold/results \
                 APP_PARAMS={\"a\":1}",
            ),
            (
                Contract::Assemble,
                "TASK_RESULTS_DIR=/opt/fanfold/results RESULTS_DIR=/opt/fanfold/results \
                 OUTPUT_DIR=/opt/fanfold/output ASSEMBLER_PARAMS={\"a\":1}",
            ),
        ];
        for (contract, expected) in cases {
            let spec = container(contract).compile().unwrap();

            let mut expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
            expected.extend(["HOME=/tmp", "USER=fanfold", "LOGNAME=fanfold"].map(str::to_owned));
            expected.push("USER_CACHE_DIR=/opt/fanfold/cache/user".into());
            expected.push("SHARED_CACHE_DIR=/opt/fanfold/cache/shared".into());
            expected.sort();
            assert_eq!(spec.environment.variables().collect::<Vec<_>>(), expected);
            assert_eq!(spec.steps[0].working_dir.as_ref(), spec.mounts.get(&Content::Package));
            let results = spec.environment.get(contract.layout().results_name).unwrap();
            assert_eq!(spec.mounts[&Content::Results].as_str(), results);
        }
    }

    #[test]
    fn contract_gives_each_task_its_number_and_its_file() {
        let file = Some(("café\0.csv", "in/café.csv"));
        let of = |contract: Contract| {
            contract.task_environment(7, file, None).variables().collect::<Vec<_>>().join(" ")
        };

        let expected = "CHUNK_KEY=in/café.csv CHUNK_NAME=café\u{fffd}.csv CHUNK_NUMBER=7";
        assert_eq!(of(Contract::Process), expected);
        assert_eq!(of(Contract::Assemble), "");
        let unnamed = Contract::Process.task_environment(0, None, None);
        assert_eq!(unnamed.variables().collect::<Vec<_>>(), ["CHUNK_NUMBER=0"]);
        let scheduled = Contract::Assemble.task_environment(0, None, Some(testing::at(60)));
        let expected = ["FANFOLD_SCHEDULED_FOR=1970-01-01T00:01:00Z"];
        assert_eq!(scheduled.variables().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn contract_runs_an_entrypoint_by_its_suffix_where_there_is_an_image() {
        let image =
            || Image::Stored { reference: "a".to_owned(), digest: crate::digest::Digest::of(b"") };
        for (file, image, expected) in [
            ("main.py", image(), &["python3", "python"][..]),
            ("run.sh", image(), &["sh"]),
            ("run.js", image(), &["node"]),
            ("bin/run", image(), &[]),
            ("main.py", Image::Binary, &[]),
        ] {
            let entrypoint = file.parse().unwrap();
            let code = PackageCode { image, entrypoint, ..testing::code() };

            let spec = code.compile().unwrap();

            let Command::PackageFile { path, interpreters } = &spec.steps[0].command else {
                panic!("{:?}", spec.steps)
            };
            assert_eq!(
                (path.as_str(), interpreters.as_slice()),
                (file, &*expected.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
            );
        }
    }

    #[test]
    fn contract_variables_are_never_those_of_a_secret() {
        for contract in ALL {
            let spec = container(contract).compile().unwrap();
            let task = contract.task_environment(0, Some(("", "")), None);
            let names = spec.environment.names().chain(task.names());
            // Programs may read these from a secret.
            for name in names.filter(|name| !["USER", "LOGNAME"].contains(name)) {
                assert!(!is_variable(name), "{name}");
            }
        }
    }

    #[test]
    fn contract_takes_params_that_fit_into_a_variable() {
        for contract in ALL {
            let mut container = container(contract);
            container.params.clear();
            let quotes = r#"{"x":""}"#.len();
            let params =
                |bytes: usize| [("x".to_owned(), "y".repeat(bytes - quotes).into())].into();
            container.params = params(PARAMS_BYTES_MAX);
            assert!(container.compile().is_ok(), "{contract:?}");
            container.params = params(PARAMS_BYTES_MAX + 32);
            assert!(container.compile().is_err(), "{contract:?}");
        }
    }
}

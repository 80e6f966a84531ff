//! Whether the parts of a container make one that a node can run safely.

use super::{Command, ContainerPath, Content, Parts};

/// The most containers that a task runs one after the other.
const STEPS_MAX: usize = 64;
/// The most words of a command, and the most bytes of them.
const WORDS_MAX: usize = 1024;
const COMMAND_BYTES_MAX: usize = 128 << 10;
/// The most files that are written for a task, and the most bytes of them.
const FILES_MAX: usize = 64;
const FILES_BYTES_MAX: usize = 256 << 10;

/// Why no container can be made of its parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("there must be 1 to {STEPS_MAX} steps")]
    Steps,
    #[error("a command has no program, a NUL, or more than {COMMAND_BYTES_MAX} bytes")]
    Command,
    #[error("a step runs a file of the package, which is not mounted")]
    NoPackage,
    #[error("there is no folder for results")]
    NoResults,
    #[error("there are more than {FILES_MAX} files, or {FILES_BYTES_MAX} bytes of them")]
    Files,
    #[error("nothing can be mounted at {0}")]
    MountPoint(ContainerPath),
    #[error("the mount at {0} hides another one")]
    Overlap(ContainerPath),
}

pub(super) fn check(parts: &Parts) -> Result<(), SpecError> {
    let Parts { steps, mounts, files, .. } = parts;
    if steps.is_empty() || steps.len() > STEPS_MAX {
        return Err(SpecError::Steps);
    }
    steps.iter().try_for_each(check_command)?;
    let runs_file = steps.iter().any(|step| matches!(step, Command::PackageFile { .. }));
    if runs_file && !mounts.contains_key(&Content::Package) {
        return Err(SpecError::NoPackage);
    }
    if !mounts.contains_key(&Content::Results) {
        return Err(SpecError::NoResults);
    }
    let bytes: usize = files.values().map(String::len).sum();
    if files.len() > FILES_MAX || bytes > FILES_BYTES_MAX {
        return Err(SpecError::Files);
    }
    let points: Vec<_> = mounts.values().chain(files.keys()).collect();
    for (n, point) in points.iter().enumerate() {
        if !point.is_mountable() {
            return Err(SpecError::MountPoint((*point).clone()));
        }
        let mut others = points.iter().enumerate().filter(|(other, _)| *other != n);
        if others.any(|(_, other)| other.is_within(point.as_str())) {
            return Err(SpecError::Overlap((*point).clone()));
        }
    }
    Ok(())
}

fn check_command(command: &Command) -> Result<(), SpecError> {
    let has_program = command.words().next().is_some_and(|program| !program.is_empty());
    let is_fine = has_program
        && command.words().count() <= WORDS_MAX
        && command.bytes() <= COMMAND_BYTES_MAX
        && !command.words().any(|word| word.contains('\0'));
    if is_fine { Ok(()) } else { Err(SpecError::Command) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::compute::container::ContainerSpec;
    use crate::compute::environment::Environment;

    fn path(text: &str) -> ContainerPath {
        text.parse().unwrap()
    }

    fn parts() -> Parts {
        let file = Command::PackageFile {
            path: "bin/run".parse().unwrap(),
            interpreters: vec!["sh".to_owned()],
        };
        Parts {
            steps: vec![file, Command::Line(vec!["sh".to_owned(), "-c".to_owned()])],
            environment: Environment::default(),
            working_dir: path("/work/package"),
            mounts: BTreeMap::from([
                (Content::Package, path("/work/package")),
                (Content::Results, path("/work/results")),
            ]),
            files: BTreeMap::from([(path("/work/params.json"), "{}".to_owned())]),
        }
    }

    #[test]
    fn container_spec_is_read_back_from_its_text() {
        let spec = ContainerSpec::new(parts()).unwrap();

        let text = serde_json::to_string(&spec).unwrap();

        assert_eq!(serde_json::from_str::<ContainerSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn container_spec_from_the_wire_is_checked() {
        let text = serde_json::to_string(&ContainerSpec::new(parts()).unwrap()).unwrap();
        for (from, to) in [
            ("/work/results", "/work/package/x"),
            ("/work/results", "/work/../etc"),
            ("/work/results", "/proc"),
            ("/work/results", "results"),
            ("/work/results", "/work/package"),
            ("/work/params.json", "/etc"),
            ("bin/run", "../run"),
            ("bin/run", "/bin/run"),
            ("\"package\":", "\"host\":"),
            ("\"environment\":{}", "\"environment\":{\"A=\":\"\"}"),
            ("\"sh\",\"-c\"", ""),
            ("\"sh\",\"-c\"", "\"a\\u0000\""),
        ] {
            let hostile = text.replace(from, to);

            assert_ne!(hostile, text, "{from}");
            assert!(serde_json::from_str::<ContainerSpec>(&hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn container_spec_has_bounds() {
        use SpecError as E;
        let line = |words: Vec<String>| vec![Command::Line(words)];
        let files = |count: usize, bytes: usize| {
            (0..count).map(|n| (path(&format!("/f/{n}")), "x".repeat(bytes))).collect()
        };
        let package_gone = BTreeMap::from([(Content::Results, path("/r"))]);
        let results_gone = BTreeMap::from([(Content::Package, path("/p"))]);
        let many = vec!["x".to_owned(); WORDS_MAX + 1];
        let large = vec!["x".repeat(COMMAND_BYTES_MAX + 1)];
        let steps = vec![Command::Line(vec!["x".to_owned()]); STEPS_MAX + 1];
        for (parts, error) in [
            (Parts { steps: Vec::new(), ..parts() }, E::Steps),
            (Parts { steps, ..parts() }, E::Steps),
            (Parts { steps: line(many), ..parts() }, E::Command),
            (Parts { steps: line(large), ..parts() }, E::Command),
            (Parts { steps: line(Vec::new()), ..parts() }, E::Command),
            (Parts { mounts: package_gone, ..parts() }, E::NoPackage),
            (Parts { mounts: results_gone, ..parts() }, E::NoResults),
            (Parts { files: files(FILES_MAX + 1, 0), ..parts() }, E::Files),
            (Parts { files: files(1, FILES_BYTES_MAX + 1), ..parts() }, E::Files),
        ] {
            assert_eq!(ContainerSpec::new(parts), Err(error));
        }
    }
}

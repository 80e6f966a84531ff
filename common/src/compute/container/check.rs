//! Whether the parts of a container make one that a node can run safely.

use std::collections::BTreeSet;

use super::{Command, ContainerPath, Content, Parts, Program, Side};
use crate::compute::resources::Resources;

/// The most containers that a task runs one after the other.
const STEPS_MAX: usize = 64;
/// The most words of a command, and the most bytes of them.
const WORDS_MAX: usize = 1024;
const COMMAND_BYTES_MAX: usize = 128 << 10;
/// The most files that are written for a task, and the most bytes of them.
const FILES_MAX: usize = 64;
pub const FILES_BYTES_MAX: usize = 256 << 10;
/// The most containers that run beside the steps, and the most folders that all share.
const SIDES_MAX: usize = 8;
const SHARED_MAX: usize = 16;
/// The most bytes of a program's name.
const NAME_BYTES_MAX: usize = 63;

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
    #[error("there are more than {SIDES_MAX} containers beside the steps")]
    Sides,
    #[error(
        "{0:?} is not the name of a container: it must be lower-case letters, digits and \
         hyphens, at most {NAME_BYTES_MAX}, and there once"
    )]
    Name(String),
    #[error("the container {0:?} has no resources of its own")]
    NoResources(String),
    #[error("there are more than {SHARED_MAX} shared folders")]
    Shared,
    #[error("there are more than {FILES_MAX} files, or {FILES_BYTES_MAX} bytes of them")]
    Files,
    #[error("the file for the value does not lie in a shared folder")]
    Value,
    #[error("nothing can be mounted at {0}")]
    MountPoint(ContainerPath),
    #[error("the mount at {0} hides another one")]
    Overlap(ContainerPath),
}

pub(super) fn check(parts: &Parts) -> Result<(), SpecError> {
    let Parts { steps, sides, mounts, shared, files, .. } = parts;
    if steps.is_empty() || steps.len() > STEPS_MAX {
        return Err(SpecError::Steps);
    }
    if sides.len() > SIDES_MAX {
        return Err(SpecError::Sides);
    }
    if shared.len() > SHARED_MAX {
        return Err(SpecError::Shared);
    }
    check_names(steps, sides)?;
    let programs = || steps.iter().chain(sides.iter().map(|side| &side.program));
    programs().try_for_each(|program| check_command(&program.command))?;
    let runs_file =
        programs().any(|program| matches!(program.command, Command::PackageFile { .. }));
    if runs_file && !mounts.contains_key(&Content::Package) {
        return Err(SpecError::NoPackage);
    }
    if !mounts.contains_key(&Content::Results) {
        return Err(SpecError::NoResults);
    }
    let is_in = |dir: &ContainerPath, value: &str| {
        value.rsplit_once('/').is_some_and(|(parent, _)| parent == dir.as_str())
    };
    if let Some(value) = &parts.value
        && !shared.iter().any(|dir| is_in(dir, value.as_str()))
    {
        return Err(SpecError::Value);
    }
    let bytes: usize = files.values().map(String::len).sum();
    if files.len() > FILES_MAX || bytes > FILES_BYTES_MAX {
        return Err(SpecError::Files);
    }
    let points: Vec<_> = mounts.values().chain(files.keys()).chain(shared).collect();
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

/// Each container of several can be told from the others; those beside the steps are hosts, too.
fn check_names(steps: &[Program], sides: &[Side]) -> Result<(), SpecError> {
    let mut seen = BTreeSet::new();
    let is_alone = steps.len() == 1 && sides.is_empty();
    for name in steps.iter().chain(sides.iter().map(|side| &side.program)).map(|one| &one.name) {
        let may_be_empty = is_alone && name.is_empty();
        if !may_be_empty && (!is_host(name) || !seen.insert(name)) {
            return Err(SpecError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
    }
    let is_nothing = |needs: Resources| needs.cpu_millis == 0 || needs.memory_mib == 0;
    match sides.iter().find(|side| is_nothing(side.needs)) {
        Some(side) => Err(SpecError::NoResources(side.program.name.clone())),
        None => Ok(()),
    }
}

/// Whether a name can be a host's, and is not the machine's own.
fn is_host(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name != "localhost"
}

fn check_command(command: &Command) -> Result<(), SpecError> {
    if *command == Command::Image {
        return Ok(());
    }
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

    fn path(text: &str) -> ContainerPath {
        text.parse().unwrap()
    }

    fn parts() -> Parts {
        let file = Command::PackageFile {
            path: "bin/run".parse().unwrap(),
            interpreters: vec!["sh".to_owned()],
        };
        let named = |name: &str, command| Program {
            name: name.to_owned(),
            working_dir: Some(path("/work/package")),
            ..Program::new(command)
        };
        let line = Command::Line(vec!["sh".to_owned(), "-c".to_owned()]);
        let side = Side {
            program: named("db", Command::Image),
            needs: Resources::new(100, 10),
            port: Some(5432),
        };
        Parts {
            steps: vec![named("first", file), named("second", line)],
            sides: vec![side],
            mounts: BTreeMap::from([
                (Content::Package, path("/work/package")),
                (Content::Results, path("/work/results")),
            ]),
            shared: vec![path("/work/shared")],
            files: BTreeMap::from([(path("/work/params.json"), "{}".to_owned())]),
            ..Parts::of(Program::new(Command::Image))
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
            ("/work/shared", "/work/results/x"),
            ("/work/shared", "/dev/shm"),
            ("\"db\"", "\"first\""),
            ("\"db\"", "\"localhost\""),
            ("\"db\"", "\"a b\""),
            ("\"db\"", "\"\""),
            ("\"memory_mib\":10", "\"memory_mib\":0"),
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
        let line = |words: Vec<String>| vec![Program::new(Command::Line(words))];
        let alone = || Parts { sides: Vec::new(), ..parts() };
        let files = |count: usize, bytes: usize| {
            (0..count).map(|n| (path(&format!("/f/{n}")), "x".repeat(bytes))).collect()
        };
        let package_gone = BTreeMap::from([(Content::Results, path("/r"))]);
        let results_gone = BTreeMap::from([(Content::Package, path("/p"))]);
        let many = vec!["x".to_owned(); WORDS_MAX + 1];
        let large = vec!["x".repeat(COMMAND_BYTES_MAX + 1)];
        let steps = vec![Program::new(Command::Line(vec!["x".to_owned()])); STEPS_MAX + 1];
        let sides = vec![parts().sides[0].clone(); SIDES_MAX + 1];
        let shared = (0..=SHARED_MAX).map(|n| path(&format!("/s/{n}"))).collect();
        for (parts, error) in [
            (Parts { steps: Vec::new(), ..parts() }, E::Steps),
            (Parts { steps, ..parts() }, E::Steps),
            (Parts { steps: line(many), ..alone() }, E::Command),
            (Parts { steps: line(large), ..alone() }, E::Command),
            (Parts { steps: line(Vec::new()), ..alone() }, E::Command),
            (Parts { sides, ..parts() }, E::Sides),
            (Parts { shared, ..parts() }, E::Shared),
            (Parts { mounts: package_gone, ..parts() }, E::NoPackage),
            (Parts { mounts: results_gone, ..parts() }, E::NoResults),
            (Parts { files: files(FILES_MAX + 1, 0), ..parts() }, E::Files),
            (Parts { files: files(1, FILES_BYTES_MAX + 1), ..parts() }, E::Files),
        ] {
            assert_eq!(ContainerSpec::new(parts), Err(error));
        }
    }
}

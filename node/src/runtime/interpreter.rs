//! Which program runs a file: the one that its first line names, as the kernel reads it, else one
//! that the server names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// As much of a first line as the kernel reads.
const LINE_BYTES_MAX: u64 = 255;
/// What editors of other systems put before a text.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// Images often have another python here than the one that their packages are installed for: as
/// with `env`, the first one of PATH is meant.
const PYTHONS: [&str; 3] = ["/usr/bin/python", "/usr/local/bin/python", "/bin/python"];

/// The first line of a file, as far as it matters.
pub fn first_line(path: &Path) -> io::Result<String> {
    let mut start = Vec::new();
    File::open(path)?.take(LINE_BYTES_MAX).read_to_end(&mut start)?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// Vec<Vec<String>> that run `file`. Where its first line names no interpreter, it is one of `usual`, or
/// the file itself where there are none.
pub fn commands(first_line: &str, file: &str, usual: &[String]) -> Vec<Vec<String>> {
    let programs = named(first_line)
        .unwrap_or_else(|| usual.iter().map(|program| vec![program.clone()]).collect());
    if programs.is_empty() {
        return vec![vec![file.to_owned()]];
    }
    let with = |mut command: Vec<String>| {
        command.push(file.to_owned());
        command
    };
    programs.into_iter().map(with).collect()
}

/// The program that a line such as `#!/bin/bash -e` names, with the one argument that it may have.
fn named(line: &str) -> Option<Vec<Vec<String>>> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).strip_prefix("#!")?;
    // A file from Windows has a carriage return at the line's end, which is no part of the name.
    let line = line.trim_matches([' ', '\t', '\r']);
    let (program, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if program.is_empty() {
        return None;
    }
    let argument = argument.trim_matches([' ', '\t']);
    let argument = (!argument.is_empty()).then(|| argument.to_owned());
    let command = |program: &str| {
        std::iter::once(program.to_owned()).chain(argument.clone()).collect::<Vec<_>>()
    };
    let name = program.rsplit('/').next().unwrap_or(program);
    if PYTHONS.iter().any(|python| program.starts_with(python)) {
        return Some(vec![command(name), command(program)]);
    }
    // Where it is not at that place, one of the same name does.
    let mut commands = vec![command(program)];
    if name != program && !name.is_empty() && name != "env" {
        commands.push(command(name));
    }
    Some(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_line: &str, file: &str, usual: &[&str]) -> Vec<String> {
        let usual: Vec<_> = usual.iter().map(|program| (*program).to_owned()).collect();
        let commands = commands(first_line, file, &usual);
        commands.into_iter().map(|command| command.join(" ")).collect()
    }

    #[test]
    fn interpreter_is_the_one_of_the_first_line() {
        for (line, expected) in [
            ("#!/bin/bash", &["/bin/bash run.sh", "bash run.sh"][..]),
            ("#!/bin/bash\r", &["/bin/bash run.sh", "bash run.sh"]),
            ("\u{feff}#! /bin/sh -eu \r", &["/bin/sh -eu run.sh", "sh -eu run.sh"]),
            ("#!/usr/bin/env bash", &["/usr/bin/env bash run.sh"]),
            ("#!/usr/bin/env -S perl -w", &["/usr/bin/env -S perl -w run.sh"]),
            ("#!/opt/conda/bin/python", &["/opt/conda/bin/python run.sh", "python run.sh"]),
            (
                "#!/usr/bin/python3.11 -u",
                &["python3.11 -u run.sh", "/usr/bin/python3.11 -u run.sh"],
            ),
            ("#!busybox", &["busybox run.sh"]),
        ] {
            for usual in [&["sh"][..], &[]] {
                assert_eq!(run(line, "run.sh", usual), expected, "{line:?}");
            }
        }
        // The kernel takes all that follows as one argument.
        let command = &commands("#!/usr/bin/env -S perl -w", "x", &[])[0];
        assert_eq!(command[1], "-S perl -w");
    }

    #[test]
    fn interpreter_without_a_first_line_is_the_servers_choice() {
        for line in ["", "import os", "#!", "#! \r", "# !/bin/bash"] {
            let pythons = ["python3", "python"];
            let expected = ["python3 main.py", "python main.py"];
            assert_eq!(run(line, "main.py", &pythons), expected, "{line}");
            assert_eq!(run(line, "main.py", &[]), ["main.py"]);
        }
    }

    #[test]
    fn interpreter_is_not_searched_in_a_binary_program() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        for (bytes, expected) in [
            (&b"\x7fELF\x02\x01#!/bin/sh"[..], "\u{7f}ELF\u{2}\u{1}#!/bin/sh"),
            (b"#!/bin/sh\nexit", "#!/bin/sh"),
            (b"", ""),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(first_line(&path).unwrap(), expected);
        }
    }
}

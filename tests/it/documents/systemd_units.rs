//! The shipped systemd units, by systemd's own tools and the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

use harness::machine::process::fanfold;

const INSTALLED: &str = "/usr/local/bin/fanfold";
/// Each unit with the highest exposure that it may have, in tenths, as `systemd-analyze security`
/// counts it.
const UNITS: [(&str, &str); 2] = [("fanfold-server.service", "15"), ("fanfold-node.service", "35")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/systemd")
}

fn systemd_analyze(args: &[&str], unit: &Path) -> Result<Output> {
    let output = Command::new("systemd-analyze").args(args).arg(unit).output();
    output.context("systemd-analyze is missing: run scripts/setup --test")
}

/// What a tool wrote, for messages.
fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

/// The command line that a unit starts, without the program.
fn arguments(unit: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(folder().join(unit))?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let line = line.and_then(|line| line.strip_prefix(INSTALLED)).context("ExecStart")?;
    Ok(line.split_whitespace().map(ToOwned::to_owned).collect())
}

#[test]
fn systemd_units_are_valid_and_confined() -> Result<()> {
    let copies = tempfile::tempdir()?;
    for (unit, exposure_max) in UNITS {
        // systemd wants the program to be there.
        let text = fs::read_to_string(folder().join(unit))?;
        let copy = copies.path().join(unit);
        fs::write(&copy, text.replace(INSTALLED, &fanfold()?.display().to_string()))?;

        let verified = systemd_analyze(&["verify", "--man=no"], &copy)?;
        let threshold = format!("--threshold={exposure_max}");
        let rated = systemd_analyze(&["security", "--offline=yes", &threshold], &copy)?;

        ensure!(verified.status.success(), "{unit}: {}", said(&verified));
        assert_eq!(said(&verified), "", "{unit}");
        ensure!(rated.status.success(), "{unit}: {}", said(&rated));
    }
    Ok(())
}

#[test]
fn systemd_unit_of_the_server_starts_with_the_shipped_settings() -> Result<()> {
    let config = folder().join("server.toml").display().to_string();
    let arguments = arguments("fanfold-server.service")?;
    assert_eq!(arguments, ["server", "--config", "/etc/fanfold/server.toml"]);

    let printed = Command::new(fanfold()?)
        .args(["server", "--config", &config, "--print-config"])
        .env_clear()
        .output()?;

    ensure!(printed.status.success(), "{}", said(&printed));
    let text = said(&printed);
    assert!(text.contains("/var/lib/fanfold/server"), "{text}");
    Ok(())
}

#[test]
fn systemd_unit_of_a_node_uses_existing_options() -> Result<()> {
    let help = Command::new(fanfold()?).args(["node", "--help"]).env_clear().output()?;
    let help = said(&help);

    let arguments = arguments("fanfold-node.service")?;

    assert_eq!(arguments[0], "node");
    let options: Vec<_> = arguments.iter().filter(|word| word.starts_with("--")).collect();
    assert!(!options.is_empty());
    for option in options {
        assert!(help.contains(&format!("{option} <")), "{option} is not in:\n{help}");
    }
    Ok(())
}

//! The binary as a shell sees it. These tests are also why `cargo test` and nextest build the
//! binary, which the end-to-end tests start.

use std::process::{Command, Output};

fn fanfold(args: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Command::new(env!("CARGO_BIN_EXE_fanfold"))
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(folder.path())
        .output()
        .expect("the binary is there")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_exits_with_0_and_writes_to_stdout() {
    let output = fanfold(&["--help"], &[]);

    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Exit codes:"));
}

#[test]
fn wrong_command_line_exits_with_2() {
    for args in [&["jbo"][..], &["job", "create"], &["up", "--nodes", "-1"], &["node"]] {
        assert_eq!(fanfold(args, &[]).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn unreachable_server_exits_with_3() {
    // Port 0 is nobody's.
    let env = [("FANFOLD_URL", "http://127.0.0.1:0"), ("FANFOLD_API_KEY", "key")];

    let output = fanfold(&["wallet", "balance"], &env);

    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is the server running?"));
}

#[test]
fn missing_credentials_exit_with_4_and_name_the_remedy() {
    let output = fanfold(&["wallet", "balance"], &[]);

    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("fanfold up"));
}

#[test]
fn invalid_setting_exits_with_2_and_is_named() {
    let env = [("FANFOLD_NODES__LEASE_SECS", "soon")];

    let output = fanfold(&["server"], &env);

    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).to_lowercase().contains("lease_secs"), "{}", said(&output));
}

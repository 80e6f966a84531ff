//! `docs/reference/cli.md`, from the definition of the command line: the help of every command.

use std::collections::BTreeMap;

use clap::{Command, CommandFactory as _};
use pages::{head, row};

use crate::Cli;

const INTRO: &str = "\
# Command line

The help of every command, as `fanfold COMMAND --help` prints it. The options of `fanfold` itself are
taken by every command and are shown once.

Results go to stdout, everything else to stderr. With `--json`, stdout is the server's JSON. Lists
take `--limit` and `--offset`.

";

/// The commands with their subcommands, without `help`.
fn inner(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| command.get_name() != "help")
}

fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = format!("{INTRO}{}", variables(&root));
    describe(&root, "fanfold", 0, &mut page);
    page
}

/// Adds a command's help, and that of those below it.
fn describe(command: &Command, name: &str, depth: usize, page: &mut String) {
    let mut shown = command.clone().mut_args(|arg| {
        let is_common = arg.is_global_set() || arg.get_id() == "help";
        let is_hidden = arg.is_hide_set() || (depth > 0 && is_common);
        // What the variable holds while the page is made is no part of it.
        arg.hide_env_values(true).hide(is_hidden)
    });
    let help = shown.render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let level = "#".repeat(depth.min(2) + 2);
    *page += &format!("{level} {name}\n\n```text\n{}\n```\n\n", lines.join("\n"));
    for sub in inner(command) {
        describe(sub, &format!("{name} {}", sub.get_name()), depth + 1, page);
    }
    if depth == 0 {
        page.truncate(page.trim_end().len());
        page.push('\n');
    }
}

/// A table of the variables that stand in for options.
fn variables(root: &Command) -> String {
    let mut found = BTreeMap::new();
    collect(root, "", &mut found);
    let mut table = head(&["variable", "stands for", "of"]);
    for ((variable, option), commands) in found {
        let of = match commands.join("`, `") {
            every if every.is_empty() => "every command".to_owned(),
            commands => format!("`{commands}`"),
        };
        table += &row(&[&format!("`{variable}`"), &format!("`--{option}`"), &of]);
    }
    format!(
        "## Environment variables\n\n{table}\nThe server's settings have variables too: see \
         [configuration](configuration.md). `RUST_LOG` sets what is logged on stderr, such as \
         `info` or `debug`.\n\n"
    )
}

/// The commands that take each variable and its option; none for those that all take.
fn collect(command: &Command, name: &str, found: &mut BTreeMap<(String, String), Vec<String>>) {
    for arg in command.get_arguments() {
        let (Some(variable), Some(option)) = (arg.get_env(), arg.get_long()) else { continue };
        let key = (variable.to_string_lossy().into_owned(), option.to_owned());
        let commands = found.entry(key).or_default();
        if !arg.is_global_set() {
            commands.push(name.to_owned());
        }
    }
    for sub in inner(command) {
        collect(sub, format!("{name} {}", sub.get_name()).trim_start(), found);
    }
}

#[test]
fn cli_page_is_current() {
    pages::check("cli.md", &page());
}

#[test]
fn cli_page_has_the_help_of_every_command_once() {
    let page = page();

    for heading in ["## fanfold\n", "### fanfold job\n", "#### fanfold wallet coupon create\n"] {
        assert_eq!(page.matches(&format!("\n{heading}")).count(), 1, "{heading}");
    }
    assert_eq!(page.matches("--credentials <FILE>").count(), 1);
    assert!(!page.contains("=]"), "the value of a variable is in the page");
}

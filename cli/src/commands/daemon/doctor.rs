//! `fanfold node doctor`: what this machine lacks for running strangers' code.

use std::path::PathBuf;

use common::compute::container::Profile;
use node::doctor::{self, Check, Severity};

use crate::client::failure::Failure;
use crate::client::output::line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that the node will have
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Also try to get out of a container, in more than a hundred ways that do no damage
    #[arg(long)]
    escape_kit: bool,
    /// Try it in a container of the profile plain
    #[arg(long, requires = "escape_kit")]
    plain: bool,
}

pub async fn run(args: Args) -> Result<(), Failure> {
    let mut checks = doctor::examine().await;
    checks.extend(args.data_dir.as_deref().map(doctor::data_dir));
    for check in &checks {
        line(told(check))?;
    }
    if let Some(refused) = checks.iter().find(|check| check.severity == Severity::Refused) {
        return Err(Failure::local("a node refuses to start on this machine", &refused.found));
    }
    if args.escape_kit {
        let profile = if args.plain { Profile::Plain } else { Profile::Sealed };
        return try_to_escape(profile).await;
    }
    Ok(())
}

fn told(check: &Check) -> String {
    let Check { name, severity, found, advice } = check;
    let verdict = match severity {
        Severity::Fine => "ok",
        Severity::Warning => "warning",
        Severity::Refused => "refused",
    };
    let advice = if advice.is_empty() { String::new() } else { format!(" -- {advice}") };
    format!("{verdict:8} {name}: {found}{advice}")
}

async fn try_to_escape(profile: Profile) -> Result<(), Failure> {
    let tried = doctor::escape_kit(profile)
        .await
        .map_err(|error| Failure::caused("cannot run the escape kit", &error))?;
    for outcome in &tried {
        match &outcome.out {
            None => line(format_args!("held     {}", outcome.name))?,
            Some(why) => line(format_args!("out      {}: {why}", outcome.name))?,
        }
    }
    let out = tried.iter().filter(|outcome| outcome.out.is_some()).count();
    if out > 0 {
        let what = format!("{out} of {} tries got out of the container", tried.len());
        return Err(Failure::local(what, "do not run strangers' code on this machine"));
    }
    line(format_args!("all {} tries were held", tried.len()))
}

//! `fanfold`, the one binary: the server and the nodes, and a client for everything they offer.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::credentials::Access;
use crate::client::failure::Failure;
use crate::client::output::{Output, note};
use crate::client::session::Session;
use crate::commands::package::Kind;
use crate::commands::{
    bench, cache, daemon, http, image, job, key, member, package, queue, run, schedule, secret,
    sign_in, template, wallet, workspace,
};

mod client;
pub mod commands;
mod file;
mod log;
#[cfg(test)]
mod reference;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server refused, or the job failed
  2  the command line, or a file it names, is wrong
  3  the server cannot be reached
  4  no credentials, or the server does not accept them
  5  something on this machine failed: a file, the container engine";

/// Fans a job out over many machines and folds the results back together
#[derive(Debug, Parser)]
#[command(name = "fanfold", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    access: Access,
    /// Print the server's JSON on stdout; everything else goes to stderr
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Daemon(daemon::Command),
    /// Apps: packages that work on one chunk
    #[command(subcommand)]
    App(package::Command),
    /// Engines: packages that partition data or assemble results
    #[command(subcommand)]
    Engine(package::Command),
    /// Templates: partitioner, app and assembler with their defaults
    #[command(subcommand)]
    Template(template::Command),
    /// Container images of the workspace
    #[command(subcommand)]
    Image(image::Command),
    /// Jobs: create, follow and cancel them, fetch results
    #[command(subcommand)]
    Job(job::Command),
    /// Make an HTTP request, again until it is accepted
    Http(http::Command),
    /// Run a container on a node, and follow it to its end
    Run(Box<run::Args>),
    /// Schedules: when jobs make runs by themselves
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Queues of runs: their order, their limits and what waits in them
    #[command(subcommand)]
    Queue(queue::Command),
    /// The workspace's wallet
    #[command(subcommand)]
    Wallet(wallet::Command),
    /// Secrets: keys to buckets and servers of your own
    #[command(subcommand)]
    Secret(secret::Command),
    /// API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Members of the workspace
    #[command(subcommand)]
    Member(member::Command),
    /// The workspace and its settings
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Sign in for an hour with a code that is sent by e-mail
    SignIn(sign_in::Args),
    /// Files in the caches of containers
    #[command(subcommand)]
    Cache(cache::Command),
    /// Print the version
    Version,
    /// Benchmarks of this binary on this machine; they set up and remove everything
    #[command(subcommand)]
    Bench(bench::Command),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // --help and --version come this way too.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if let Command::Daemon(command) = &cli.command {
        log::begin_daemon(command.log_format());
    } else {
        // A hundred simulated nodes have much to say.
        let is_bench = matches!(cli.command, Command::Bench(_));
        log::begin(if is_bench { "error" } else { log::USUAL });
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing else has installed a provider yet");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::local("cannot start the runtime", error)),
    };
    let done = runtime.block_on(Box::pin(run(cli)));
    // A blocking read, such as of stdin, does not hold the exit up.
    runtime.shutdown_background();
    done.map_or_else(|failure| fail(&client::hint::with_advice(failure)), |()| ExitCode::SUCCESS)
}

fn fail(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::OutputClosed) {
        note(format_args!("fanfold: {failure}"));
    }
    failure.code()
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let output = if cli.json { Output::Json } else { Output::Text };
    let session = || Session::open(&cli.access, output);
    match cli.command {
        Command::Daemon(command) => Box::pin(daemon::run(command, session)).await,
        Command::App(command) => package::run(Kind::App, command, &session()?).await,
        Command::Engine(command) => package::run(Kind::Engine, command, &session()?).await,
        Command::Template(command) => template::run(command, &session()?).await,
        Command::Image(command) => image::run(command, &session()?).await,
        Command::Job(command) => job::run(command, &session()?).await,
        Command::Http(command) => http::run(command, &session()?).await,
        Command::Run(args) => run::run(*args, &session()?).await,
        Command::Schedule(command) => schedule::run(command, &session()?).await,
        Command::Queue(command) => queue::run(command, &session()?).await,
        Command::Wallet(command) => wallet::run(command, &session()?).await,
        Command::Secret(command) => secret::run(command, &session()?).await,
        Command::Key(command) => key::run(command, &session()?).await,
        Command::Member(command) => member::run(command, &session()?).await,
        Command::Workspace(command) => workspace::run(command, &session()?).await,
        Command::SignIn(args) => sign_in::run(args, &cli.access, output).await,
        Command::Cache(command) => cache::run(command, &session()?).await,
        Command::Version => client::output::line(concat!("fanfold ", env!("CARGO_PKG_VERSION"))),
        Command::Bench(command) => bench::run(command, output).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }
}

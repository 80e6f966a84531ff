//! `fanfold`, the one binary: the server and the nodes, and a client for everything they offer.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::credentials::Access;
use crate::failure::Failure;
use crate::output::{Output, note};
use crate::package::Kind;
use crate::session::Session;

mod archive;
mod bench;
mod cache;
mod client;
mod credentials;
mod daemon;
mod failure;
mod file;
mod hint;
mod image;
mod job;
mod key;
mod member;
mod nodes;
mod output;
mod package;
mod place;
mod secret;
mod session;
mod sign_in;
mod template;
mod wallet;

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
    /// Engines: packages that cut data or fold results
    #[command(subcommand)]
    Engine(package::Command),
    /// Templates: partitioner, app and assembler with their defaults
    #[command(subcommand)]
    Template(template::Command),
    /// Container images that travel with the workspace
    #[command(subcommand)]
    Image(image::Command),
    /// Jobs: order work, watch it, fetch what came out
    #[command(subcommand)]
    Job(job::Command),
    /// The workspace's wallet
    #[command(subcommand)]
    Wallet(wallet::Command),
    /// Keys to buckets of your own
    #[command(subcommand)]
    Secret(secret::Command),
    /// API keys of yours
    #[command(subcommand)]
    Key(key::Command),
    /// Members of the workspace
    #[command(subcommand)]
    Member(member::Command),
    /// Sign in with a code that is sent to an e-mail address, for an hour
    SignIn(sign_in::Args),
    /// Files that containers find in their caches
    #[command(subcommand)]
    Cache(cache::Command),
    /// Print the command with which a node joins, with a one-time token
    Token,
    /// Print the version
    Version,
    /// Measure this binary on this machine; sets up and removes everything by itself
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
    // A hundred simulated nodes have much to say.
    let level = if matches!(cli.command, Command::Bench(_)) {
        "error"
    } else {
        // A stranger's broken request is no event of ours, and the hub names its peer itself.
        "info,warp=off,sea_orm_migration=warn,libp2p_swarm=warn"
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level)),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
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
    done.map_or_else(|failure| fail(&hint::with_advice(failure)), |()| ExitCode::SUCCESS)
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
        Command::Daemon(command) => daemon::run(command, session).await,
        Command::App(command) => package::run(Kind::App, command, &session()?).await,
        Command::Engine(command) => package::run(Kind::Engine, command, &session()?).await,
        Command::Template(command) => template::run(command, &session()?).await,
        Command::Image(command) => image::run(command, &session()?).await,
        Command::Job(command) => job::run(command, &session()?).await,
        Command::Wallet(command) => wallet::run(command, &session()?).await,
        Command::Secret(command) => secret::run(command, &session()?).await,
        Command::Key(command) => key::run(command, &session()?).await,
        Command::Member(command) => member::run(command, &session()?).await,
        Command::SignIn(args) => sign_in::run(args, &cli.access, output).await,
        Command::Cache(command) => cache::run(command, &session()?).await,
        Command::Token => nodes::token(&session()?).await,
        Command::Version => output::line(concat!("fanfold ", env!("CARGO_PKG_VERSION"))),
        Command::Bench(command) => bench::run(command, output).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

//! The log of a process, on stderr: which lines, and how they are written.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use clap::ValueEnum;
use common::error_chain::chain;
use tracing::field::display;
use tracing_subscriber::EnvFilter;

/// What is logged where `RUST_LOG` does not say. A client's malformed request is not logged, and
/// the hub names its peer itself.
pub const USUAL: &str = "info,warp=off,sea_orm_migration=warn,libp2p_swarm=warn";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object a line, for programs
    Json,
}

/// How a daemon logs.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// How the log is written to stderr; RUST_LOG sets what is logged, such as info or debug
    #[arg(
        long = "log-format",
        env = "FANFOLD_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub format: Format,
}

/// Begins the log of a daemon. A panic is a line of it as well, in the span that it happened in.
pub fn begin_daemon(format: Format) {
    match format {
        Format::Text => begin_text(USUAL),
        Format::Json => tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_env_filter(filter(USUAL))
            .with_writer(io::stderr)
            .init(),
    }
    warn_of_invalid(USUAL);
    std::panic::set_hook(Box::new(log_panic));
}

/// Begins a log as text, of these levels where `RUST_LOG` does not say.
pub fn begin(levels: &str) {
    begin_text(levels);
    warn_of_invalid(levels);
}

fn begin_text(levels: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(filter(levels))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
}

fn filter(levels: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(levels))
}

/// Says that `RUST_LOG` is not heeded, where it is set and cannot be read.
fn warn_of_invalid(levels: &str) {
    let set = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    if let Err(error) = EnvFilter::try_new(&set) {
        tracing::warn!(error = %chain(&error), "RUST_LOG cannot be read: {levels} is logged instead");
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let error = panic.payload_as_str().unwrap_or("the panic has no message");
    let location = panic.location().map(display);
    // Captured where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let is_captured = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = is_captured.then(|| display(backtrace));
    tracing::error!(error, location, backtrace, "a thread panicked");
}

//! The probe: shows by its exit code that a container was made and started, and that its end is
//! told.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Neither success nor any engine's own code.
    ExitCode::from(42)
}

//! Why an attempt failed, in a word for programs.

use common::market::TaskRecord;
use common::protocol::{Failure, Outcome, Receipt};
use opentelemetry::KeyValue;

/// What the receipt of an attempt says of its failure. One that was lost has no receipt.
pub fn attributes(record: &TaskRecord) -> Vec<KeyValue> {
    let signed = record.receipt.as_ref();
    let read = signed.and_then(|signed| postcard::from_bytes::<Receipt>(&signed.receipt).ok());
    let Some(receipt) = read else { return Vec::new() };
    let (cause, code) = match receipt.outcome {
        Outcome::Succeeded { .. } => ("no_results", None),
        Outcome::NodeFault { .. } => ("node_fault", None),
        Outcome::Failed { failure: Failure::ExitCode(code), .. } => ("exit_code", Some(code)),
        Outcome::Failed { failure, .. } => (word(failure), None),
    };
    let code = code.map(|code| KeyValue::new("process.exit.code", code));
    [KeyValue::new("fanfold.cause", cause)].into_iter().chain(code).collect()
}

const fn word(failure: Failure) -> &'static str {
    match failure {
        Failure::ExitCode(_) => "exit_code",
        Failure::Timeout => "timeout",
        Failure::OutOfMemory => "out_of_memory",
        Failure::Results => "results",
        Failure::Package => "package",
        Failure::Registry => "registry",
        Failure::Input => "input",
        Failure::Source => "source",
        Failure::Platform => "platform",
        Failure::Killed => "killed",
        Failure::Damaged => "damaged",
    }
}

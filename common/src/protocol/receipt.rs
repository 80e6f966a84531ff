//! Receipts: what a node signs when an attempt ends.

use serde::{Deserialize, Serialize};

use super::Contents;
use crate::compute::resources::Usage;
use crate::digest::Digest;
use crate::run::task::Lease;

/// A receipt's bytes (postcard of `Receipt`), its signature (postcard of `ReceiptSignature`), and the
/// bytes of small results, whose digests are signed with the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    #[serde(with = "serde_bytes")]
    pub receipt: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
    /// Of results that lie nowhere else. Stored with the task once it is accepted.
    pub contents: Contents,
}

/// What a node signs when an attempt ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub lease: Lease,
    pub usage: Usage,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The container ended with 0, and its result files are stored or come along. The value is the text that it
    /// gives to what comes after it.
    Succeeded { outputs: Vec<Output>, value: Option<String> },
    /// It gave no result. What follows, and who is to blame, is told by `market::blame`.
    Failed { failure: Failure, message: String },
    /// The node is at fault: the task goes elsewhere and the node loses trust.
    NodeFault { message: String },
}

/// What the beginning of a receipt's bytes tells: all but the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptHead {
    pub usage: Usage,
    /// How the container ended, where it ended by itself.
    pub exit_code: Option<i64>,
    /// Why there is no result, where the node is not at fault.
    pub failure: Option<Failure>,
}

impl ReceiptHead {
    /// No more of a receipt is needed.
    pub const BYTES_MAX: usize = 192;

    /// Reads a receipt's first bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        type Start = (Lease, Usage, OutcomeKind);
        let ((_, usage, kind), rest) = postcard::take_from_bytes::<Start>(bytes).ok()?;
        let (exit_code, failure) = match kind {
            OutcomeKind::Succeeded => (Some(0), None),
            OutcomeKind::Failed => {
                let failure = postcard::take_from_bytes(rest).ok()?.0;
                let code = if let Failure::ExitCode(code) = failure { Some(code) } else { None };
                (code, Some(failure))
            }
            OutcomeKind::NodeFault => (None, None),
        };
        Some(Self { usage, exit_code, failure })
    }
}

/// `Outcome` without what it carries, in the same order.
#[derive(Deserialize)]
enum OutcomeKind {
    Succeeded,
    Failed,
    NodeFault,
}

/// A result file, stored under its digest for its lease unless its bytes come with the receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Flat: folders are joined with `__`.
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    ExitCode(i64),
    Timeout,
    OutOfMemory,
    /// The results are too large, too many, or badly named.
    Results,
    /// The package or its image cannot be used: the entrypoint is missing, for one.
    Package,
    /// The image's registry does not give it, or gives it too slowly.
    Registry,
    /// The data is not what the run was started with, or its store refuses it for good: it has
    /// changed, has gone, or may not be read.
    Input,
    /// The customer's data does not come: its store fails, or does not answer.
    Source,
    /// The server, or its bucket, does not give what belongs to the task.
    Platform,
    /// The container was ended from outside, or ended itself as if it were: the node cannot tell.
    Killed,
    /// The bytes of the package, or of an image that lies with it, are not those of its digest.
    /// Where the server finds the same, the run ends; else it is the node's trouble.
    Damaged,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::compute::resources::Metering;
    use crate::ids::RunId;
    use crate::run::task::{StageNo, TaskRef};

    #[test]
    fn receipt_head_is_in_its_first_bytes() {
        let task = TaskRef { run: RunId::new(Uuid::max()), stage: StageNo::MAX, index: u32::MAX };
        let usage = Usage {
            cpu_ms: u64::MAX,
            memory_mib_ms: u64::MAX,
            wall_ms: u64::MAX,
            memory_peak_bytes: u64::MAX,
            input_bytes: u64::MAX,
            output_bytes: u64::MAX,
            network_bytes: u64::MAX,
            metering: Metering::Counters,
        };
        let output =
            Output { name: "x".repeat(255), size: u64::MAX, digest: Digest::of(b"result") };
        let failed = |failure| Outcome::Failed { failure, message: "m".repeat(2000) };
        let (own, timeout) = (Failure::ExitCode(i64::MIN), Failure::Timeout);
        for (outcome, exit_code, failure) in [
            (Outcome::Succeeded { outputs: vec![output; 9], value: None }, Some(0), None),
            (failed(own), Some(i64::MIN), Some(own)),
            (failed(timeout), None, Some(timeout)),
            (Outcome::NodeFault { message: "m".repeat(2000) }, None, None),
        ] {
            let lease = Lease { task, attempt: u32::MAX };
            let bytes = postcard::to_stdvec(&Receipt { lease, usage, outcome }).unwrap();

            let head = ReceiptHead::read(&bytes[..ReceiptHead::BYTES_MAX]);

            assert_eq!(head, Some(ReceiptHead { usage, exit_code, failure }));
        }
        assert_eq!(ReceiptHead::read(b""), None);
    }
}

//! The wire between a node and a server: two libp2p protocols.
//!
//! *sync* is one message in a loop. The node says everything it is and does, the server answers
//! with everything it should do. Both are whole statements, not differences: a lost message
//! costs time and never truth.
//!
//! *blob* moves bytes. A stream starts with one request frame, the answer starts with one reply
//! frame, and bytes follow the one or the other.

mod blob;
mod contents;
pub mod frame;
mod log;
mod receipt;
mod signature;
mod sync;

pub use blob::{BlobReply, BlobRequest, Cache, CacheFile, InputFile, OwnContainer, Version};
pub use contents::{Content, Contents, NotCarried};
pub use log::{Level, LogBatch, LogLine, Stream};
pub use receipt::{Failure, Outcome, Output, Receipt, ReceiptHead, SignedReceipt};
pub use signature::{ReceiptSignature, SIGNED_TOGETHER_MAX, UnsignedReceipt, sign_together};
pub use sync::{Assignment, Held, Inputs, Orders, Probe, Sample, Sync, Work, WorkPackage};

/// Request-response with CBOR: `Sync` → `Orders`.
pub const SYNC_PROTOCOL: &str = "/fanfold/sync/7";
/// A stream: frames (four bytes of length, big-endian, then postcard), then raw bytes.
pub const BLOB_PROTOCOL: &str = "/fanfold/blob/4";

/// The header of an upload to a bucket that says its digest: base64 of the SHA-256, as S3 has it.
pub const CHECKSUM_HEADER: &str = "x-amz-checksum-sha256";
/// The most bytes of one blob frame.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of a file's name.
pub const NAME_BYTES_MAX: usize = 255;
/// The most bytes of receipts and their contents in one `Sync`; a node keeps the rest for the next.
pub const RECEIPTS_BYTES_MAX: usize = 600 * 1024;
/// The most bytes of one receipt. One of more than `RECEIPTS_BYTES_MAX` comes alone. Each result
/// takes its name and up to `OUTPUT_BYTES_MAX` of it.
pub const RECEIPT_BYTES_MAX: usize = 7 << 19;
/// The most bytes of a result in a receipt beside its name: lengths, and the digest.
pub const OUTPUT_BYTES_MAX: usize = 2 + 10 + 32;
/// More result files than any receipt of one attempt can list.
pub const OUTPUTS_MAX: usize = RECEIPT_BYTES_MAX / 32;
/// The most bytes of a `Sync`.
pub const SYNC_BYTES_MAX: u64 = 4 << 20;
/// The most bytes of log text in one `Sync`.
pub const LOGS_BYTES_MAX: usize = 128 * 1024;
/// The most bytes of the value that a task gives.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// The seconds that a sample of an attempt is the average of.
pub const SAMPLE_SECS: u32 = 15;
/// The most samples in one `Sync`.
pub const SAMPLES_MAX: usize = 4096;
/// The most bytes of an input that travels with its assignment.
pub const INPUT_BYTES_MAX: u64 = 8 << 10;
/// The most bytes of all inputs that travel in one `Orders`.
pub const INPUTS_BYTES_MAX: u64 = 256 << 10;
/// The most assignments in one `Orders`.
pub const ASSIGN_MAX: usize = 256;

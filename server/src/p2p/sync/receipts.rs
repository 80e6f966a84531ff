//! Whether receipts are true as far as the server can see. What is judged here never reaches the
//! coordinator unjudged.

use std::collections::HashSet;

use common::ids::NodeId;
use common::input::text::is_plain;
use common::protocol::{
    Content, Contents, Failure, NAME_BYTES_MAX, OUTPUTS_MAX, Outcome, Output, Receipt,
};
use common::run::task::Lease;
use futures::{StreamExt as _, TryStreamExt as _};

use super::sanitize;
use crate::data;
use crate::data::bucket::blob_key::BlobKey;
use crate::p2p::backend::Port;
use crate::p2p::blob::damage::Damage;
use crate::p2p::blob::incoming_results::count_linked;
use crate::p2p::blob::known_results::Stored;
use crate::p2p::blob::source;

/// The most bytes of an attempt's results together: more than any node lets a container write.
pub const RESULTS_BYTES_MAX: u64 = 16 << 30;
/// Looks at the bucket at once, for one message.
const LOOKS_MAX: usize = 16;
/// The most bytes of what a node says about a failure.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Judges a receipt: one that cannot be true becomes the node's fault, so that it is settled and
/// its task goes elsewhere. An error is of our own bucket: the receipt can be judged later.
pub async fn judge<P: Port>(
    port: &P,
    (stored, damage): (&Stored, &Damage),
    node: NodeId,
    receipt: Receipt,
    contents: &Contents,
) -> Result<Receipt, data::Error> {
    let lease = receipt.lease;
    let outcome = match receipt.outcome {
        Outcome::Succeeded { outputs, value } => {
            let given = (&outputs[..], contents);
            match judge_success(port, stored, node, lease, given).await? {
                None => Outcome::Succeeded { outputs, value },
                Some(message) => Outcome::NodeFault { message },
            }
        }
        Outcome::Failed { failure: Failure::Damaged, .. } => {
            judge_damage(port, damage, node, lease).await?
        }
        Outcome::Failed { failure, message } => {
            Outcome::Failed { failure, message: sanitize::tidy(&message, MESSAGE_BYTES_MAX) }
        }
        Outcome::NodeFault { message } => {
            Outcome::NodeFault { message: sanitize::tidy(&message, MESSAGE_BYTES_MAX) }
        }
    };
    Ok(Receipt { outcome, ..receipt })
}

/// Why a success does not count. Where it counts, its small results are counted against the quota.
async fn judge_success<P: Port>(
    port: &P,
    stored: &Stored,
    node: NodeId,
    lease: Lease,
    (outputs, contents): (&[Output], &Contents),
) -> Result<Option<String>, data::Error> {
    // A receipt that comes again changes nothing whatever it says: it is not worth a look at the
    // bucket.
    let Some(live) = port.lease(node, lease) else {
        tracing::debug!(%node, %lease, "receipt without a lease");
        return Ok(Some("the node no longer holds the lease".to_owned()));
    };
    let fault = fault(port, stored, lease, (outputs, contents)).await?;
    if let Some(error) = &fault {
        tracing::warn!(%node, %lease, error, "receipt turned into a fault of its node");
        return Ok(fault);
    }
    // A node may say nothing of what it has put into the bucket, but in its receipt.
    for Output { size, digest, .. } in outputs {
        let file = data::Stored { size: *size, digest: *digest };
        count_linked(port, &live, lease, file).await?;
    }
    let bytes = contents.bytes() as u64;
    let uncounted = live.stored.uncounted(bytes);
    if uncounted > 0 {
        port.count_results(live.spec.workspace, lease.task.run, uncounted).await?;
        live.stored.set_counted(bytes);
    }
    Ok(None)
}

/// What it means that a node got wrong bytes for a package or an image.
async fn judge_damage<P: Port>(
    port: &P,
    damage: &Damage,
    node: NodeId,
    lease: Lease,
) -> Result<Outcome, data::Error> {
    let fault = |message: &str| Outcome::NodeFault { message: message.to_owned() };
    let Some(live) = port.lease(node, lease) else {
        return Ok(fault("the node no longer holds the lease"));
    };
    let Ok(container) = source::container(&live) else {
        return Ok(fault("the task has no container"));
    };
    Ok(match damage.of(port, container).await? {
        Some(message) => {
            tracing::error!(
                %lease,
                package = container.package().map(|code| code.package.digest.to_string()),
                error = message,
                "a stored package or image is damaged"
            );
            Outcome::Failed { failure: Failure::Damaged, message: message.to_owned() }
        }
        None => {
            fault("the bytes that the node got of the package or image were not the right ones")
        }
    })
}

/// What is wrong with the outputs of a success.
async fn fault<P: Port>(
    port: &P,
    stored: &Stored,
    lease: Lease,
    (outputs, contents): (&[Output], &Contents),
) -> Result<Option<String>, data::Error> {
    if let Some(message) = list_fault(outputs).or_else(|| contents_fault(outputs, contents)) {
        return Ok(Some(message));
    }
    let unseen: Vec<_> = outputs
        .iter()
        .filter(|output| !comes_along(output, contents))
        .filter(|output| !stored.has(lease, output.digest, output.size))
        .cloned()
        .collect();
    let missing = futures::stream::iter(unseen)
        .map(|output| look(port.clone(), stored.clone(), lease, output))
        .buffer_unordered(LOOKS_MAX)
        .try_filter_map(|missing| std::future::ready(Ok(missing)));
    let first = std::pin::pin!(missing).try_next().await?;
    Ok(first.map(|output| format!("the result {:?} is not stored", output.name)))
}

/// Gives the output back if it is not in the bucket.
async fn look<P: Port>(
    port: P,
    stored: Stored,
    lease: Lease,
    output: Output,
) -> Result<Option<Output>, data::Error> {
    let key = BlobKey::Result { lease, digest: output.digest };
    if port.size(&key).await? != Some(output.size) {
        return Ok(Some(output));
    }
    stored.remember(lease, output.digest, output.size);
    Ok(None)
}

/// What is wrong with a list of outputs, without looking at the bucket.
fn list_fault(outputs: &[Output]) -> Option<String> {
    if outputs.len() > OUTPUTS_MAX {
        return Some(format!("{} results; the most is {OUTPUTS_MAX}", outputs.len()));
    }
    let (mut names, mut bytes) = (HashSet::with_capacity(outputs.len()), 0u64);
    for Output { name, size, .. } in outputs {
        if !is_flat(name) {
            let name = sanitize::tidy(name, NAME_BYTES_MAX);
            return Some(format!("the result {name:?} is not named as a file can be"));
        }
        bytes = bytes.saturating_add(*size);
        if bytes > RESULTS_BYTES_MAX {
            return Some(format!("the results have more than {RESULTS_BYTES_MAX} bytes"));
        }
        if !names.insert(name) {
            return Some(format!("two results are named {name:?}"));
        }
    }
    None
}

/// What is wrong with the bytes that came with a receipt of these outputs.
fn contents_fault(outputs: &[Output], contents: &Contents) -> Option<String> {
    let is_named = |content: &Content| {
        let mut same = outputs.iter().filter(|output| output.digest == content.digest);
        same.any(|output| output.size == content.bytes.len() as u64)
    };
    let all_named = contents.iter().all(is_named);
    (!all_named).then(|| "bytes came with the receipt that are none of its results".to_owned())
}

/// Whether the bytes of an output came with its receipt.
fn comes_along(output: &Output, contents: &Contents) -> bool {
    contents.find(output.digest).is_some_and(|bytes| bytes.len() as u64 == output.size)
}

/// Whether this names a file and nothing else: no folder, no way up, nothing invisible.
pub fn is_flat(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(is_plain)
        && !name.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use common::digest::Digest;

    use super::*;

    fn output(name: &str, size: u64) -> Output {
        Output { name: name.to_owned(), size, digest: Digest::of(b"x") }
    }

    #[test]
    fn result_lists_that_are_impossible_are_named() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "a/b", "a\\b", "a\0b", &long] {
            assert!(list_fault(&[output(name, 1)]).is_some(), "{name:?}");
        }
        let many = vec![output("a", 1); OUTPUTS_MAX + 1];
        assert!(
            list_fault(&many).is_some_and(|fault| fault.contains(&(OUTPUTS_MAX + 1).to_string()))
        );
        assert!(list_fault(&[output("a", 1), output("a", 1)]).is_some());
        assert!(list_fault(&[output("a", RESULTS_BYTES_MAX + 1)]).is_some());
        let half = RESULTS_BYTES_MAX / 2;
        assert!(list_fault(&[output("a", half), output("b", half)]).is_none());
        assert!(list_fault(&[output("a", half), output("b", half + 1)]).is_some());
        assert!(list_fault(&[output("a", u64::MAX), output("b", u64::MAX)]).is_some());
        assert_eq!(list_fault(&[output("a", 1), output("..b", 0)]), None);
    }

    #[test]
    fn bytes_that_come_with_a_receipt_are_those_of_its_results() {
        let mut contents = Contents::default();
        contents.add(b"x".to_vec()).unwrap();
        let (same, longer) = (output("a", 1), output("b", 2));

        assert_eq!(contents_fault(&[longer.clone(), same.clone()], &contents), None);
        assert!(contents_fault(std::slice::from_ref(&longer), &contents).is_some());
        assert!(contents_fault(&[], &contents).is_some());
        assert!(comes_along(&same, &contents) && !comes_along(&longer, &contents));
    }
}

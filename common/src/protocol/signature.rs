//! One signature over several receipts.
//!
//! Checking a signature costs a server more than all else about a small task. So a node signs the
//! root of a hash tree over receipts that end together. Beside that signature each receipt has the
//! hashes that lead from it to the root, so it can be checked by itself for as long as it is kept.

use serde::{Deserialize, Serialize};

use super::{Contents, Receipt, SignedReceipt};
use crate::digest::{Digest, Digester};

/// The most receipts that one signature is for: more of them would save less than their longer
/// paths cost.
pub const SIGNED_TOGETHER_MAX: usize = 16;
/// The hashes between a receipt and the root of the largest tree.
const PATH_MAX: usize = SIGNED_TOGETHER_MAX.ilog2() as usize;

/// What is signed begins with these bytes, so that no other signature of the key can stand for it.
const CONTEXT: &[u8] = b"fanfold receipts\0";
/// What a leaf's hash begins with, so that no inner node of the tree can stand for a receipt.
const LEAF: &[u8] = &[0];
const INNER: &[u8] = &[1];

/// A receipt's bytes (postcard of `Receipt`) and the bytes of its small results, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedReceipt {
    pub receipt: Vec<u8>,
    pub contents: Contents,
}

impl UnsignedReceipt {
    pub fn new(receipt: &Receipt, contents: Contents) -> Self {
        let receipt = postcard::to_stdvec(receipt).expect("a receipt is plain data");
        Self { receipt, contents }
    }
}

/// What stands beside a receipt as its signature, as postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptSignature {
    /// The node's, over what [`ReceiptSignature::signed_bytes`] gives.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
    /// From the receipt to the root.
    path: Vec<Step>,
}

/// The hash beside the one that a path has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    Left(Digest),
    Right(Digest),
}

impl ReceiptSignature {
    /// Reads what stands beside a receipt. `None` where it is no such signature.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (signature, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        (rest.is_empty() && signature.path.len() <= PATH_MAX).then_some(signature)
    }

    /// What the node's key has signed if this is the receipt's signature.
    pub fn signed_bytes(&self, receipt: &[u8]) -> Vec<u8> {
        let root = self.path.iter().fold(leaf(receipt), |reached, step| match step {
            Step::Left(hash) => inner(*hash, reached),
            Step::Right(hash) => inner(reached, *hash),
        });
        signed_bytes(root)
    }
}

/// Signs receipts, in their order, with as few signatures as there can be.
pub fn sign_together(
    receipts: Vec<UnsignedReceipt>,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<SignedReceipt> {
    let signatures: Vec<_> =
        receipts.chunks(SIGNED_TOGETHER_MAX).flat_map(|some| signatures(some, &sign)).collect();
    let each = receipts.into_iter().zip(signatures);
    each.map(|(UnsignedReceipt { receipt, contents }, signature)| {
        let signature = postcard::to_stdvec(&signature).expect("a signature is plain data");
        SignedReceipt { receipt, signature, contents }
    })
    .collect()
}

/// Each receipt's signature; all are in one tree.
fn signatures(
    receipts: &[UnsignedReceipt],
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<ReceiptSignature> {
    let mut paths = vec![Vec::new(); receipts.len()];
    let mut level: Vec<_> = receipts.iter().map(|unsigned| leaf(&unsigned.receipt)).collect();
    // The leaves below a node of this level.
    let mut width = 1;
    while level.len() > 1 {
        for (n, path) in paths.iter_mut().enumerate() {
            let node = n / width;
            // The last one of a level may have none beside it: it goes up as it is.
            if let Some(beside) = level.get(node ^ 1) {
                path.push(if node % 2 == 0 { Step::Right(*beside) } else { Step::Left(*beside) });
            }
        }
        level = level
            .chunks(2)
            .map(|pair| if let [left, right] = *pair { inner(left, right) } else { pair[0] })
            .collect();
        width *= 2;
    }
    let Some(root) = level.first() else { return Vec::new() };
    let signature = sign(&signed_bytes(*root));
    let with_path = |path| ReceiptSignature { signature: signature.clone(), path };
    paths.into_iter().map(with_path).collect()
}

fn signed_bytes(root: Digest) -> Vec<u8> {
    [CONTEXT, root.bytes()].concat()
}

fn leaf(receipt: &[u8]) -> Digest {
    hash(&[LEAF, receipt])
}

fn inner(left: Digest, right: Digest) -> Digest {
    hash(&[INNER, left.bytes(), right.bytes()])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut digester = Digester::default();
    parts.iter().for_each(|part| digester.update(part));
    digester.finish()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Receipts that are signed together, and all that was signed.
    fn signed(receipts: &[Vec<u8>]) -> (Vec<SignedReceipt>, BTreeSet<Vec<u8>>) {
        let statements = RefCell::new(BTreeSet::new());
        let unsigned = receipts.iter().map(|receipt| UnsignedReceipt {
            receipt: receipt.clone(),
            contents: Contents::default(),
        });
        let signed = sign_together(unsigned.collect(), |bytes| {
            statements.borrow_mut().insert(bytes.to_vec());
            vec![7; 64]
        });
        (signed, statements.into_inner())
    }

    /// What the key must have signed for this to hold.
    fn statement(signed: &SignedReceipt) -> Option<Vec<u8>> {
        Some(ReceiptSignature::read(&signed.signature)?.signed_bytes(&signed.receipt))
    }

    fn receipts(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|n| vec![n; usize::from(n)]).collect()
    }

    #[test]
    fn signature_is_one_for_sixteen_receipts() {
        for (count, signatures) in [(0, 0), (1, 1), (2, 1), (16, 1), (17, 2), (40, 3)] {
            let (signed, statements) = signed(&receipts(count));

            assert_eq!((signed.len(), statements.len()), (count.into(), signatures), "{count}");
        }
    }

    #[test]
    fn signature_holds_for_its_receipt_alone() {
        for count in 1..=40 {
            let given = receipts(count);
            let (signed, statements) = signed(&given);
            for (n, (signed, receipt)) in signed.iter().zip(&given).enumerate() {
                assert_eq!(signed.receipt, *receipt);
                assert!(statements.contains(&statement(signed).unwrap()), "{n} of {count}");
                for other in given.iter().filter(|other| *other != receipt) {
                    let lie = SignedReceipt { receipt: other.clone(), ..signed.clone() };
                    assert!(!statements.contains(&statement(&lie).unwrap()), "{n} of {count}");
                }
            }
        }
    }

    #[test]
    fn inner_node_of_the_tree_is_no_receipt() {
        let (signed, statements) = signed(&receipts(4));
        let mut signature = ReceiptSignature::read(&signed[0].signature).unwrap();
        let Step::Right(beside) = signature.path.remove(0) else { panic!("the first is left") };
        let hashes = [leaf(&signed[0].receipt), beside];
        let node = hashes.each_ref().map(|hash| &hash.bytes()[..]);

        for forged in [node.concat(), [INNER, &node.concat()].concat()] {
            assert!(!statements.contains(&signature.signed_bytes(&forged)));
        }
    }

    #[test]
    fn signatures_with_longer_paths_or_other_bytes_are_not_read() {
        let (signed, _) = signed(&receipts(16));
        let good = &signed[0].signature;
        let mut long = ReceiptSignature::read(good).unwrap();
        assert_eq!(long.path.len(), PATH_MAX);
        long.path.push(long.path[0]);
        let long = postcard::to_stdvec(&long).unwrap();

        for bad in [&long[..], &[&good[..], &[0]].concat(), &good[..good.len() - 1], &[]] {
            assert_eq!(ReceiptSignature::read(bad), None);
        }
    }

    proptest! {
        #[test]
        fn signature_reader_does_not_panic_on_any_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            if let Some(signature) = ReceiptSignature::read(&bytes) {
                let _ = signature.signed_bytes(&bytes);
            }
        }
    }
}

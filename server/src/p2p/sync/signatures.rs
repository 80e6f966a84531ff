//! Receipts as they come in: signed by the node that sends them, and readable.

use common::protocol::{Receipt, ReceiptSignature, SignedReceipt};
use libp2p::PeerId;
use libp2p::identity::PublicKey;

/// Why a receipt is dropped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    #[error("the peer's id holds no key to check signatures with")]
    NoKey,
    #[error("the signature is not the peer's")]
    Signature,
    #[error("the receipt cannot be read")]
    Malformed,
}

/// Reads the receipts of one node's message. Those that were signed together cost one check of a
/// signature.
pub struct Opener {
    key: PublicKey,
    /// The signature that was good last: what was signed, and it.
    good: Option<(Vec<u8>, Vec<u8>)>,
}

impl Opener {
    /// # Errors
    /// Where the peer's id does not hold its key. An ed25519 key is small enough to stand there.
    pub fn of(peer: &PeerId) -> Result<Self, Dropped> {
        /// The multihash that is no hash but the bytes themselves.
        const IDENTITY: u64 = 0;

        let hash = peer.as_ref();
        if hash.code() != IDENTITY {
            return Err(Dropped::NoKey);
        }
        let key = PublicKey::try_decode_protobuf(hash.digest()).map_err(|_| Dropped::NoKey)?;
        Ok(Self { key, good: None })
    }

    /// Reads a receipt if its signature is good.
    pub fn open(&mut self, signed: &SignedReceipt) -> Result<Receipt, Dropped> {
        let beside = ReceiptSignature::read(&signed.signature).ok_or(Dropped::Signature)?;
        let bytes = beside.signed_bytes(&signed.receipt);
        let pair = (bytes, beside.signature);
        if self.good.as_ref() != Some(&pair) {
            if !self.key.verify(&pair.0, &pair.1) {
                return Err(Dropped::Signature);
            }
            self.good = Some(pair);
        }
        match postcard::take_from_bytes(&signed.receipt) {
            Ok((receipt, [])) => Ok(receipt),
            Ok(_) | Err(_) => Err(Dropped::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use common::compute::resources::Usage;
    use common::ids::RunId;
    use common::protocol::{Contents, Failure, Outcome, UnsignedReceipt, sign_together};
    use common::run::task::{Lease, TaskRef};
    use common::testing::PROCESS;
    use libp2p::identity::Keypair;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn receipt(index: u32) -> Receipt {
        let task = TaskRef { run: RunId::new(Uuid::from_u128(7)), stage: PROCESS, index };
        let outcome = Outcome::Failed { failure: Failure::Timeout, message: "late".to_owned() };
        Receipt { lease: Lease { task, attempt: 1 }, usage: Usage::default(), outcome }
    }

    fn sign(key: &Keypair, receipts: &[Vec<u8>]) -> Vec<SignedReceipt> {
        let contents = Contents::default();
        let unsigned = receipts
            .iter()
            .map(|receipt| UnsignedReceipt { receipt: receipt.clone(), contents: contents.clone() })
            .collect();
        sign_together(unsigned, |bytes| key.sign(bytes).unwrap())
    }

    fn sign_one(key: &Keypair, receipt: Vec<u8>) -> SignedReceipt {
        sign(key, &[receipt]).remove(0)
    }

    fn bytes(index: u32) -> Vec<u8> {
        postcard::to_stdvec(&receipt(index)).unwrap()
    }

    fn opener(key: &Keypair) -> Opener {
        Opener::of(&key.public().to_peer_id()).unwrap()
    }

    #[test]
    fn receipts_signed_by_their_peer_open_whatever_their_order() {
        let key = Keypair::generate_ed25519();
        let mut signed: Vec<_> = sign(&key, &(0..20).map(bytes).collect::<Vec<_>>());
        signed.rotate_left(7);
        let mut opener = opener(&key);

        let opened: Vec<_> = signed.iter().map(|signed| opener.open(signed)).collect();

        assert_eq!(opened, (7..20).chain(0..7).map(|n| Ok(receipt(n))).collect::<Vec<_>>());
    }

    #[test]
    fn receipt_of_another_peer_or_changed_or_longer_is_dropped() {
        let (key, thief) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let longer = [&*bytes(0), &[0]].concat();
        let mut changed = sign_one(&key, bytes(0));
        changed.receipt[20] ^= 1;
        let plain = SignedReceipt {
            signature: key.sign(&bytes(0)).unwrap(),
            receipt: bytes(0),
            contents: Contents::default(),
        };

        for (signed, reason) in [
            (sign_one(&thief, bytes(0)), Dropped::Signature),
            (changed, Dropped::Signature),
            (plain, Dropped::Signature),
            (sign_one(&key, longer), Dropped::Malformed),
            (sign_one(&key, vec![0xff; 40]), Dropped::Malformed),
            (sign_one(&key, Vec::new()), Dropped::Malformed),
        ] {
            assert_eq!(opener(&key).open(&signed), Err(reason));
        }
    }

    #[test]
    fn receipt_that_takes_the_place_of_another_after_a_good_one_is_dropped() {
        let (key, thief) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let [first, second] = &sign(&key, &[bytes(0), bytes(1)])[..] else { panic!("two") };
        let mut opener = opener(&key);
        assert_eq!(opener.open(first), Ok(receipt(0)));

        let swapped = SignedReceipt { receipt: bytes(2), ..second.clone() };
        assert_eq!(opener.open(&swapped), Err(Dropped::Signature));
        assert_eq!(opener.open(&sign_one(&thief, bytes(2))), Err(Dropped::Signature));
        assert_eq!(opener.open(second), Ok(receipt(1)), "a bad one changes nothing");
    }

    proptest! {
        #[test]
        fn receipt_reader_does_not_panic_on_signed_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let key = Keypair::ed25519_from_bytes([7; 32]).unwrap();

            let _ = opener(&key).open(&sign_one(&key, bytes));
        }
    }
}

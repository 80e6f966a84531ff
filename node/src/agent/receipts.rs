//! Receipts of attempts that have ended, each until the server has settled it.

use common::protocol::{SignedReceipt, UnsignedReceipt, sign_together};
use common::run::task::Lease;

#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Of attempts that have ended since the last message, with which they are signed together.
    unsigned: Vec<(Lease, UnsignedReceipt)>,
    /// Oldest first.
    signed: Vec<(Lease, SignedReceipt)>,
}

impl Receipts {
    pub fn add(&mut self, lease: Lease, receipt: UnsignedReceipt) {
        self.unsigned.push((lease, receipt));
    }

    pub fn has(&self, lease: &Lease) -> bool {
        self.unsigned.iter().any(|(of, _)| of == lease)
            || self.signed.iter().any(|(of, _)| of == lease)
    }

    /// Drops the receipt of an attempt that is no longer the node's.
    pub fn cancel(&mut self, lease: &Lease) {
        self.unsigned.retain(|(of, _)| of != lease);
        self.signed.retain(|(of, _)| of != lease);
    }

    /// Drops a receipt that the server has settled. Gives the bytes of the results with it.
    pub fn settle(&mut self, lease: &Lease) -> usize {
        let settled = self.signed.extract_if(.., |(of, _)| of == lease);
        settled.map(|(_, signed)| signed.contents.bytes()).sum()
    }

    /// Signs those of attempts that have ended since it was called last.
    pub fn sign(&mut self, sign: impl Fn(&[u8]) -> Vec<u8>) {
        let (leases, receipts): (Vec<_>, _) = self.unsigned.drain(..).unzip();
        self.signed.extend(leases.into_iter().zip(sign_together(receipts, sign)));
    }

    /// All that are signed, oldest first.
    pub fn signed(&self) -> &[(Lease, SignedReceipt)] {
        &self.signed
    }
}

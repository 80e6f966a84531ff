//! The cipher that secrets lie under: ChaCha20-Poly1305 with one of the server's master keys.
//!
//! What is sealed names its key, so that a new key can come while old seals are still about. It is
//! bound to what it belongs to: moved or relabelled, it does not open.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

const ID_BYTES: usize = 4;

/// A master key as it is kept. It has no `Debug`, so that no log can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub id: u32,
    pub bytes: [u8; 32],
}

/// Seals with the first of its keys and opens with each.
pub struct Sealer {
    keys: Vec<(u32, LessSafeKey)>,
}

/// It was sealed with a key that is not here, for something else, or has been tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

impl Sealer {
    pub fn new(current: &MasterKey, old: &[MasterKey]) -> Self {
        let key = |key: &MasterKey| {
            let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key.bytes);
            (key.id, LessSafeKey::new(unbound.expect("the cipher's keys have 32 bytes")))
        };
        Self { keys: std::iter::once(current).chain(old).map(key).collect() }
    }

    /// Seals bytes to what they belong to: key, nonce, ciphertext.
    pub fn seal(&self, bound_to: &str, plain: &[u8]) -> Result<Vec<u8>, Broken> {
        let (id, key) = self.keys.first().ok_or(Broken)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Broken)?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound_to),
            &mut sealed,
        )
        .map_err(|_| Broken)?;
        sealed.splice(..0, id.to_be_bytes().into_iter().chain(nonce));
        Ok(sealed)
    }

    /// Opens what was sealed to the same.
    pub fn open(&self, bound_to: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, Broken> {
        let named = key_of(&sealed).ok_or(Broken)?;
        let (_, key) = self.keys.iter().find(|(id, _)| *id == named).ok_or(Broken)?;
        let (nonce, ciphertext) =
            sealed[ID_BYTES..].split_at_mut_checked(NONCE_LEN).ok_or(Broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Broken)?;
        let plain = key.open_in_place(nonce, Aad::from(bound_to), ciphertext);
        plain.map(|plain| plain.to_vec()).map_err(|_| Broken)
    }

    /// Whether it lies under the newest key.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let current = self.keys.first().map(|(id, _)| *id);
        current.is_some() && key_of(sealed) == current
    }
}

/// One key, for who needs no other.
impl From<[u8; 32]> for Sealer {
    fn from(bytes: [u8; 32]) -> Self {
        Self::new(&MasterKey { id: 1, bytes }, &[])
    }
}

fn key_of(sealed: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*sealed.first_chunk::<ID_BYTES>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: MasterKey = MasterKey { id: 1, bytes: [1; 32] };
    const NEW: MasterKey = MasterKey { id: 2, bytes: [2; 32] };

    #[test]
    fn seal_opens_for_its_context_and_key_only() {
        let both = Sealer::new(&NEW, &[OLD]);
        let old = Sealer::new(&OLD, &[]);

        let sealed = old.seal("a", b"plain").unwrap();

        assert_eq!(old.open("a", sealed.clone()), Ok(b"plain".to_vec()));
        assert_eq!(both.open("a", sealed.clone()), Ok(b"plain".to_vec()));
        assert_eq!(both.open("b", sealed.clone()), Err(Broken));
        assert_eq!(Sealer::new(&NEW, &[]).open("a", sealed.clone()), Err(Broken));
        assert_eq!((old.is_current(&sealed), both.is_current(&sealed)), (true, false));
        let again = old.seal("a", b"plain").unwrap();
        assert_ne!(again, sealed, "the same nonce twice");
    }

    #[test]
    fn seal_with_one_changed_or_missing_byte_is_refused() {
        let sealer = Sealer::new(&NEW, &[OLD]);
        let sealed = sealer.seal("a", b"plain").unwrap();

        for i in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[i] ^= 1;
            assert_eq!(sealer.open("a", tampered), Err(Broken), "byte {i}");
            assert_eq!(sealer.open("a", sealed[..i].to_vec()), Err(Broken), "cut at {i}");
        }
    }
}

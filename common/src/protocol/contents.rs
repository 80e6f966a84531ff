//! The bytes of small results, which travel with their receipt.

use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use crate::digest::Digest;

/// The bytes of small results of one attempt, each once, few and short enough for a message. A
/// receipt names them by their digests, which are computed when they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<ByteBuf>")]
pub struct Contents(Vec<Content>);

/// The bytes of one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Of the bytes.
    pub digest: Digest,
    /// The whole result.
    pub bytes: Vec<u8>,
}

/// Why bytes cannot travel with a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// With those before it.
    #[error("more than {} results travel with a receipt", Contents::COUNT_MAX)]
    TooMany,
    /// With those before it.
    #[error("the results that travel with a receipt have more than {} bytes", Contents::BYTES_MAX)]
    TooLarge,
    /// The same bytes are there already.
    #[error("a result travels twice with a receipt")]
    Twice,
}

impl Contents {
    /// The most results of one attempt.
    pub const COUNT_MAX: usize = 16;
    /// The most bytes of them together.
    pub const BYTES_MAX: usize = 8 << 10;

    /// Adds the bytes of one more result.
    ///
    /// # Errors
    /// Where they do not fit, or are there already; then nothing has changed.
    pub fn add(&mut self, bytes: Vec<u8>) -> Result<(), NotCarried> {
        if self.0.len() == Self::COUNT_MAX {
            return Err(NotCarried::TooMany);
        }
        if bytes.len() > Self::BYTES_MAX - self.bytes() {
            return Err(NotCarried::TooLarge);
        }
        let digest = Digest::of(&bytes);
        if self.find(digest).is_some() {
            return Err(NotCarried::Twice);
        }
        self.0.push(Content { digest, bytes });
        Ok(())
    }

    /// The bytes of the result with this digest.
    pub fn find(&self, digest: Digest) -> Option<&[u8]> {
        self.iter().find(|content| content.digest == digest).map(|content| &*content.bytes)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> std::slice::Iter<'_, Content> {
        self.0.iter()
    }

    /// How many bytes they have together.
    pub fn bytes(&self) -> usize {
        self.iter().map(|content| content.bytes.len()).sum()
    }

    /// Whether no result travels.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<ByteBuf>> for Contents {
    type Error = NotCarried;

    fn try_from(all: Vec<ByteBuf>) -> Result<Self, NotCarried> {
        let mut contents = Self::default();
        all.into_iter().try_for_each(|bytes| contents.add(bytes.into_vec()))?;
        Ok(contents)
    }
}

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|content| Bytes::new(&content.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &[&[u8]]) -> Result<Contents, NotCarried> {
        all.iter().map(|bytes| ByteBuf::from(*bytes)).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn contents_are_found_by_their_digests_after_they_have_travelled() {
        let sent = read(&[b"one", b"", b"two"]).unwrap();

        let wire = postcard::to_stdvec(&sent).unwrap();
        let read: Contents = postcard::from_bytes(&wire).unwrap();

        assert_eq!(read, sent);
        assert_eq!(read.find(Digest::of(b"two")), Some(&b"two"[..]));
        assert_eq!(read.find(Digest::of(b"")), Some(&b""[..]));
        assert_eq!(read.find(Digest::of(b"three")), None);
        assert_eq!(read.bytes(), 6);
    }

    #[test]
    fn contents_that_are_too_many_or_too_large_or_twice_there_are_refused() {
        let numbers: Vec<[u8; 2]> = (0..=16u16).map(u16::to_le_bytes).collect();
        let numbers: Vec<&[u8]> = numbers.iter().map(|number| &number[..]).collect();
        let (most, more) = (vec![7; Contents::BYTES_MAX], vec![7; Contents::BYTES_MAX + 1]);

        assert!(read(&numbers[1..]).is_ok());
        assert_eq!(read(&numbers), Err(NotCarried::TooMany));
        assert!(read(&[&most, b""]).is_ok());
        assert_eq!(read(&[&more]), Err(NotCarried::TooLarge));
        assert_eq!(read(&[&most, b"x"]), Err(NotCarried::TooLarge));
        assert_eq!(read(&[b"x", b"x"]), Err(NotCarried::Twice));
    }

    #[test]
    fn contents_beyond_their_bounds_are_no_message() {
        let wire = postcard::to_stdvec(&vec![ByteBuf::from([7; Contents::BYTES_MAX + 1])]).unwrap();

        assert!(postcard::from_bytes::<Contents>(&wire).is_err());
    }
}

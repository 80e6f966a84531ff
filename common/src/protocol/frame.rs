//! The frames of the blob protocol: four bytes of length, big-endian, then postcard. Only the
//! bytes; moving them is the business of each side.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FRAME_BYTES_MAX;

/// The bytes of a frame's length.
pub const HEAD_BYTES: usize = 4;

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes; the most is {FRAME_BYTES_MAX}")]
    TooLong(usize),
    #[error("a frame cannot be read: {0}")]
    Malformed(postcard::Error),
    #[error("a frame has {0} bytes too many")]
    Trailing(usize),
}

/// The frame of a value, its length included.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame =
        postcard::to_extend(value, vec![0; HEAD_BYTES]).map_err(FrameError::Malformed)?;
    let len = frame.len() - HEAD_BYTES;
    match u32::try_from(len) {
        Ok(head) if len <= FRAME_BYTES_MAX => {
            frame[..HEAD_BYTES].copy_from_slice(&head.to_be_bytes());
            Ok(frame)
        }
        Ok(_) | Err(_) => Err(FrameError::TooLong(len)),
    }
}

/// The number of bytes that follow this head, unless there are too many to be read.
pub fn length(head: [u8; HEAD_BYTES]) -> Result<usize, FrameError> {
    let len = u32::from_be_bytes(head) as usize;
    if len <= FRAME_BYTES_MAX { Ok(len) } else { Err(FrameError::TooLong(len)) }
}

/// The value of a frame's bytes after its head. Bytes left over are refused: they would mean that
/// the two sides disagree about what a frame is.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(FrameError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(FrameError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{BlobReply, BlobRequest, InputFile};

    #[test]
    fn frame_reads_back_what_was_written() {
        let reply = BlobReply::Refused { message: "no such lease".to_owned(), again: false };

        let frame = encode(&reply).unwrap();

        let (head, body) = frame.split_first_chunk().unwrap();
        assert_eq!(length(*head), Ok(body.len()));
        assert_eq!(decode(body), Ok(reply));
    }

    #[test]
    fn frames_that_are_too_long_are_refused_both_ways() {
        let file = InputFile { name: "x".repeat(FRAME_BYTES_MAX), size: 1, digest: None };

        assert!(matches!(encode(&file), Err(FrameError::TooLong(_))));
        assert_eq!(length(u32::MAX.to_be_bytes()), Err(FrameError::TooLong(u32::MAX as usize)));
    }

    #[test]
    fn frame_with_bytes_left_over_is_refused() {
        let mut frame = encode(&BlobReply::Ready).unwrap();
        frame.push(0);

        assert_eq!(decode::<BlobReply>(&frame[HEAD_BYTES..]), Err(FrameError::Trailing(1)));
    }

    proptest! {
        #[test]
        fn frame_reader_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<BlobRequest>(&bytes);
            let _ = decode::<BlobReply>(&bytes);
            let _ = decode::<InputFile>(&bytes);
        }
    }
}

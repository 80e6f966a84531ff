//! Unpacking gzip as it streams.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::data::{ByteStream, Error};

/// What is unpacked at a time: gzip makes at most about a thousand times as many bytes of it, so
/// this bounds the memory.
const PIECE_BYTES: usize = 4 << 10;

struct Unpacking {
    packed: ByteStream,
    /// What has come of it and is not unpacked yet.
    piece: Bytes,
    decoder: MultiGzDecoder<Vec<u8>>,
    ended: bool,
}

/// The bytes that are packed in `packed`; `damaged` says what is wrong where they are not, or not
/// all of them.
pub fn gunzip(packed: ByteStream, damaged: impl Fn() -> Error + Send + 'static) -> ByteStream {
    let decoder = MultiGzDecoder::new(Vec::new());
    let start = Unpacking { packed, piece: Bytes::new(), decoder, ended: false };
    futures::stream::try_unfold((start, damaged), |(mut unpacking, damaged)| async move {
        while !unpacking.ended {
            if unpacking.step().await?.is_err() {
                return Err(damaged());
            }
            let bytes = std::mem::take(unpacking.decoder.get_mut());
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), (unpacking, damaged))));
            }
        }
        Ok(None)
    })
    .boxed()
}

impl Unpacking {
    /// Unpacks a little. The outer error is the stream's, the inner one the packing's.
    async fn step(&mut self) -> Result<std::io::Result<()>, Error> {
        if self.piece.is_empty() {
            match self.packed.try_next().await? {
                Some(piece) => self.piece = piece,
                None => {
                    self.ended = true;
                    return Ok(self.decoder.try_finish());
                }
            }
        }
        let piece = self.piece.split_to(self.piece.len().min(PIECE_BYTES));
        Ok(self.decoder.write_all(&piece))
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::data::testing::{customer, noise, stream, text};

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn unpack(packed: &[u8]) -> Result<Vec<u8>, Error> {
        text(gunzip(stream(packed, 777), || Error::Customer("damaged".into()))).await
    }

    #[tokio::test]
    async fn gzip_of_any_length_and_in_parts_is_unpacked() {
        for bytes in [Vec::new(), b"x".to_vec(), noise(100_000), vec![0; 5 << 20]] {
            assert!(unpack(&pack(&bytes)).await.unwrap() == bytes);
        }
        let two = [pack(b"one,"), pack(b"two")].concat();
        assert_eq!(unpack(&two).await.unwrap(), b"one,two");
    }

    #[tokio::test]
    async fn gzip_that_is_cut_or_damaged_is_named() {
        let packed = pack(&noise(50_000));
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 1;
        for bad in [&packed[..packed.len() - 1], &packed[..20], &damaged, b"plain text"] {
            assert_eq!(customer(unpack(bad).await), "damaged");
        }
    }
}

//! Compressed archives: recognised by how they begin, and read as what they hold.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: &[u8] = &[0x1f, 0x8b];
/// As much of a start as tells.
const MAGIC_BYTES_MAX: u64 = 8;
const BUFFER_BYTES: usize = 64 * 1024;
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// How files of other formats begin, and their names.
const OTHERS: [(&[u8], &str); 7] = [
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"LZIP", "lzip"),
];

/// It is compressed in a way that is not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is compressed with {0}; only gzip and zstd are read")]
pub struct Unknown(&'static str);

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A stream whose start has been read, from its start.
pub type Whole<R> = Chain<Cursor<Vec<u8>>, BufReader<R>>;

/// Reads how a stream begins, and gives that and the whole stream. A reader may give less than is
/// asked for, at its start too.
pub fn peek<R: Read>(mut reader: R, bytes: u64) -> io::Result<(Vec<u8>, Whole<R>)> {
    let mut start = Vec::new();
    reader.by_ref().take(bytes).read_to_end(&mut start)?;
    let rest = BufReader::with_capacity(BUFFER_BYTES, reader);
    Ok((start.clone(), Cursor::new(start).chain(rest)))
}

/// What is in a stream that may be compressed.
pub fn opened<'a>(reader: impl Read + 'a) -> io::Result<Result<Opened<'a>, Unknown>> {
    let (start, whole) = peek(reader, MAGIC_BYTES_MAX)?;
    Ok(Packing::of(&start).map(|packing| Opened { packing, bytes: packing.reader(whole) }))
}

/// A stream without compression.
pub struct Opened<'a> {
    pub packing: Packing,
    pub bytes: Box<dyn Read + 'a>,
}

impl Packing {
    /// Recognises it by the first bytes.
    ///
    /// # Errors
    /// When it is one that is not read here.
    pub fn of(start: &[u8]) -> Result<Self, Unknown> {
        if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(Unknown(name));
        }
        Ok(match start {
            _ if start.starts_with(GZIP) => Self::Gzip,
            _ if start.starts_with(ZSTD) => Self::Zstd,
            _ => Self::Plain,
        })
    }

    /// The bytes as they were before.
    pub fn reader<'a>(self, packed: impl BufRead + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::Plain => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => Box::new(Frames { packed, decoder: FrameDecoder::new(), is_open: false }),
        }
    }
}

/// A zstd stream: frames one after the other.
struct Frames<R> {
    packed: R,
    decoder: FrameDecoder,
    is_open: bool,
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame, if there is one.
    fn open(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.packed).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_open && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.is_open && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder
                    .decode_blocks(&mut self.packed, one)
                    .map_err(|error| damaged(&error))?;
                continue;
            }
            self.is_open = self.open()?;
            if !self.is_open {
                return Ok(0);
            }
        }
    }
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    pub fn zstd(bytes: &[u8]) -> Vec<u8> {
        use ruzstd::encoding::{CompressionLevel, compress_to_vec};
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Packing::of(bytes).unwrap().reader(bytes).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn packed_bytes_are_read_back() {
        let text = b"two frames of the same text".repeat(10_000);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let (one, two) = text.split_at(100_000);

        assert_eq!(unpacked(&text).unwrap(), text);
        assert_eq!(unpacked(&[gzip(one), gzip(two)].concat()).unwrap(), text);
        assert_eq!(unpacked(&[zstd(one), skipped, zstd(two)].concat()).unwrap(), text);
    }

    #[test]
    fn packed_stream_is_recognised_byte_by_byte() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = buffer.len().min(1);
                self.0.read(&mut buffer[..n])
            }
        }
        for (packed, packing) in [
            (b"text".to_vec(), Packing::Plain),
            (gzip(b"text"), Packing::Gzip),
            (zstd(b"text"), Packing::Zstd),
        ] {
            let mut opened = opened(Slow(&packed)).unwrap().unwrap();
            let mut text = String::new();
            opened.bytes.read_to_string(&mut text).unwrap();

            assert_eq!((opened.packing, text.as_str()), (packing, "text"));
        }
        assert!(opened(Slow(b"BZh9")).unwrap().is_err());
    }

    #[test]
    fn packed_bytes_that_are_cut_off_are_an_error() {
        let text = b"text".repeat(10_000);

        for packed in [gzip(&text), zstd(&text)] {
            assert!(unpacked(&packed[..packed.len() / 2]).is_err());
        }
    }

    #[test]
    fn packing_of_other_formats_is_refused_by_name() {
        for (magic, name) in OTHERS {
            assert_eq!(Packing::of(magic), Err(Unknown(name)));
        }
        assert_eq!(Packing::of(b""), Ok(Packing::Plain));
    }

    proptest! {
        #[test]
        fn packing_reader_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            for magic in [GZIP, ZSTD] {
                let _ = unpacked(&[magic, &bytes].concat());
            }
        }
    }
}

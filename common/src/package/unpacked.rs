//! What a file of an image archive unpacks to, measured before an engine unpacks it.
//!
//! A layer may be packed, and its files may be sparse: few bytes of an archive can thus fill a
//! disk.

use std::io::{self, Read};

use super::packing::{self, Packing};
use super::tarball;
use tar::EntryType;

/// The most bytes that an image may have unpacked.
pub const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// What has more bytes may not be packed more tightly than this; usual layers are packed to a
/// third.
const SUSPECT_BYTES: u64 = 256 << 20;
const RATIO_MAX: u64 = 100;
const ENTRIES_MAX: u64 = 20_000_000;
/// The most bytes of a header that says more of the next entry.
const EXTRA_BYTES_MAX: u64 = 1 << 20;
const BLOCK_BYTES: u64 = 512;
/// Where a tar header has its sum.
const SUM_AT: std::ops::Range<usize> = 148..156;

/// The image is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the image has more than {} GiB once it is unpacked", UNPACKED_BYTES_MAX >> 30)]
    TooLarge,
    #[error(
        "the image has a layer that unpacks to more than {RATIO_MAX} times its size: save the \
         image again without files of nothing but zeros"
    )]
    TooTight,
    #[error(
        "the image has a layer with a sparse file: copy the file whole when building the image"
    )]
    Sparse,
    #[error("the image has a layer that {0}")]
    Packing(#[from] packing::Unknown),
    #[error("the image has a layer that cannot be read: it is damaged or cut off")]
    Layer,
    #[error("the image has more than {ENTRIES_MAX} files")]
    TooMany,
    #[error("the image archive cannot be read")]
    Io(#[source] io::Error),
}

/// What is left of what an image may have.
#[derive(Debug)]
pub struct Budget {
    entries: u64,
    bytes: u64,
    suspect_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { entries: ENTRIES_MAX, bytes: UNPACKED_BYTES_MAX, suspect_bytes: SUSPECT_BYTES }
    }
}

/// A file of the archive, measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    pub packing: Packing,
    /// Without compression.
    pub bytes: u64,
    /// Whether it can be a layer.
    pub is_tar: bool,
}

impl Budget {
    /// Measures one file of the archive: a layer, or a list that is as small as it looks.
    pub fn measure(&mut self, size: u64, file: impl Read) -> Result<Measured, Error> {
        let opened = packing::opened(file).map_err(unreadable)??;
        let packing = opened.packing;
        let (bytes, is_tar) = self.layer(opened.bytes)?;
        self.check_ratio(bytes, size)?;
        self.bytes -= bytes;
        Ok(Measured { packing, bytes, is_tar })
    }

    /// Refuses what is packed too tightly.
    pub fn check_ratio(&self, bytes: u64, packed: u64) -> Result<(), Error> {
        if bytes > self.suspect_bytes && bytes / RATIO_MAX > packed {
            return Err(Error::TooTight);
        }
        Ok(())
    }

    /// What all files together have unpacked, until now.
    pub const fn used(&self) -> u64 {
        UNPACKED_BYTES_MAX - self.bytes
    }

    /// A layer's bytes: the whole stream, which an engine's unpacker reads, and no sparse files
    /// in it.
    fn layer(&mut self, reader: impl Read) -> Result<(u64, bool), Error> {
        let (start, reader) = packing::peek(reader, BLOCK_BYTES).map_err(unreadable)?;
        let is_tar = is_tar(&start);
        let mut counted = Counted { reader, bytes: 0, bytes_max: self.bytes };
        if is_tar {
            let looked = look(&mut counted, &mut self.entries);
            // The reader's own refusal comes out of it as any other failure.
            if counted.is_over() {
                return Err(Error::TooLarge);
            }
            looked?;
        }
        match io::copy(&mut counted, &mut io::sink()) {
            _ if counted.is_over() => Err(Error::TooLarge),
            Ok(_) => Ok((counted.bytes, is_tar)),
            Err(error) => Err(unreadable(error)),
        }
    }
}

fn unreadable(error: io::Error) -> Error {
    if let tarball::Error::Io(error) = tarball::failed(error) {
        Error::Io(error)
    } else {
        Error::Layer
    }
}

/// Whether bytes begin as a tar archive does: with a header whose sum is right, or with its end.
fn is_tar(block: &[u8]) -> bool {
    if block.len() as u64 != BLOCK_BYTES {
        return false;
    }
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let Ok(sum) = tar::Header::from_byte_slice(block).cksum() else { return false };
    // The sum itself counts as spaces.
    let bytes = block.iter().enumerate();
    let bytes = bytes.map(|(n, byte)| if SUM_AT.contains(&n) { 32 } else { u32::from(*byte) });
    sum == bytes.sum::<u32>()
}

fn look(layer: &mut impl Read, left: &mut u64) -> Result<(), Error> {
    let mut layer = tar::Archive::new(layer);
    for entry in layer.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        *left = left.checked_sub(1).ok_or(Error::TooMany)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_sparse() || is_sparse(&mut entry, kind)? {
            return Err(Error::Sparse);
        }
    }
    Ok(())
}

/// Whether an extended header makes the next file a sparse one.
fn is_sparse(entry: &mut impl Read, kind: EntryType) -> Result<bool, Error> {
    if !kind.is_pax_local_extensions() && !kind.is_pax_global_extensions() {
        return Ok(false);
    }
    let mut extra = Vec::new();
    entry.take(EXTRA_BYTES_MAX + 1).read_to_end(&mut extra).map_err(unreadable)?;
    if extra.len() as u64 > EXTRA_BYTES_MAX {
        return Err(Error::Layer);
    }
    Ok(extra.windows(10).any(|window| window == b"GNU.sparse"))
}

/// A reader that fails beyond this many bytes.
struct Counted<R> {
    reader: R,
    bytes: u64,
    bytes_max: u64,
}

impl<R> Counted<R> {
    fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n = self.reader.read(buffer)?;
        self.bytes = self.bytes.saturating_add(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packing::tests::{gzip, zstd};
    use super::super::tarball::tests::{archive, record};
    use super::*;

    fn measure(file: &[u8]) -> Result<Measured, Error> {
        Budget::default().measure(file.len() as u64, file)
    }

    #[test]
    fn layers_are_measured_unpacked() {
        let layer = archive(&[("file", EntryType::Regular, &[7; 100_000])]);
        let bytes = layer.len() as u64;

        for (packed, packing) in [
            (layer.clone(), Packing::Plain),
            (gzip(&layer), Packing::Gzip),
            (zstd(&layer), Packing::Zstd),
        ] {
            assert_eq!(measure(&packed).unwrap(), Measured { packing, bytes, is_tar: true });
        }
        assert!(measure(&[0; 1024]).unwrap().is_tar);
        assert!(!measure(b"{}").unwrap().is_tar);
        assert!(!measure(&[b'x'; 2000]).unwrap().is_tar);
    }

    #[test]
    fn layers_of_zeros_are_refused() {
        for bomb in [gzip(&vec![0; 1 << 20]), zstd(&vec![0; 1 << 20])] {
            let size = bomb.len() as u64;
            let mut careful = Budget { suspect_bytes: 1 << 19, ..Budget::default() };
            let mut small = Budget { bytes: 1 << 19, ..Budget::default() };

            assert!(matches!(careful.measure(size, &bomb[..]), Err(Error::TooTight)));
            assert!(matches!(small.measure(size, &bomb[..]), Err(Error::TooLarge)));
            assert!(measure(&bomb).is_ok());
        }
    }

    #[test]
    fn layers_with_sparse_files_are_refused() {
        let sparse = archive(&[("file", EntryType::GNUSparse, b"")]);
        let pax = record("GNU.sparse.major", "1");
        let extended =
            archive(&[("x", EntryType::XHeader, &pax), ("file", EntryType::Regular, b"")]);

        for layer in [&sparse, &extended] {
            for packed in [layer.clone(), gzip(layer), zstd(layer)] {
                assert!(matches!(measure(&packed), Err(Error::Sparse)));
            }
        }
    }

    #[test]
    fn layers_that_are_damaged_or_of_other_packers_are_refused() {
        let layer = archive(&[("file", EntryType::Regular, &[7; 5000])]);

        assert!(matches!(measure(b"BZh9"), Err(Error::Packing(_))));
        for damaged in [&layer[..4000], &gzip(&layer)[..12], &zstd(&layer)[..12]] {
            assert!(matches!(measure(damaged), Err(Error::Layer)));
        }
    }

    proptest! {
        #[test]
        fn layer_measure_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            for file in [&bytes, &gzip(&bytes), &zstd(&bytes)] {
                let _ = measure(file);
            }
        }
    }
}

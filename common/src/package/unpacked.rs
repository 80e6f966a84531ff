//! What the layers of an image archive unpack to, measured before an engine unpacks them.
//!
//! A layer may be packed, and its files may be sparse: few bytes of an archive can thus fill a
//! disk.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

/// The most bytes that an image may have unpacked.
pub const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// An image of more bytes may not be packed more tightly than this; usual ones are packed to a
/// third.
const SUSPECT_BYTES: u64 = 256 << 20;
const RATIO_MAX: u64 = 100;
const ENTRIES_MAX: u64 = 20_000_000;
const BUFFER_BYTES: usize = 64 * 1024;
/// The most bytes of a header that says more of the next entry.
const EXTRA_BYTES_MAX: u64 = 64 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];
/// How other packers' files begin: bzip2, xz, zstd.
const OTHERS: [&[u8]; 3] = [b"BZh", b"\xfd7zXZ\0", &[0x28, 0xb5, 0x2f, 0xfd]];
/// Where a tar header has its magic number.
const MAGIC_AT: usize = 257;
const MAGIC: &[u8] = b"ustar";

/// The archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the image archive is no tar archive")]
    NotATar,
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
    #[error("the image has a layer that is packed with something else than gzip")]
    Packing,
    #[error("the image has a layer that cannot be read")]
    Layer,
    #[error("the image has more than {ENTRIES_MAX} files")]
    TooMany,
    #[error("the image archive cannot be read")]
    Io(#[source] io::Error),
}

/// Measures an archive as an engine's save command writes it. Reads it to its end, where nothing
/// is wrong with it.
///
/// # Errors
/// With what is wrong, as soon as it is seen.
pub fn measure(archive: impl Read) -> Result<u64, Error> {
    measure_with(archive, SUSPECT_BYTES)
}

fn measure_with(archive: impl Read, suspect_bytes: u64) -> Result<u64, Error> {
    let mut archive = tar::Archive::new(archive);
    let (mut left, mut bytes, mut any) = (ENTRIES_MAX, 0u64, false);
    for entry in archive.entries().map_err(|_| Error::NotATar)?.raw(true) {
        let entry = entry.map_err(|_| Error::NotATar)?;
        any = true;
        if entry.header().entry_type().is_gnu_sparse() {
            return Err(Error::Sparse);
        }
        let size = entry.size();
        let measured = part(entry, &mut left, UNPACKED_BYTES_MAX - bytes)?;
        if measured > suspect_bytes && measured / RATIO_MAX > size {
            return Err(Error::TooTight);
        }
        bytes += measured;
    }
    if any { Ok(bytes) } else { Err(Error::NotATar) }
}

/// One file of the archive: a layer, or a list that is as small as it looks.
fn part(entry: impl Read, left: &mut u64, bytes_max: u64) -> Result<u64, Error> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, entry);
    let start = reader.fill_buf().map_err(Error::Io)?;
    if OTHERS.iter().any(|magic| start.starts_with(magic)) {
        return Err(Error::Packing);
    }
    if start.starts_with(GZIP) {
        let unpacked = MultiGzDecoder::new(reader);
        return layer(BufReader::with_capacity(BUFFER_BYTES, unpacked), left, bytes_max);
    }
    layer(reader, left, bytes_max)
}

/// A layer's bytes: the whole stream, which an engine's unpacker reads, and no sparse files in it.
fn layer(reader: impl BufRead, left: &mut u64, bytes_max: u64) -> Result<u64, Error> {
    let mut counted = Counted { reader, bytes: 0, bytes_max };
    let start = counted.reader.fill_buf().map_err(|_| Error::Layer)?;
    if start.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(MAGIC)) {
        let looked = look(&mut counted, left);
        // The reader's own refusal comes out of it as any other failure.
        if counted.is_over() {
            return Err(Error::TooLarge);
        }
        looked?;
    }
    match io::copy(&mut counted, &mut io::sink()) {
        _ if counted.is_over() => Err(Error::TooLarge),
        Ok(_) => Ok(counted.bytes),
        Err(_) => Err(Error::Layer),
    }
}

fn look(layer: &mut impl Read, left: &mut u64) -> Result<(), Error> {
    let mut layer = tar::Archive::new(layer);
    for entry in layer.entries().map_err(|_| Error::Layer)?.raw(true) {
        let mut entry = entry.map_err(|_| Error::Layer)?;
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
    entry.take(EXTRA_BYTES_MAX + 1).read_to_end(&mut extra).map_err(|_| Error::Layer)?;
    if extra.len() as u64 > EXTRA_BYTES_MAX {
        return Err(Error::Layer);
    }
    Ok(extra.windows(10).any(|window| window == b"GNU.sparse"))
}

/// A reader that fails beyond so many bytes.
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
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn tar_of(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (kind, name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn saved(layer: &[u8]) -> Vec<u8> {
        tar_of(&[
            (EntryType::Regular, "a.json", b"{}"),
            (EntryType::Directory, "abc", b""),
            (EntryType::Regular, "abc/layer.tar", layer),
            (EntryType::Regular, "manifest.json", b"[]"),
        ])
    }

    #[test]
    fn layers_are_measured_unpacked() {
        let layer = tar_of(&[(EntryType::Regular, "file", &[7; 100_000])]);
        let lists = 4;

        for packed in [layer.clone(), gzip(&layer)] {
            assert_eq!(measure(&saved(&packed)[..]).unwrap(), layer.len() as u64 + lists);
        }
    }

    #[test]
    fn a_layer_of_zeros_is_refused() {
        let packed = gzip(&vec![0; 1 << 20]);
        let bomb = saved(&packed);

        assert!(matches!(measure_with(&bomb[..], 1 << 19), Err(Error::TooTight)));
        assert!(measure(&bomb[..]).is_ok());
        let mut left = ENTRIES_MAX;
        assert!(matches!(part(&packed[..], &mut left, 1 << 19), Err(Error::TooLarge)));
    }

    #[test]
    fn sparse_files_are_refused() {
        let sparse = tar_of(&[(EntryType::GNUSparse, "file", b"")]);
        let pax = b"22 GNU.sparse.major=1\n";
        let extended = tar_of(&[(EntryType::XHeader, "x", pax), (EntryType::Regular, "file", b"")]);

        for layer in [&sparse, &extended] {
            for packed in [layer.clone(), gzip(layer)] {
                assert!(matches!(measure(&saved(&packed)[..]), Err(Error::Sparse)));
            }
        }
        assert!(matches!(measure(&sparse[..]), Err(Error::Sparse)));
    }

    #[test]
    fn other_packers_and_other_files_are_refused() {
        for magic in OTHERS {
            assert!(matches!(measure(&saved(magic)[..]), Err(Error::Packing)));
        }
        for archive in [&b""[..], b"image", &[7; 2000]] {
            assert!(matches!(measure(archive), Err(Error::NotATar)), "{archive:?}");
        }
        assert!(matches!(measure(&saved(&gzip(b"cut off")[..12])[..]), Err(Error::Layer)));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = measure(&bytes[..]);
            let _ = measure(&saved(&bytes)[..]);
            let _ = measure(&saved(&gzip(&bytes))[..]);
        }
    }
}

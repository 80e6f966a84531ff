//! Reads a stranger's tar archive in one pass: the entries that are files, folders and links,
//! with the names that extended headers give them. It is the one reader for packages and images,
//! on the server, on nodes and in the client, so that all of them see the same.

use std::io::{self, Read};

use tar::EntryType;

/// The most bytes of a header that says more of the next entry. Those of macOS hold whole
/// attributes of files.
const EXTRA_BYTES_MAX: u64 = 1 << 20;
/// The kind of an entry that is only a name for the whole archive.
const VOLUME_LABEL: u8 = b'V';

/// The archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this is not a tar archive, or it is damaged or cut off ({0})")]
    NotATar(io::Error),
    #[error("this is an archive of nothing")]
    Empty,
    #[error("entry {entry:?} {problem}")]
    Entry { entry: String, problem: &'static str },
    #[error("the archive cannot be read")]
    Io(#[source] io::Error),
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File {
        executable: bool,
    },
    Folder,
    /// With the path that it leads to, from its own folder.
    Symlink(Vec<u8>),
    /// With the path that it leads to, from the top.
    HardLink(Vec<u8>),
}

/// A file, a folder or a link.
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub kind: Kind,
    pub size: u64,
    pub bytes: &'a mut dyn Read,
}

impl Entry<'_> {
    /// The refusal of this entry.
    pub fn refused(&self, problem: &'static str) -> Error {
        refused(self.name, problem)
    }
}

fn refused(name: &[u8], problem: &'static str) -> Error {
    Error::Entry { entry: String::from_utf8_lossy(name).chars().take(200).collect(), problem }
}

/// Tells a reader's failure from what is wrong with the bytes that it read.
pub fn failed(error: io::Error) -> Error {
    let mut source = Some(&error as &(dyn std::error::Error + 'static));
    while let Some(cause) = source {
        let cause_io = cause.downcast_ref::<io::Error>();
        if cause_io.is_some_and(|error| error.raw_os_error().is_some()) {
            return Error::Io(error);
        }
        source = cause.source();
    }
    Error::NotATar(error)
}

/// What headers before an entry say of it.
#[derive(Default)]
struct Extra {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Gives each entry to `take`, in the order of the archive.
///
/// # Errors
/// When the archive cannot be read, or an entry is neither a file, a folder nor a link; and with
/// what `take` refuses.
#[expect(clippy::wildcard_enum_match_arm, reason = "kinds not named are refused")]
pub fn each<E: From<Error>>(
    archive: impl Read,
    mut take: impl FnMut(&mut Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut tar = tar::Archive::new(archive);
    let (mut extra, mut any) = (Extra::default(), false);
    // Raw: the library would believe a size that is given twice, and read any header into memory.
    for entry in tar.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        any = true;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::XGlobalHeader => continue,
            _ if kind.as_byte() == VOLUME_LABEL => continue,
            EntryType::XHeader => {
                extended(&text(&mut entry)?, &mut extra)?;
                continue;
            }
            EntryType::GNULongName => {
                extra.name = Some(without_end(text(&mut entry)?));
                continue;
            }
            EntryType::GNULongLink => {
                extra.link = Some(without_end(text(&mut entry)?));
                continue;
            }
            _ => {}
        }
        let Extra { name, link } = std::mem::take(&mut extra);
        let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let size = entry.header().entry_size().map_err(failed)?;
        let link = || {
            link.or_else(|| entry.link_name_bytes().map(Into::into))
                .ok_or_else(|| refused(&name, "is a link to nothing"))
        };
        let kind = match kind {
            // Archives of before POSIX have no kind for folders.
            EntryType::Regular if size == 0 && name.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
                Kind::File { executable }
            }
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => Kind::Symlink(link()?),
            EntryType::Link => Kind::HardLink(link()?),
            EntryType::GNUSparse => return Err(refused(&name, SPARSE).into()),
            _ => return Err(refused(&name, "is neither a file nor a folder").into()),
        };
        take(&mut Entry { name: &name, kind, size, bytes: &mut entry })?;
    }
    if any { Ok(()) } else { Err(Error::Empty.into()) }
}

const SPARSE: &str = "is a sparse file; pack it again without --sparse";

/// The text of a header that says more of the next entry.
fn text(entry: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    entry.take(EXTRA_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > EXTRA_BYTES_MAX {
        return Err(refused(b"", "has a header that is too large"));
    }
    Ok(text)
}

fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// Reads records of the form `LENGTH KEY=VALUE\n`.
fn extended(mut text: &[u8], extra: &mut Extra) -> Result<(), Error> {
    let malformed = || refused(b"", "has an extended header that cannot be read");
    // Some writers fill the block with zeros.
    while text.first().is_some_and(|byte| *byte != 0) {
        let space = text.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = str::from_utf8(&text[..space]).ok().and_then(|digits| digits.parse().ok());
        let length: usize = length.ok_or_else(malformed)?;
        let record = text.get(space + 1..length).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => extra.name = Some(value.to_vec()),
            b"linkpath" => extra.link = Some(value.to_vec()),
            b"size" => return Err(refused(b"", "has a size that is given twice")),
            _ if key.starts_with(b"GNU.sparse.") => return Err(refused(b"", SPARSE)),
            _ => {}
        }
        text = &text[length..];
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub type Raw<'a> = (&'a str, EntryType, &'a [u8]);

    /// An archive of entries; names are written as they are, hostile ones included. Links lead to
    /// what stands as their bytes.
    pub fn archive(entries: &[Raw<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let mut content = *bytes;
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.as_gnu_mut().unwrap().linkname[..bytes.len()].copy_from_slice(bytes);
                content = b"";
            }
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// A record of an extended header.
    pub fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        format!("{length}{rest}").into_bytes()
    }

    type Found = (String, Kind, Vec<u8>);

    fn read(archive: &[u8]) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        each(archive, |entry| {
            let mut bytes = Vec::new();
            entry.bytes.read_to_end(&mut bytes).map_err(failed)?;
            let name = String::from_utf8_lossy(entry.name).into_owned();
            found.push((name, entry.kind.clone(), bytes));
            Ok::<_, Error>(())
        })?;
        Ok(found)
    }

    const FILE: Kind = Kind::File { executable: false };

    #[test]
    fn archives_of_many_tools_are_read() {
        let long = "long/".repeat(60);
        let with_end = format!("{long}\0");
        let (path, linkpath) = (record("path", &long), record("linkpath", "far"));
        let attributes = record("LIBARCHIVE.xattr.com.apple.ResourceFork", &"A".repeat(200_000));
        let entries = archive(&[
            ("pax_global_header", EntryType::XGlobalHeader, &record("comment", "0123abcd")),
            ("label", EntryType::new(VOLUME_LABEL), b""),
            ("old/", EntryType::Regular, b""),
            ("contiguous", EntryType::Continuous, b"7"),
            ("x", EntryType::XHeader, &[path, linkpath, attributes].concat()),
            ("short", EntryType::Symlink, b"near"),
            ("././@LongLink", EntryType::GNULongName, with_end.as_bytes()),
            ("short", EntryType::Regular, b"gnu"),
            ("hard", EntryType::Link, b"contiguous"),
        ]);

        let found = read(&[entries, vec![7; 3000]].concat()).unwrap();

        let expected = [
            ("old/", Kind::Folder, ""),
            ("contiguous", FILE, "7"),
            (&long, Kind::Symlink(b"far".to_vec()), ""),
            (&long, FILE, "gnu"),
            ("hard", Kind::HardLink(b"contiguous".to_vec()), ""),
        ];
        let expected = expected.map(|(name, kind, text)| (name.to_owned(), kind, text.into()));
        assert_eq!(found, expected);
    }

    #[test]
    fn archives_that_are_ambiguous_are_refused() {
        for (header, says) in [
            ((EntryType::XHeader, record("size", "99999999")), "twice"),
            ((EntryType::XHeader, record("GNU.sparse.major", "1")), "sparse"),
            ((EntryType::XHeader, b"99 path=x\n".to_vec()), "cannot be read"),
            ((EntryType::XHeader, b"path=x\n".to_vec()), "cannot be read"),
            ((EntryType::XHeader, vec![b'1'; (1 << 20) + 1]), "too large"),
            ((EntryType::GNULongName, vec![b'a'; (1 << 20) + 1]), "too large"),
            ((EntryType::GNUSparse, Vec::new()), "sparse"),
            ((EntryType::Fifo, Vec::new()), "neither"),
            ((EntryType::Char, Vec::new()), "neither"),
        ] {
            let (kind, bytes) = header;
            let refused = read(&archive(&[("x", kind, &bytes), ("b", EntryType::Regular, b"")]));

            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn archives_that_are_cut_off_or_invalid_are_refused() {
        let whole =
            archive(&[("a", EntryType::Regular, &[7; 5000]), ("b", EntryType::Regular, b"")]);

        for length in [100, 600, 5400, 5700] {
            assert!(matches!(read(&whole[..length]), Err(Error::NotATar(_))), "{length}");
        }
        assert!(matches!(read(b"just a text"), Err(Error::NotATar(_))));
        assert!(matches!(read(&[7; 2000]), Err(Error::NotATar(_))));
        assert!(matches!(read(b""), Err(Error::Empty)));
        assert!(matches!(read(&[0; 4096]), Err(Error::Empty)));
    }

    #[test]
    fn reader_failure_is_distinguished_from_bad_bytes() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }

        assert!(matches!(each(Broken, |_| Ok::<_, Error>(())), Err(Error::Io(_))));
    }

    proptest! {
        #[test]
        fn archive_reader_does_not_panic_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read(&bytes);
            let _ = read(&archive(&[("x", EntryType::XHeader, &bytes), ("a", EntryType::Regular, b"")]));
        }
    }
}

//! What a container left behind, as flat files with names, sizes and digests.
//!
//! Links are followed to files of the results. What cannot be a result is left out, and said: links
//! to anything else, sockets, pipes.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use common::digest::{Digest, Digester};
use common::input::text::is_plain;
use common::protocol::{Contents, NAME_BYTES_MAX, NotCarried};

use crate::disk::count::{DEPTH_MAX, ENTRIES_MAX};

/// How many links a path may lead through: as many as the kernel follows.
const HOPS_MAX: usize = 40;
/// Names that are said of what is left out.
const NAMED_MAX: usize = 5;

/// A result file on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    pub path: PathBuf,
    /// Flat: folders are joined with `__`.
    pub name: String,
    pub size: u64,
    pub digest: Digest,
    /// Its bytes are among those that travel with the receipt.
    pub is_small: bool,
}

/// The results, and the entries among them that are no results.
#[derive(Debug, Default)]
pub struct Results {
    pub files: Vec<ResultFile>,
    /// The bytes of as many small ones as travel with a receipt.
    pub contents: Contents,
    left_out: Vec<String>,
}

/// The results cannot be taken; the customer's code is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the results have more than {ENTRIES_MAX} files and folders, or lie in more than \
         {DEPTH_MAX} folders"
    )]
    TooMany,
    #[error("the results have more than {0} bytes")]
    TooLarge(u64),
    #[error("the result {0:?} has a name that is too long, or has characters no name may have")]
    Name(String),
    #[error("two results are called {0:?} once their folders are joined to their names")]
    Twice(String),
    #[error("the result {name:?} cannot be read")]
    Unreadable { name: String, source: io::Error },
}

impl Results {
    /// What the customer is told of what was left out.
    pub fn warning(&self) -> Option<String> {
        let rest = self.left_out.len().checked_sub(1)?;
        let mut named = self.left_out[..self.left_out.len().min(NAMED_MAX)].join(", ");
        if rest >= NAMED_MAX {
            named = format!("{named} and {} more", rest + 1 - NAMED_MAX);
        }
        Some(format!(
            "warning: left out of the results, because they are no files: {named}; links are \
             followed only to files among the results"
        ))
    }
}

/// Lists a folder that nobody writes to any more, in the order of names, and reads every file
/// for its digest. `inside` is where the container saw it.
pub fn collect(top: &Path, inside: &Path, bytes_max: u64) -> Result<Results, Error> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    let (mut bytes, mut entries) = (0u64, 0);
    let mut folders = vec![(PathBuf::new(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder)).map_err(|e| unreadable(&prefix, e))? {
            let entry = entry.map_err(|e| unreadable(&prefix, e))?;
            let name = name(&prefix, &entry.file_name())?;
            let mut meta = entry.metadata().map_err(|e| unreadable(&name, e))?;
            entries += 1;
            if entries > ENTRIES_MAX || depth > DEPTH_MAX {
                return Err(Error::TooMany);
            }
            let mut path = folder.join(entry.file_name());
            if meta.is_dir() {
                folders.push((path, format!("{name}__"), depth + 1));
                continue;
            }
            if meta.is_symlink() {
                let target = target(top, inside, &path).map_err(|e| unreadable(&name, e))?;
                let Some(file) = target else {
                    left_out.push(name);
                    continue;
                };
                path = file;
                meta = fs::symlink_metadata(top.join(&path)).map_err(|e| unreadable(&name, e))?;
            }
            if !meta.is_file() {
                left_out.push(name);
                continue;
            }
            bytes = bytes.saturating_add(meta.len());
            if bytes > bytes_max {
                return Err(Error::TooLarge(bytes_max));
            }
            found.push((name, top.join(path)));
        }
    }
    left_out.sort();
    found.sort();
    let mut names = HashSet::new();
    if let Some((name, _)) = found.iter().find(|(name, _)| !names.insert(name)) {
        return Err(Error::Twice(name.clone()));
    }
    let mut contents = Contents::default();
    let read = |(name, path)| read(name, path, &mut contents);
    let files = found.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Results { files, contents, left_out })
}

/// What a link leads to, as a path below the top without links in it. `None` where that is nothing,
/// or outside: the host's files are none of the container's.
fn target(top: &Path, inside: &Path, link: &Path) -> io::Result<Option<PathBuf>> {
    let mut at = PathBuf::new();
    let mut rest: Vec<OsString> = parts(link);
    let mut hops = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            if !at.pop() {
                return Ok(None);
            }
            continue;
        }
        let next = at.join(&part);
        match fs::symlink_metadata(top.join(&next)) {
            Ok(meta) if meta.is_symlink() => {}
            Ok(_) => {
                at = next;
                continue;
            }
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        hops += 1;
        let mut to = fs::read_link(top.join(&next))?;
        if to.is_absolute() {
            let Ok(below) = to.strip_prefix(inside) else { return Ok(None) };
            (at, to) = (PathBuf::new(), below.to_owned());
        }
        if hops > HOPS_MAX {
            return Ok(None);
        }
        rest.extend(parts(&to));
    }
    Ok(Some(at))
}

/// The parts of a relative path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter(|part| !matches!(part, Component::CurDir));
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

/// A path that leads to nothing, or through a file.
fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::NotFound | K::NotADirectory | K::InvalidFilename)
}

fn name(prefix: &str, file: &std::ffi::OsStr) -> Result<String, Error> {
    let name = format!("{prefix}{}", file.to_string_lossy());
    let odd = |c: char| !is_plain(c) || c == '\\' || c == char::REPLACEMENT_CHARACTER;
    if name.len() > NAME_BYTES_MAX || name.contains(odd) {
        return Err(Error::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(name)
}

fn read(name: String, path: PathBuf, contents: &mut Contents) -> Result<ResultFile, Error> {
    let (size, digest, small) = digest(&path).map_err(|e| unreadable(&name, e))?;
    let is_small = match small.map(|bytes| contents.add(bytes)) {
        Some(Ok(()) | Err(NotCarried::Twice)) => true,
        Some(Err(NotCarried::TooMany | NotCarried::TooLarge)) | None => false,
    };
    Ok(ResultFile { path, name, size, digest, is_small })
}

/// The size and digest of a file, and its bytes where it is small.
fn digest(path: &Path) -> io::Result<(u64, Digest, Option<Vec<u8>>)> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(Contents::BYTES_MAX as u64 + 1).read_to_end(&mut start)?;
    if start.len() <= Contents::BYTES_MAX {
        return Ok((start.len() as u64, Digest::of(&start), Some(start)));
    }
    let (mut size, mut digester) = (start.len() as u64, Digester::default());
    digester.update(&start);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((size, digester.finish(), None));
        }
        digester.update(&buffer[..n]);
        size += n as u64;
    }
}

fn unreadable(name: &str, source: io::Error) -> Error {
    Error::Unreadable { name: name.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    const INSIDE: &str = "/test/results";

    fn collect(top: &Path, bytes_max: u64) -> Result<Vec<ResultFile>, Error> {
        super::collect(top, Path::new(INSIDE), bytes_max).map(|results| results.files)
    }

    #[test]
    fn nested_result_folders_are_flattened() {
        let dir = folder(&[("b.txt", b"2"), ("a/x/y.txt", b"123"), ("a/z", b"")]);
        fs::create_dir(dir.path().join("empty")).unwrap();

        let files = collect(dir.path(), 100).unwrap();

        let listed: Vec<_> = files.iter().map(|f| (f.name.as_str(), f.size)).collect();
        assert_eq!(listed, [("a__x__y.txt", 3), ("a__z", 0), ("b.txt", 1)]);
        assert_eq!(files[0].digest, Digest::of(b"123"));
    }

    #[test]
    fn result_names_that_collide_are_refused() {
        let dir = folder(&[("a/b", b"1"), ("a__b", b"2")]);

        assert!(matches!(collect(dir.path(), 100), Err(Error::Twice(_))));
    }

    #[test]
    fn result_links_within_the_results_are_followed_and_others_left_out() {
        use std::os::unix::fs::symlink;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), b"secret").unwrap();
        let dir = folder(&[("model_3.bin", b"model"), ("run/log.txt", b"log")]);
        let link = |name: &str, target: &str| symlink(target, dir.path().join(name)).unwrap();
        link("latest.bin", "./model_3.bin");
        link("absolute.bin", &format!("{INSIDE}/run/../model_3.bin"));
        link("run/up.bin", "../latest.bin");
        link("short", "run");
        link("through.txt", "short/log.txt");
        for (name, target) in [
            ("a-host-file", outside.path().join("secret").to_str().unwrap()),
            ("b-image", "/test/package/main.py"),
            ("c-folder", "run"),
            ("d-loop", "d-loop"),
            ("e-nothing", "missing"),
            ("f-out", "../results/model_3.bin"),
            ("g-through-a-file", "model_3.bin/x"),
            ("h-top", INSIDE),
        ] {
            link(name, target);
        }
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();

        let results = super::collect(dir.path(), Path::new(INSIDE), 1000).unwrap();

        let listed: Vec<_> = results.files.iter().map(|f| (f.name.as_str(), f.size)).collect();
        assert_eq!(
            listed,
            [
                ("absolute.bin", 5),
                ("latest.bin", 5),
                ("model_3.bin", 5),
                ("run__log.txt", 3),
                ("run__up.bin", 5),
                ("through.txt", 3),
            ]
        );
        assert!(results.files[..3].iter().all(|file| file.digest == Digest::of(b"model")));
        let warning = results.warning().unwrap();
        assert!(
            warning.contains("a-host-file, b-image, c-folder, d-loop, e-nothing and 5 more"),
            "{warning}"
        );
        assert_eq!(Results::default().warning(), None);
    }

    #[test]
    fn small_results_travel_with_the_receipt_as_far_as_they_fit() {
        let (half, rest) = (vec![1; Contents::BYTES_MAX / 2], vec![2; Contents::BYTES_MAX / 2 + 1]);
        let large = vec![3; Contents::BYTES_MAX + 1];
        let files = [("a", &half), ("b", &large), ("c", &rest), ("d", &half), ("e", &vec![])];
        let dir = folder(&files.map(|(name, bytes)| (name, &bytes[..])));

        let results = super::collect(dir.path(), Path::new(INSIDE), 1 << 20).unwrap();

        let small: Vec<_> = results.files.iter().map(|file| file.is_small).collect();
        assert_eq!(small, [true, false, false, true, true]);
        assert_eq!(results.contents.find(Digest::of(&half)), Some(&half[..]));
        assert_eq!(results.contents.bytes(), half.len());
        let of = |bytes: &[u8]| (bytes.len() as u64, Digest::of(bytes));
        let read: Vec<_> = results.files.iter().map(|file| (file.size, file.digest)).collect();
        assert_eq!(read, files.map(|(_, bytes)| of(bytes)));
    }

    #[test]
    fn result_names_that_are_invalid_are_refused() {
        let long = format!("{0}/{0}", "n".repeat(200));
        for name in ["a\\b", "a\nb", &long] {
            let dir = folder(&[(name, b"")]);
            assert!(matches!(collect(dir.path(), 100), Err(Error::Name(_))), "{name}");
        }
    }

    #[test]
    fn results_that_are_nested_too_deep_are_refused() {
        let dir = folder(&[(&format!("{}x", "d/".repeat(DEPTH_MAX)), b"")]);
        collect(dir.path(), 100).unwrap();

        let dir = folder(&[(&format!("{}x", "d/".repeat(DEPTH_MAX + 1)), b"")]);
        assert!(matches!(collect(dir.path(), 100), Err(Error::TooMany)));
    }

    #[test]
    fn results_that_are_too_large_are_refused() {
        let dir = folder(&[("a", &[0; 60]), ("b", &[0; 60])]);
        assert!(matches!(collect(dir.path(), 100), Err(Error::TooLarge(100))));
    }

    #[test]
    fn results_of_large_number_are_accepted() {
        let dir = folder(&[]);
        for i in 0..12_000 {
            File::create(dir.path().join(format!("data_{i}.bin"))).unwrap();
        }

        assert_eq!(collect(dir.path(), 100).unwrap().len(), 12_000);
    }
}

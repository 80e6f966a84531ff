//! Links between the files of an archive: tools write a layer that two images share once.

use std::collections::HashMap;

/// How many links a path may lead through.
const HOPS_MAX: usize = 16;

/// Where links lead, as paths in the archive. Those that lead out of it are not kept: they lead to
/// nothing.
#[derive(Default)]
pub struct Links(HashMap<String, String>);

impl Links {
    /// A link whose target counts from its own folder.
    pub fn symlink(&mut self, path: String, target: &[u8]) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if let Some(target) = joined(folder, target) {
            self.0.insert(path, target);
        }
    }

    /// A link whose target counts from the top.
    pub fn hard_link(&mut self, path: String, target: &[u8]) {
        if let Some(target) = joined("", target) {
            self.0.insert(path, target);
        }
    }

    /// The file that a path leads to.
    pub fn follow(&self, mut path: String, is_file: impl Fn(&str) -> bool) -> Option<String> {
        for _ in 0..HOPS_MAX {
            if is_file(&path) {
                return Some(path);
            }
            path.clone_from(self.0.get(&path)?);
        }
        None
    }
}

/// The path that `target` is, seen from `folder`.
fn joined(folder: &str, target: &[u8]) -> Option<String> {
    let target = str::from_utf8(target).ok().filter(|target| !target.starts_with('/'))?;
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(links: &[(&str, &str)], path: &str) -> Option<String> {
        let mut found = Links::default();
        for (path, target) in links {
            found.symlink((*path).to_owned(), target.as_bytes());
        }
        found.follow(path.to_owned(), |path| path == "a/file")
    }

    #[test]
    fn links_resolve_to_files_of_the_archive_or_nothing() {
        let file = Some("a/file".to_owned());

        assert_eq!(followed(&[], "a/file"), file);
        assert_eq!(followed(&[("b/l", "../a/./file")], "b/l"), file);
        assert_eq!(followed(&[("l", "m"), ("m", "a/file")], "l"), file);
        assert_eq!(followed(&[("l", "m"), ("m", "l")], "l"), None);
        assert_eq!(followed(&[("l", "/a/file")], "l"), None);
        assert_eq!(followed(&[("b/l", "../../a/file")], "b/l"), None);
        assert_eq!(followed(&[("l", "missing")], "l"), None);
    }
}

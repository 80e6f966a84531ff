//! Makes a stranger's image archive safe to load: it may bring an image, but no names.
//!
//! An engine gives the names in an archive to what it loads. An archive could thus replace an
//! image that other tasks run in; so the lists that hold names are written anew, without any.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};
use tar::EntryType;

use crate::archive;

/// The most bytes of a list in the archive.
const LIST_BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: usize = 20_000;

/// The archive is not one that an engine's save makes of one image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the image archive {0}")]
    Refused(&'static str),
    #[error("the image archive cannot be read or written")]
    Io(#[from] io::Error),
}

/// Copies the archive without the names in it.
pub fn without_names(mut from: &File, to: &File) -> Result<(), Error> {
    inspect(from)?;
    from.rewind()?;
    let mut tar = tar::Archive::new(from);
    let mut out = tar::Builder::new(to);
    let (mut manifest, mut index) = (None, None);
    for (n, entry) in tar.entries()?.enumerate() {
        let mut entry = entry?;
        if n == ENTRIES_MAX {
            return Err(Error::Refused("has too many entries"));
        }
        let path = plain(&entry.path()?)?;
        let list = match path.to_str() {
            Some("manifest.json") => &mut manifest,
            Some("index.json") => &mut index,
            // The list of an older format, for readers that know no other.
            Some("repositories") => continue,
            _ => {
                copy(&mut entry, &path, &mut out)?;
                continue;
            }
        };
        if list.is_some() || entry.size() > LIST_BYTES_MAX {
            return Err(Error::Refused("has a list that is there twice or is too large"));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text)?;
        let value = common::json::read("", &text)
            .map_err(|_| Error::Refused("has a list that is no JSON"))?;
        *list = Some(value);
    }
    // Last, so that nothing in the archive can take their place.
    let manifest = manifest.ok_or(Error::Refused("has no manifest.json"))?;
    append(&mut out, "manifest.json", &nameless_manifest(&manifest)?)?;
    if let Some(index) = index {
        append(&mut out, "index.json", &nameless_index(index)?)?;
    }
    out.finish()?;
    Ok(())
}

/// Looks at the raw headers first, for what would mislead the reader of the second pass or fill
/// its memory.
fn inspect(from: &File) -> Result<(), Error> {
    let mut tar = tar::Archive::new(from);
    for entry in tar.entries_with_seek()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_sparse() {
            return Err(Error::Refused("has a sparse file"));
        }
        let extra = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if extra && archive::check_extra(&mut entry).is_err() {
            return Err(Error::Refused("has a header that cannot be believed"));
        }
    }
    Ok(())
}

fn plain(path: &Path) -> Result<PathBuf, Error> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => plain.push(part),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                return Err(Error::Refused("has an entry that lies outside of it"));
            }
        }
    }
    Ok(plain)
}

fn copy(
    entry: &mut tar::Entry<'_, impl io::Read>,
    path: &Path,
    out: &mut tar::Builder<impl io::Write>,
) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    let kind = entry.header().entry_type();
    if kind == EntryType::Regular {
        header.set_size(entry.size());
        out.append_data(&mut header, path, entry)?;
    } else if kind == EntryType::Directory {
        header.set_mode(0o755);
        header.set_entry_type(kind);
        header.set_size(0);
        out.append_data(&mut header, path, io::empty())?;
    } else if kind == EntryType::Symlink {
        // A layer that is there already, in the format of older engines: `../<id>/layer.tar`.
        let target = entry.link_name()?.ok_or(Error::Refused("has a link to nothing"))?;
        let inside = path.components().count() == 2
            && path.ends_with("layer.tar")
            && target.components().count() == 3
            && target.starts_with("..")
            && target.ends_with("layer.tar");
        if !inside {
            return Err(Error::Refused("has a link that is not from layer to layer"));
        }
        header.set_entry_type(kind);
        header.set_size(0);
        out.append_link(&mut header, path, &target)?;
    } else {
        return Err(Error::Refused("has an entry that is neither file, folder nor layer"));
    }
    Ok(())
}

fn append(out: &mut tar::Builder<impl io::Write>, name: &str, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    out.append_data(&mut header, name, text.as_bytes())?;
    Ok(())
}

/// The engine's own list: one image, its `RepoTags` emptied.
fn nameless_manifest(list: &Value) -> Result<Value, Error> {
    let Some([image]) = list.as_array().map(Vec::as_slice) else {
        return Err(Error::Refused("does not hold exactly one image"));
    };
    Ok(json!([{ "Config": image["Config"], "RepoTags": null, "Layers": image["Layers"] }]))
}

/// The OCI list, whose annotations are names to some engines.
fn nameless_index(mut index: Value) -> Result<Value, Error> {
    let refused = || Error::Refused("has an odd index.json");
    index.as_object_mut().ok_or_else(refused)?.remove("annotations");
    for manifest in index["manifests"].as_array_mut().ok_or_else(refused)? {
        manifest.as_object_mut().ok_or_else(refused)?.remove("annotations");
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use super::*;

    fn tar_of(entries: &[(&str, &str)]) -> File {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&tar.into_inner().unwrap()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn cleaned(entries: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Error> {
        let mut to = tempfile::tempfile().unwrap();
        without_names(&tar_of(entries), &to)?;
        to.rewind().unwrap();
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(to).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            files.insert(name, io::read_to_string(&mut entry).unwrap());
        }
        Ok(files)
    }

    #[test]
    fn an_image_keeps_its_layers_and_loses_its_names() {
        let files = cleaned(&[
            ("abc.json", "{}"),
            ("abc/layer.tar", "bytes"),
            ("./manifest.json", r#"[{"Config":"abc.json","RepoTags":["python:3"],"Layers":["abc/layer.tar"]}]"#),
            ("repositories", r#"{"python":{"3":"abc"}}"#),
            ("index.json", r#"{"manifests":[{"digest":"d","annotations":{"io.containerd.image.name":"python:3"}}]}"#),
        ])
        .unwrap();

        assert_eq!(files["abc/layer.tar"], "bytes");
        assert!(!files.contains_key("repositories"));
        assert!(files["manifest.json"].contains("abc.json"));
        assert!(!files.values().any(|text| text.contains("python")));
    }

    #[test]
    fn headers_that_fill_the_memory_are_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(70_000);
        header.set_cksum();
        tar.append(&header, &[b'a'; 70_000][..]).unwrap();
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(&tar.into_inner().unwrap()).unwrap();
        from.rewind().unwrap();

        let result = without_names(&from, &tempfile::tempfile().unwrap());

        assert!(matches!(result, Err(Error::Refused(_))));
    }

    #[test]
    fn odd_archives_are_refused() {
        let one = r#"[{"Config":"a","Layers":[]}]"#;
        let cases: [&[(&str, &str)]; 6] = [
            &[("abc.json", "{}")],
            &[("manifest.json", "[]")],
            &[("manifest.json", "{")],
            &[("manifest.json", one), ("./manifest.json", one)],
            &[("manifest.json", one), ("../manifest.json", one)],
            &[("manifest.json", one), ("index.json", "[]")],
        ];
        for entries in cases {
            assert!(matches!(cleaned(entries), Err(Error::Refused(_))), "{entries:?}");
        }
    }
}

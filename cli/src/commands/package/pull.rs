//! `fanfold app pull`: a package's archive, unpacked into a new folder.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::package::archive::contents::{self, Item};
use common::package::archive::{ARCHIVE_BYTES_MAX, LIMITS, check};
use serde::Deserialize;
use serde_json::json;

use super::Kind;
use crate::client::failure::Failure;
use crate::client::session::Session;
use crate::client::unreachable;

pub async fn run(
    kind: Kind,
    tag: &str,
    output: Option<PathBuf>,
    session: &Session,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Download {
        #[serde(alias = "engineLink")]
        message: String,
    }
    let answer = session.client.get(kind.url(session, &[tag, "download"])).await?;
    let link = session.client.link(&answer.read::<Download>()?.message)?;
    let mut response = session.client.open_link(link).await?;
    let mut archive = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        archive.extend_from_slice(&bytes);
        if archive.len() as u64 > ARCHIVE_BYTES_MAX {
            return Err(Failure::Refused { message: "the package is too large".to_owned() });
        }
    }
    let folder = tokio::task::spawn_blocking(move || unpack(&archive, output))
        .await
        .map_err(|error| Failure::local("unpacking stopped", error))??;
    let shown = folder.display().to_string();
    session.output.result(&json!({ "folder": shown }).to_string(), || vec![shown.as_str()])
}

/// Unpacks an archive that may be a stranger's: into a folder that was not there before, and only
/// after the checks that a push makes.
fn unpack(archive: &[u8], output: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let checked =
        check(archive).map_err(|error| Failure::Refused { message: error.to_string() })?;
    let folder = output.unwrap_or_else(|| PathBuf::from(&checked.manifest.name));
    let failed = |error| Failure::local(format_args!("cannot write {}", folder.display()), error);
    fs::create_dir(&folder).map_err(failed)?;
    let archive = checked.rewritten.as_deref().unwrap_or(archive);
    contents::walk(archive, LIMITS, |item| write(&folder, item).map_err(failed))?;
    Ok(folder)
}

impl From<contents::Error> for Failure {
    fn from(error: contents::Error) -> Self {
        Self::Refused { message: error.to_string() }
    }
}

fn write(folder: &Path, item: Item<'_>) -> io::Result<()> {
    match item {
        Item::Folder { path } => fs::create_dir_all(folder.join(path)),
        Item::File { path, executable, bytes } => {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            let mode = if executable { 0o755 } else { 0o644 };
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            io::copy(bytes, &mut file).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    const MANIFEST: &str =
        r#"{"name": "a", "version": "0.1", "platform": "binary", "entrypoint": "main"}"#;

    #[test]
    fn pull_unpacks_into_a_new_folder_only() {
        let root = tempfile::tempdir().unwrap();
        let bytes = archive(&[("manifest.json", MANIFEST), ("app/main", "code")]);
        let to = root.path().join("a");

        let folder = unpack(&bytes, Some(to.clone())).unwrap();

        assert_eq!(fs::read_to_string(folder.join("app/main")).unwrap(), "code");
        assert!(matches!(unpack(&bytes, Some(to)), Err(Failure::Local { .. })));
    }

    #[test]
    fn pull_of_a_hostile_archive_writes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let bytes = archive(&[("manifest.json", MANIFEST), ("app/main", ""), ("../evil", "evil")]);

        let refused = unpack(&bytes, Some(root.path().join("a")));

        assert!(matches!(refused, Err(Failure::Refused { .. })));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}

//! A pulled image as the archive that an engine loads: its files, and a list without names.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use common::digest::Digest;
use futures::future::Either;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio_util::io::ReaderStream;

const BLOCK: usize = 512;
const BUFFER_BYTES: usize = 256 * 1024;

/// An image whose files are all here.
#[derive(Debug)]
pub struct Pulled {
    pub config: Vec<u8>,
    /// From the lowest to the highest; the same layer may come more than once.
    pub layers: Vec<(Digest, PathBuf)>,
}

enum Piece {
    Bytes(Bytes),
    File(PathBuf),
}

impl Pulled {
    /// The archive's bytes. The files must stay until its end.
    pub fn archive(&self) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
        let mut pieces = Vec::new();
        let config = format!("{}.json", Digest::of(&self.config));
        add(&mut pieces, &config, &self.config)?;
        let mut names: Vec<String> = Vec::new();
        for (digest, path) in &self.layers {
            let name = format!("{digest}.tar");
            if !names.contains(&name) {
                let size = std::fs::metadata(path)?.len();
                pieces.push(Piece::Bytes(header(&name, size)?));
                pieces.push(Piece::File(path.clone()));
                pieces.push(padding(size));
            }
            names.push(name);
        }
        let list = json!([{"Config": config, "RepoTags": null, "Layers": names}]).to_string();
        add(&mut pieces, "manifest.json", list.as_bytes())?;
        pieces.push(Piece::Bytes(Bytes::from_static(&[0; 2 * BLOCK])));
        Ok(stream::iter(pieces).then(open).try_flatten())
    }
}

async fn open(piece: Piece) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send> {
    Ok(match piece {
        Piece::Bytes(bytes) => Either::Left(stream::iter([Ok(bytes)])),
        Piece::File(path) => {
            let file = tokio::fs::File::open(path).await?;
            Either::Right(ReaderStream::with_capacity(file, BUFFER_BYTES))
        }
    })
}

fn add(pieces: &mut Vec<Piece>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let size = bytes.len() as u64;
    pieces.push(Piece::Bytes(header(name, size)?));
    pieces.push(Piece::Bytes(Bytes::copy_from_slice(bytes)));
    pieces.push(padding(size));
    Ok(())
}

fn header(name: &str, size: u64) -> io::Result<Bytes> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

/// Fills the last block of an entry.
fn padding(size: u64) -> Piece {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    let missing = (BLOCK - over) % BLOCK;
    Piece::Bytes(Bytes::from_static(&[0; BLOCK]).slice(..missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn archive_has_each_layer_once_and_lists_all() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            (Digest::of(name.as_bytes()), path)
        };
        let (a, b) = (layer("a", &[1; 512]), layer("b", &[2; 700]));
        let pulled =
            Pulled { config: b"{}".to_vec(), layers: vec![a.clone(), b.clone(), a.clone()] };

        let bytes: Vec<Bytes> = pulled.archive().unwrap().try_collect().await.unwrap();

        let mut found = Vec::new();
        for entry in tar::Archive::new(&bytes.concat()[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            found.push((name, bytes));
        }
        let [a, b] = [a, b].map(|(digest, _)| format!("{digest}.tar"));
        let config = format!("{}.json", Digest::of(b"{}"));
        let list = json!([{"Config": config, "RepoTags": null, "Layers": [a, b, a]}]);
        assert_eq!(
            found,
            [
                (config, b"{}".to_vec()),
                (a, vec![1; 512]),
                (b, vec![2; 700]),
                ("manifest.json".to_owned(), list.to_string().into_bytes()),
            ]
        );
    }
}

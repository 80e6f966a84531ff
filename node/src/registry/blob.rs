//! The layers of an image: streamed to disk, verified, and measured unpacked.

use std::io::{self, Read as _};
use std::path::Path;

use common::digest::Digester;
use flate2::read::MultiGzDecoder;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use super::manifest::{Blob, Packing};
use super::{Error, PAUSE, Pull, TRIES_MAX, UNPACKED_BYTES_MAX};

const BUFFER_BYTES: usize = 64 * 1024;

impl Pull<'_> {
    /// Brings a layer to a new file.
    pub(super) async fn layer(&mut self, blob: &Blob, to: &Path) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_layer(blob, to).await {
                Err(error) if error.may_pass() && tries < TRIES_MAX => sleep(PAUSE * tries).await,
                done => return done,
            }
        }
    }

    async fn try_layer(&mut self, blob: &Blob, to: &Path) -> Result<(), Error> {
        let mut response = self.get(&format!("blobs/sha256:{}", blob.digest), None).await?;
        let mut file = File::create(to).await?;
        let (mut digester, mut bytes) = (Digester::default(), 0);
        while let Some(piece) = self.piece(&mut response).await? {
            bytes += piece.len() as u64;
            if bytes > blob.size {
                break;
            }
            digester.update(&piece);
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        if bytes != blob.size || digester.finish() != blob.digest {
            return Err(self.odd("gives other bytes than their digest says"));
        }
        Ok(())
    }
}

/// Refuses layers that take more than an image may once they are unpacked.
pub async fn check_unpacked(layers: &[Blob], folder: &Path) -> Result<(), Error> {
    let packed = |layer: &&Blob| layer.packing == Packing::Gzip;
    let path = |layer: &Blob| folder.join(layer.digest.to_string());
    let packed: Vec<_> = layers.iter().filter(packed).map(path).collect();
    let plain: u64 = layers
        .iter()
        .filter(|layer| layer.packing == Packing::None)
        .map(|layer| layer.size)
        .fold(0, u64::saturating_add);
    let measured = tokio::task::spawn_blocking(move || {
        let mut room = UNPACKED_BYTES_MAX.saturating_sub(plain);
        for path in packed {
            let bytes = unpacked_bytes(std::fs::File::open(path)?, room)?;
            room = room.checked_sub(bytes).ok_or_else(too_large)?;
        }
        Ok(())
    });
    measured.await.map_err(io::Error::other)?
}

/// How many bytes a gzip file holds; no more than one beyond `bytes_max` is unpacked.
fn unpacked_bytes(file: impl io::Read, bytes_max: u64) -> Result<u64, Error> {
    let mut unpacked = MultiGzDecoder::new(io::BufReader::new(file)).take(bytes_max + 1);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        match unpacked.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes += n as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Error::Unusable("has a layer that cannot be unpacked".into())),
        }
    }
}

fn too_large() -> Error {
    let gib = UNPACKED_BYTES_MAX >> 30;
    Error::Unusable(format!("has more than {gib} GiB once it is unpacked"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unpacked_size_is_limited() {
        let bomb = gzip(&vec![0; 10 << 20]);

        assert!(bomb.len() < 1 << 20);
        assert_eq!(unpacked_bytes(&bomb[..], 20 << 20).unwrap(), 10 << 20);
        assert_eq!(unpacked_bytes(&bomb[..], 1000).unwrap(), 1001);
        assert_eq!(
            unpacked_bytes(&[&bomb[..], &gzip(b"more")].concat()[..], 1 << 30).unwrap(),
            (10 << 20) + 4
        );
    }

    #[test]
    fn bytes_that_are_no_gzip_are_refused() {
        for bytes in [&b"plain"[..], &gzip(b"cut off")[..12]] {
            assert!(matches!(unpacked_bytes(bytes, 1000), Err(Error::Unusable(_))));
        }
    }
}

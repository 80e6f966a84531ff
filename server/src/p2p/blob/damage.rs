//! Whether a package or an image is damaged in the bucket, when a node says that its bytes are not
//! the right ones: it may also be the node's disk, or a lie. Reading it may take long, so a verdict
//! may come with a later message of the node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::digest::{Digest, Digester};
use common::plan::{Container, Image};
use futures::TryStreamExt as _;
use tokio::time::timeout;

use crate::data;
use crate::data::bucket::blob_key::BlobKey;
use crate::p2p::backend::Port;

/// Objects that are read at once.
const READS_MAX: usize = 4;
/// How long the node's message waits for the verdict.
const PATIENCE: Duration = Duration::from_secs(5);

/// Objects that are being read, or have been for somebody who has not heard the verdict yet. Clones
/// share them.
#[derive(Debug, Clone, Default)]
pub struct Damage(Arc<Mutex<HashMap<Digest, Verdict>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Reading,
    IsSound(bool),
}

impl Damage {
    /// What of a container is damaged, and what helps. `Err` where that is not known yet.
    pub async fn of<P: Port>(
        &self,
        port: &P,
        container: &Container,
    ) -> Result<Option<&'static str>, data::Error> {
        if let Some(code) = container.package() {
            let package = code.package.digest;
            if !self.is_sound(port, BlobKey::Package(package), package).await? {
                return Ok(Some("the package is damaged: push it again"));
            }
        }
        for image in container.images() {
            if let Image::Stored { digest, .. } = image
                && !self.is_sound(port, BlobKey::Image(*digest), *digest).await?
            {
                return Ok(Some("the image is damaged: push it again (`fanfold image push`)"));
            }
        }
        Ok(None)
    }

    async fn is_sound<P: Port>(
        &self,
        port: &P,
        key: BlobKey,
        digest: Digest,
    ) -> Result<bool, data::Error> {
        let later = || data::Error::Io(std::io::ErrorKind::WouldBlock.into());
        {
            let mut known = self.lock();
            match known.get(&digest) {
                Some(Verdict::IsSound(is_sound)) => {
                    let is_sound = *is_sound;
                    known.remove(&digest);
                    return Ok(is_sound);
                }
                Some(Verdict::Reading) => return Err(later()),
                None => {}
            }
            // Verdicts that nobody came for.
            if known.len() >= READS_MAX {
                known.retain(|_, verdict| *verdict == Verdict::Reading);
            }
            if known.len() >= READS_MAX {
                return Err(later());
            }
            known.insert(digest, Verdict::Reading);
        }
        let (port, this) = (port.clone(), self.clone());
        let reading = tokio::spawn(async move {
            let read = has_digest(&port, &key, digest).await;
            let mut known = this.lock();
            match &read {
                Ok(is_sound) => known.insert(digest, Verdict::IsSound(*is_sound)),
                Err(_) => known.remove(&digest),
            };
            read
        });
        match timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => {
                self.lock().remove(&digest);
                read
            }
            Ok(Err(error)) => Err(data::Error::Io(std::io::Error::other(error))),
            Err(_) => Err(later()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Verdict>> {
        // A half-made change at worst forgets.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn has_digest<P: Port>(port: &P, key: &BlobKey, digest: Digest) -> Result<bool, data::Error> {
    let Some(size) = port.size(key).await? else { return Ok(false) };
    let mut digester = Digester::default();
    let mut bytes = port.get(key, 0..size).await?;
    while let Some(piece) = bytes.try_next().await? {
        digester.update(&piece);
    }
    Ok(digester.finish() == digest)
}

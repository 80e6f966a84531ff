//! Where containers' images come from: the bucket by digest, a registry by digest, or nowhere.
//!
//! Only images that a node made or brought itself are used. Their names begin with `fanfold/` and
//! say what they are by digest; nothing else that the engine has is looked at, for it is the
//! machine owner's, except where the owner lends it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, TagImageOptionsBuilder,
};
use bytes::Bytes;
use common::compute::image::Pinned;
use common::digest::Digest;
use common::ids::WorkspaceId;
use common::package::saved::{self, Saved};
use common::plan::Image;
use common::protocol::{BlobRequest, Work};
use common::run::task::Lease;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::io::ReaderStream;

use super::{Docker, engine, failed, fitness};
use crate::files::tree::Scratch;
use crate::guest;
use crate::net::ssrf_guard::SsrfGuard;
use crate::registry::Puller;
use crate::runtime::Error;
use crate::server_client::ServerClient;
use crate::server_client::transfer::{self, Expected};
use crate::storage::keyed_mutex::KeyedMutex;

/// The most bytes of an image's archive.
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;
/// The engine answers a load only when it has read the whole archive.
const PATIENCE: Duration = Duration::from_secs(3600);

const SCRATCH: (&str, &str) = ("fanfold/scratch", "1");
const PROBE: (&str, &str) = ("fanfold/probe", "1");
const HOLD: (&str, &str) = ("fanfold/hold", "1");
pub(super) const HOLD_PROGRAM: &str = "/hold";
pub(super) const PROBE_PROGRAM: &str = "/probe";
const STORED: &str = "fanfold/stored";
const REGISTRY: &str = "fanfold/registry";
/// What the node brings, and may remove to make room.
pub(super) const OWN: [&str; 2] = [STORED, REGISTRY];
/// Images that come for one workspace at a time: however slow its registries are, the others'
/// images come.
const PLACES: u8 = 2;

/// How a node comes by images.
#[derive(Debug)]
pub struct Images {
    /// One lock for each image that is being fetched.
    fetching: KeyedMutex<String>,
    places: KeyedMutex<(WorkspaceId, u8)>,
    puller: Puller,
    lends_local: bool,
    /// The most bytes that one image may take.
    bytes_max: u64,
}

impl Images {
    /// `lends_local` lets every customer's packages run in the images of this machine's engine.
    /// None may take more than `bytes_max`.
    pub fn new(guard: SsrfGuard, lends_local: bool, bytes_max: u64) -> Self {
        Self {
            fetching: KeyedMutex::default(),
            places: KeyedMutex::default(),
            puller: Puller::new(guard),
            lends_local,
            bytes_max,
        }
    }

    pub(super) const fn lends_local(&self) -> bool {
        self.lends_local
    }
}

/// Whose image it is, and what asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub workspace: WorkspaceId,
    pub lease: Lease,
    /// Its place among the task's images.
    pub n: u8,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub id: String,
    /// Folders that the image wants to be volumes.
    pub volumes: Vec<String>,
    /// It is not removed to make room as long as this is held.
    pub held: Arc<()>,
}

impl Docker {
    /// Makes sure that all images of a task are here, in their order; others that want them
    /// meanwhile wait for that.
    pub async fn images<R: ServerClient>(
        &self,
        work: &Work,
        remote: &R,
        lease: Lease,
        temporary: &Path,
    ) -> Result<Vec<Ready>, Error> {
        let mut ready = Vec::with_capacity(work.images.len());
        for (n, image) in (0..=u8::MAX).zip(&work.images) {
            let wanted = Wanted { workspace: work.workspace, lease, n };
            ready.push(self.image(image, work, remote, wanted, temporary).await?);
        }
        Ok(ready)
    }

    /// Makes sure that containers of this work can be made from an image that is here.
    pub fn check_fits(&self, image: &Ready, work: &Work) -> Result<(), Error> {
        fitness::check_volumes(&image.volumes, &work.container)
    }

    async fn image<R: ServerClient>(
        &self,
        image: &Image,
        work: &Work,
        remote: &R,
        wanted: Wanted,
        temporary: &Path,
    ) -> Result<Ready, Error> {
        let ready = match image {
            Image::Binary => self.scratch().await,
            Image::Stored { digest, .. } => self.stored(*digest, remote, wanted, temporary).await,
            Image::Registry { image, secret } => {
                let owner = secret.is_some().then_some(wanted.workspace);
                let name = self.own_name(REGISTRY, &registry_tag(image, owner));
                self.registry(image, &name, remote, wanted, temporary).await
            }
            Image::Local { name } => self.local(name).await,
        }?;
        fitness::check_volumes(&ready.volumes, &work.container)?;
        Ok(ready)
    }

    /// An image with nothing in it but a folder.
    pub async fn scratch(&self) -> Result<Ready, Error> {
        self.made(SCRATCH, root(None)?).await
    }

    /// An image with nothing in it but the probe.
    pub(super) async fn probe_image(&self) -> Result<Ready, Error> {
        self.made(PROBE, root(Some((PROBE_PROGRAM, guest::PROBE)))?).await
    }

    /// An image with nothing in it but what holds a network.
    pub(super) async fn hold_image(&self) -> Result<Ready, Error> {
        self.made(HOLD, root(Some((HOLD_PROGRAM, guest::HOLD)))?).await
    }

    /// An image that the node makes itself.
    async fn made(&self, (repo, tag): (&str, &str), root: Vec<u8>) -> Result<Ready, Error> {
        let name = format!("{repo}:{tag}");
        let _only = self.images.fetching.lock(name.clone()).await;
        if let Some(found) = self.inspect(&name).await? {
            return ready(found);
        }
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repo).tag(tag).build();
        self.client
            .create_image(Some(options), Some(bollard::body_full(root.into())), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(engine("make an image"))?;
        let made = self.inspect(&name).await?;
        ready(made.ok_or_else(|| gone("make an image"))?)
    }

    async fn stored<R: ServerClient>(
        &self,
        digest: Digest,
        remote: &R,
        Wanted { workspace, lease, n }: Wanted,
        temporary: &Path,
    ) -> Result<Ready, Error> {
        let name = self.own_name(STORED, &digest.to_string()[..32]);
        if let Some(found) = self.on_shelf(&name).await? {
            return Ok(found);
        }
        let _place = self.place(workspace, digest).await;
        let _only = self.images.fetching.lock(name.clone()).await;
        if let Some(found) = self.on_shelf(&name).await? {
            return Ok(found);
        }
        let scratch = Scratch::new(temporary)?;
        let (fetched, clean) = (scratch.0.join("fetched.tar"), scratch.0.join("clean.tar"));
        let bytes_max = ARCHIVE_BYTES_MAX.min(self.images.bytes_max);
        let expected = Expected { bytes: None, digest: Some(digest), bytes_max };
        let request = |from| BlobRequest::Image { lease, n, from };
        transfer::fetch(remote, request, &fetched, expected).await?;
        let clean = tokio::task::spawn_blocking(move || strip_names(&fetched, &clean, bytes_max))
            .await
            .map_err(io::Error::other)??;
        let archive = ReaderStream::with_capacity(tokio::fs::File::from_std(clean), 256 * 1024);
        let ready = self.load(archive, &name).await?;
        tracing::info!(%digest, id = ready.id, "image loaded");
        Ok(ready)
    }

    async fn registry<R: ServerClient>(
        &self,
        image: &Pinned,
        name: &str,
        remote: &R,
        Wanted { workspace, lease, n }: Wanted,
        temporary: &Path,
    ) -> Result<Ready, Error> {
        if let Some(found) = self.on_shelf(name).await? {
            return Ok(found);
        }
        let _place = self.place(workspace, image.digest()).await;
        let _only = self.images.fetching.lock(name.to_owned()).await;
        if let Some(found) = self.on_shelf(name).await? {
            return Ok(found);
        }
        let token = transfer::pull_token(remote, lease, n).await.map_err(not_granted)?;
        let scratch = Scratch::new(temporary)?;
        let pulled = self.images.puller.pull(image, token.as_ref(), &scratch.0).await?;
        let ready = self.load(pulled.archive()?, name).await?;
        tracing::info!(%image, id = ready.id, "image pulled");
        Ok(ready)
    }

    /// An image of the engine's own, where the machine's owner lends them.
    pub(super) async fn local(&self, name: &str) -> Result<Ready, Error> {
        let refused = |problem: &str, remedy: &str| {
            Error::Unusable(format!(
                "the image {name:?} is to be one of the node's own, and {problem}: push it \
                 (`fanfold image push {name}`) and name it without localhost/, or {remedy}"
            ))
        };
        if !self.images.lends_local {
            let remedy = "start the node with --local-images";
            return Err(refused("this node lends none", remedy));
        }
        // A name becomes part of a request's path.
        if name.parse::<common::compute::image::Reference>().is_err() {
            return Err(refused("that is no image's name", "correct the name"));
        }
        let found = self.inspect(name).await?.map(ready);
        found.unwrap_or_else(|| {
            Err(refused("the engine of this node has no such image", "pull it on that machine"))
        })
    }

    /// Waits for a place among the images that come for a workspace. It is taken before an image's
    /// lock, so that nobody who waits for a place keeps an image from others.
    async fn place(&self, workspace: WorkspaceId, digest: Digest) -> impl Drop + use<> {
        self.images.places.lock((workspace, digest.bytes()[0] % PLACES)).await
    }

    /// Loads an archive without names, and names it.
    async fn load<S>(&self, archive: S, name: &str) -> Result<Ready, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let client = self.client.clone().with_timeout(PATIENCE);
        let mut loading = std::pin::pin!(client.import_image_stream(options, archive, None));
        let mut id = None;
        while let Some(step) = loading.next().await {
            let step = step.map_err(not_loaded)?;
            if let Some((_, loaded)) =
                step.stream.as_deref().and_then(|text| text.split_once("Loaded image ID: "))
            {
                id = Some(loaded.trim().to_owned());
            }
        }
        let id = id.ok_or_else(|| Error::Unusable("the image's archive holds no image".into()))?;
        let (repo, tag) = name.rsplit_once(':').unwrap_or((name, "1"));
        let options = TagImageOptionsBuilder::new().repo(repo).tag(tag).build();
        self.client.tag_image(&id, Some(options)).await.map_err(engine("name an image"))?;
        let ready = self.on_shelf(name).await?.ok_or_else(|| gone("load an image"))?;
        let bytes = self.shelf.bytes_of(name);
        if bytes > self.images.bytes_max {
            drop(ready);
            self.remove_image(name).await;
            return Err(too_large(bytes));
        }
        Ok(ready)
    }

    /// An image that this node has brought, held from now on.
    async fn on_shelf(&self, name: &str) -> Result<Option<Ready>, Error> {
        // Before it is looked for: what is found stays.
        let held = self.shelf.hold(name);
        let Some(found) = self.inspect(name).await? else { return Ok(None) };
        self.shelf.note(name, found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0));
        Ok(Some(Ready { held, ..ready(found)? }))
    }

    async fn inspect(&self, name: &str) -> Result<Option<ImageInspect>, Error> {
        match self.client.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(engine("look for an image")(error)),
        }
    }
}

/// What the engine finds in an archive's own bytes is the customer's fault, and stays in the log.
fn not_loaded(error: EngineError) -> Error {
    if let EngineError::DockerStreamError { error } = error {
        tracing::info!(error, "an image cannot be loaded");
        let problem = "the container engine cannot load the image: its layers must be tar \
                       archives, and those that its configuration lists";
        return Error::Unusable(problem.into());
    }
    engine("load an image")(error)
}

/// A token that the server refuses for good is the customer's business: the login has changed, or
/// the registry gives none.
fn not_granted(error: transfer::Error) -> Error {
    match error.refusal() {
        Some(why) => Error::Unpullable(why.to_owned()),
        None => Error::Fetch(error),
    }
}

/// Another node may have more room.
fn too_large(bytes: u64) -> Error {
    let mib = bytes >> 20;
    tracing::warn!(mib, "an image is larger than what this node keeps");
    failed("keep an image", "it takes more disk than this node keeps between tasks")
}

fn gone(doing: &'static str) -> Error {
    failed(doing, "it is not there afterwards")
}

fn ready(image: ImageInspect) -> Result<Ready, Error> {
    let volumes = fitness::volumes(image.config.unwrap_or_default())?;
    let id = image.id.ok_or_else(|| gone("look for an image"))?;
    Ok(Ready { id, volumes, held: Arc::default() })
}

/// What a node calls an image of a registry. One that needs a login has another name for each
/// workspace, so that none comes by it without.
fn registry_tag(image: &Pinned, owner: Option<WorkspaceId>) -> String {
    let whose = owner.map(|owner| owner.to_string());
    let what = format!("{} {}", whose.as_deref().unwrap_or("anybody"), image);
    Digest::of(what.as_bytes()).to_string()[..32].to_owned()
}

/// Rewrites the archive's one image in the form that every engine loads, and without names.
fn strip_names(fetched: &Path, clean: &Path, bytes_max: u64) -> Result<std::fs::File, Error> {
    let image = Saved::read(std::fs::File::open(fetched)?).map_err(unusable)?;
    if image.bytes > bytes_max {
        return Err(too_large(image.bytes));
    }
    let to = io::BufWriter::new(std::fs::File::create(clean)?);
    image.rewrite(std::fs::File::open(fetched)?, to).map_err(unusable)?;
    crate::files::tree::remove_file(fetched)?;
    Ok(std::fs::File::open(clean)?)
}

fn unusable(error: saved::Error) -> Error {
    if let saved::Error::Io(error) = error {
        Error::Io(error)
    } else {
        Error::Unusable(error.to_string())
    }
}

/// A root file system with a folder for temporary files, and perhaps a program.
fn root(program: Option<(&str, &[u8])>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    // What is mounted there takes over the mode of the folder below it.
    header.set_mode(0o1777);
    header.set_size(0);
    tar.append_data(&mut header, "tmp", io::empty())?;
    if let Some((path, bytes)) = program {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path.trim_start_matches('/'), bytes)?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::WORKSPACE;

    #[test]
    fn private_image_has_a_name_for_each_workspace() {
        let image: Pinned = format!("r.example/a@sha256:{}", Digest::of(b"")).parse().unwrap();
        let other = WorkspaceId::new(uuid::Uuid::from_u128(99));

        let names = [None, Some(WORKSPACE), Some(other)].map(|owner| registry_tag(&image, owner));

        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
    }
}

//! Where containers' images come from: the bucket by digest, a registry, or nowhere.

use std::io;
use std::path::Path;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error as EngineError;
use bollard::models::ImageInspect;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, TagImageOptionsBuilder,
};
use common::digest::Digest;
use common::package::unpacked;
use common::protocol::{BlobRequest, Work};
use common::spec::Image;
use common::task::Lease;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::io::ReaderStream;

use super::{Docker, engine};
use crate::cache::Scratch;
use crate::keyed::Keyed;
use crate::remote::Remote;
use crate::runtime::{Error, image_archive};
use crate::transfer::{self, Expected};

/// The most bytes of an image's archive.
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;
const VOLUMES_MAX: usize = 16;
/// The engine answers a load only when it has read the whole archive.
const PATIENCE: Duration = Duration::from_secs(3600);

const SCRATCH: (&str, &str) = ("fanfold/scratch", "1");
const STORED: &str = "fanfold/stored";
pub(super) const PRIVATE: &str = "fanfold/private";

/// One lock for each image that is being fetched.
#[derive(Debug, Default)]
pub struct Images {
    pub(super) fetching: Keyed<String>,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub id: String,
    /// Folders that the image wants to be volumes.
    pub volumes: Vec<String>,
}

impl Docker {
    /// Makes sure that an image is here; whoever else wants it meanwhile waits for that.
    pub async fn image<R: Remote>(
        &self,
        work: &Work,
        remote: &R,
        lease: Lease,
        temporary: &Path,
    ) -> Result<Ready, Error> {
        match &work.image {
            Image::Binary => self.scratch().await,
            Image::Stored { digest, .. } => self.stored(*digest, remote, lease, temporary).await,
            Image::Registry { reference } => self.registry(reference).await,
            Image::Private { reference, .. } => {
                self.private(reference, work.workspace, remote, lease).await
            }
        }
    }

    /// An image with nothing in it but a folder.
    pub async fn scratch(&self) -> Result<Ready, Error> {
        let name = format!("{}:{}", SCRATCH.0, SCRATCH.1);
        let _only = self.images.fetching.lock(name.clone()).await;
        if let Some(found) = self.inspect(&name).await? {
            return ready(found);
        }
        let options =
            CreateImageOptionsBuilder::new().from_src("-").repo(SCRATCH.0).tag(SCRATCH.1).build();
        let body = bollard::body_full(empty_root()?.into());
        self.client
            .create_image(Some(options), Some(body), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(engine("make an image"))?;
        let made = self.inspect(&name).await?;
        ready(made.ok_or_else(|| gone("make an image"))?)
    }

    async fn stored<R: Remote>(
        &self,
        digest: Digest,
        remote: &R,
        lease: Lease,
        temporary: &Path,
    ) -> Result<Ready, Error> {
        let tag = digest.to_string()[..32].to_owned();
        let name = format!("{STORED}:{tag}");
        let _only = self.images.fetching.lock(name.clone()).await;
        if let Some(found) = self.inspect(&name).await? {
            return ready(found);
        }
        let scratch = Scratch::new(temporary)?;
        let (fetched, clean) = (scratch.0.join("fetched.tar"), scratch.0.join("clean.tar"));
        let expected = Expected { bytes: None, digest: Some(digest), bytes_max: ARCHIVE_BYTES_MAX };
        let request = |from| BlobRequest::Image { lease, from };
        transfer::fetch(remote, request, &fetched, expected).await?;
        let clean = tokio::task::spawn_blocking(move || strip_names(&fetched, &clean))
            .await
            .map_err(io::Error::other)??;
        let id = self.load(clean).await?;
        let options = TagImageOptionsBuilder::new().repo(STORED).tag(&tag).build();
        self.client.tag_image(&id, Some(options)).await.map_err(engine("name an image"))?;
        tracing::info!(%digest, id, "image loaded");
        ready(self.inspect(&name).await?.ok_or_else(|| gone("load an image"))?)
    }

    /// Loads an archive without names; gives the image's id.
    async fn load(&self, archive: std::fs::File) -> Result<String, Error> {
        let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(archive), 256 * 1024);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let client = self.client.clone().with_timeout(PATIENCE);
        let mut loading = client.import_image_stream(options, stream, None);
        let mut id = None;
        while let Some(step) = loading.next().await {
            let step = step.map_err(|error| {
                if let EngineError::DockerStreamError { error } = error {
                    Error::Unusable(format!("the stored image cannot be loaded: {error}"))
                } else {
                    engine("load an image")(error)
                }
            })?;
            if let Some((_, loaded)) =
                step.stream.as_deref().and_then(|text| text.split_once("Loaded image ID: "))
            {
                id = Some(loaded.trim().to_owned());
            }
        }
        id.ok_or_else(|| Error::Unusable("the stored image's archive holds no image".into()))
    }

    async fn registry(&self, reference: &str) -> Result<Ready, Error> {
        let name = with_tag(reference)
            .ok_or_else(|| Error::Unusable(format!("{reference:?} is no image of a registry")))?;
        let _only = self.images.fetching.lock(name.clone()).await;
        // An engine finds images by their ids too. Those are other people's: an image counts as
        // here only if it is known by this very name.
        if let Some(found) = self.inspect(&name).await?
            && is_called(&found, &name)
        {
            return ready(found);
        }
        if name.contains('@') {
            // An engine that has the image from somebody's private pull hands it to whoever knows
            // its digest, without asking the registry whether he may have it.
            self.client.inspect_registry_image(&name, None).await.map_err(not_pulled)?;
        }
        self.pull(&name, None).await?;
        let pulled = self.inspect(&name).await?.filter(|image| is_called(image, &name));
        ready(pulled.ok_or_else(|| gone("pull an image"))?)
    }

    pub(super) async fn pull(
        &self,
        name: &str,
        credentials: Option<DockerCredentials>,
    ) -> Result<(), Error> {
        let options = CreateImageOptionsBuilder::new().from_image(name).build();
        self.client
            .create_image(Some(options), None, credentials)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(not_pulled)
    }

    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ImageInspect>, Error> {
        match self.client.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(engine("look for an image")(error)),
        }
    }
}

/// What a registry will never give is the customer's fault; what it does not give now may be the
/// node's.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are of the way to the engine")]
fn not_pulled(error: EngineError) -> Error {
    let (status, message) = match &error {
        EngineError::DockerResponseServerError { status_code, message } => (*status_code, message),
        EngineError::DockerStreamError { error } => (200, error),
        _ => return engine("pull an image")(error),
    };
    let signs = [
        "manifest unknown",
        "not found",
        "pull access denied",
        "no matching manifest",
        // Nobody may pull it without a login.
        "unauthorized",
        "authentication required",
    ];
    // Names of hosts are not found either, where the node has no network.
    let of_host = ["lookup ", "dial "].iter().any(|sign| message.contains(sign));
    let never = !of_host && signs.iter().any(|sign| message.contains(sign));
    if matches!(status, 400 | 404) || never {
        Error::Unusable(format!("the image cannot be pulled: {message}"))
    } else {
        engine("pull an image")(error)
    }
}

pub(super) fn gone(doing: &'static str) -> Error {
    Error::Engine { doing, message: "it is not there afterwards".into() }
}

pub(super) fn ready(image: ImageInspect) -> Result<Ready, Error> {
    let volumes = image.config.and_then(|config| config.volumes).unwrap_or_default();
    if volumes.len() > VOLUMES_MAX {
        return Err(Error::Unusable(format!("the image has more than {VOLUMES_MAX} volumes")));
    }
    let id = image.id.ok_or_else(|| gone("look for an image"))?;
    // That one is in memory anyway.
    let volumes = volumes.into_iter().filter(|inside| inside.trim_end_matches('/') != "/tmp");
    Ok(Ready { id, volumes: volumes.collect() })
}

fn strip_names(fetched: &Path, clean: &Path) -> Result<std::fs::File, Error> {
    let measured = unpacked::measure(io::BufReader::new(std::fs::File::open(fetched)?));
    measured.map_err(|error| {
        if let unpacked::Error::Io(error) = error {
            return Error::Io(error);
        }
        Error::Unusable(error.to_string())
    })?;
    let from = std::fs::File::open(fetched)?;
    let to = std::fs::File::create(clean)?;
    image_archive::without_names(&from, &to).map_err(|error| match error {
        image_archive::Error::Refused(_) => Error::Unusable(error.to_string()),
        image_archive::Error::Io(error) => Error::Io(error),
    })?;
    crate::home::remove_file(fetched)?;
    Ok(std::fs::File::open(clean)?)
}

fn empty_root() -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    // What is mounted there takes over the mode of the folder below it.
    header.set_mode(0o1777);
    header.set_size(0);
    tar.append_data(&mut header, "tmp", io::empty())?;
    tar.into_inner()
}

/// A registry's image with its tag or digest written out, so that never all tags are pulled.
/// `None` for what is no such name, and for Fanfold's own local names.
pub(super) fn with_tag(reference: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let name = familiar(reference);
    let own = [SCRATCH.0, STORED, PRIVATE].iter().any(|own| name.starts_with(own));
    // A name becomes part of a request's path.
    let leads_away = name.split('/').any(|part| part.is_empty() || part.contains(".."));
    if name.len() > 512 || !name.chars().all(plain) || leads_away || own {
        return None;
    }
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) {
        Some(reference.to_owned())
    } else {
        Some(format!("{reference}:latest"))
    }
}

/// The name as the engine shows it: without the default registry.
fn familiar(reference: &str) -> &str {
    let name = reference
        .strip_prefix("docker.io/")
        .or_else(|| reference.strip_prefix("index.docker.io/"))
        .unwrap_or(reference);
    name.strip_prefix("library/").unwrap_or(name)
}

fn is_called(image: &ImageInspect, name: &str) -> bool {
    let names = [&image.repo_tags, &image.repo_digests].into_iter().flatten().flatten();
    // With a tag and a digest, the digest is what counts, and is listed without the tag.
    let wanted = match name.split_once('@') {
        Some((name, digest)) => format!("{}@{digest}", without_tag(familiar(name))),
        None => familiar(name).to_owned(),
    };
    names.into_iter().any(|known| familiar(known) == wanted)
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_always_has_a_tag() {
        let cases = [
            ("python", "python:latest"),
            ("python:3", "python:3"),
            ("host:5000/a/b", "host:5000/a/b:latest"),
            ("a@sha256:00", "a@sha256:00"),
        ];
        for (reference, name) in cases {
            assert_eq!(with_tag(reference).as_deref(), Some(name));
        }
    }

    #[test]
    fn an_image_that_no_registry_has_is_not_the_nodes_fault() {
        let server = |status_code, message: &str| EngineError::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        let stream = |error: &str| EngineError::DockerStreamError { error: error.to_owned() };
        for (error, customers) in [
            (server(404, "pull access denied for nosuch, repository does not exist"), true),
            (server(400, "invalid reference format"), true),
            (server(500, "manifest for a:9 not found: manifest unknown"), true),
            (
                server(
                    500,
                    "Head http://r/v2/a/manifests/1: unauthorized: authentication required",
                ),
                true,
            ),
            (stream("no matching manifest for linux/arm64 in the manifest list entries"), true),
            (
                server(500, "Get https://r.example/v2/: dial tcp: lookup r.example: not found"),
                false,
            ),
            (server(500, "toomanyrequests: rate limit"), false),
        ] {
            let text = format!("{error:?}");
            assert_eq!(matches!(not_pulled(error), Error::Unusable(_)), customers, "{text}");
        }
    }

    #[test]
    fn local_names_and_odd_ones_are_no_registry_images() {
        for reference in
            ["", "fanfold/stored:00", "docker.io/fanfold/scratch:1", "a b", "a?x=1", "a/../b", "/a"]
        {
            assert_eq!(with_tag(reference), None, "{reference}");
        }
    }

    #[test]
    fn an_image_is_known_by_name_and_never_by_id() {
        let image = ImageInspect {
            id: Some("sha256:abcd".into()),
            repo_tags: Some(vec!["python:3".into()]),
            repo_digests: Some(vec!["python@sha256:77".into()]),
            ..ImageInspect::default()
        };

        for name in ["python:3", "docker.io/library/python:3", "python:3@sha256:77"] {
            assert!(is_called(&image, name), "{name}");
        }
        for name in ["abcd:latest", "sha256:abcd", "python:2", "evil/python:3"] {
            assert!(!is_called(&image, name), "{name}");
        }
    }
}

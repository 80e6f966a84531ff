//! Looking at a source before any job needs it: is it there, may it be read, what is in it? A
//! bucket's objects are chosen by the very code that a run uses.

use std::time::Duration;

use common::data::location::{Location as _, Source};
use common::data::object_list::Place;
use common::data::pattern::Pattern;
use common::ids::WorkspaceId;
use common::secret::DataEnd;
use tokio::time::timeout;

use super::http::Probe;
use super::listing::{self, Limits};
use crate::data::pace::{Pace, Side};
use crate::data::{Data, Error, file_name};
use crate::limits::concurrency::KeyedSemaphore;
use crate::secrets::KeyPair;

/// How much of a bucket is looked through.
const LIMITS: Limits = Limits { objects: 10_000, pages: 20 };
/// Somebody waits for the answer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The most bytes of paths that are told: each stands in the answer a few times.
const LISTED_BYTES_MAX: usize = 1 << 20;
/// Looks at once: of one workspace, and in all.
const LOOKS_MAX: (usize, usize) = (2, 16);

/// Places for looks, so that one workspace's slow servers keep nobody else waiting.
pub fn places() -> KeyedSemaphore<WorkspaceId> {
    KeyedSemaphore::new(LOOKS_MAX.0, LOOKS_MAX.1)
}

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    pub name: String,
    pub path: String,
    /// Of all files together, in bytes; `None` where the server does not say.
    pub size: Option<u64>,
    pub kind: LookedKind,
    /// In the order of their paths.
    pub files: Vec<Listed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedKind {
    File,
    /// Folders, patterns or several keys; `more` where not all of them were looked through.
    Files {
        more: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// From the bucket's root.
    pub path: String,
    pub size: u64,
}

impl Data {
    /// Looks at a source with these keys, or with its owner's secret where it names one. Nothing
    /// is kept open, and nothing is copied.
    ///
    /// # Errors
    /// `Customer` where it cannot be read, or not soon enough.
    pub async fn look<F>(
        &self,
        owner: WorkspaceId,
        source: &Source<F>,
        keys: Option<KeyPair>,
    ) -> Result<Looked, Error> {
        let late = |what: &str| {
            let secs = WAIT_MAX.as_secs();
            Error::At(DataEnd::Source, format!("{what} within {secs} s; try again later"))
        };
        let _place = timeout(WAIT_MAX, self.looks.take(owner))
            .await
            .map_err(|_| late("the servers of other sources being tested did not answer"))?;
        let looked = timeout(WAIT_MAX, self.look_now(owner, source, keys)).await;
        looked.unwrap_or_else(|_| {
            let server = server(source);
            Err(late(&format!("{server} did not answer")))
        })
    }

    async fn look_now<F>(
        &self,
        owner: WorkspaceId,
        source: &Source<F>,
        keys: Option<KeyPair>,
    ) -> Result<Looked, Error> {
        let keys = match (keys, source.target()) {
            (None, Some(target)) => self.keys(owner, source.secret(), &target).await?,
            (keys, _) => keys,
        };
        match source {
            Source::Cloud { bucket, paths } => {
                let bucket = self.customers.bucket(bucket, keys.as_ref()).await?;
                let pace = Pace::new(Side::Source);
                let chosen = listing::choose(&bucket, paths, LIMITS, &pace).await?;
                let mut room = LISTED_BYTES_MAX;
                let fits = |file: &Listed| {
                    room = room.saturating_sub(file.path.len());
                    room > 0
                };
                let files: Vec<_> =
                    chosen.objects.iter().filter_map(listed).take_while(fits).collect();
                let more = chosen.more || files.len() < chosen.objects.len() as usize;
                Ok(looked_at(paths, chosen.objects.bytes(), files, more))
            }
            Source::Url { url, username, .. } => {
                let file = self.customers.web(url, username.as_deref(), keys.as_ref()).await?;
                let size = match file.probe().await? {
                    Probe::Ranges { size, .. } => Some(size),
                    Probe::Whole(whole) => whole.size,
                };
                Ok(alone(file_name::of_url(file.url().path()), file.url().path().to_owned(), size))
            }
            Source::Bypass => Ok(alone("bypass".to_owned(), String::new(), Some(0))),
            Source::File(_) => {
                let what = "a file is uploaded for a job; what can be tested is aws, gcp, storj, \
                            azure, url and bypass";
                Err(Error::At(DataEnd::Source, what.to_owned()))
            }
        }
    }
}

/// The host that a source is on, as far as it says.
fn server<F>(source: &Source<F>) -> String {
    let url = match source {
        Source::Cloud { bucket, .. } => bucket.endpoint.as_deref(),
        Source::Url { url, .. } => Some(url.as_str()),
        Source::File(_) | Source::Bypass => None,
    };
    let url = url.and_then(|url| url.parse::<url::Url>().ok());
    let host = url.and_then(|url| url.host_str().map(ToOwned::to_owned));
    host.unwrap_or_else(|| "the bucket's server".to_owned())
}

fn listed(object: common::data::object_list::Object) -> Option<Listed> {
    match object.place {
        Place::Source { path } => Some(Listed { path, size: object.size }),
        Place::Bucket { .. } | Place::Empty => None,
    }
}

fn looked_at(paths: &[String], bytes: u64, files: Vec<Listed>, more: bool) -> Looked {
    let asked = paths.first().map_or("", String::as_str);
    let path = asked.trim_start_matches('/');
    let is_key = matches!(Pattern::parse(path), Ok(Pattern::Key(_)));
    let is_this = files.first().is_some_and(|file| file.path == path || file.path == asked);
    let is_file = paths.len() == 1 && files.len() == 1 && (is_key || is_this);
    Looked {
        name: path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
        path: if is_file { files[0].path.clone() } else { path.to_owned() },
        size: Some(bytes),
        kind: if is_file { LookedKind::File } else { LookedKind::Files { more } },
        files,
    }
}

fn alone(name: String, path: String, size: Option<u64>) -> Looked {
    let files = vec![Listed { path: path.clone(), size: size.unwrap_or(0) }];
    Looked { name, path, size, kind: LookedKind::File, files }
}

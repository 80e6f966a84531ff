//! Looking at a source before any job needs it: is it there, may it be read, what is in it? A
//! bucket's objects are chosen by the very code that a run uses.

use common::ids::WorkspaceId;
use common::objects::Place;
use common::package::descriptor::DataPlace;
use common::pattern::Pattern;

use super::http::Probe;
use super::listing::{self, Limits};
use super::{Data, Error, names};
use crate::secrets::KeyPair;

/// How much of a bucket is looked through.
const LIMITS: Limits = Limits { objects: 10_000, pages: 20 };

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
    /// `Customer` where it cannot be read.
    pub async fn look(
        &self,
        owner: WorkspaceId,
        place: &DataPlace,
        keys: Option<KeyPair>,
    ) -> Result<Looked, Error> {
        let keys = match (keys, place.target()) {
            (None, Some(target)) => self.keys(owner, place.secret(), &target).await?,
            (keys, _) => keys,
        };
        match place {
            DataPlace::Cloud { bucket, paths } => {
                let bucket = self.customers.bucket(bucket, keys.as_ref()).await?;
                let chosen = listing::choose(&bucket, paths, LIMITS).await?;
                let files = chosen.objects.iter().filter_map(listed).collect();
                Ok(looked_at(paths, chosen.objects.bytes(), files, chosen.more))
            }
            DataPlace::Url { url, username, .. } => {
                let file = self.customers.web(url, username.as_deref(), keys.as_ref()).await?;
                let size = match file.probe().await? {
                    Probe::Ranges { size, .. } => Some(size),
                    Probe::Whole { size, .. } => size,
                };
                Ok(alone(names::of_url(file.url().path()), file.url().path().to_owned(), size))
            }
            DataPlace::Bypass => Ok(alone("bypass".to_owned(), String::new(), Some(0))),
            DataPlace::File { .. } | DataPlace::Bucket => Err(Error::Customer(
                "dataSource: a file is uploaded for a job; what can be tested is aws, gcp, storj, \
                 azure, url and bypass"
                    .to_owned(),
            )),
        }
    }
}

fn listed(object: common::objects::Object) -> Option<Listed> {
    match object.place {
        Place::Source { path } => Some(Listed { path, size: object.size }),
        Place::Bucket { .. } | Place::Empty => None,
    }
}

fn looked_at(paths: &[String], bytes: u64, files: Vec<Listed>, more: bool) -> Looked {
    let path = paths.first().map(|path| path.trim_start_matches('/')).unwrap_or_default();
    let is_key = matches!(Pattern::parse(path), Ok(Pattern::Key(_)));
    let is_file = paths.len() == 1 && files.len() == 1 && (is_key || files[0].path == path);
    Looked {
        name: path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
        path: path.to_owned(),
        size: Some(bytes),
        kind: if is_file { LookedKind::File } else { LookedKind::Files { more } },
        files,
    }
}

fn alone(name: String, path: String, size: Option<u64>) -> Looked {
    let files = vec![Listed { path: path.clone(), size: size.unwrap_or(0) }];
    Looked { name, path, size, kind: LookedKind::File, files }
}

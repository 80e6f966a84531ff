//! Choosing the objects of a source: keys are looked at, folders and patterns are listed.

use common::objects::{Object, Objects, Packer, Place};
use common::pattern::Pattern;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::list::PaginatedListOptions;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::cloud::CloudBucket;
use super::pace::Pace;
use super::{Error, names};

/// Keys that are looked at together.
const KEYS_AT_ONCE: usize = 16;

/// Where choosing ends: a bucket may hold far more than matches.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub objects: u32,
    /// Pages of the bucket's listing, which usually have 1,000 keys each.
    pub pages: u32,
}

/// What was chosen, in the order of the keys, each object once.
#[derive(Debug)]
pub struct Chosen {
    pub objects: Objects,
    /// Whether a limit was reached before the end.
    pub more: bool,
}

/// Chooses the objects that the paths mean.
///
/// # Errors
/// `Customer` where a key or everything that a path means is not there, or may not be read, and
/// where its server is too slow.
pub async fn choose(
    bucket: &CloudBucket,
    paths: &[String],
    limits: Limits,
    pace: &Pace,
) -> Result<Chosen, Error> {
    let (mut keys, mut listed) = (Vec::new(), Vec::new());
    for path in paths {
        match Pattern::parse(path).map_err(|bad| Error::Customer(format!("path: {bad}")))? {
            Pattern::Key(key) => keys.push(key),
            pattern @ (Pattern::Folder(_) | Pattern::Glob(_)) => listed.push(pattern),
        }
    }
    let packer = Packer::default();
    let mut list = List { bucket, pace, limits, packer, last: None, sorted: true };
    let mut heads =
        futures::stream::iter(keys).map(|key| look_at(bucket, key, pace)).buffered(KEYS_AT_ONCE);
    while let Some(meta) = heads.try_next().await? {
        list.add(&meta)?;
    }
    let mut more = false;
    for pattern in &listed {
        more |= list.add_matching(pattern).await?;
    }
    Ok(Chosen { objects: list.finish()?, more })
}

async fn look_at(bucket: &CloudBucket, key: String, pace: &Pace) -> Result<ObjectMeta, Error> {
    let meta = pace.answer(bucket.store.head(&bucket.path(&key)?)).await?;
    meta.map_err(|error| bucket.explain_read(error, &key))
}

/// Objects that are being chosen.
struct List<'a> {
    bucket: &'a CloudBucket,
    pace: &'a Pace,
    limits: Limits,
    packer: Packer,
    last: Option<String>,
    /// Whether each key came after the one before, as most stores list them.
    sorted: bool,
}

impl List<'_> {
    /// Adds everything that a folder or a pattern means; whether there was more than the limits
    /// allow.
    async fn add_matching(&mut self, pattern: &Pattern) -> Result<bool, Error> {
        if let Some(exact) = self.exactly(pattern).await? {
            self.add(&exact)?;
            return Ok(false);
        }
        let (prefix, before) = (pattern.prefix(), self.packer.len());
        let mut token = None;
        let mut held: Option<ObjectMeta> = None;
        for _ in 0..self.limits.pages {
            let options = PaginatedListOptions { page_token: token, ..Default::default() };
            let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
            let page = self.pace.answer(self.bucket.store.list_paginated(prefix, options)).await?;
            let page = page.map_err(|error| self.bucket.explain_read(error, pattern.text()))?;
            for meta in page.result.objects {
                let key = meta.location.as_ref();
                if let Some(last) = held.take().filter(|last| !is_folder(last, key)) {
                    self.add(&last)?;
                }
                if pattern.matches(key) {
                    if self.packer.len() >= self.limits.objects {
                        return Ok(true);
                    }
                    held = Some(meta);
                }
            }
            token = page.page_token;
            if token.is_none() {
                held.as_ref().map_or(Ok(()), |last| self.add(last))?;
                if self.packer.len() == before {
                    return Err(self.nothing(pattern));
                }
                return Ok(false);
            }
        }
        held.as_ref().map_or(Ok(()), |last| self.add(last))?;
        Ok(true)
    }

    /// The object whose key is a pattern's very text.
    async fn exactly(&self, pattern: &Pattern) -> Result<Option<ObjectMeta>, Error> {
        let Pattern::Glob(_) = pattern else { return Ok(None) };
        // A text that no key can be is a pattern all the same.
        let Ok(path) = self.bucket.path(pattern.text()) else { return Ok(None) };
        match self.pace.answer(self.bucket.store.head(&path)).await? {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.bucket.explain_read(error, pattern.text())),
        }
    }

    fn add(&mut self, meta: &ObjectMeta) -> Result<(), Error> {
        let key = meta.location.to_string();
        self.sorted &= self.last.as_ref().is_none_or(|last| *last < key);
        let object = Object {
            name: names::of_key(&key),
            size: meta.size,
            version: meta.e_tag.as_deref().map(quoted),
            place: Place::Source { path: key.clone() },
        };
        self.last = Some(key);
        self.packer.push(&object).map_err(|error| Error::Customer(format!("dataSource: {error}")))
    }

    fn finish(self) -> Result<Objects, Error> {
        let objects = self.packer.finish();
        if self.sorted {
            return Ok(objects);
        }
        let mut sorted: Vec<Object> = objects.iter().collect();
        sorted.sort_unstable_by(|a, b| a.place.cmp(&b.place));
        sorted.dedup_by(|a, b| a.place == b.place);
        Objects::pack(&sorted).map_err(|error| Error::Customer(format!("dataSource: {error}")))
    }

    fn nothing(&self, pattern: &Pattern) -> Error {
        let (bucket, text) = (&self.bucket.name, pattern.text());
        Error::Customer(format!("path: there is no object in the bucket {bucket:?} for {text:?}"))
    }
}

/// Whether `meta` only marks a folder: consoles make an empty object `a/` for one, whose slash is
/// lost here, and the next key lies below it.
fn is_folder(meta: &ObjectMeta, next: &str) -> bool {
    let below = next.strip_prefix(meta.location.as_ref());
    meta.size == 0 && below.is_some_and(|rest| rest.starts_with('/'))
}

/// An ETag as it stands in a header: some listings leave its quotes out.
fn quoted(etag: &str) -> String {
    if etag.ends_with('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

#[cfg(test)]
#[path = "listing/tests.rs"]
mod tests;

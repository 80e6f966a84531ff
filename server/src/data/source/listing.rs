//! Choosing the objects of a source: keys are looked at, folders and patterns are listed.
//!
//! Keys are keys: an object is chosen by its very key, and one that matches and cannot be read is
//! named in a refusal. Only what marks a folder is left out.

use common::data::object_list::{Object, Objects, Packer, Place};
use common::data::pattern::Pattern;
use common::secret::DataEnd;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::data::cloud::{CloudBucket, Found};
use crate::data::pace::Pace;
use crate::data::{Error, file_name};

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
        match parse(path)? {
            Pattern::Key(key) => keys.push(key),
            pattern @ (Pattern::Folder(_) | Pattern::Glob(_)) => listed.push(pattern),
        }
    }
    let packer = Packer::default();
    let mut list = List { bucket, pace, limits, packer, last: None, sorted: true };
    let mut heads =
        futures::stream::iter(keys).map(|key| look_at(bucket, key, pace)).buffered(KEYS_AT_ONCE);
    while let Some(found) = heads.try_next().await? {
        list.add(found)?;
    }
    let mut more = false;
    for pattern in &listed {
        more |= list.add_all(pattern).await?;
    }
    Ok(Chosen { objects: list.finish()?, more })
}

fn parse(path: &str) -> Result<Pattern, Error> {
    if path.trim_matches('/').is_empty() {
        return Err(Error::Customer("path: it must name an object of the bucket".to_owned()));
    }
    Pattern::parse(path).map_err(|bad| Error::Customer(format!("path: {bad}")))
}

/// A path that begins with a slash as it is meant where the bucket has nothing under it: without
/// that slash.
fn without_slash(path: &str) -> Option<&str> {
    let plain = path.trim_start_matches('/');
    (plain.len() < path.len() && !plain.is_empty()).then_some(plain)
}

async fn look_at(bucket: &CloudBucket, key: String, pace: &Pace) -> Result<Found, Error> {
    let plain = without_slash(&key);
    if plain.is_some()
        && let Some(found) = listed(bucket, &key, pace).await?
    {
        return Ok(found);
    }
    let key = plain.unwrap_or(&key);
    let found = pace.answer(bucket.head(key)).await??;
    found.map_err(|error| bucket.explain_read(&error, key))
}

/// The object of exactly this key, if the bucket lists it. Stores that are folders know no key that
/// begins with a slash, and answer a question for one with a failure; they can all list.
async fn listed(bucket: &CloudBucket, key: &str, pace: &Pace) -> Result<Option<Found>, Error> {
    match pace.answer(bucket.list(key, None, key)).await? {
        // It is the first of all that begin so.
        Ok(page) => Ok(page.found.into_iter().find(|found| found.key == key)),
        // Keys may be good for some folders only.
        Err(Error::Customer(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a folder or a pattern has matched.
enum Matched {
    All,
    /// A limit was reached before the end.
    Some,
    /// And why.
    Nothing(Error),
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
    async fn add_all(&mut self, pattern: &Pattern) -> Result<bool, Error> {
        let mut matched = self.add_matching(pattern).await?;
        if let (Matched::Nothing(_), Some(plain)) = (&matched, without_slash(pattern.text())) {
            matched = self.add_matching(&parse(plain)?).await?;
        }
        match matched {
            Matched::All => Ok(false),
            Matched::Some => Ok(true),
            Matched::Nothing(why) => Err(why),
        }
    }

    async fn add_matching(&mut self, pattern: &Pattern) -> Result<Matched, Error> {
        if let Some(exact) = self.exactly(pattern).await? {
            self.add(exact)?;
            return Ok(Matched::All);
        }
        let (mut seen, mut markers, mut next) = (false, false, None);
        for _ in 0..self.limits.pages {
            let page = self.bucket.list(pattern.prefix(), next, pattern.text());
            let page = match self.pace.answer(page).await? {
                Ok(page) => page,
                // Keys may be good for some folders only.
                Err(refused @ Error::Customer(_)) if !seen => return Ok(Matched::Nothing(refused)),
                Err(error) => return Err(error),
            };
            for found in page.found.into_iter().filter(|found| pattern.matches(&found.key)) {
                if found.marks_a_folder() {
                    markers = true;
                    continue;
                }
                if self.packer.len() >= self.limits.objects {
                    return Ok(Matched::Some);
                }
                seen = true;
                self.add(found)?;
            }
            next = page.next;
            if next.is_none() {
                return Ok(match seen {
                    true => Matched::All,
                    false => Matched::Nothing(self.nothing(pattern, markers)),
                });
            }
        }
        Ok(Matched::Some)
    }

    /// The object whose key is a pattern's very text.
    async fn exactly(&self, pattern: &Pattern) -> Result<Option<Found>, Error> {
        let Pattern::Glob(_) = pattern else { return Ok(None) };
        if pattern.text().starts_with('/') {
            return listed(self.bucket, pattern.text(), self.pace).await;
        }
        // A text that no request can be made for is a pattern all the same.
        if self.bucket.at(pattern.text()).is_err() {
            return Ok(None);
        }
        match self.pace.answer(self.bucket.head(pattern.text())).await?? {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.bucket.explain_read(&error, pattern.text())),
        }
    }

    fn add(&mut self, found: Found) -> Result<(), Error> {
        // Better than a task that fails later.
        self.bucket.check(&found.key)?;
        let Found { key, size, etag } = found;
        self.sorted &= self.last.as_ref().is_none_or(|last| *last < key);
        let object = Object {
            name: file_name::of_key(&key),
            size,
            version: etag.as_deref().map(quoted),
            place: Place::Source { path: key.clone() },
        };
        self.last = Some(key);
        self.packer.push(&object).map_err(|error| Error::At(DataEnd::Source, error.to_string()))
    }

    fn finish(self) -> Result<Objects, Error> {
        let objects = self.packer.finish();
        if self.sorted {
            return Ok(objects);
        }
        let mut sorted: Vec<Object> = objects.iter().collect();
        sorted.sort_unstable_by(|a, b| a.place.cmp(&b.place));
        sorted.dedup_by(|a, b| a.place == b.place);
        Objects::pack(&sorted).map_err(|error| Error::At(DataEnd::Source, error.to_string()))
    }

    fn nothing(&self, pattern: &Pattern, markers: bool) -> Error {
        let (bucket, text) = (&self.bucket.name, pattern.text());
        let only = if markers { ", only empty objects that mark folders" } else { "" };
        Error::Customer(format!(
            "path: there is no object in the bucket {bucket:?} for {text:?}{only}"
        ))
    }
}

/// An ETag as it stands in a header: some listings leave its quotes out.
fn quoted(etag: &str) -> String {
    if etag.ends_with('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

#[cfg(test)]
mod tests;

//! The images that this node brought, so that the ones unused for longest can make room.
//!
//! An image of a node has the node's label in its name: whatever else the engine has, another
//! node's images among it, is left alone. What several images share is counted with each of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptions};
use common::error_chain::chain;

use super::images::OWN;
use super::{Docker, engine};
use crate::runtime::Error;

/// What is known of the node's images, by name.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    bytes: u64,
    used: SystemTime,
    users: Weak<()>,
}

impl Shelf {
    /// Keeps an image from being removed as long as this is held, even before it is here.
    pub fn hold(&self, name: &str) -> Arc<()> {
        let mut entries = self.lock();
        // Those that never came.
        entries.retain(|_, entry| entry.bytes > 0 || entry.users.strong_count() > 0);
        let (bytes, used) = entries.get(name).map_or((0, SystemTime::now()), |e| (e.bytes, e.used));
        let held = entries.get(name).and_then(|entry| entry.users.upgrade()).unwrap_or_default();
        entries.insert(name.to_owned(), Entry { bytes, used, users: Arc::downgrade(&held) });
        held
    }

    /// The image is here and in use.
    pub fn note(&self, name: &str, bytes: u64) {
        if let Some(entry) = self.lock().get_mut(name) {
            (entry.bytes, entry.used) = (bytes, SystemTime::now());
        }
    }

    pub fn bytes(&self) -> u64 {
        self.lock().values().fold(0, |sum, entry| sum.saturating_add(entry.bytes))
    }

    pub fn bytes_of(&self, name: &str) -> u64 {
        self.lock().get(name).map_or(0, |entry| entry.bytes)
    }

    fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// The image that nobody uses and nobody has used for longest.
    pub fn oldest_idle(&self) -> Option<(SystemTime, String)> {
        let entries = self.lock();
        let is_idle = |entry: &Entry| entry.bytes > 0 && entry.users.strong_count() == 0;
        let idle = entries.iter().filter(|(_, entry)| is_idle(entry));
        idle.map(|(name, entry)| (entry.used, name.clone())).min()
    }

    /// Takes the oldest off the shelf.
    fn take_oldest(&self) -> Option<String> {
        let (_, name) = self.oldest_idle()?;
        self.lock().remove(&name);
        Some(name)
    }

    fn add(&self, name: String, bytes: u64, used: SystemTime) {
        self.lock().entry(name).or_insert(Entry { bytes, used, users: Weak::new() });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Docker {
    /// The name of an image of this node's own.
    pub(super) fn own_name(&self, repository: &str, tag: &str) -> String {
        format!("{repository}:{}-{tag}", self.label)
    }

    /// Takes over the images that an earlier process of this node brought.
    pub async fn find_images(&self) -> Result<(), Error> {
        let names = OWN.map(|repository| self.own_name(repository, "*")).to_vec();
        let filters = HashMap::from([("reference", names)]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let found = self.client.list_images(Some(options)).await;
        for image in found.map_err(engine("list its images"))? {
            let bytes = u64::try_from(image.size).unwrap_or(0);
            for name in image.repo_tags {
                if name.split_once(':').is_some_and(|(_, tag)| tag.starts_with(&self.label)) {
                    self.shelf.add(name, bytes, SystemTime::UNIX_EPOCH);
                }
            }
        }
        Ok(())
    }

    /// What all of the node's images take of the disk.
    pub fn image_bytes(&self) -> u64 {
        self.shelf.bytes()
    }

    /// When the image was used last that nobody has used for longest.
    pub fn oldest_idle_image(&self) -> Option<SystemTime> {
        self.shelf.oldest_idle().map(|(used, _)| used)
    }

    /// Removes that image; gives whether there was one.
    pub async fn evict_oldest_image(&self) -> bool {
        let Some(name) = self.shelf.take_oldest() else { return false };
        self.remove_image(&name).await;
        true
    }

    /// Takes an image's name away, and with its last name the image.
    pub(super) async fn remove_image(&self, name: &str) {
        self.shelf.forget(name);
        match self.client.remove_image(name, None::<RemoveImageOptions>, None).await {
            Ok(_) => tracing::info!(name, "image removed"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), name, "an old image cannot be removed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_unused_image_is_removed_first() {
        let shelf = Shelf::default();
        let at = |secs| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(secs);
        shelf.add("a".to_owned(), 10, at(1));
        shelf.add("b".to_owned(), 20, at(2));
        shelf.add("c".to_owned(), 30, at(3));

        let held = (shelf.hold("a"), shelf.hold("a"));
        assert_eq!(shelf.bytes(), 60);
        assert_eq!(shelf.take_oldest().as_deref(), Some("b"));
        drop(held.0);
        assert_eq!(shelf.take_oldest().as_deref(), Some("c"));
        assert_eq!(shelf.take_oldest(), None);
        drop(held.1);
        assert_eq!(shelf.take_oldest().as_deref(), Some("a"));
        assert_eq!(shelf.bytes(), 0);
    }

    #[test]
    fn image_during_its_pull_is_not_removed_and_counts_once_complete() {
        let shelf = Shelf::default();

        let held = shelf.hold("new");
        assert_eq!((shelf.bytes(), shelf.oldest_idle()), (0, None));
        shelf.note("new", 7);
        drop(held);

        assert_eq!((shelf.bytes(), shelf.take_oldest().as_deref()), (7, Some("new")));
    }
}

//! Permits that one holder must not take from all others: this many in all, and this many for each
//! key, such as a workspace.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits, limited in all and for each key; clones share them.
///
/// A key's waiters stand in a queue of their own, and at most its own number of them in the queue
/// for the total, so a key with many waiters delays another key by no more than that.
pub struct KeyedSemaphore<K: Eq + Hash> {
    shared: Arc<Shared<K>>,
}

struct Shared<K: Eq + Hash> {
    per_key: usize,
    total: Arc<Semaphore>,
    /// An entry lasts while a permit of its key is held or waited for.
    keys: Mutex<HashMap<K, Entry>>,
}

struct Entry {
    permits: Arc<Semaphore>,
    users: usize,
}

/// A permit that is held; dropping it gives it back.
pub struct Permit<K: Eq + Hash> {
    // Fields are dropped in this order: the permits are back before the entry can go.
    _total: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _user: User<K>,
}

/// Keeps the entry of a key.
struct User<K: Eq + Hash> {
    shared: Arc<Shared<K>>,
    key: K,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("this workspace has as many under way as one may")]
    Key,
    #[error("as many are under way as the server allows")]
    Total,
}

impl<K: Eq + Hash> Clone for KeyedSemaphore<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Eq + Hash + Clone> KeyedSemaphore<K> {
    /// # Panics
    /// Where either number is 0: nobody would ever get a permit.
    pub fn new(per_key: usize, total: usize) -> Self {
        assert!(per_key > 0 && total > 0, "there must be permits to take");
        let total = Arc::new(Semaphore::new(total));
        Self { shared: Arc::new(Shared { per_key, total, keys: Mutex::default() }) }
    }

    /// Takes a permit at once.
    ///
    /// # Errors
    /// Says whether the key or the total has none left.
    pub fn try_take(&self, key: K) -> Result<Permit<K>, Full> {
        let (user, permits) = self.enter(key);
        let own = permits.try_acquire_owned().map_err(|_| Full::Key)?;
        let total = self.shared.total.clone().try_acquire_owned().map_err(|_| Full::Total)?;
        Ok(Permit { _total: total, _own: own, _user: user })
    }

    /// Takes a permit, and waits until there is one. Dropping the future gives up the wait.
    pub async fn take(&self, key: K) -> Permit<K> {
        let (user, permits) = self.enter(key);
        let own = permits.acquire_owned().await.expect("the semaphore is never closed");
        let total = self.shared.total.clone().acquire_owned().await;
        let total = total.expect("the semaphore is never closed");
        Permit { _total: total, _own: own, _user: user }
    }

    fn enter(&self, key: K) -> (User<K>, Arc<Semaphore>) {
        let mut keys = self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = keys.entry(key.clone()).or_insert_with(|| Entry {
            permits: Arc::new(Semaphore::new(self.shared.per_key)),
            users: 0,
        });
        entry.users += 1;
        let permits = entry.permits.clone();
        (User { shared: self.shared.clone(), key }, permits)
    }
}

impl<K: Eq + Hash> Drop for User<K> {
    fn drop(&mut self) {
        let mut keys = self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = keys.get_mut(&self.key) {
            entry.users -= 1;
            if entry.users == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn permits_of_one_key_run_out_for_it_alone() {
        let permits = KeyedSemaphore::new(2, 3);
        let _held = [permits.try_take("a").unwrap(), permits.try_take("a").unwrap()];

        assert_eq!(permits.try_take("a").err(), Some(Full::Key));
        let other = permits.try_take("b").unwrap();
        assert_eq!(permits.try_take("c").err(), Some(Full::Total));
        drop(other);
        assert!(permits.try_take("c").is_ok());
    }

    #[tokio::test]
    async fn permits_are_given_to_other_keys_before_a_key_with_many_waiters() {
        let permits = KeyedSemaphore::new(1, 2);
        let first = permits.take("a").await;
        let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(permits.take("a"))).collect();
        assert!(waiting.iter_mut().all(|permit| permit.now_or_never().is_none()));

        let other = permits.take("b").now_or_never();

        assert!(other.is_some());
        drop(first);
        let served = waiting.iter_mut().filter_map(FutureExt::now_or_never).count();
        assert_eq!(served, 20, "each gives its permit back for the next");
    }

    #[tokio::test]
    async fn permits_forget_keys_that_hold_and_wait_for_nothing() {
        let permits = KeyedSemaphore::new(1, 1);
        let held = permits.take(1).await;
        let mut waiting = Box::pin(permits.take(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(permits.try_take(2).err(), Some(Full::Total));
        assert_eq!(permits.shared.keys.lock().unwrap().len(), 1);

        drop(waiting);
        drop(held);

        assert!(permits.shared.keys.lock().unwrap().is_empty());
        assert!(permits.try_take(3).is_ok());
    }
}

//! One lock for each key: what two attempts need at once is made only once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

#[derive(Debug)]
pub struct KeyedMutex<K> {
    locks: Mutex<HashMap<K, Weak<AsyncMutex<()>>>>,
}

impl<K> Default for KeyedMutex<K> {
    fn default() -> Self {
        Self { locks: Mutex::default() }
    }
}

impl<K: Eq + Hash> KeyedMutex<K> {
    /// Waits until nobody else holds the key's lock.
    pub async fn lock(&self, key: K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            if let Some(lock) = locks.get(&key).and_then(Weak::upgrade) {
                lock
            } else {
                let lock = Arc::new(AsyncMutex::new(()));
                locks.insert(key, Arc::downgrade(&lock));
                lock
            }
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn keyed_mutex_has_one_holder_per_key() {
        let keyed = KeyedMutex::default();
        let held = keyed.lock(1).await;

        assert!(keyed.lock(1).now_or_never().is_none());
        assert!(keyed.lock(2).now_or_never().is_some());
        drop(held);
        assert!(keyed.lock(1).now_or_never().is_some());
        assert!(keyed.locks.lock().unwrap().len() <= 1);
    }
}

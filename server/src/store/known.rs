//! What almost every request reads and hardly any changes: who a key's text stands for, templates,
//! what packages tags mean, and what a workspace says of its containers.
//!
//! An answer of the database is used again while no statement that writes such tables has ended
//! since it was read, and for a second at most. Each such statement is carried to its end before
//! its caller hears of it, and ends all answers (`database/epoch.rs`). So a key is refused as
//! soon as its revocation has been answered. What another process writes counts a second later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::access::Role;
use common::compute::container::Sharing;
use common::digest::Digest;
use common::ids::WorkspaceId;
use sea_orm::DbErr;
use tokio::time::Instant;

use super::catalogue::packages::{Asked, Package};
use super::catalogue::templates::Kept;
use super::database::epoch::Epoch;
use super::market::plans::StoredPlans;
use super::people::api_keys::KeyHolder;

/// How long an answer is used.
const USED: Duration = Duration::from_secs(1);
/// The most answers of one kind.
const ANSWERS_MAX: usize = 256;
/// The most bytes of an answer's documents.
const BYTES_MAX: usize = 16 * 1024;

/// Answers that are used again.
#[derive(Debug, Default)]
pub(in crate::store) struct Known {
    pub keys: Answers<Digest, (KeyHolder, Option<Role>)>,
    pub templates: Answers<(WorkspaceId, String), Kept>,
    pub packages: Answers<Asked, Package>,
    pub sharing: Answers<WorkspaceId, Sharing>,
    pub plans: StoredPlans,
}

/// Answers of one kind, each under what was asked.
#[derive(Debug)]
pub(in crate::store) struct Answers<K, V> {
    answers: Mutex<HashMap<K, Answer<V>>>,
}

#[derive(Debug)]
struct Answer<V> {
    value: V,
    /// From before it was read.
    epoch: u64,
    asked_at: Instant,
}

/// What the database says, with the bytes of its documents.
pub(in crate::store) struct Read<V> {
    pub value: V,
    pub bytes: usize,
}

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self { answers: Mutex::default() }
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    /// What is known of this, or else what `read` says now. What is not there is asked each time.
    pub async fn find(
        &self,
        epoch: &Epoch,
        asked: K,
        read: impl Future<Output = Result<Option<Read<V>>, DbErr>>,
    ) -> Result<Option<V>, DbErr> {
        self.find_at(Instant::now(), epoch, asked, read).await
    }

    async fn find_at(
        &self,
        asked_at: Instant,
        epoch: &Epoch,
        asked: K,
        read: impl Future<Output = Result<Option<Read<V>>, DbErr>>,
    ) -> Result<Option<V>, DbErr> {
        let now = epoch.now();
        if let Some(value) = self.known(&asked, now, asked_at) {
            return Ok(Some(value));
        }
        let Some(Read { value, bytes }) = read.await? else { return Ok(None) };
        if bytes <= BYTES_MAX {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.len() >= ANSWERS_MAX {
                answers.clear();
            }
            answers.insert(asked, Answer { value: value.clone(), epoch: now, asked_at });
        }
        Ok(Some(value))
    }

    fn known(&self, asked: &K, now: u64, at: Instant) -> Option<V> {
        // Each change is one insert or the removal of all.
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(asked)?;
        let is_good = answer.epoch == now && at.duration_since(answer.asked_at) < USED;
        is_good.then(|| answer.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn answer_is_used_until_the_epoch_ends_and_for_a_second_at_most() {
        let (answers, epoch, reads) = (Answers::default(), Epoch::default(), AtomicU32::new(0));
        let began = Instant::now();
        let ask = async |at, bytes| {
            let read = async {
                let value = reads.fetch_add(1, Ordering::Relaxed);
                Ok(Some(Read { value, bytes }))
            };
            answers.find_at(at, &epoch, "a", read).await.unwrap().unwrap()
        };

        assert_eq!((ask(began, 1).await, ask(began, 1).await), (0, 0));
        epoch.end();
        assert_eq!((ask(began, 1).await, ask(began, 1).await), (1, 1));
        let later = began + USED;
        assert_eq!(ask(later, BYTES_MAX + 1).await, 2);
        assert_eq!(ask(later, 1).await, 3, "a large answer is not kept");
    }

    #[tokio::test]
    async fn answer_that_was_read_when_an_epoch_ended_is_not_used_again() {
        let (answers, epoch) = (Answers::default(), Epoch::default());
        let read = async {
            epoch.end();
            Ok(Some(Read { value: "old", bytes: 1 }))
        };
        answers.find(&epoch, "a", read).await.unwrap();

        let new = async { Ok(Some(Read { value: "new", bytes: 1 })) };
        assert_eq!(answers.find(&epoch, "a", new).await.unwrap(), Some("new"));
    }

    #[tokio::test]
    async fn number_of_answers_is_bounded() {
        let (answers, epoch) = (Answers::default(), Epoch::default());
        for asked in 0..=ANSWERS_MAX {
            let read = async { Ok(Some(Read { value: 1, bytes: 1 })) };
            answers.find(&epoch, asked, read).await.unwrap();
        }

        assert_eq!(answers.answers.lock().unwrap().len(), 1);
    }
}

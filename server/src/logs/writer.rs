//! Stores the lines that nodes send, many messages in one transaction, apart from the coordinator's.
//!
//! Nothing is lost that a node was told is safe, and nothing is stored twice: the number of each line
//! tells whether it is there already. A database that is away is waited for; what does not fit into
//! the queue meanwhile stays with the nodes.

mod intake;
mod remembered;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use common::error_chain::chain;
use common::ids::{NodeId, RunId};
use common::market::Owner;
use common::protocol::LogBatch;
use common::run::task::Lease;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::coordinator::leases::{AttemptLog, Leases, LiveLease, LogEnd};
use crate::coordinator::{Coordinator, StoredLines};
use crate::store;
use crate::store::logs::{Batch, End, numbers, tail};
use crate::store::market::tasks::attempts;
use crate::store::{Db, begin};
use remembered::Remembered;

/// Messages that may wait; each has at most `LOGS_BYTES_MAX` of text.
const QUEUE_MAX: usize = 256;
/// How long a message waits for its lines to be stored.
const WAIT: Duration = Duration::from_secs(1);
/// Tries of a transaction that the database refuses. One that is away is waited for.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A database that takes so long for one transaction has gone without closing its connection.
const COMMIT_MAX: Duration = Duration::from_secs(60);

/// A cheap handle; clones speak to the same writer.
#[derive(Clone)]
pub struct LogWriter {
    queue: mpsc::Sender<Message>,
    leases: Leases,
    remembered: Arc<Remembered>,
}

/// Lines that a node sent in one message.
struct Message {
    parts: Vec<Part>,
    stored: oneshot::Sender<()>,
}

/// Lines of one attempt.
struct Part {
    node: NodeId,
    /// `None` where the attempt has ended, or never was.
    live: Option<Arc<LiveLease>>,
    /// `None` where it is not known whether the attempt was the node's.
    log: Option<Arc<AttemptLog>>,
    batch: LogBatch,
}

impl LogWriter {
    /// A writer, and what does its work until `stop`.
    pub fn new(
        db: Db,
        leases: Leases,
        coordinator: Coordinator,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, messages) = mpsc::channel(QUEUE_MAX);
        let work = Work { db, coordinator, stop };
        (Self { queue, leases, remembered: Arc::default() }, work.run(messages))
    }

    /// Stores lines that a node sends, and gives up to which line each of the logs is safe. What is
    /// not stored soon is left out: the node sends it again.
    pub async fn store(&self, node: NodeId, logs: Vec<LogBatch>) -> Vec<(Lease, u32)> {
        let safe = logs.iter().map(|batch| (batch.lease, batch.end())).collect();
        let (stored, done) = oneshot::channel();
        let message = Message {
            parts: logs.into_iter().map(|batch| self.part(node, batch)).collect(),
            stored,
        };
        let stored = async {
            self.queue.send(message).await.ok()?;
            done.await.ok()
        };
        match timeout(WAIT, stored).await {
            Ok(Some(())) => safe,
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    fn part(&self, node: NodeId, batch: LogBatch) -> Part {
        let live = self.leases.get(node, batch.lease);
        let log = match &live {
            Some(live) => {
                self.remembered.put(node, batch.lease, &live.log);
                Some(Arc::clone(&live.log))
            }
            None => self.remembered.get(node, batch.lease),
        };
        Part { node, live, log, batch }
    }
}

struct Work {
    db: Db,
    coordinator: Coordinator,
    stop: CancellationToken,
}

impl Work {
    async fn run(self, mut queue: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(QUEUE_MAX);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                n = queue.recv_many(&mut messages, QUEUE_MAX) => if n == 0 { return },
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.store(std::mem::take(&mut messages)) => {}
            }
        }
    }

    /// Stores messages, all at once or one by one where the database refuses that: one that it
    /// refuses takes no other along.
    async fn store(&self, messages: Vec<Message>) {
        let parts: Vec<&Part> = messages.iter().flat_map(|message| &message.parts).collect();
        if self.is_stored(&parts).await {
            messages.into_iter().for_each(Message::answer);
            return;
        }
        for message in messages {
            if !self.is_stored(&message.parts.iter().collect::<Vec<_>>()).await {
                tracing::error!("lines of logs are dropped: the database refuses them");
            }
            message.answer();
        }
    }

    /// Stores lines, however long the database is away; false where it refuses them.
    async fn is_stored(&self, parts: &[&Part]) -> bool {
        let (mut pause, mut refused) = (PAUSE, 0);
        loop {
            let stored = timeout(COMMIT_MAX, self.try_store(parts)).await;
            let error = match stored.unwrap_or_else(|_| Err(store::no_answer())) {
                Ok(written) => {
                    self.tell(parts, &written);
                    return true;
                }
                Err(error) => error,
            };
            // They may have been stored, and the answer lost.
            parts.iter().filter_map(|part| part.log.as_ref()).for_each(|log| log.set_end(None));
            refused += u32::from(!store::is_away(&error) && !store::is_full(&error));
            tracing::warn!(error = %chain(&error), "lines of logs are not stored yet");
            if refused == TRIES {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn try_store(&self, parts: &[&Part]) -> Result<Written, store::Error> {
        let tx = begin(&self.db).await?;
        // First, so that what follows sees all that was stored before.
        let mut number = numbers::take(&tx, parts.len()).await?;
        let mut ends = Ends::default();
        let mut batches = Vec::with_capacity(parts.len());
        for part in parts {
            let lease = part.batch.lease;
            let Some(end) = ends.of(&tx, part).await? else { continue };
            let Some((first, lines)) = intake::fresh(&part.batch, end) else { continue };
            batches.push(Batch { number, lease, first, lines });
            number += 1;
        }
        tail::insert(&tx, &batches).await?;
        tx.commit().await?;
        let batches = batches.iter().map(|batch| (batch.lease, batch.number)).collect();
        Ok(Written { batches, ends: ends.known })
    }

    /// Notes how far the logs go by now, and tells those who follow them.
    fn tell(&self, parts: &[&Part], written: &Written) {
        let mut live = HashMap::new();
        for part in parts {
            if let Some(log) = &part.log {
                log.set_end(written.ends.get(&part.batch.lease).copied().flatten());
            }
            if let Some(lease) = &part.live {
                live.insert(part.batch.lease, lease);
            }
        }
        let told = |(lease, number): &(Lease, i64)| {
            let of = live.get(lease)?;
            let owner = Owner::of(&of.spec);
            Some(StoredLines { lease: *lease, owner, phase: of.phase(), number: *number })
        };
        self.coordinator.tell_lines(written.batches.iter().filter_map(told));
    }
}

impl Message {
    /// The node may have gone.
    fn answer(self) {
        let _ = self.stored.send(());
    }
}

/// What a transaction stored.
struct Written {
    batches: Vec<(Lease, i64)>,
    ends: HashMap<Lease, Option<LogEnd>>,
}

/// How far logs go, as a transaction sees it.
#[derive(Default)]
struct Ends {
    /// `None` for attempts that are not the node's.
    known: HashMap<Lease, Option<LogEnd>>,
    /// What is stored of runs that had to be looked up.
    looked_up: HashMap<RunId, HashMap<Lease, End>>,
}

impl Ends {
    /// How far the log goes; `None` where the attempt is not the node's.
    async fn of(
        &mut self,
        db: &store::Transaction,
        part: &Part,
    ) -> Result<Option<&mut LogEnd>, store::Error> {
        let lease = part.batch.lease;
        if !self.known.contains_key(&lease) {
            let end = match &part.log {
                Some(log) if let Some(end) = log.end() => Some(end),
                Some(_) => Some(self.look_up(db, lease).await?),
                // Its receipt may have been settled before its last lines were stored.
                None if attempts::is_of(db, part.node, lease).await? => {
                    Some(self.look_up(db, lease).await?)
                }
                None => None,
            };
            self.known.insert(lease, end);
        }
        Ok(self.known.get_mut(&lease).and_then(Option::as_mut))
    }

    async fn look_up(
        &mut self,
        db: &store::Transaction,
        lease: Lease,
    ) -> Result<LogEnd, store::Error> {
        let run = lease.task.run;
        let ends = match self.looked_up.entry(run) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(store::logs::ends(db, run).await?),
        };
        let (lines, bytes) = ends.get(&lease).copied().unwrap_or_default();
        Ok(LogEnd { lines, bytes })
    }
}

//! Named queues: their rules as the market keeps them, and what happens in them.
//!
//! A queue is a row before the market has it, and the market has given it up before its row goes.
//! So a restart finds every queue that a run can be in.

use common::ids::{QueueId, RunId, WorkspaceId};
pub use common::market::QueueView;
use common::market::{Market, OutsideQueues, QueueInUse};
use common::run::queue::QueueRules;

use super::{Command, Coordinator, Error, Reply};
use crate::store::queues::{self, Queue};

/// What happens in some queues of a workspace at one moment.
#[derive(Debug)]
pub struct QueueViews {
    /// In the order in which they were asked for; `None` for one that is not there any more.
    pub views: Vec<Option<QueueView>>,
    /// The tasks of the workspace that stand in no named queue.
    pub outside: OutsideQueues,
}

/// What is asked of the market's queues.
pub(super) enum QueueCommand {
    Put { id: QueueId, rules: QueueRules, reply: Reply<()> },
    Remove { id: QueueId, reply: Reply<Result<(), QueueInUse>> },
    View { id: QueueId, reply: Reply<Option<QueueView>> },
    Views { of: WorkspaceId, ids: Vec<QueueId>, reply: Reply<QueueViews> },
    Position { run: RunId, reply: Reply<Option<usize>> },
}

impl Coordinator {
    /// Stores a new queue, which hands out as soon as its rules say so.
    pub async fn add_queue(&self, queue: &Queue) -> Result<(), Error> {
        let _turn = self.in_time(self.queue_turn.lock()).await?;
        queues::insert(&self.db, queue).await?;
        self.put_queue(queue).await
    }

    /// Changes a queue as `change` says, and gives it; `None` where there is none.
    pub async fn change_queue(
        &self,
        owner: WorkspaceId,
        id: QueueId,
        change: impl FnOnce(&mut Queue),
    ) -> Result<Option<Queue>, Error> {
        let _turn = self.in_time(self.queue_turn.lock()).await?;
        let Some(mut queue) = queues::find(&self.db, owner, id).await? else { return Ok(None) };
        change(&mut queue);
        queues::replace(&self.db, &queue).await?;
        self.put_queue(&queue).await?;
        Ok(Some(queue))
    }

    /// Removes a queue that has no runs; false where there is none.
    pub async fn remove_queue(&self, owner: WorkspaceId, id: QueueId) -> Result<bool, Error> {
        let _turn = self.in_time(self.queue_turn.lock()).await?;
        let Some(queue) = queues::find(&self.db, owner, id).await? else { return Ok(false) };
        self.ask(|reply| Command::Queue(QueueCommand::Remove { id, reply })).await??;
        let deleted = queues::delete(&self.db, owner, id).await;
        if deleted.is_err() {
            // Its row is still there, and so it must be.
            self.put_queue(&queue).await?;
        }
        Ok(deleted?)
    }

    /// What happens in a queue.
    pub async fn queue_view(&self, id: QueueId) -> Result<Option<QueueView>, Error> {
        self.ask(|reply| Command::Queue(QueueCommand::View { id, reply })).await
    }

    /// What happens in some queues of a workspace, and outside of all.
    pub async fn queue_views(
        &self,
        of: WorkspaceId,
        ids: Vec<QueueId>,
    ) -> Result<QueueViews, Error> {
        self.ask(|reply| Command::Queue(QueueCommand::Views { of, ids, reply })).await
    }

    /// How many runs of its queue are served before this one, where that is known.
    pub async fn queue_position(&self, run: RunId) -> Result<Option<usize>, Error> {
        self.ask(|reply| Command::Queue(QueueCommand::Position { run, reply })).await
    }

    async fn put_queue(&self, queue: &Queue) -> Result<(), Error> {
        let (id, rules) = (queue.id, queue.rules);
        self.ask(|reply| Command::Queue(QueueCommand::Put { id, rules, reply })).await
    }
}

impl QueueCommand {
    /// Applies it. The asker may have gone.
    pub fn apply(self, market: &mut Market) {
        match self {
            Self::Put { id, rules, reply } => {
                market.put_queue(id, rules);
                let _ = reply.send(());
            }
            Self::Remove { id, reply } => {
                let _ = reply.send(market.remove_queue(id));
            }
            Self::View { id, reply } => {
                let _ = reply.send(market.queue_view(id));
            }
            Self::Views { of, ids, reply } => {
                let views = ids.into_iter().map(|id| market.queue_view(id)).collect();
                let _ = reply.send(QueueViews { views, outside: market.outside_queues(of) });
            }
            Self::Position { run, reply } => {
                let _ = reply.send(market.position(run));
            }
        }
    }
}

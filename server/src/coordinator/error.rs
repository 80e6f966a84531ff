//! Why the coordinator does not do what it is asked.

use common::market::{QueueInUse, Refused};
use common::money::credits::Credits;

use super::BookingRefused;
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this job has been started already")]
    AlreadyStarted,
    #[error("this job has just been changed or deleted: read it again")]
    JobChanged,
    #[error(
        "the wallet has {available} credits available and this run needs {needs} to be held: top \
         up, or, for work on nodes, make the task timeout shorter or ask for fewer resources"
    )]
    Wallet { needs: Credits, available: Credits },
    #[error(
        "the spend cap of the job's project, {limit} credits, leaves {room} and this run needs {needs} \
         to be held: raise the cap, or wait for its next period"
    )]
    Cap { limit: Credits, room: Credits, needs: Credits },
    #[error("there is no such run, or it has ended")]
    NoRun,
    #[error(
        "only a job that failed after its last task can be delivered again, while its results are \
         kept (48 hours): run the job again"
    )]
    NotDeliverable,
    #[error("only a run that failed or was cancelled can be retried")]
    NotRetryable,
    #[error("the run's data has been deleted, 48 hours after its end: start a new run of the job")]
    NotKept,
    #[error(
        "the run's plan cannot be followed, and a retry follows the same one: correct the job, and \
         start a new run"
    )]
    SamePlan,
    #[error("nodes still stop what they run of it: try again in a moment")]
    StillStopping,
    #[error("the job's queue is not there any more: choose another one")]
    NoQueue,
    #[error("{0}: wait for them, or cancel them")]
    QueueInUse(#[from] QueueInUse),
    #[error(transparent)]
    Booking(#[from] BookingRefused),
    #[error("the node has not joined")]
    NoNode,
    #[error("the server is stopping")]
    Stopping,
    /// What was asked for may yet be done.
    #[error("the coordinator waits for the database")]
    Waiting,
    /// What was asked for may yet be done.
    #[error("the disk of the database is full")]
    DiskFull,
    #[error("database")]
    Db(#[from] store::Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::AlreadyStarted => Self::AlreadyStarted,
            Refused::Wallet { needs, available } => Self::Wallet { needs, available },
            Refused::Cap { limit, room, needs } => Self::Cap { limit, room, needs },
            Refused::NoRun => Self::NoRun,
            Refused::NotDeliverable => Self::NotDeliverable,
            Refused::NotRetryable => Self::NotRetryable,
            Refused::SamePlan => Self::SamePlan,
            Refused::Stopping => Self::StillStopping,
            Refused::NoQueue => Self::NoQueue,
        }
    }
}

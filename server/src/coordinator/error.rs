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
    #[error("there is no such run, or it has ended")]
    NoRun,
    #[error(
        "only a job that failed after its last task can be delivered again, while its results are \
         kept (48 hours): run the job again"
    )]
    NotDeliverable,
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
            Refused::NoRun => Self::NoRun,
            Refused::NotDeliverable => Self::NotDeliverable,
            Refused::NoQueue => Self::NoQueue,
        }
    }
}

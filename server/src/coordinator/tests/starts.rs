//! A start is one transaction: it makes one run or leaves a draft, whatever else happens.

use common::ids::JobId;
use common::package::config::JobConfig;
use common::run::spec::RunSpec;
use futures::FutureExt as _;

use super::*;
use crate::coordinator::testing::start;
use crate::store::jobs::{Change, Job, StartAs};
use crate::store::market::runs;
use crate::store::money::statement;
use crate::store::testing::{draft, runs_of};

fn config() -> JobConfig {
    JobConfig { task_timeout_secs: Some(77), ..JobConfig::default() }
}

impl Room {
    async fn start(&self, spec: &RunSpec) -> Result<RunId, Error> {
        start(&self.coordinator, spec.clone(), StartAs::Only(config())).await
    }

    /// The job as a start reads it.
    async fn read(&self, spec: &RunSpec) -> ReadJob {
        self.coordinator.read_job(self.workspace, spec.job).await.unwrap().unwrap()
    }

    /// A start of what was read before.
    async fn start_read(&self, spec: &RunSpec, read: ReadJob) -> Result<RunId, Error> {
        self.coordinator.start_job(spec.clone(), read, StartAs::Only(config())).await
    }

    async fn job(&self, id: JobId) -> Option<Job> {
        store::jobs::find(&self.db, self.workspace, id).await.unwrap()
    }

    async fn rename(&self, id: JobId) -> bool {
        let lock = self.coordinator.lock_job(id).await.unwrap();
        let changes = vec![Change::Name("changed".to_owned())];
        store::jobs::change(&self.db, &lock, self.workspace, changes).await.unwrap()
    }

    async fn runs(&self, job: JobId) -> usize {
        runs_of(&self.db, self.workspace, job).await.len()
    }

    async fn held(&self) -> Credits {
        statement::balance(&self.db, self.workspace).await.unwrap().held
    }

    /// A start that waits for its batch to be stored.
    async fn starting(&self, spec: &RunSpec) -> JoinHandle<Result<RunId, Error>> {
        let (coordinator, read) = (self.coordinator.clone(), self.read(spec).await);
        let (job, spec) = (spec.job, spec.clone());
        let start = async move { coordinator.start_job(spec, read, StartAs::Only(config())).await };
        let start = tokio::spawn(start);
        while self.coordinator.lock_job(job).now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
        start
    }
}

/// Lets no batch be stored until it is dropped.
async fn stall(db: Db) -> impl Send {
    store::begin(&db).await.unwrap()
}

#[tokio::test]
async fn start_stores_the_run_the_hold_and_the_config() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;

    let run = room.start(&spec).await.unwrap();

    let job = room.job(spec.job).await.unwrap();
    let own = job.work.template().map(|work| work.config);
    assert_eq!((job.run, own), (Some(run), Some(config())));
    assert!(job.submitted_at.is_some());
    let view = runs::find(&room.db, room.workspace, run).await.unwrap().unwrap();
    assert_eq!((view.job, view.held), (spec.job, room.held().await));
    assert!(view.held > Credits::ZERO);
}

#[tokio::test]
async fn start_of_a_job_whose_run_has_ended_is_refused() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;
    let run = room.start(&spec).await.unwrap();
    room.coordinator.cancel_run(run, "enough".to_owned()).await.unwrap();

    let again = room.start(&spec).await;

    assert!(matches!(again, Err(Error::AlreadyStarted)), "{again:?}");
    // The coordinator lives: a commit that can never succeed would have been its end.
    let other = draft(&room.db, room.workspace).await;
    room.start(&other).await.unwrap();
}

#[tokio::test]
async fn simultaneous_starts_make_one_run() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;

    let answers = futures::future::join_all((0..8).map(|_| room.start(&spec))).await;

    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(Error::AlreadyStarted));
    assert_eq!(answers.iter().filter(refused).count(), 7, "{answers:?}");
    assert_eq!(room.runs(spec.job).await, 1);
}

#[tokio::test]
async fn start_of_a_draft_that_was_changed_since_it_was_read_is_refused() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;
    let read = room.read(&spec).await;
    assert!(room.rename(spec.job).await);

    let stale = room.start_read(&spec, read).await;

    assert!(matches!(stale, Err(Error::JobChanged)), "{stale:?}");
    assert_eq!((room.runs(spec.job).await, room.held().await), (0, Credits::ZERO));
    room.start(&spec).await.unwrap();
}

#[tokio::test]
async fn start_waits_for_a_deletion_under_way_and_is_refused() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;
    let lock = room.coordinator.lock_job(spec.job).await.unwrap();
    let read = room.read(&spec).await;
    let mut start = Box::pin(room.start_read(&spec, read));
    assert!(start.as_mut().now_or_never().is_none());

    assert!(store::jobs::delete_draft(&room.db, &lock, room.workspace).await.unwrap());
    drop(lock);

    let refused = start.await;
    assert!(matches!(refused, Err(Error::JobChanged)), "{refused:?}");
    assert_eq!((room.runs(spec.job).await, room.held().await), (0, Credits::ZERO));
}

#[tokio::test]
async fn change_of_a_draft_waits_for_a_start_under_way_and_is_refused() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;
    let stalled = stall(room.db.clone()).await;
    let start = room.starting(&spec).await;
    let mut change = Box::pin(room.rename(spec.job));
    assert!(change.as_mut().now_or_never().is_none());

    drop(stalled);

    assert!(!change.await);
    start.await.unwrap().unwrap();
    assert_eq!(room.job(spec.job).await.unwrap().name, "");
}

#[tokio::test]
async fn refused_start_leaves_a_draft_that_can_be_changed_and_started() {
    let room = granted().await;
    let poor = workspaces::create_workspace(&room.db, "poor").await.unwrap();
    let room = Room { workspace: poor, ..room };
    let spec = draft(&room.db, poor).await;
    let before = room.job(spec.job).await;

    let refused = room.start(&spec).await;

    assert!(matches!(refused, Err(Error::Wallet { .. })), "{refused:?}");
    assert_eq!((room.job(spec.job).await, room.runs(spec.job).await), (before, 0));
    assert!(room.rename(spec.job).await);
    let amount = Credits::from_units(100_000_000_000).unwrap();
    room.coordinator.grant(poor, amount, "late").await.unwrap();
    room.start(&spec).await.unwrap();
}

#[tokio::test]
async fn start_whose_caller_disconnects_makes_one_run() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;
    let stalled = stall(room.db.clone()).await;
    let start = room.starting(&spec).await;

    start.abort();
    assert!(start.await.unwrap_err().is_cancelled());
    drop(stalled);
    let again = room.start(&spec).await;

    // Where the first had not asked the coordinator yet, this one has made the run.
    assert!(matches!(again, Ok(_) | Err(Error::AlreadyStarted)), "{again:?}");
    assert_eq!(room.runs(spec.job).await, 1);
    assert!(room.job(spec.job).await.unwrap().run.is_some());
}

#[tokio::test]
async fn coordinator_that_is_killed_before_its_batch_is_stored_leaves_a_draft() {
    let room = granted().await;
    let spec = draft(&room.db, room.workspace).await;
    let stalled = stall(room.db.clone()).await;
    let start = room.starting(&spec).await;

    let room = room.restarted(|| drop(stalled)).await;

    let lost = start.await.unwrap();
    assert!(matches!(lost, Err(Error::Stopping)), "{lost:?}");
    let job = room.job(spec.job).await.unwrap();
    assert_eq!((job.run, job.draft, room.held().await), (None, 0, Credits::ZERO));
    room.start(&spec).await.unwrap();
    assert_eq!(room.runs(spec.job).await, 1);
}

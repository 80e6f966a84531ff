//! A new job is stored before its create is answered, with whatever else is to be stored then.

use common::ids::JobId;
use common::package::template::Template;

use super::*;
use crate::store::jobs::{IdOrigin, Job, JobWork};

fn job(room: &Room, name: &str) -> Job {
    let engine = || "passthrough".to_owned();
    let template = Template::of("app@1.0".to_owned(), engine(), engine());
    let id = JobId::new(Uuid::now_v7());
    let job = Job::new(id, room.workspace, JobWork::of(template));
    Job { name: name.to_owned(), ..job }
}

impl Room {
    async fn stored(&self, id: JobId) -> Option<Job> {
        store::jobs::find(&self.db, self.workspace, id).await.unwrap()
    }

    async fn batches(&self) -> i64 {
        store::market::batch_number::last(&self.db).await.unwrap()
    }
}

#[tokio::test]
async fn creates_side_by_side_share_a_batch() {
    let room = granted().await;
    let jobs: Vec<Job> = (0..20).map(|n| job(&room, &n.to_string())).collect();
    let before = room.batches().await;

    let create = |job| room.coordinator.create_job(job, IdOrigin::Drawn);
    for made in futures::future::join_all(jobs.iter().map(create)).await {
        assert!(made.unwrap());
    }

    let batches = room.batches().await - before;
    assert!((1..20).contains(&batches), "{batches}");
    for job in &jobs {
        assert_eq!(room.stored(job.id).await.map(|job| job.name), Some(job.name.clone()));
    }
}

#[tokio::test]
async fn given_id_makes_one_job_however_often_it_is_given() {
    let room = granted().await;
    let first = job(&room, "first");
    let creates = (0..8).map(|_| room.coordinator.create_job(&first, IdOrigin::Given));

    let made = futures::future::join_all(creates).await;

    assert_eq!(made.iter().filter(|made| matches!(made, Ok(true))).count(), 1, "{made:?}");
    assert_eq!(made.iter().filter(|made| matches!(made, Ok(false))).count(), 7, "{made:?}");
}

#[tokio::test]
async fn job_that_a_database_would_refuse_ends_no_coordinator() {
    let room = granted().await;
    let refused = room.coordinator.create_job(&job(&room, "a\0b"), IdOrigin::Drawn).await;
    assert!(matches!(refused, Err(Error::Db(_))), "{refused:?}");

    let next = job(&room, "next");

    assert!(room.coordinator.create_job(&next, IdOrigin::Drawn).await.unwrap());
    assert!(room.stored(next.id).await.is_some());
}

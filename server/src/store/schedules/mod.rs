//! Schedules of jobs: one row for each.

pub mod skips;

use std::collections::BTreeMap;

use common::ids::{ApiKeyId, JobId, UserId, WorkspaceId};
use common::market::Planned;
use common::schedule::{Author, Schedule, ScheduleState};
use futures::TryStreamExt as _;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, QueryOrder, QuerySelect};

use super::query::document;
use super::{Db, corrupt, corrupt_by, micros, time};
use crate::store::query::insert::RowWriter;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job: Uuid,
    pub workspace: Uuid,
    pub user_id: Uuid,
    pub api_key: Uuid,
    pub scopes: String,
    /// JSON of `Rules`.
    pub rules: String,
    pub state: String,
    pub revision: i32,
    pub next_us: Option<i64>,
    pub last_us: Option<i64>,
    pub due_us: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The states in which a schedule makes runs, now or when it is resumed.
const MAKE_RUNS: [ScheduleState; 2] = [ScheduleState::Active, ScheduleState::Paused];

/// Stores schedules as they stand now.
pub(in crate::store) async fn put(
    db: &impl ConnectionTrait,
    schedules: &BTreeMap<JobId, Schedule>,
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<Entity> = RowWriter::on_conflict(|| {
        let all = [
            Column::UserId,
            Column::ApiKey,
            Column::Scopes,
            Column::Rules,
            Column::State,
            Column::Revision,
            Column::NextUs,
            Column::LastUs,
            Column::DueUs,
        ];
        OnConflict::column(Column::Job).update_columns(all).to_owned()
    });
    NEWEST.write(db, schedules.values().map(row).collect::<Result<Vec<_>, _>>()?).await
}

/// The schedule that a job has or had.
pub async fn find(db: &impl ConnectionTrait, job: JobId) -> Result<Option<Schedule>, DbErr> {
    Entity::find_by_id(job.uuid()).one(db).await?.as_ref().map(read).transpose()
}

/// The schedules of these jobs, in no order.
pub async fn find_many(db: &impl ConnectionTrait, jobs: &[JobId]) -> Result<Vec<Schedule>, DbErr> {
    let jobs = jobs.iter().map(|job| job.uuid());
    Entity::find().filter(Column::Job.is_in(jobs)).all(db).await?.iter().map(read).collect()
}

/// Whether a job makes runs by itself, now or when it is resumed.
pub async fn has(db: &impl ConnectionTrait, job: JobId) -> Result<bool, DbErr> {
    let states = MAKE_RUNS.map(ScheduleState::as_str);
    let found = Entity::find_by_id(job.uuid()).filter(Column::State.is_in(states));
    Ok(found.count(db).await? > 0)
}

/// The same of a schedule's row.
pub(in crate::store) fn makes_runs(row: &Model) -> bool {
    MAKE_RUNS.map(ScheduleState::as_str).contains(&row.state.as_str())
}

/// At most `limit` schedules of a workspace after that of a job, in the order of their jobs' ids.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    after: Option<JobId>,
    limit: u64,
) -> Result<Vec<Schedule>, DbErr> {
    let after = after.map_or(Uuid::nil(), JobId::uuid);
    let rows = Entity::find()
        .filter(Column::Workspace.eq(owner.uuid()))
        .filter(Column::Job.gt(after))
        .filter(Column::State.ne(ScheduleState::Removed.as_str()))
        .order_by_asc(Column::Job)
        .limit(limit);
    rows.all(db).await?.iter().map(read).collect()
}

/// When each active schedule is due: all that the market keeps of them.
pub(in crate::store) async fn planned(db: &Db) -> Result<Vec<Planned>, DbErr> {
    let active = Entity::find()
        .select_only()
        .columns([Column::Job, Column::Revision, Column::NextUs, Column::DueUs])
        .filter(Column::DueUs.is_not_null())
        .into_tuple::<(Uuid, i32, i64, i64)>();
    let mut rows = active.stream(db).await?;
    let mut planned = Vec::new();
    while let Some((job, revision, at, due)) = rows.try_next().await? {
        let revision = u32::try_from(revision).map_err(|_| corrupt("revision"))?;
        let (at, due) = (time(at), time(due));
        planned.push(Planned { job: JobId::new(job), revision, at, due });
    }
    Ok(planned)
}

fn row(schedule: &Schedule) -> Result<ActiveModel, DbErr> {
    let Author { workspace, user, key, scopes } = schedule.author;
    Ok(ActiveModel {
        job: Set(schedule.job.uuid()),
        workspace: Set(workspace.uuid()),
        user_id: Set(user.uuid()),
        api_key: Set(key.uuid()),
        scopes: Set(scopes.to_string()),
        rules: Set(document::unproven(&schedule.rules)?),
        state: Set(schedule.state.as_str().to_owned()),
        revision: Set(i32::try_from(schedule.revision).unwrap_or(i32::MAX)),
        next_us: Set(schedule.next.map(micros)),
        last_us: Set(schedule.last.map(micros)),
        due_us: Set(schedule.due_at().map(micros)),
    })
}

pub(in crate::store) fn read(row: &Model) -> Result<Schedule, DbErr> {
    Ok(Schedule {
        job: JobId::new(row.job),
        author: Author {
            workspace: WorkspaceId::new(row.workspace),
            user: UserId::new(row.user_id),
            key: ApiKeyId::new(row.api_key),
            scopes: row.scopes.parse().map_err(|_| corrupt("scope"))?,
        },
        rules: document::read(&row.rules).map_err(|error| corrupt_by("rules", &error))?,
        state: ScheduleState::from_name(&row.state).ok_or_else(|| corrupt("state"))?,
        revision: u32::try_from(row.revision).map_err(|_| corrupt("revision"))?,
        next: row.next_us.map(time),
        last: row.last_us.map(time),
    })
}

#[cfg(test)]
mod tests {
    use common::market::{Changes, Skip, SkipCause};
    use common::schedule::{Rules, When};
    use common::testing;

    use super::*;
    use crate::clock;
    use crate::store::testing::{commit_next, databases};

    fn schedule(n: u128, owner: WorkspaceId) -> Schedule {
        let when = When::Every { secs: 10, from: testing::at(0) };
        let rules = Rules { jitter_secs: 5, ..Rules::new(when) };
        let job = JobId::new(Uuid::from_u128(n));
        Schedule::set(job, testing::author(owner), rules, None, clock::now())
    }

    fn changes(schedules: &[&Schedule]) -> Changes {
        let by_job = |schedule: &&Schedule| (schedule.job, Schedule::clone(schedule));
        Changes { schedules: schedules.iter().map(by_job).collect(), ..Changes::default() }
    }

    #[tokio::test]
    async fn schedules_read_back_and_active_ones_are_planned() {
        for fresh in databases().await {
            let db = &fresh.db;
            let owner = WorkspaceId::new(Uuid::now_v7());
            let active = schedule(1, owner);
            let (paused, removed) = (schedule(2, owner).paused(), schedule(3, owner).removed());
            let foreign = schedule(4, WorkspaceId::new(Uuid::now_v7()));
            commit_next(db, &changes(&[&active, &paused, &removed, &foreign]), &[]).await.unwrap();

            let moved = active.clone().moved_on(
                active.next.unwrap(),
                active
                    .due(clock::now())
                    .map_or(active.rules.when.next(active.next.unwrap()), |due| due.next),
            );
            commit_next(db, &changes(&[&moved]), &[]).await.unwrap();

            assert_eq!(find(db, active.job).await.unwrap(), Some(moved.clone()), "{}", fresh.name);
            assert_eq!(list(db, owner, None, 10).await.unwrap(), [moved.clone(), paused.clone()]);
            assert_eq!(
                list(db, owner, Some(moved.job), 10).await.unwrap(),
                std::slice::from_ref(&paused)
            );
            assert!(has(db, paused.job).await.unwrap() && !has(db, removed.job).await.unwrap());
            let mut known = planned(db).await.unwrap();
            known.sort_by_key(|planned| planned.job);
            let plan = |schedule: &Schedule| Planned {
                job: schedule.job,
                revision: 1,
                at: schedule.next.unwrap(),
                due: schedule.due_at().unwrap(),
            };
            assert_eq!(known, [plan(&moved), plan(&foreign)], "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn skips_are_listed_newest_first_and_old_ones_are_removed() {
        for fresh in databases().await {
            let db = &fresh.db;
            let job = JobId::new(Uuid::from_u128(1));
            let skip = |secs: i64, why| Skip {
                job,
                first: testing::at(secs),
                last: testing::at(secs + 5),
                why,
                at: testing::at(secs + 9),
            };
            let all = [
                skip(10, SkipCause::Missed),
                skip(20, SkipCause::Overlap),
                skip(30, SkipCause::Job("no \0 app".to_owned())),
            ];
            let skips = all.to_vec();
            commit_next(db, &Changes { skips, ..Changes::default() }, &[]).await.unwrap();

            let newest = skips::find(db, job, None, 2).await.unwrap();
            assert_eq!(newest[0].why, SkipCause::Job("no \u{fffd} app".to_owned()));
            assert_eq!(newest[1], all[1], "{}", fresh.name);
            let rest = skips::find(db, job, Some(newest[1].first), 2).await.unwrap();
            assert_eq!(rest, all[..1]);

            skips::purge(db, testing::at(30)).await.unwrap();
            assert_eq!(skips::find(db, job, None, 9).await.unwrap().len(), 1, "{}", fresh.name);
        }
    }
}

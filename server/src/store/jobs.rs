//! Jobs: the customer's orders.
//!
//! A job of a template is a draft until it is started, and runs once. What changes a job takes its
//! lock, so that a start goes on with what it has read.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use common::ids::{JobId, QueueId, RunId, WorkspaceId};
use common::order::callback::Callbacks;
use common::run::scheduling::{Priority, Regions};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult as _, IdenStatic as _,
    JoinType, PaginatorTrait, QueryFilter, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    RelationDef, Select, SelectA, SelectB, Statement, TryGetError,
};
use uuid::Uuid;

use super::market::runs;
use super::market::runs::RunView;
use super::query::selection;
use super::query::selection::{Found, Selection};
use super::query::statement_text::StatementText;
use super::schedules;
use crate::clock;
pub use change::{Change, change, rename};
pub(in crate::store) use created::insert_created;
pub use created::{CreatedJob, IdOrigin};
pub use deletion::{delete_draft, delete_ended, forget_draft, look_for_deletion};
pub use field::JobField;
pub use lock::{JobLock, JobLocks, JobLook};
use record::row::Column as C;
use record::{read, row, write};
pub use start::{StartAs, StartedJob};
pub(in crate::store) use start::{note_fired, put_started};
pub use upload::{Upload, needs_upload, note_received, takes_upload};
pub use work::{JobKind, JobWork, TemplateWork};

mod change;
mod created;
mod deletion;
mod field;
mod lock;
pub(super) mod record;
mod start;
mod upload;
mod work;

/// What a customer has said about a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub workspace: WorkspaceId,
    pub name: String,
    pub description: String,
    pub work: JobWork,
    /// Among which jobs its name is the only one.
    pub scope: Option<JobScope>,
    /// The API that has made it, where that API shows its own jobs alone.
    pub api: Option<ApiName>,
    pub priority: Priority,
    pub regions: Regions,
    pub tags: Vec<String>,
    /// The project that it belongs to, under a name of its customer's.
    pub project: Option<String>,
    /// The queue that its runs stand in.
    pub queue: Option<QueueId>,
    /// Not before this may it run.
    pub start_at: Option<DateTime<Utc>>,
    /// Whom the end of each of its runs is told.
    pub callbacks: Callbacks,
    /// It is deleted so many seconds after the end of its latest run.
    pub auto_delete_secs: Option<u32>,
    /// Counts the changes, so that a run is made from the job that was read.
    pub draft: i64,
    /// The job's latest run, once it has been started.
    pub run: Option<RunId>,
    pub created_at: DateTime<Utc>,
    /// When it was changed last, or made.
    pub updated_at: DateTime<Utc>,
    pub submitted_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// Names jobs of a workspace whose names differ: those of an API that finds them by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobScope(pub String);

/// Names an API whose jobs are told from those of others by it. What a customer says of a job,
/// such as its project or its queue, says nothing of where it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiName(pub Cow<'static, str>);

impl ApiName {
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl Job {
    /// A job of which nothing but its work is known.
    pub fn new(id: JobId, workspace: WorkspaceId, work: JobWork) -> Self {
        Self {
            id,
            workspace,
            name: String::new(),
            description: String::new(),
            work,
            scope: None,
            api: None,
            priority: Priority::default(),
            regions: Regions::default(),
            tags: Vec::new(),
            project: None,
            queue: None,
            start_at: None,
            callbacks: Callbacks::default(),
            auto_delete_secs: None,
            draft: 0,
            run: None,
            created_at: clock::now(),
            updated_at: clock::now(),
            submitted_at: None,
            deleted_at: None,
        }
    }

    /// The job's name; where it has none, what its work is called.
    pub fn shown_name(&self) -> Cow<'_, str> {
        if self.name.is_empty() { self.work.name() } else { self.name.as_str().into() }
    }
}

/// Stores a new job; false where its id is taken.
pub async fn insert(db: &impl ConnectionTrait, job: &Job) -> Result<bool, DbErr> {
    let first = OnConflict::column(C::Id).do_nothing().to_owned();
    let insert = row::Entity::insert(write(job)?).on_conflict(first);
    Ok(insert.exec_without_returning(db).await? == 1)
}

/// A job of this workspace that has not been deleted.
pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: JobId,
) -> Result<Option<Job>, DbErr> {
    let row = of(owner).filter(C::Id.eq(id.uuid())).one(db).await?;
    row.as_ref().map(read).transpose()
}

/// The same with the job's latest run, if it has been started.
pub async fn find_with_run(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: JobId,
) -> Result<Option<(Job, Option<RunView>)>, DbErr> {
    static SELECT: StatementText = StatementText::new();
    let of_run = row::Entity::belongs_to(runs::Entity).from(C::Run).to(runs::Column::Id);
    let found = find_with::<runs::Entity>(db, &SELECT, owner, id, of_run.into()).await?;
    let Some((job, run)) = found else { return Ok(None) };
    Ok(Some((job, run.as_ref().map(runs::view).transpose()?)))
}

/// The same with whether the job makes runs by itself, now or when its schedule is resumed.
pub async fn find_with_schedule(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: JobId,
) -> Result<Option<(Job, bool)>, DbErr> {
    static SELECT: StatementText = StatementText::new();
    let of_schedule =
        row::Entity::belongs_to(schedules::Entity).from(C::Id).to(schedules::Column::Job);
    let found = find_with::<schedules::Entity>(db, &SELECT, owner, id, of_schedule.into()).await?;
    Ok(found.map(|(job, schedule)| (job, schedule.as_ref().is_some_and(schedules::makes_runs))))
}

/// A job with the row of another table that belongs to it.
async fn find_with<E: EntityTrait>(
    db: &impl ConnectionTrait,
    select: &StatementText,
    owner: WorkspaceId,
    id: JobId,
    other: RelationDef,
) -> Result<Option<(Job, Option<E::Model>)>, DbErr> {
    let backend = db.get_database_backend();
    let select = match select.known(backend) {
        Some(text) => {
            let values = [owner.uuid().into(), id.uuid().into()];
            Statement::from_sql_and_values(backend, text, values)
        }
        None => {
            let both = of(owner).filter(C::Id.eq(id.uuid())).join(JoinType::LeftJoin, other);
            let first = both.select_also(E::default()).build(backend);
            select.keep(&first);
            first
        }
    };
    let Some(found) = db.query_one_raw(select).await? else { return Ok(None) };
    let job = row::Model::from_query_result(&found, SelectA.as_str())?;
    // The library's own way takes a row that cannot be read for none.
    let other = match E::Model::from_query_result_nullable(&found, SelectB.as_str()) {
        Ok(other) => Some(other),
        Err(TryGetError::Null(_)) => None,
        Err(TryGetError::DbErr(error)) => return Err(error),
    };
    Ok(Some((read(&job)?, other)))
}

/// Those of the jobs that belong to this workspace and have not been deleted.
pub async fn find_many(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    ids: &[JobId],
) -> Result<Vec<Job>, DbErr> {
    let ids = ids.iter().map(|id| id.uuid());
    of(owner).filter(C::Id.is_in(ids)).all(db).await?.iter().map(read).collect()
}

/// Those of these jobs that have been deleted.
pub async fn deleted(db: &impl ConnectionTrait, ids: &[JobId]) -> Result<Vec<JobId>, DbErr> {
    let found = row::Entity::find()
        .filter(C::Id.is_in(ids.iter().map(|id| id.uuid())))
        .filter(C::DeletedUs.is_not_null());
    let ids: Vec<Uuid> = found.select_only().column(C::Id).into_tuple().all(db).await?;
    Ok(ids.into_iter().map(JobId::new).collect())
}

/// Whether any workspace has, or had, a job of this id.
pub async fn is_taken(db: &impl ConnectionTrait, id: JobId) -> Result<bool, DbErr> {
    Ok(row::Entity::find_by_id(id.uuid()).count(db).await? > 0)
}

/// The job of this scope that has this name, and has not been deleted.
pub async fn find_named(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    scope: &JobScope,
    name: &str,
) -> Result<Option<Job>, DbErr> {
    let named = of(owner).filter(C::Scope.eq(scope.0.as_str())).filter(C::Name.eq(name));
    named.one(db).await?.as_ref().map(read).transpose()
}

/// The jobs of a scope that were made before this one, the newest first.
pub async fn list_before(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    scope: &JobScope,
    before: Option<JobId>,
    limit: u64,
) -> Result<Vec<Job>, DbErr> {
    let mut jobs = of(owner).filter(C::Scope.eq(scope.0.as_str()));
    if let Some(before) = before {
        jobs = jobs.filter(C::Id.lt(before.uuid()));
    }
    jobs.order_by_desc(C::Id).limit(limit).all(db).await?.iter().map(read).collect()
}

/// A part of the jobs of this kind, and of this scope; of any where none is given.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    kind: Option<JobKind>,
    scope: Option<&JobScope>,
    selection: &Selection<JobField>,
) -> Result<Found<Job>, DbErr> {
    let mut jobs = of(owner);
    if let Some(scope) = scope {
        jobs = jobs.filter(C::Scope.eq(scope.0.as_str()));
    }
    if let Some(kind) = kind {
        jobs = jobs.filter(C::Kind.eq(kind.as_str()));
    }
    selection::fetch(db, jobs, selection).await?.try_map(|row| read(&row))
}

/// A part of the jobs of this project that this API has made.
pub async fn list_of_project(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    (api, project): (&ApiName, &str),
    selection: &Selection<JobField>,
) -> Result<Found<Job>, DbErr> {
    let jobs = of(owner).filter(C::Api.eq(api.0.as_ref())).filter(C::Project.eq(project));
    selection::fetch(db, jobs, selection).await?.try_map(|row| read(&row))
}

fn of(owner: WorkspaceId) -> Select<row::Entity> {
    row::Entity::find().filter(C::Workspace.eq(owner.uuid())).filter(C::DeletedUs.is_null())
}

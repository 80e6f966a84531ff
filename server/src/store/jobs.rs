//! Jobs: the customer's orders.
//!
//! A job of a template is a draft until it is started, and runs once. What changes a job takes its
//! lock, so that a start goes on with what it has read.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use common::data::location::{Destination, DraftSource};
use common::ids::{JobId, QueueId, RunId, WorkspaceId};
use common::order::call::CallWork;
use common::order::callback::Callbacks;
use common::order::container::ContainerWork;
use common::package::config::JobConfig;
use common::package::template::{PhaseParams, Template};
use common::run::RunState;
use common::run::scheduling::{Priority, Regions};
use common::schedule::ScheduleState;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder as _, QuerySelect as _, Select, Set, UpdateMany,
};
use uuid::Uuid;

use super::query::document;
use super::query::selection;
use super::query::selection::{Found, Selection};
use super::{corrupt, micros, time};
use crate::clock;
pub use field::JobField;
pub use lock::{JobLock, JobLocks};
pub use start::{StartAs, StartedJob};
pub(in crate::store) use start::{note_fired, put_started};
pub use upload::{Upload, needs_upload, note_received, takes_upload};
pub use work::{JobKind, JobWork, TemplateWork};

mod field;
mod lock;
mod start;
mod upload;
mod work;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "jobs")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub workspace: Uuid,
        pub name: String,
        pub description: String,
        pub template: String,
        pub source: Option<String>,
        pub destination: Option<String>,
        pub params: String,
        pub config: String,
        pub upload_bytes: Option<i64>,
        pub upload_version: Option<String>,
        pub received: Option<String>,
        pub draft: i64,
        pub run: Option<Uuid>,
        pub created_us: i64,
        pub submitted_us: Option<i64>,
        pub deleted_us: Option<i64>,
        pub priority: i16,
        pub whitelist: String,
        pub blacklist: String,
        pub tags: String,
        pub start_us: Option<i64>,
        /// The name of a `JobKind`.
        pub kind: String,
        /// JSON of what a job does that is not of a template.
        pub work: Option<String>,
        /// Among which jobs its name is the only one.
        pub scope: Option<String>,
        pub project: Option<String>,
        pub updated_us: Option<i64>,
        pub queue: Option<Uuid>,
        /// JSON of its callbacks, where it has any.
        pub callbacks: Option<String>,
        /// The name of an `ApiName`.
        pub api: Option<String>,
        /// It is deleted so many seconds after the end of its latest run.
        pub auto_delete_secs: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

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

/// One change of a draft.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Name(String),
    Description(String),
    Template(Box<Template>),
    /// A new source also forgets what had been uploaded.
    Source(DraftSource),
    Destination(Destination),
    Params(PhaseParams),
    Config(JobConfig),
    Priority(Priority),
    Regions(Regions),
    Tags(Vec<String>),
    StartAt(DateTime<Utc>),
    Queue(QueueId),
    Uploaded(Upload),
    Call(Box<CallWork>),
    /// What a job of containers runs from its next start on.
    Container(Box<ContainerWork>),
    Callbacks(Callbacks),
    AutoDelete(u32),
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

    /// Makes a change in memory, before the job is stored. What is said of a template is said of
    /// nothing in a job of another kind.
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Name(name) => self.name = name,
            Change::Description(text) => self.description = text,
            Change::Priority(priority) => self.priority = priority,
            Change::Regions(regions) => self.regions = regions,
            Change::Tags(tags) => self.tags = tags,
            Change::StartAt(at) => self.start_at = Some(at),
            Change::Queue(queue) => self.queue = Some(queue),
            Change::Container(work) => self.work = JobWork::Container(work),
            Change::Callbacks(callbacks) => self.callbacks = callbacks,
            Change::AutoDelete(secs) => self.auto_delete_secs = Some(secs),
            Change::Template(_)
            | Change::Source(_)
            | Change::Destination(_)
            | Change::Params(_)
            | Change::Config(_)
            | Change::Uploaded(_) => match &mut self.work {
                JobWork::Template(work) => work.change(change),
                JobWork::Call(_) | JobWork::Container(_) | JobWork::Plan(_) => {}
            },
            Change::Call(new) => {
                if let JobWork::Call(work) = &mut self.work {
                    *work = new;
                }
            }
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

/// Changes a job; false where it is gone, or has been started and cannot be changed any more.
pub async fn change(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
    changes: Vec<Change>,
) -> Result<bool, DbErr> {
    let mut update = changeable(owner, lock)
        .col_expr(C::Draft, Expr::col(C::Draft).add(1))
        .col_expr(C::UpdatedUs, Expr::value(micros(clock::now())));
    for change in changes {
        update = match change {
            Change::Name(name) => update.col_expr(C::Name, Expr::value(name)),
            Change::Description(text) => update.col_expr(C::Description, Expr::value(text)),
            Change::Template(template) => {
                update.col_expr(C::Template, Expr::value(document::write(&template)?))
            }
            Change::Source(source) => update
                .col_expr(C::Source, Expr::value(document::write(&source)?))
                .col_expr(C::UploadBytes, Expr::value(None::<i64>)),
            Change::Destination(to) => {
                update.col_expr(C::Destination, Expr::value(document::write(&to)?))
            }
            Change::Params(params) => {
                update.col_expr(C::Params, Expr::value(document::write(&params)?))
            }
            Change::Config(config) => {
                update.col_expr(C::Config, Expr::value(document::write(&config)?))
            }
            Change::Priority(priority) => {
                update.col_expr(C::Priority, Expr::value(priority.number()))
            }
            Change::Regions(regions) => update
                .col_expr(C::Whitelist, Expr::value(document::write(&regions.whitelist)?))
                .col_expr(C::Blacklist, Expr::value(document::write(&regions.blacklist)?)),
            Change::Tags(tags) => update.col_expr(C::Tags, Expr::value(document::write(&tags)?)),
            Change::StartAt(at) => update.col_expr(C::StartUs, Expr::value(micros(at))),
            Change::Queue(queue) => update.col_expr(C::Queue, Expr::value(queue.uuid())),
            Change::Call(work) => update.col_expr(C::Work, Expr::value(document::write(&work)?)),
            Change::Container(work) => {
                update.col_expr(C::Work, Expr::value(document::write(&work)?))
            }
            Change::Callbacks(callbacks) => {
                update.col_expr(C::Callbacks, Expr::value(write_callbacks(&callbacks)?))
            }
            Change::AutoDelete(secs) => {
                update.col_expr(C::AutoDeleteSecs, Expr::value(i64::from(secs)))
            }
            Change::Uploaded(upload) => update
                .col_expr(C::UploadBytes, Expr::value(upload.size.cast_signed()))
                .col_expr(C::UploadVersion, Expr::value(upload.version())),
        };
    }
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Gives a job another name, whether it has run or not; false where it is gone.
pub async fn rename(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: JobId,
    name: &str,
) -> Result<bool, DbErr> {
    let renamed = row::Entity::update_many()
        .col_expr(C::Name, Expr::value(name))
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(id.uuid()))
        .filter(C::DeletedUs.is_null())
        .exec(db)
        .await?;
    Ok(renamed.rows_affected == 1)
}

/// Removes a draft as if it had never been, so that its id is free again; false where there is a
/// job of this id all the same.
pub async fn forget_draft(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
) -> Result<bool, DbErr> {
    row::Entity::delete_many()
        .filter(C::Id.eq(lock.job().uuid()))
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Run.is_null())
        .exec(db)
        .await?;
    Ok(!is_taken(db, lock.job()).await?)
}

/// Deletes a draft; false where the job is gone or has been started.
pub async fn delete_draft(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
) -> Result<bool, DbErr> {
    let update = draft(owner, lock).col_expr(C::DeletedUs, Expr::value(micros(clock::now())));
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Jobs whose time after the end of their latest run has passed at `now`, at most `limit`. One that
/// has a schedule stays.
pub async fn to_delete(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(WorkspaceId, JobId)>, DbErr> {
    let due = format!(
        "EXISTS (SELECT 1 FROM runs WHERE runs.id = jobs.run AND runs.state <> '{}' \
         AND runs.ended_us + jobs.auto_delete_secs * 1000000 <= {})",
        RunState::Ending.as_str(),
        micros(now)
    );
    let states = [ScheduleState::Active, ScheduleState::Paused].map(ScheduleState::as_str);
    let scheduled = format!(
        "NOT EXISTS (SELECT 1 FROM schedules WHERE schedules.job = jobs.id \
         AND schedules.state IN ('{}'))",
        states.join("', '")
    );
    let rows: Vec<(Uuid, Uuid)> = row::Entity::find()
        .filter(C::AutoDeleteSecs.is_not_null())
        .filter(C::DeletedUs.is_null())
        .filter(Expr::cust(due))
        .filter(Expr::cust(scheduled))
        .select_only()
        .columns([C::Workspace, C::Id])
        .limit(limit)
        .into_tuple()
        .all(db)
        .await?;
    let key = |(owner, id)| (WorkspaceId::new(owner), JobId::new(id));
    Ok(rows.into_iter().map(key).collect())
}

/// Hides a job whose run has ended. Its run and its line in the wallet stay.
pub async fn delete_ended(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: JobId,
) -> Result<bool, DbErr> {
    let deleted = row::Entity::update_many()
        .col_expr(C::DeletedUs, Expr::value(micros(clock::now())))
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(id.uuid()))
        .filter(C::DeletedUs.is_null())
        .exec(db)
        .await?;
    Ok(deleted.rows_affected == 1)
}

fn of(owner: WorkspaceId) -> Select<row::Entity> {
    row::Entity::find().filter(C::Workspace.eq(owner.uuid())).filter(C::DeletedUs.is_null())
}

/// An update of a job that is a draft, or can be changed between its runs.
fn changeable(owner: WorkspaceId, lock: &JobLock) -> UpdateMany<row::Entity> {
    let repeatable = JobKind::ALL.into_iter().filter(|kind| kind.is_repeatable());
    let repeatable = C::Kind.is_in(repeatable.map(JobKind::as_str));
    row::Entity::update_many()
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(lock.job().uuid()))
        .filter(Condition::any().add(C::Run.is_null()).add(repeatable))
        .filter(C::DeletedUs.is_null())
}

/// An update of a job that has not been started.
fn draft(owner: WorkspaceId, lock: &JobLock) -> UpdateMany<row::Entity> {
    row::Entity::update_many()
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(lock.job().uuid()))
        .filter(C::Run.is_null())
        .filter(C::DeletedUs.is_null())
}

fn write(job: &Job) -> Result<row::ActiveModel, DbErr> {
    let work = work::write(&job.work)?;
    Ok(row::ActiveModel {
        id: Set(job.id.uuid()),
        workspace: Set(job.workspace.uuid()),
        name: Set(job.name.clone()),
        description: Set(job.description.clone()),
        draft: Set(job.draft),
        run: Set(job.run.map(RunId::uuid)),
        created_us: Set(micros(job.created_at)),
        updated_us: Set(Some(micros(job.updated_at))),
        submitted_us: Set(job.submitted_at.map(micros)),
        deleted_us: Set(job.deleted_at.map(micros)),
        priority: Set(job.priority.number()),
        whitelist: Set(document::write(&job.regions.whitelist)?),
        blacklist: Set(document::write(&job.regions.blacklist)?),
        tags: Set(document::write(&job.tags)?),
        project: Set(job.project.clone()),
        queue: Set(job.queue.map(QueueId::uuid)),
        start_us: Set(job.start_at.map(micros)),
        scope: Set(job.scope.as_ref().map(|scope| scope.0.clone())),
        api: Set(job.api.as_ref().map(|api| api.0.clone().into_owned())),
        callbacks: Set(write_callbacks(&job.callbacks)?),
        auto_delete_secs: Set(job.auto_delete_secs.map(i64::from)),
        ..work
    })
}

fn write_callbacks(callbacks: &Callbacks) -> Result<Option<String>, DbErr> {
    if callbacks.is_empty() { Ok(None) } else { document::write(callbacks).map(Some) }
}

pub(super) fn read(row: &row::Model) -> Result<Job, DbErr> {
    Ok(Job {
        id: JobId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        name: row.name.clone(),
        description: row.description.clone(),
        work: work::read(row)?,
        scope: row.scope.clone().map(JobScope),
        api: row.api.clone().map(|name| ApiName(name.into())),
        priority: Priority::from_number(row.priority).unwrap_or_default(),
        regions: Regions {
            whitelist: document::read(&row.whitelist)?,
            blacklist: document::read(&row.blacklist)?,
        },
        tags: document::read(&row.tags)?,
        project: row.project.clone(),
        queue: row.queue.map(QueueId::new),
        start_at: row.start_us.map(time),
        callbacks: match &row.callbacks {
            Some(text) => document::read(text)?,
            None => Callbacks::default(),
        },
        auto_delete_secs: row
            .auto_delete_secs
            .map(|secs| u32::try_from(secs).map_err(|_| corrupt("time until a deletion")))
            .transpose()?,
        draft: row.draft,
        run: row.run.map(RunId::new),
        created_at: time(row.created_us),
        updated_at: time(row.updated_us.unwrap_or(row.created_us)),
        submitted_at: row.submitted_us.map(time),
        deleted_at: row.deleted_us.map(time),
    })
}

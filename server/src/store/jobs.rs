//! Jobs: the customer's orders. A job is a draft until it is started.
//!
//! What changes a draft takes the job's lock, so that a start goes on with what it has read.

use chrono::{DateTime, Utc};
use common::data::location::{Destination, DraftSource};
use common::digest::Digest;
use common::ids::{JobId, RunId, WorkspaceId};
use common::package::config::JobConfig;
use common::package::template::{PhaseParams, Template};
use common::run::scheduling::{Priority, Regions};
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Select, Set,
    UpdateMany,
};

use super::query::document;
use super::query::selection;
use super::query::selection::{Found, Selection};
use super::{micros, time};
use crate::clock;
pub use field::JobField;
pub use lock::{JobLock, JobLocks};
pub use start::StartedJob;
pub(in crate::store) use start::{note_fired, put_started};
pub use upload::{Upload, needs_upload, note_received, takes_upload};

mod field;
mod lock;
mod start;
mod upload;

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
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// What a customer has said about a job; the template, as it was when the job was made, fills in
/// the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub workspace: WorkspaceId,
    pub name: String,
    pub description: String,
    pub template: Template,
    pub source: Option<DraftSource>,
    pub destination: Option<Destination>,
    pub params: PhaseParams,
    pub config: JobConfig,
    pub priority: Priority,
    pub regions: Regions,
    pub tags: Vec<String>,
    /// Not before this may it run.
    pub start_at: Option<DateTime<Utc>>,
    /// The uploaded file, once the customer has said that it is complete.
    pub upload: Option<Upload>,
    /// Of the file that the server took in last; `None` where the bucket took it directly.
    pub received: Option<Digest>,
    /// Counts the changes, so that a run is made from the draft that was read.
    pub draft: i64,
    /// The job's run, once it has been started.
    pub run: Option<RunId>,
    pub created_at: DateTime<Utc>,
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
    Uploaded(Upload),
}

impl Job {
    /// A draft of which nothing but its template is known.
    pub fn new(id: JobId, workspace: WorkspaceId, template: Template) -> Self {
        Self {
            id,
            workspace,
            name: String::new(),
            description: String::new(),
            template,
            source: None,
            destination: None,
            params: PhaseParams::default(),
            config: JobConfig::default(),
            priority: Priority::default(),
            regions: Regions::default(),
            tags: Vec::new(),
            start_at: None,
            upload: None,
            received: None,
            draft: 0,
            run: None,
            created_at: clock::now(),
            submitted_at: None,
            deleted_at: None,
        }
    }

    pub fn source(&self) -> Option<&DraftSource> {
        self.source.as_ref().or(self.template.source.as_ref())
    }

    pub fn destination(&self) -> Option<&Destination> {
        self.destination.as_ref().or(self.template.destination.as_ref())
    }

    pub fn params(&self) -> PhaseParams {
        self.template.params.overlaid(&self.params)
    }

    pub fn config(&self) -> JobConfig {
        self.template.config.overlaid(self.config)
    }

    /// Makes a change in memory, before the job is stored.
    pub fn change(&mut self, change: Change) {
        match change {
            Change::Name(name) => self.name = name,
            Change::Description(text) => self.description = text,
            Change::Template(template) => self.template = *template,
            Change::Source(source) => {
                self.source = Some(source);
                self.upload = None;
            }
            Change::Destination(to) => self.destination = Some(to),
            Change::Params(params) => self.params = params,
            Change::Config(config) => self.config = config,
            Change::Priority(priority) => self.priority = priority,
            Change::Regions(regions) => self.regions = regions,
            Change::Tags(tags) => self.tags = tags,
            Change::StartAt(at) => self.start_at = Some(at),
            Change::Uploaded(upload) => self.upload = Some(upload),
        }
    }

    /// The job's name; where it has none its template's id, or its app.
    pub fn shown_name(&self) -> &str {
        [&self.name, &self.template.id]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or(&self.template.app)
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

/// Whether any workspace has, or had, a job of this id.
pub async fn is_taken(db: &impl ConnectionTrait, id: JobId) -> Result<bool, DbErr> {
    Ok(row::Entity::find_by_id(id.uuid()).count(db).await? > 0)
}

/// A part of the jobs.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    selection: &Selection<JobField>,
) -> Result<Found<Job>, DbErr> {
    selection::fetch(db, of(owner), selection).await?.try_map(|row| read(&row))
}

/// Changes a draft; false where the job is gone or has been started.
pub async fn change(
    db: &impl ConnectionTrait,
    lock: &JobLock,
    owner: WorkspaceId,
    changes: Vec<Change>,
) -> Result<bool, DbErr> {
    let mut update = draft(owner, lock).col_expr(C::Draft, Expr::col(C::Draft).add(1));
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

/// An update of a job that is still a draft.
fn draft(owner: WorkspaceId, lock: &JobLock) -> UpdateMany<row::Entity> {
    row::Entity::update_many()
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::Id.eq(lock.job().uuid()))
        .filter(C::Run.is_null())
        .filter(C::DeletedUs.is_null())
}

fn write(job: &Job) -> Result<row::ActiveModel, DbErr> {
    Ok(row::ActiveModel {
        id: Set(job.id.uuid()),
        workspace: Set(job.workspace.uuid()),
        name: Set(job.name.clone()),
        description: Set(job.description.clone()),
        template: Set(document::write(&job.template)?),
        source: Set(job.source.as_ref().map(document::write).transpose()?),
        destination: Set(job.destination.as_ref().map(document::write).transpose()?),
        params: Set(document::write(&job.params)?),
        config: Set(document::write(&job.config)?),
        upload_bytes: Set(job.upload.as_ref().map(|upload| upload.size.cast_signed())),
        upload_version: Set(job.upload.as_ref().and_then(Upload::version)),
        received: Set(job.received.map(|digest| digest.to_string())),
        draft: Set(job.draft),
        run: Set(job.run.map(RunId::uuid)),
        created_us: Set(micros(job.created_at)),
        submitted_us: Set(job.submitted_at.map(micros)),
        deleted_us: Set(job.deleted_at.map(micros)),
        priority: Set(job.priority.number()),
        whitelist: Set(document::write(&job.regions.whitelist)?),
        blacklist: Set(document::write(&job.regions.blacklist)?),
        tags: Set(document::write(&job.tags)?),
        start_us: Set(job.start_at.map(micros)),
    })
}

pub(super) fn read(row: &row::Model) -> Result<Job, DbErr> {
    Ok(Job {
        id: JobId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        name: row.name.clone(),
        description: row.description.clone(),
        template: document::read(&row.template)?,
        source: row.source.as_deref().map(document::read).transpose()?,
        destination: row.destination.as_deref().map(document::read).transpose()?,
        params: document::read(&row.params)?,
        config: document::read(&row.config)?,
        priority: Priority::from_number(row.priority).unwrap_or_default(),
        regions: Regions {
            whitelist: document::read(&row.whitelist)?,
            blacklist: document::read(&row.blacklist)?,
        },
        tags: document::read(&row.tags)?,
        start_at: row.start_us.map(time),
        upload: row
            .upload_bytes
            .map(|size| Upload::read(size.unsigned_abs(), row.upload_version.as_deref())),
        received: row.received.as_deref().and_then(|digest| digest.parse().ok()),
        draft: row.draft,
        run: row.run.map(RunId::new),
        created_at: time(row.created_us),
        submitted_at: row.submitted_us.map(time),
        deleted_at: row.deleted_us.map(time),
    })
}

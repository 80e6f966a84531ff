//! Changes of jobs: of drafts, and of those that can be changed between their runs.

use chrono::{DateTime, Utc};
use common::data::location::{Destination, DraftSource};
use common::ids::{JobId, QueueId, WorkspaceId};
use common::order::call::CallWork;
use common::order::callback::Callbacks;
use common::order::container::ContainerWork;
use common::package::config::JobConfig;
use common::package::template::{PhaseParams, Template};
use common::run::scheduling::{Priority, Regions};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, UpdateMany,
};

use super::record::row;
use super::record::row::Column as C;
use super::record::write_callbacks;
use super::{Job, JobKind, JobLock, JobWork, Upload};
use crate::clock;
use crate::store::micros;
use crate::store::query::document;

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

impl Job {
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

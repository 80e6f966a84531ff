//! A job as its row has it.

use common::ids::{JobId, QueueId, RunId, WorkspaceId};
use common::order::callback::Callbacks;
use common::run::scheduling::{Priority, Regions};
use sea_orm::{DbErr, Set};

use super::{ApiName, Job, JobScope, work};
use crate::clock;
use crate::store::query::document;
use crate::store::{corrupt, micros, time};

pub(in crate::store) mod row {
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
        /// When it is looked at next whether it is to be deleted: not after that time has come.
        pub delete_look_us: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) fn write(job: &Job) -> Result<row::ActiveModel, DbErr> {
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
        delete_look_us: Set(job.auto_delete_secs.and(job.run).map(|_| micros(clock::now()))),
        ..work
    })
}

pub(super) fn write_callbacks(callbacks: &Callbacks) -> Result<Option<String>, DbErr> {
    if callbacks.is_empty() { Ok(None) } else { document::write(callbacks).map(Some) }
}

pub(in crate::store) fn read(row: &row::Model) -> Result<Job, DbErr> {
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

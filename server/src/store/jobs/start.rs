//! The start of a job, as it is stored in the transaction of its run.

use std::collections::BTreeMap;

use common::ids::{JobId, RunId};
use common::package::config::JobConfig;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::row::{self, Column as C};
use super::{Change, IdOrigin, Job, write};
use crate::clock;
use crate::store::micros;
use crate::store::query::insert::RowWriter;

/// The number of the only run of a job that runs once.
const FIRST_RUN: u32 = 1;

/// Which run a start makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAs {
    /// The only one of a job of a template, whose config becomes this one.
    Only(JobConfig),
    /// One of many, under this id.
    Again { run: RunId, origin: IdOrigin },
}

/// A job as it is stored with its run. What is in it can be read back.
#[derive(Debug, Clone)]
pub struct StartedJob {
    row: row::ActiveModel,
}

impl StartAs {
    /// The run that a start of this job makes: the same each time.
    pub fn run(self, job: JobId) -> RunId {
        match self {
            Self::Only(_) => RunId::of_job(job, FIRST_RUN),
            Self::Again { run, .. } => run,
        }
    }
}

impl Job {
    /// The job with its run.
    ///
    /// # Errors
    /// Where it could not be read back.
    pub fn started(mut self, how: StartAs) -> Result<StartedJob, DbErr> {
        self.run = Some(how.run(self.id));
        self.submitted_at = Some(clock::now());
        if let StartAs::Only(config) = how {
            self.change(Change::Config(config));
        }
        Ok(StartedJob { row: write(&self)? })
    }
}

/// Stores what a start makes of its job.
///
/// It writes the draft as the start has read it, whatever is stored now, so that this part of a
/// batch cannot fail. Under the job's lock the two are the same, except where a change was never
/// acknowledged: its caller went away, or lost the connection, while the database still worked on
/// it. The name and the digest of what was received are not of the draft, and stay.
pub(in crate::store) async fn put_started(
    db: &impl ConnectionTrait,
    started: &[StartedJob],
) -> Result<(), DbErr> {
    static NEWEST: RowWriter<row::Entity> = RowWriter::on_conflict(|| {
        OnConflict::column(C::Id)
            .update_columns([
                C::Run,
                C::SubmittedUs,
                C::DeletedUs,
                C::DeleteLookUs,
                C::Draft,
                C::Description,
                C::Template,
                C::Source,
                C::Destination,
                C::Params,
                C::Config,
                C::UploadBytes,
                C::UploadVersion,
                C::Priority,
                C::Whitelist,
                C::Blacklist,
                C::Tags,
                C::StartUs,
                C::Kind,
                C::Work,
                C::Scope,
            ])
            .to_owned()
    });
    NEWEST.write(db, started.iter().map(|job| job.row.clone())).await
}

/// Notes the newest runs that schedules have made of their jobs.
pub(in crate::store) async fn note_fired(
    db: &impl ConnectionTrait,
    fired: &BTreeMap<JobId, RunId>,
) -> Result<(), DbErr> {
    let now = micros(clock::now());
    let look = format!("CASE WHEN auto_delete_secs IS NOT NULL THEN {now} END");
    let look = Expr::cust(look);
    for (job, run) in fired {
        row::Entity::update_many()
            .col_expr(C::Run, Expr::value(run.uuid()))
            .col_expr(C::SubmittedUs, Expr::col(C::SubmittedUs).if_null(now))
            .col_expr(C::DeleteLookUs, look.clone())
            .filter(C::Id.eq(job.uuid()))
            .exec(db)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

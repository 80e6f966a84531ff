//! Cron jobs: jobs of a definition that run by a cron pattern.

use chrono::{DateTime, Utc};
use common::ids::JobId;
use common::schedule::cron::Cron;
use common::schedule::{ALLOW_MAX, Missed, Overlap, Rules, Schedule, ScheduleState, When};
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::API;
use super::envelope::{self, Envelope, Id, JSON, Page};
use super::jobs::{submission, tell};
use super::names::{self, PAGE};
use super::submit_in::{self, FIELDS, SubmitIn};
use crate::api::Answer;
use crate::api::http::call::{BODY_BYTES_MAX, Call, Segment};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, text};
use crate::error::{Error, Result};
use crate::jobs::queues::submit::{self, Submission};
use crate::jobs::{Job, containers, schedules};
use crate::people::caller::Caller;

const PATH: &str = "/v1/client/cron-job";
const ZONE: &str = "UTC";

const WHEN: [Field; 2] = [
    text("cron", "A cron pattern of five fields").required().example("0 3 * * *"),
    text("time_zone", "The IANA name of its time zone; UTC where it is left out"),
];

pub fn routes() -> Vec<Route> {
    let one = format!("{PATH}/{{job}}");
    let fields = FIELDS.into_iter().filter(|field| field.name != "schedule_at").chain(WHEN);
    vec![
        raw(Method::POST, "Daestro_CreateCronJob", PATH, JSON, create)
            .gives::<Envelope<CronJobOut>>()
            .creates()
            .succeeds_with(201)
            .summary("Creates a job of a definition that runs in a queue by a cron pattern")
            .body(fields.collect::<Vec<_>>()),
        raw(Method::GET, "Daestro_ListCronJobs", PATH, JSON, list)
            .gives::<Envelope<Page<CronJobOut>>>()
            .summary("Lists cron jobs, in the order of their creation")
            .query(PAGE.to_vec()),
        raw(Method::GET, "Daestro_GetCronJob", one.clone(), JSON, read)
            .gives::<Envelope<CronJobOut>>()
            .summary("Gets a cron job; its runs are those of the job of its id"),
        raw(Method::POST, "Daestro_DisableCronJob", format!("{one}/disable"), JSON, disable)
            .gives::<Envelope<CronJobOut>>()
            .summary("Keeps a cron job from running"),
        raw(Method::POST, "Daestro_EnableCronJob", format!("{one}/enable"), JSON, enable)
            .gives::<Envelope<CronJobOut>>()
            .summary("Lets a cron job run again"),
        raw(Method::DELETE, "Daestro_DeleteCronJob", one, JSON, remove)
            .gives::<Envelope<Id>>()
            .summary("Deletes a cron job, and cancels its runs that go on"),
    ]
}

/// A job that runs by a cron pattern.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroCronJob)]
struct CronJobOut {
    /// That of its job.
    #[schema(value_type = String)]
    id: JobId,
    name: String,
    /// The cron pattern.
    cron: String,
    /// The IANA name of its time zone.
    time_zone: &'static str,
    /// Whether it runs.
    state: CronState,
    /// When it runs next; null while it is disabled.
    next_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// Whether a cron job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DaestroCronJobState)]
enum CronState {
    Enabled,
    Disabled,
}

impl CronJobOut {
    /// A job with its schedule, where that is a cron pattern.
    fn of(job: &Job, schedule: Schedule) -> Option<Self> {
        let When::Cron(cron) = schedule.rules.when else { return None };
        let is_active = schedule.state == ScheduleState::Active;
        Some(Self {
            id: job.id,
            name: job.name.clone(),
            cron: cron.text().to_owned(),
            time_zone: cron.zone(),
            state: if is_active { CronState::Enabled } else { CronState::Disabled },
            next_at: schedule.next.filter(|_| is_active),
            created_at: job.created_at,
        })
    }
}

async fn create(mut call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let key = idempotency::key(&call, &bytes)?;
    let mut body = call.object(&bytes)?;
    let cron = body.required_text("cron")?;
    let zone = body.text("time_zone")?;
    let pattern = Cron::parse(&cron, zone.as_deref().unwrap_or(ZONE));
    let pattern = pattern.map_err(|bad| Error::field("cron", bad.to_string()))?;
    if body.has("schedule_at") {
        return Err(Error::field("schedule_at", "is for jobs that run once: leave it out"));
    }
    let given: SubmitIn = submit_in::read(body)?;
    let rules = Rules {
        overlap: Overlap::Allow(ALLOW_MAX),
        missed: Missed::Skip,
        ..Rules::new(When::Cron(Box::new(pattern)))
    };
    let app = call.app();
    let submission = Submission { rules: Some(rules), ..submission(app, &caller, given).await? };
    let made = submit::submit(app, &caller, key.as_ref(), submission, tell).await?;
    let shown = find(&call, &caller, made.job.id).await?;
    envelope::answer(StatusCode::CREATED, shown)
}

/// The caller's cron job of this id.
async fn find(call: &Call, caller: &Caller, id: JobId) -> Result<CronJobOut> {
    let found = submit::scheduled(call.app(), caller, &API, id).await?;
    let shown = found.and_then(|(job, schedule)| CronJobOut::of(&job, schedule));
    shown.ok_or_else(|| Error::not_found("cron job", &id.to_string()))
}

async fn list(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let (limit, after) = (names::limit(&query)?, names::cursor::<JobId>(&query)?);
    let (app, _permit) = (call.app(), call.answer_permit(&caller).await);
    let found = submit::list_scheduled(app, &caller, &API, after, limit).await?;
    let next_cursor = names::next(&found, limit, |(job, _)| job.id);
    let shown = found.into_iter().filter_map(|(job, schedule)| CronJobOut::of(&job, schedule));
    envelope::found(Page { items: shown.collect::<Vec<_>>(), next_cursor })
}

async fn read(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    envelope::found(find(&call, &caller, job.id("cron job")?).await?)
}

async fn disable(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id = find(&call, &caller, job.id("cron job")?).await?.id;
    schedules::pause(call.app(), &caller, id).await?;
    envelope::found(find(&call, &caller, id).await?)
}

async fn enable(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id = find(&call, &caller, job.id("cron job")?).await?.id;
    schedules::resume(call.app(), &caller, id).await?;
    envelope::found(find(&call, &caller, id).await?)
}

async fn remove(job: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let id = find(&call, &caller, job.id("cron job")?).await?.id;
    containers::remove(call.app(), &caller, id).await?;
    envelope::found(Id { id: id.to_string() })
}

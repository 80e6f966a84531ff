//! What a job is expected to cost, and on what that is based.

pub mod template_figures;

use common::compute::resources::Resources;
use common::data::location::Source;
use common::ids::JobId;
use common::money::credits::Credits;
use common::money::price;
use common::money::price::Sample;
use common::plan::{Body, Estimate, Partitioner, Plan};

use crate::app::App;
use crate::data::LookedKind;
use crate::error::Result;
use crate::jobs::monitoring::status;
use crate::jobs::resolve::resolve;
use crate::jobs::runs::hold::Hold;
use crate::jobs::{Job, RunView, TemplateWork};
use crate::people::caller::Caller;
use crate::store::market::runs;
use crate::store::money::{statement, usage};

const SECS_PER_HOUR: u32 = 3600;

/// What a job is expected to cost. What is charged in the end is what was used: by tasks whose
/// results were accepted, and by attempts that failed through the job's own code, data or limits.
#[derive(Debug)]
pub struct Quote {
    /// `None` where only the run will show it: a partitioner of the customer's own.
    pub chunks: Option<u64>,
    pub forecast: Forecast,
    /// What the plan of a job without a template tells before its run; its total then counts lists
    /// whose lengths only the run shows as one element.
    pub estimate: Option<Estimate>,
    /// For all chunks, the partitioner and the assembler; `None` where the chunks are not known.
    pub total: Option<Credits>,
    /// The same if every task used all that it may until its timeout.
    pub total_at_most: Option<Credits>,
    /// The timeout of a task.
    pub task_secs: u32,
    /// Whether the job's own task timeout was taken, and not the server's default.
    pub task_secs_is_limit: bool,
    /// What all of one task's vCPUs and memory cost in an hour.
    pub task_hour_price: Credits,
    /// What is held now or, before the run, when it starts.
    pub hold: Hold,
    pub available: Credits,
    /// Whether the wallet covers what must be held to start and, where the basis is no
    /// assumption, the rest of the total.
    pub affordable: bool,
}

/// What the price of a task is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// What the latest runs of the same template have cost.
    History,
    /// What the tasks of this run that are done have cost.
    Sample,
    /// That each task uses all that it may for the time that it is reserved for.
    Assumption,
}

/// What a task is expected to cost, and why.
#[derive(Debug)]
pub struct Forecast {
    pub basis: Basis,
    /// Earlier runs that it is based on.
    pub basis_runs: u64,
    /// Paid tasks that it is based on.
    pub basis_tasks: u64,
    pub task_price: Credits,
    /// For a partitioner and an assembler of the customer's own, where their cost is not in that
    /// of the tasks; built-in ones are free.
    pub single_price: Credits,
    sample: Option<Sample>,
}

impl Forecast {
    fn sampled(basis: Basis, runs: u64, sample: Sample) -> Self {
        Self {
            basis,
            basis_runs: runs,
            basis_tasks: sample.tasks.get(),
            task_price: sample.of(1),
            single_price: Credits::ZERO,
            sample: Some(sample),
        }
    }

    /// The tasks of a run that are done, if any are.
    pub(in crate::jobs) fn of_run(run: &RunView) -> Option<Self> {
        let sample = Sample::new(run.price, run.chunks_done.into())?;
        Some(Self::sampled(Basis::Sample, 0, sample))
    }

    pub(in crate::jobs) fn assumed(task_price: Credits, single_price: Credits) -> Self {
        let basis = Basis::Assumption;
        Self { basis, basis_runs: 0, basis_tasks: 0, task_price, single_price, sample: None }
    }

    /// What a run of this number of chunks is expected to cost.
    pub fn total(&self, chunks: u64) -> Credits {
        match self.sample {
            Some(sample) => sample.of(chunks),
            None => self.task_price.saturating_mul(chunks).saturating_add(self.single_price),
        }
    }
}

/// The quote of the caller's job of this id. A started job's quote is that of its run.
pub async fn quote(app: &App, caller: &Caller, id: JobId) -> Result<Quote> {
    let (job, run) = status::find(app, caller, id).await?;
    if let Some(run) = run
        && let Some(plan) = runs::plan(&app.db, run.id).await?
    {
        return of(app, caller, &job, &plan, Some(&run)).await;
    }
    let config = job.work.template().map(TemplateWork::config).unwrap_or_default();
    let spec = resolve(app, caller, &job, config).await?;
    of(app, caller, &job, &spec.plan, None).await
}

/// The quote of a job that is ready to run, or of its run.
pub(in crate::jobs) async fn of(
    app: &App,
    caller: &Caller,
    job: &Job,
    plan: &Plan,
    run: Option<&RunView>,
) -> Result<Quote> {
    let chunks = match run.and_then(|run| run.chunks) {
        Some(chunks) => Some(chunks.into()),
        None => chunks(app, caller, plan).await?,
    };
    let work = job.work.template();
    let task = plan.typical_task();
    let needs = task.map_or(Resources::NONE, |task| task.container.needs);
    let task_secs = task.map_or(0, |task| task.timeout_secs);
    let forecast = forecast(app, job, plan, run).await?;
    let (task_most, single_most) = (price::most(needs, task_secs), singles(plan, task_secs));
    let most = |chunks| task_most.saturating_mul(chunks).saturating_add(single_most);
    let estimate = estimate(app, job, plan).filter(|_| run.is_none());
    let total = match &estimate {
        Some(estimate) => Some(estimate.total),
        None => chunks.map(|chunks| forecast.total(chunks)),
    };
    let total_at_most = match &estimate {
        Some(known) if known.open_lists.is_empty() => Some(known.at_most),
        Some(_) => None,
        None => chunks.map(most),
    };
    let hold = match run {
        Some(run) => Hold::of_run(app, run),
        None => Hold::at_start(app, plan),
    };
    let available = statement::balance(&app.db, caller.workspace).await?.available;
    let proven = total.filter(|_| forecast.basis != Basis::Assumption);
    let affordable = match run {
        None => hold.amount.max(proven.unwrap_or_default()) <= available,
        Some(run) => {
            let has = available.saturating_add(run.held).saturating_add(run.price);
            proven.unwrap_or_default() <= has
        }
    };
    Ok(Quote {
        chunks,
        total,
        total_at_most,
        estimate,
        forecast,
        task_secs,
        task_secs_is_limit: work
            .is_some_and(|work| work.config().task_timeout_secs.is_some_and(|secs| secs > 0)),
        task_hour_price: price::most(needs, SECS_PER_HOUR),
        hold,
        available,
        affordable,
    })
}

/// What the plan of a job tells that has no template.
fn estimate(app: &App, job: &Job, plan: &Plan) -> Option<Estimate> {
    if job.work.template().is_some() {
        return None;
    }
    let inputs = job.work.plan().map(|work| work.scope.inputs.clone()).unwrap_or_default();
    Some(plan.estimate(&inputs, app.coordinator.reserved_secs(u32::MAX)))
}

/// From the run itself or, before any of its tasks is done, from the past.
async fn forecast(app: &App, job: &Job, plan: &Plan, run: Option<&RunView>) -> Result<Forecast> {
    if let Some(sampled) = run.and_then(Forecast::of_run) {
        return Ok(sampled);
    }
    // Jobs without a template have nothing in common.
    let template = job.work.template().map(|work| &work.template.id);
    if let Some(template) = template.filter(|id| !id.is_empty())
        && let Some(past) = usage::history(&app.db, job.workspace, template).await?
    {
        return Ok(Forecast::sampled(Basis::History, past.runs, past.sample));
    }
    let task = plan.typical_task();
    let secs = app.coordinator.reserved_secs(task.map_or(0, |task| task.timeout_secs));
    let task_price = task.map_or(Credits::ZERO, |task| task.reservation(secs));
    Ok(Forecast::assumed(task_price, singles(plan, secs)))
}

/// What a partitioner and an assembler of the customer's own cost at most in this many seconds,
/// and what calls cost.
fn singles(plan: &Plan, secs: u32) -> Credits {
    let singles = plan.blocks().filter_map(|(id, block)| match &block.body {
        Body::Container(task) if !plan.is_repeated(id) => Some(task.reservation(secs)),
        Body::Call(task) if !plan.is_repeated(id) => Some(task.price),
        Body::Container(_)
        | Body::Group(_)
        | Body::Each(_)
        | Body::Child(_)
        | Body::Data(_)
        | Body::Call(_) => None,
    });
    singles.fold(Credits::ZERO, Credits::saturating_add)
}

/// How many chunks will be processed, as far as that is known.
async fn chunks(app: &App, caller: &Caller, plan: &Plan) -> Result<Option<u64>> {
    let chunks = cut_in(app, caller, plan).await?;
    let most = plan.chunks_max().map_or(u64::MAX, |most| most.get().into());
    Ok(chunks.map(|chunks| chunks.min(most)))
}

/// How many chunks the source will be cut in, as far as its files' sizes show.
async fn cut_in(app: &App, caller: &Caller, plan: &Plan) -> Result<Option<u64>> {
    let Some((source, partitioner)) = plan.cut() else { return Ok(None) };
    let of_file = |size: u64| match partitioner {
        Partitioner::Passthrough | Partitioner::File => 1,
        Partitioner::Replicate { copies } => copies.into(),
        Partitioner::Lines { bytes }
        | Partitioner::Csv { bytes }
        | Partitioner::Tar { bytes }
        | Partitioner::Bytes { bytes } => size.div_ceil(bytes),
    };
    let by_size = match partitioner {
        Partitioner::Lines { .. }
        | Partitioner::Csv { .. }
        | Partitioner::Tar { .. }
        | Partitioner::Bytes { .. } => true,
        Partitioner::Passthrough | Partitioner::File | Partitioner::Replicate { .. } => false,
    };
    match source {
        Source::File(file) => return Ok(Some(of_file(file.size).max(1))),
        Source::Url { .. } | Source::Bypass if !by_size => return Ok(Some(of_file(0))),
        Source::Url { .. } | Source::Bypass | Source::Cloud { .. } => {}
    }
    let looked = app.data.look(caller.workspace, source, None).await?;
    if looked.size.is_none() || looked.kind == (LookedKind::Files { more: true }) {
        return Ok(None);
    }
    Ok(Some(looked.files.iter().map(|file| of_file(file.size)).sum::<u64>().max(1)))
}

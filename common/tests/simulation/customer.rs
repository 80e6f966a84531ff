//! What customers order: runs of all shapes, some of which cannot end well.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use common::compute::container::Sharing;
use common::ids::{JobId, RunId, WorkspaceId};
use common::money::credits::Credits;
use common::plan::{ContainerTask, Limits};
use common::run::scheduling::{Priority, Regions, Terms};
use common::run::spec::RunSpec;
use common::run::task::TaskRef;
use common::testing;
use uuid::Uuid;

use crate::random::Random;
use crate::shape;
use crate::world::CHAOS_SECS;

/// A run that somebody will ask for.
#[derive(Debug, Clone)]
pub struct Order {
    pub run: RunId,
    pub spec: Arc<RunSpec>,
    pub chunks: u32,
    /// How long a task takes, in milliseconds.
    task_ms: u32,
    /// Only the first half of the tasks takes that long: they use up what was held for the rest.
    is_front_loaded: bool,
    /// A chunk that no attempt survives.
    pub poison: Option<u32>,
    /// Its results differ by themselves now and then, though the job says otherwise.
    pub is_unstable: bool,
}

pub fn workspace(n: u32) -> WorkspaceId {
    WorkspaceId::new(Uuid::from_u128(0x1000 + u128::from(n)))
}

pub fn order(n: u32, random: &mut Random) -> Order {
    let chunks = if random.chance(20) { 0 } else { random.between(1, 60) };
    let task_ms = match random.between(0, 9) {
        0 => random.between(80_000, 400_000),
        // More than is reserved for them.
        1 | 4 => random.between(62_000, 118_000),
        2 | 3 => random.between(10_000, 40_000),
        _ => random.between(10, 3_000),
    };
    let limits = Limits {
        task_timeout_secs: if random.chance(500) { random.between(5, 200) } else { 3600 },
        job_timeout_secs: random.chance(150).then(|| random.between(20, 600)),
        task_retries: random.between(0, 3),
        require_results: false,
        deterministic: random.chance(900),
    };
    let (terms, owner) = (terms(random), workspace(random.between(0, 1)));
    let plan = if random.chance(600) {
        shape::pipeline(chunks, limits, terms.is_test, random)
    } else {
        shape::tree(limits, owner, random)
    };
    let spec = RunSpec {
        job: JobId::new(Uuid::from_u128(0x2000 + u128::from(n))),
        name: format!("job {n}"),
        template: "simulated".to_owned(),
        timeout_secs: limits.job_timeout_secs,
        terms,
        ..testing::order_plan(owner, plan)
    };
    Order {
        run: RunId::new(Uuid::from_u128(0x3000 + u128::from(n))),
        spec: Arc::new(spec),
        chunks,
        task_ms,
        is_front_loaded: task_ms > 60_000 && random.chance(600),
        poison: random.chance(100).then(|| random.between(0, 60)),
        is_unstable: random.chance(150),
    }
}

/// The project whose runs are under a spend cap.
pub const PROJECT: &str = "capped";

/// When the story begins.
pub fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn terms(random: &mut Random) -> Terms {
    let whitelist = if random.chance(300) { vec!["eu".to_owned()] } else { Vec::new() };
    let blacklist = if random.chance(200) { vec!["us-east-1".to_owned()] } else { Vec::new() };
    let start_at = random.chance(250).then(|| {
        let ms = random.between(1, CHAOS_SECS * 1500);
        start() + TimeDelta::milliseconds(ms.into())
    });
    Terms {
        start_at,
        priority: random.pick(&Priority::ALL).copied().unwrap_or_default(),
        regions: Regions { whitelist, blacklist },
        is_test: random.chance(100),
        queue: None,
        project: random.chance(250).then(|| PROJECT.to_owned()),
        sharing: Sharing::default(),
    }
}

impl Order {
    pub fn task_ms(&self, task: TaskRef) -> u32 {
        let is_late = task.index >= self.chunks / 2;
        if self.is_front_loaded && is_late { self.task_ms / 20 } else { self.task_ms }
    }
}

/// About what a run needs to be held when it starts.
pub fn budget(order: &Order) -> Credits {
    let estimate = |task: &ContainerTask| task.reservation(60).saturating_mul(order.chunks.into());
    let tasks = order.spec.plan.container_tasks().map(estimate);
    let calls = order.spec.plan.calls().map(|(_, call)| call.price);
    tasks.chain(calls).fold(Credits::ZERO, Credits::saturating_add)
}

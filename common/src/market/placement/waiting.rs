//! Why a run is waiting: which requirement takes away how many nodes.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::node::{Node, Rule};
use crate::ids::{NodeId, RunId};
use crate::market::Market;
use crate::market::calls::CallLimit;
use crate::market::run::Run;
use crate::market::stage::Stage;
use crate::market::tasks::task_stage::TaskStage;
use crate::run::queue::QueueStop;

/// The most nodes that are named; of more there is the count.
const NAMED_MAX: usize = 3;

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made where somebody asks, and goes at once")]
pub enum Waiting {
    /// Its work begins then.
    Start(DateTime<Utc>),
    /// What has to be done next has failed, and is tried again then.
    Retry(DateTime<Utc>),
    /// This many of the tasks, of all that are handed out, are with these nodes, which have said
    /// nothing for a while.
    Unheard {
        tasks: usize,
        of: usize,
        nodes: SomeNodes,
    },
    /// This many of the nodes that hold its tasks, of all that do, can neither fetch nor store,
    /// because the server's bucket is away.
    Bucket {
        nodes: usize,
        of: usize,
    },
    Node(Obstacles),
    /// A call that could be made is stopped by this limit.
    CallLimit(CallLimit),
    /// Its queue hands out nothing.
    Queue(QueueStop),
    /// The server evaluates expressions of it.
    Expressions,
}

/// Some of the nodes: how many they are, and which the first of them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SomeNodes {
    pub count: usize,
    first: [Option<NodeId>; NAMED_MAX],
}

impl SomeNodes {
    /// Those that are named, at most three.
    pub fn named(&self) -> impl Iterator<Item = NodeId> {
        self.first.into_iter().flatten()
    }
}

impl FromIterator<NodeId> for SomeNodes {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut some = Self::default();
        for node in nodes {
            if let Some(place) = some.first.get_mut(some.count) {
                *place = Some(node);
            }
            some.count += 1;
        }
        some
    }
}

/// The nodes that a run's next task cannot go to now, each counted under its first obstacle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Obstacles {
    pub nodes: usize,
    pub silent: SomeNodes,
    /// Set aside for this customer, after faults in a row with its tasks.
    pub aside: usize,
    /// Set aside for everybody, after a failed probe.
    pub failed_probe: usize,
    /// Whose container engine does not answer.
    pub engine_away: usize,
    /// Of operators that have given false results.
    pub barred: usize,
    /// Whose results for this run differ from another node's, until a third decides.
    pub disputed: usize,
    /// Where the job may not run.
    pub elsewhere: usize,
    /// In none of the pools of the run's queue.
    pub outside_pools: usize,
    /// Of other workspaces, where the job is for nodes of its own.
    pub not_own: usize,
    /// Whose owners do not allow containers of the profile `plain`.
    pub without_plain: usize,
    /// Whose owners give containers no network.
    pub without_network: usize,
    /// Whose owners do not lend images of their engine.
    pub without_local_images: usize,
    /// Those whose owners' rules stand in the way, under any of the four.
    pub closed: SomeNodes,
    pub too_few_cpus: usize,
    pub too_little_memory: usize,
    pub too_little_disk: usize,
    /// Without a GPU of the names that it asks for.
    pub without_gpu: usize,
    pub busy: usize,
    /// Of all nodes, those with tasks that wait for the server's bucket; they are counted under
    /// their obstacles too.
    pub at_bucket: usize,
    /// Of operators that are new and have their share of the run.
    pub new: usize,
    /// The disk that a task of it needs, in MiB.
    pub disk_mib: u32,
    /// Every task that waits has failed there, and may yet succeed on another.
    pub failed_there: usize,
    /// The wallet cannot cover one more task until running ones give back what they do not use.
    pub lacks_credits: bool,
    /// The same, because of its project's spend cap.
    pub is_capped: bool,
}

impl Waiting {
    /// Whether there is a reason; without one a task is about to be handed out.
    pub fn is_explained(&self) -> bool {
        match self {
            Self::Start(_)
            | Self::Retry(_)
            | Self::Unheard { .. }
            | Self::Bucket { .. }
            | Self::CallLimit(_)
            | Self::Expressions
            | Self::Queue(_) => true,
            Self::Node(obstacles) => obstacles.is_explained(),
        }
    }
}

impl Obstacles {
    /// Nodes that could not take a task of this run even if they had nothing else to do.
    pub fn unfit(&self) -> usize {
        self.elsewhere
            + self.outside_pools
            + self.by_rules()
            + self.too_few_cpus
            + self.too_little_memory
            + self.too_little_disk
            + self.without_gpu
    }

    /// Nodes whose owners' rules stand in the way.
    fn by_rules(&self) -> usize {
        self.not_own + self.without_plain + self.without_network + self.without_local_images
    }

    fn is_explained(&self) -> bool {
        let set_aside = self.aside + self.failed_probe + self.barred + self.disputed;
        let unable = self.silent.count + set_aside + self.engine_away + self.unfit();
        let obstructed = unable + self.busy + self.new + self.failed_there;
        self.lacks_credits || obstructed == self.nodes
    }
}

impl Market {
    /// Explains a run that has a task to hand out, or has not begun; `None` for one that goes on.
    pub fn waiting(&self, id: RunId, now: DateTime<Utc>) -> Option<Waiting> {
        let run = self.runs.get(&id)?;
        if let Some(at) = run.begins_at() {
            return Some(Waiting::Start(at));
        }
        let waiting = || run.task_stages().filter(|stage| stage.tasks.has_waiting());
        let open = waiting().find(|stage| self.queue_stop(*stage).is_none());
        let Some(stage) = open.or_else(|| waiting().next()) else {
            return match run.running() {
                0 => {
                    let tries = run.task_stages().filter_map(|stage| stage.tasks.next_try());
                    let retry = tries.min().map(Waiting::Retry);
                    let call = || self.call_waits(run, now);
                    retry.or_else(call).or_else(|| self.inner_wait(run, now))
                }
                of => self.at_bucket(run, now).or_else(|| self.unheard(run, of as usize, now)),
            };
        };
        if let Some(stop) = self.queue_stop(stage) {
            return Some(Waiting::Queue(stop));
        }
        let silent = self.nodes.iter().filter(|(_, node)| !node.is_present(now));
        let silent = silent.map(|(id, _)| id).chain(self.gone.keys());
        let mut obstacles = Obstacles {
            nodes: self.nodes.len() + self.gone.len(),
            silent: silent.copied().collect(),
            disk_mib: stage.tasks.needs().disk_mib,
            lacks_credits: self.dry.contains(&(run.spec.workspace, id)),
            is_capped: self.check_cap(&run.spec, stage.estimate(&self.policy)).is_err(),
            ..Obstacles::default()
        };
        let mut closed = Vec::new();
        for (node_id, node) in self.nodes.iter().filter(|(_, node)| node.is_present(now)) {
            obstacles.at_bucket += usize::from(node.waits_for_bucket);
            let by_rules = obstacles.by_rules();
            if let Some(count) = self.obstacle(stage, *node_id, node, now, &mut obstacles) {
                *count += 1;
            }
            if obstacles.by_rules() > by_rules {
                closed.push(*node_id);
            }
        }
        obstacles.closed = closed.into_iter().collect();
        Some(Waiting::Node(obstacles))
    }

    /// What a run waits for that has nothing to hand out and nothing under way: the answer to its
    /// expressions, or what a part of it waits for.
    fn inner_wait(&self, run: &Run, now: DateTime<Utc>) -> Option<Waiting> {
        if run.stages().any(Stage::is_asking) {
            return Some(Waiting::Expressions);
        }
        run.children().find_map(|child| self.waiting(child, now))
    }

    /// Where a node that is present is counted that cannot take the run's next task.
    pub(in crate::market) fn obstacle<'a>(
        &self,
        stage: TaskStage<'_>,
        id: NodeId,
        node: &Node,
        now: DateTime<Utc>,
        obstacles: &'a mut Obstacles,
    ) -> Option<&'a mut usize> {
        let demand = stage.demand();
        let needs = demand.needs;
        let stuck = |failed_on: &[NodeId]| !self.has_another(stage, failed_on, now);
        if node.is_barred(demand.customer, now) {
            Some(&mut obstacles.barred)
        } else if stage.is_disputed(id) {
            Some(&mut obstacles.disputed)
        } else if node.health.has_failed_probe() {
            Some(&mut obstacles.failed_probe)
        } else if node.engine_away {
            Some(&mut obstacles.engine_away)
        } else if node.is_aside(demand.customer, now) {
            Some(&mut obstacles.aside)
        } else if !node.is_admitted(demand) {
            Some(&mut obstacles.elsewhere)
        } else if !node.is_in_pool(demand) {
            Some(&mut obstacles.outside_pools)
        } else if let Some(rule) = node.rule_against(demand) {
            Some(match rule {
                Rule::NotOwn => &mut obstacles.not_own,
                Rule::Plain => &mut obstacles.without_plain,
                Rule::Network => &mut obstacles.without_network,
                Rule::LocalImages => &mut obstacles.without_local_images,
            })
        } else if needs.cpu_millis > node.capacity.cpu_millis {
            Some(&mut obstacles.too_few_cpus)
        } else if needs.memory_mib > node.capacity.memory_mib {
            Some(&mut obstacles.too_little_memory)
        } else if needs.disk_mib > node.capacity.disk_mib {
            Some(&mut obstacles.too_little_disk)
        } else if !node.gpus.has(demand.gpus) {
            Some(&mut obstacles.without_gpu)
        } else if !node.can_take(demand, true) {
            Some(&mut obstacles.busy)
        } else if !self.has_share(stage, node.operator, now) {
            Some(&mut obstacles.new)
        } else if stage.choose(id, stuck, |_| false).is_none() {
            Some(&mut obstacles.failed_there)
        } else {
            None
        }
    }

    /// The nodes that hold tasks of the run and have said that the bucket is away. Their word
    /// stands until they are silent: they speak rarely where nothing changes.
    fn at_bucket(&self, run: &Run, now: DateTime<Utc>) -> Option<Waiting> {
        let active = run.task_stages().flat_map(|stage| stage.tasks.active.values());
        let waiting = active.filter(|active| active.waits_for_bucket).map(|active| active.node);
        let is_present = |id: &NodeId| self.nodes.get(id).is_some_and(|node| node.is_present(now));
        let nodes = waiting.filter(is_present).collect::<BTreeSet<NodeId>>().len();
        (nodes > 0).then(|| Waiting::Bucket { nodes, of: run.holders().count() })
    }
}

//! What nodes say, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::Market;
use super::tasks::task_stage::TaskStage;
use super::trust::blame::Cause;
use crate::data::location::Source;
use crate::data::object_list::Object;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::plan::{CHUNK_FILE, Reads};
use crate::protocol::{
    ASSIGN_MAX, Assignment, Held, Inputs, Orders, Receipt, SAMPLE_SECS, Sample, SignedReceipt,
    Sync, Work, WorkPackage,
};
use crate::run::task::Lease;

/// The most bytes of containers in one `Orders`, beside the first work's: a reader takes no
/// message of more than a few MiB. What is left out is said in the next.
const CONTAINERS_BYTES_MAX: usize = 4 << 20;

/// Samples of an attempt lie this far apart at least; a node's timer may come a little early.
const SAMPLE_GAP: TimeDelta = TimeDelta::seconds(SAMPLE_SECS as i64 * 2 / 3);

/// The longest key that an app is told; stores have no longer ones.
const KEY_BYTES_MAX: usize = 1024;

/// A node's message whose receipts have been verified and decoded.
#[derive(Debug)]
pub struct CheckedSync {
    pub sync: Sync,
    /// One for each receipt of the message that is well-formed and well signed.
    pub receipts: Vec<(Receipt, SignedReceipt)>,
}

impl Market {
    /// Takes in what a node says: renews its leases, settles its receipts.
    pub fn sync(
        &mut self,
        id: NodeId,
        operator: WorkspaceId,
        heard: CheckedSync,
        now: DateTime<Utc>,
    ) {
        let CheckedSync { sync, receipts } = heard;
        let policy = self.policy;
        let until = now + policy.lease;
        self.note_reunion(id, now);
        self.meet(id, operator, until);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let is_overtaken = node.incarnation == Some(sync.incarnation) && sync.number < node.number;
        if is_overtaken || node.former == Some(sync.incarnation) {
            // A later message, or a later process, has said what is so now: only what was signed
            // and measured still counts.
            for sample in sync.samples {
                self.take_sample(id, sample, now);
            }
            for (receipt, signed) in receipts {
                self.take_receipt(id, receipt, signed, now);
            }
            return;
        }
        let restarted = node.incarnation.is_some_and(|known| known != sync.incarnation);
        if restarted {
            node.former = node.incarnation;
        }
        if !node.is_present(now) {
            node.back = now;
        }
        node.incarnation = Some(sync.incarnation);
        node.number = sync.number;
        node.capacity = sync.capacity;
        node.engine_away = sync.engine_away;
        node.prefetch = sync.prefetch;
        let other = node.device != sync.device;
        if other {
            self.outbox.changes.devices.insert(id, sync.device.clone());
            node.device = sync.device;
        }
        node.until = until;
        node.heard = [node.heard[1], Some(now)];
        node.tells_of_probe = sync.probe.is_some();
        if let Some(probe) = sync.probe {
            node.health.take_probe(&probe, policy, now);
        }
        node.waits_for_bucket = sync.holding.iter().any(|held| held.waits_for_bucket);
        node.listed = sync.holding.iter().map(|held| held.lease).collect();
        node.listed.extend(receipts.iter().map(|(receipt, ..)| receipt.lease));
        let holds: BTreeSet<RunId> = sync.holding.iter().map(|held| held.lease.task.run).collect();
        self.room.open(id);
        if other {
            self.recount_gpus(id);
        }
        if restarted {
            self.lose_unlisted(id, now);
        }
        for held in &sync.holding {
            self.note_held(id, *held, now);
        }
        for sample in sync.samples {
            self.take_sample(id, sample, now);
        }
        for (receipt, signed) in receipts {
            self.take_receipt(id, receipt, signed, now);
        }
        self.note_stopped(id, &holds, now);
    }

    /// What a node should do, or `None` where there is nothing to say. `settled` are the leases of
    /// the receipts that the answered message brought.
    pub fn orders(&self, id: NodeId, settled: Vec<Lease>) -> Option<Orders> {
        let node = self.nodes.get(&id)?;
        let assigned: Vec<Lease> =
            node.leased.difference(&node.listed).take(ASSIGN_MAX).copied().collect();
        let spoken: BTreeSet<Lease> = settled.iter().copied().collect();
        let cancel: Vec<Lease> = node
            .listed
            .difference(&node.leased)
            .filter(|lease| !spoken.contains(lease))
            .copied()
            .collect();
        let probe = node.health.wants_probe() && !node.tells_of_probe;
        if assigned.is_empty() && cancel.is_empty() && settled.is_empty() && !probe {
            return None;
        }
        let (works, assign) = self.assignments(assigned);
        Some(Orders::Work { works, assign, cancel, settled, logged: Vec::new(), probe })
    }

    /// The leases as a node gets them, as many as one message carries, with each one's work.
    fn assignments(&self, leases: Vec<Lease>) -> (Vec<Work>, Vec<Assignment>) {
        let mut works: BTreeMap<_, Work> = BTreeMap::new();
        let (mut assign, mut bytes) = (Vec::with_capacity(leases.len()), 0);
        for lease in leases {
            let run = self.runs.get(&lease.task.run);
            let Some(stage) = run.and_then(|run| run.tasks(lease.task.stage)) else { continue };
            let key = (lease.task.run, lease.task.stage);
            if !works.contains_key(&key) {
                let Some(work) = work(stage) else { continue };
                bytes += work.container.bytes();
                if bytes > CONTAINERS_BYTES_MAX && !works.is_empty() {
                    break;
                }
                works.insert(key, work);
            }
            assign.extend(assignment(stage, lease));
        }
        (works.into_values().collect(), assign)
    }

    pub(super) fn strike_for(&mut self, id: NodeId, run: RunId, now: DateTime<Utc>) {
        if let Some(customer) = self.runs.get(&run).map(|run| run.spec.workspace) {
            self.strike(id, customer, now);
        }
    }

    /// The node's process is a new one: what it does not list, it lost.
    fn lose_unlisted(&mut self, id: NodeId, now: DateTime<Utc>) {
        let Some(node) = self.nodes.get(&id) else { return };
        let lost: Vec<Lease> = node.leased.difference(&node.listed).copied().collect();
        for lease in lost {
            self.lose(lease, Cause::Gone, "its node restarted", now);
        }
    }

    /// Notes since when the node has held, and run, an attempt. What its messages said before
    /// stands: it cannot have begun before the last of them that did not tell of it.
    pub(super) fn note_held(
        &mut self,
        id: NodeId,
        Held { lease, running_ms, waits_for_bucket, progress }: Held,
        now: DateTime<Utc>,
    ) {
        let before = self.nodes.get(&id).and_then(|node| node.heard[0]);
        let run = self.runs.get_mut(&lease.task.run);
        let active = run.and_then(|run| run.active_lease_mut(lease));
        let Some(active) = active.filter(|active| active.node == id) else { return };
        active.received_at.get_or_insert(now);
        active.waits_for_bucket = waits_for_bucket;
        active.progress = progress.map(|hundredths| hundredths.min(100)).or(active.progress);
        let Some(ms) = running_ms else { return };
        let ms = u32::try_from(ms).unwrap_or(u32::MAX);
        let claimed = now - TimeDelta::milliseconds(ms.into());
        let earliest = before.map_or(active.leased_at, |before| before.max(active.leased_at));
        let since = *active.running_since.get_or_insert(claimed.max(earliest));
        // It may have begun between two messages, or before this server's start.
        active.received_at = active.received_at.map(|received| received.min(since));
    }
}

impl Market {
    /// Takes what an attempt of the node used in a period, if that can be: it is under lease there,
    /// and the period has passed and does not overlap with the one before.
    fn take_sample(&mut self, id: NodeId, sample: Sample, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&sample.lease.task.run) else { return };
        let needs = run.tasks(sample.lease.task.stage).map(|stage| stage.tasks.needs());
        let active = run.active_lease_mut(sample.lease);
        let Some((active, needs)) = active.filter(|active| active.node == id).zip(needs) else {
            return;
        };
        let Some(at) = DateTime::from_timestamp_micros(sample.at_us) else { return };
        let is_next = match active.sampled_at {
            Some(before) => at - before >= SAMPLE_GAP,
            None => at > active.leased_at,
        };
        if active.is_check || at > now || !is_next {
            return;
        }
        active.sampled_at = Some(at);
        self.outbox.changes.samples.push(Sample {
            cpu_millis: sample.cpu_millis.min(needs.cpu_millis),
            memory_bytes: sample.memory_bytes.min(u64::from(needs.memory_mib) << 20),
            ..sample
        });
    }
}

fn work(stage: TaskStage<'_>) -> Option<Work> {
    let TaskStage { run, no, block, work, .. } = stage;
    let container = &work.container;
    Some(Work {
        run: run.id,
        workspace: run.spec.workspace,
        stage: no,
        package: container
            .package()
            .map(|code| WorkPackage { owner: code.package.owner, digest: code.package.digest }),
        images: container.images().to_vec(),
        container: run.spec.plan.container_spec(block)?.clone(),
        sharing: run.spec.terms.sharing,
        secrets: !container.secrets.is_empty(),
        late: !container.late().is_empty(),
        needs: container.needs,
        task_timeout_secs: Some(work.timeout_secs),
    })
}

fn assignment(stage: TaskStage<'_>, lease: Lease) -> Option<Assignment> {
    let TaskStage { run, tasks, work, .. } = stage;
    let (container, index) = (&work.container, lease.task.index);
    let of_task = |file| container.task_environment(index, file, run.spec.origin.nominal());
    let (inputs, environment) = match work.reads {
        Reads::Element => {
            let chunk = tasks.table()?.get(index)?;
            let plan = &run.spec.plan;
            let source = plan.chunks_of(stage.block).and_then(|block| plan.source_of(block));
            let file = (chunk.object.name.as_str(), chunk_key(source, &chunk.object));
            let (name, bytes) = (CHUNK_FILE.to_owned(), chunk.len());
            // The market has no bytes: small ones are added where the orders are sent.
            let inputs = Inputs::File { name, bytes, content: None };
            (inputs, of_task(Some(file)))
        }
        Reads::Objects(_) | Reads::Results(_) => (Inputs::Files, of_task(None)),
        Reads::Nothing => (Inputs::None, of_task(None)),
    };
    let gpu = run.active_lease(lease)?.gpu.clone();
    Some(Assignment { lease, gpu, inputs, environment })
}

/// Which of the source's files a chunk is of. Users, passwords and signatures stay out of it: a
/// node has no need of them.
fn chunk_key<'a>(source: Option<&'a Source>, object: &'a Object) -> &'a str {
    let key = match source {
        // The file may be read from a copy, which has no URL.
        Some(Source::Url { url, .. }) => {
            let key = url.as_str();
            let end = key.find(['?', '#']).unwrap_or(key.len());
            let plain = &key[..end];
            let host = plain.find("://").map_or(0, |at| at + 3);
            let path = plain[host..].find('/').map_or(end, |at| host + at);
            // What has a user in it is named by its path alone.
            if plain[host..path].contains('@') { &plain[path..] } else { plain }
        }
        Some(Source::Cloud { .. } | Source::File(_) | Source::Bypass) | None => object.shown(),
    };
    &key[..key.floor_char_boundary(KEY_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::object_list::Place;

    #[test]
    fn chunk_key_is_complete_and_without_secrets() {
        let url = |url: &str| Source::Url { url: url.to_owned(), username: None, secret: None };
        for (source, expected) in [
            (Source::Bypass, "in//a?b#c.txt"),
            (url("https://h.example/a/b.csv?sig=x#y"), "https://h.example/a/b.csv"),
            (url("https://u:p@h.example/a@b.csv"), "/a@b.csv"),
            (url("https://h.example"), "https://h.example"),
        ] {
            let path = "in//a?b#c.txt".to_owned();
            let staged = Place::Bucket { key: "runs/1/staged/0".to_owned() };
            for place in [Place::Source { path: path.clone() }, staged] {
                let object = Object { name: path.clone(), size: 1, place, version: None };

                assert_eq!(chunk_key(Some(&source), &object), expected);
            }
        }
    }
}

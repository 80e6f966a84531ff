//! A node as the protocol shows it, with faults of its own.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::compute::device::Device;
use common::compute::resources::{Resources, Usage};
use common::digest::Digest;
use common::ids::{NodeId, RunId, WorkspaceId};
use common::market::CheckedSync;
use common::protocol::{
    Contents, Failure, Held, Orders, Outcome, Output, Probe, Receipt, SignedReceipt, Sync,
};
use common::run::task::Lease;
use uuid::Uuid;

use crate::customer::{Order, workspace};
use crate::random::Random;

/// Where all runs may be worked on.
pub const HOME: &str = "eu-central-1";

/// What is wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    Honest,
    /// Claims the largest usage there is, and results of others.
    Liar,
    /// Often finds itself unable to run anything.
    Faulty,
    /// Never ends a task.
    Stuck,
    /// Claims a machine of 4,000,000 vCPUs, and to have done at once whatever it is given.
    Thief,
}

#[derive(Debug)]
pub struct Donor {
    pub id: NodeId,
    pub temper: Temper,
    /// It has been a thief, whatever it is now.
    pub has_stolen: bool,
    pub capacity: Resources,
    pub prefetch: u32,
    region: &'static str,
    gpus: usize,
    pub incarnation: u64,
    /// Of its newest message.
    number: u64,
    pub alive: bool,
    /// Cut off from the network until then.
    pub silent_until: DateTime<Utc>,
    /// The number of the timer that is not out of date.
    pub timer: u64,
    pub holding: BTreeMap<Lease, Work>,
    receipts: BTreeMap<Lease, (Receipt, SignedReceipt)>,
    /// The answer to a probe that it was asked for.
    probe: Option<Probe>,
    archive: Vec<(Receipt, SignedReceipt)>,
}

#[derive(Debug)]
pub struct Work {
    needs: Resources,
    timeout_ms: u32,
    since: Option<DateTime<Utc>>,
}

/// A task that has begun and when it will end.
pub struct Begun {
    pub lease: Lease,
    pub ends: DateTime<Utc>,
}

pub fn node_id(n: u32) -> NodeId {
    NodeId::new(Uuid::from_u128(0x4000 + u128::from(n)))
}

pub fn operator_of(node: NodeId) -> WorkspaceId {
    let n = node.uuid().as_u128() - 0x4000;
    workspace(100 + u32::try_from(n).expect("made by node_id") / 2)
}

/// Whether the node is the server's owner's, who needs no proof.
pub fn is_owners(node: NodeId) -> bool {
    operator_of(node) == owner()
}

pub fn owner() -> WorkspaceId {
    operator_of(node_id(0))
}

impl Donor {
    pub fn new(n: u32, random: &mut Random) -> Self {
        let temper = match random.between(0, 9) {
            0 => Temper::Liar,
            1 => Temper::Faulty,
            2 => Temper::Stuck,
            // The owner's own nodes are not its enemies.
            3 if n > 1 => Temper::Thief,
            _ => Temper::Honest,
        };
        let claimed = Resources::new(4_000_000_000, u32::MAX);
        // The first one can serve everything.
        let (capacity, region) = if n == 0 {
            (Resources::new(4_000, 4_096), HOME)
        } else {
            let capacity = Resources::new(random.between(1, 16) * 250, random.between(1, 16) * 256);
            let capacity = if temper == Temper::Thief { claimed } else { capacity };
            (capacity, random.pick(&[HOME, "us-east-1", ""]).copied().unwrap_or_default())
        };
        Self {
            id: node_id(n),
            temper,
            has_stolen: temper == Temper::Thief,
            capacity,
            prefetch: random.between(0, 3),
            region,
            gpus: if n == 0 { 2 } else { random.between(0, 1) as usize },
            incarnation: random.draw(),
            number: 0,
            alive: true,
            silent_until: DateTime::UNIX_EPOCH,
            timer: 0,
            holding: BTreeMap::new(),
            receipts: BTreeMap::new(),
            probe: None,
            archive: Vec::new(),
        }
    }

    /// From now on it says what is true. Whatever it claimed before, it is a small machine.
    pub fn become_honest(&mut self) {
        if self.temper == Temper::Thief {
            self.capacity = Resources::new(1_000, 1_024);
        }
        self.temper = Temper::Honest;
    }

    /// Its process is killed and started again: only its key is left.
    pub fn start_anew(&mut self, random: &mut Random) {
        self.alive = true;
        self.incarnation = random.draw();
        self.number = 0;
        self.holding.clear();
        self.receipts.clear();
        self.probe = None;
    }

    pub fn statement(&mut self, now: DateTime<Utc>, random: &mut Random) -> CheckedSync {
        let mut receipts: Vec<_> = self.receipts.values().cloned().collect();
        if random.chance(50) {
            receipts.extend(random.pick(&self.archive).cloned());
        }
        let holding = self
            .holding
            .iter()
            .map(|(lease, work)| Held {
                lease: *lease,
                running_ms: work.since.map(|since| ms(now - since)),
                waits_for_bucket: false,
                progress: None,
            })
            .collect();
        self.number += 1;
        let sync = Sync {
            incarnation: self.incarnation,
            number: self.number,
            token: None,
            capacity: self.capacity,
            engine_away: false,
            prefetch: self.prefetch,
            device: Device {
                region: self.region.to_owned(),
                gpus: vec!["tesla t4".to_owned(); self.gpus],
                ..Device::default()
            },
            holding,
            receipts: receipts.iter().map(|(_, signed)| signed.clone()).collect(),
            logs: Vec::new(),
            samples: Vec::new(),
            probe: self.probe.take(),
            wait_ms: random.between(0, 8_000),
        };
        CheckedSync { sync, receipts }
    }

    /// Does as it is told; true where there is news to tell.
    pub fn obey(&mut self, orders: Orders) -> bool {
        let Orders::Work { works, assign, cancel, settled, probe, .. } = orders else {
            return false;
        };
        if probe {
            self.probe = Some(match self.temper {
                Temper::Honest | Temper::Liar | Temper::Thief => Probe::Passed,
                Temper::Faulty => Probe::Failed { message: "no space".to_owned() },
                Temper::Stuck => Probe::Running,
            });
        }
        for lease in &settled {
            self.receipts.remove(lease);
        }
        for lease in &cancel {
            self.holding.remove(lease);
        }
        let news = !assign.is_empty() || !cancel.is_empty();
        for lease in assign.into_iter().map(|assignment| assignment.lease) {
            let Some(work) = works
                .iter()
                .find(|work| work.run == lease.task.run && work.stage == lease.task.stage)
            else {
                continue;
            };
            if !self.receipts.contains_key(&lease) {
                let timeout_ms = work.task_timeout_secs.unwrap_or(u32::MAX / 1000) * 1000;
                let work = Work { needs: work.needs, timeout_ms, since: None };
                self.holding.entry(lease).or_insert(work);
            }
        }
        news
    }

    /// Begins what it has room for.
    pub fn begin<'a>(
        &mut self,
        now: DateTime<Utc>,
        order_of: impl Fn(RunId) -> Option<&'a Order>,
        random: &mut Random,
    ) -> Vec<Begun> {
        let mut used = self
            .holding
            .values()
            .filter(|work| work.since.is_some())
            .fold(Resources::NONE, |sum, work| sum.plus(work.needs));
        let mut begun = Vec::new();
        for (lease, work) in &mut self.holding {
            let room = used.plus(work.needs).fits_in(self.capacity);
            if work.since.is_some() || !room {
                continue;
            }
            used = used.plus(work.needs);
            work.since = Some(now);
            let full = order_of(lease.task.run).map_or(1, |order| order.task_ms(lease.task));
            let time = random.between(full - full / 5, full).min(work.timeout_ms);
            let time = if self.temper == Temper::Thief { 1 } else { time };
            if self.temper != Temper::Stuck {
                let ends = now + TimeDelta::milliseconds(time.into());
                begun.push(Begun { lease: *lease, ends });
            }
        }
        begun
    }

    /// A task's container has ended: signs its receipt.
    pub fn end(&mut self, lease: Lease, now: DateTime<Utc>, order: &Order, random: &mut Random) {
        let Some(work) = self.holding.remove(&lease) else { return };
        let Some(since) = work.since else { return };
        let ran = ms(now - since);
        let late = ran >= u64::from(work.timeout_ms);
        let poisoned = order.poison == Some(lease.task.index);
        let failed = |failure| Outcome::Failed { failure, message: String::new() };
        let mut contents = Vec::new();
        let outcome = if self.temper == Temper::Faulty && random.chance(500) {
            Outcome::NodeFault { message: "no space".to_owned() }
        } else if late {
            failed(Failure::Timeout)
        } else if poisoned || random.chance(15) {
            failed(Failure::ExitCode(1))
        } else {
            let text = self.result(lease, order, random);
            let outputs = text.iter().map(|text| output(text)).collect();
            contents.extend(text.map(String::into_bytes));
            let value = (self.temper != Temper::Thief).then(|| value_of(lease));
            Outcome::Succeeded { outputs, value }
        };
        let usage = match self.temper {
            Temper::Liar | Temper::Thief => Usage {
                cpu_ms: u64::MAX,
                memory_mib_ms: u64::MAX,
                wall_ms: u64::MAX,
                ..Usage::default()
            },
            Temper::Honest | Temper::Faulty | Temper::Stuck => Usage::full(work.needs, ran),
        };
        self.sign(Receipt { lease, usage, outcome }, contents);
    }

    /// What its work gives: the same on every node, unless the node lies or the job is not
    /// deterministic.
    fn result(&self, lease: Lease, order: &Order, random: &mut Random) -> Option<String> {
        if self.temper == Temper::Thief {
            return None;
        }
        let mut text = lease.task.to_string();
        if order.is_unstable && random.chance(500) {
            text.push_str(&random.draw().to_string());
        }
        Some(text)
    }

    /// Claims a result that it may have nothing to do with.
    pub fn claim(&mut self, lease: Lease) {
        let usage = Usage { cpu_ms: u64::MAX, memory_mib_ms: 0, wall_ms: 0, ..Usage::default() };
        let outcome = Outcome::Succeeded { outputs: Vec::new(), value: None };
        self.sign(Receipt { lease, usage, outcome }, Vec::new());
    }

    fn sign(&mut self, receipt: Receipt, results: Vec<Vec<u8>>) {
        let mut contents = Contents::default();
        results.into_iter().for_each(|bytes| contents.add(bytes).expect("one small result"));
        let signed = SignedReceipt {
            receipt: postcard::to_stdvec(&receipt).expect("memory takes all"),
            signature: self.id.uuid().as_bytes().to_vec(),
            contents,
        };
        self.archive.push((receipt.clone(), signed.clone()));
        self.receipts.insert(receipt.lease, (receipt, signed));
    }
}

/// A result whose bytes travel with its receipt.
fn output(text: &str) -> Output {
    let (name, size) = ("out".to_owned(), text.len() as u64);
    Output { name, size, digest: Digest::of(text.as_bytes()) }
}

/// What a task gives to those after it: a list, and the same on every node. What looks like an
/// expression in it is text.
fn value_of(lease: Lease) -> String {
    format!("[\"{}\", \"{{{{ secrets.s }}}}\"]", lease.task.index)
}

fn ms(time: TimeDelta) -> u64 {
    u64::try_from(time.num_milliseconds()).unwrap_or(0)
}

//! The queues of customers, their changes, and what dispatch must keep to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{QueueId, WorkspaceId};
use common::market::{LeaseChange, Market};
use common::run::queue::{InQueue, QueueRules, Rank};
use uuid::Uuid;

use crate::customer;
use crate::random::Random;
use crate::store::Store;

/// For each workspace.
const QUEUES: u32 = 3;

fn id(workspace: u32, n: u32) -> QueueId {
    QueueId::new(Uuid::from_u128(0x5000 + u128::from(workspace * QUEUES + n)))
}

/// The queues of all workspaces.
pub fn all(random: &mut Random) -> BTreeMap<QueueId, QueueRules> {
    let each = (0..2).flat_map(|workspace| (0..QUEUES).map(move |n| (workspace, n)));
    each.map(|(workspace, n)| (id(workspace, n), rules(customer::workspace(workspace), random)))
        .collect()
}

fn rules(workspace: WorkspaceId, random: &mut Random) -> QueueRules {
    QueueRules {
        workspace,
        rank: Rank::new(u16::try_from(random.between(1, 3)).expect("small")).expect("a rank"),
        max_running: if random.chance(500) { random.between(1, 8) } else { 0 },
        is_enabled: true,
        is_paused: false,
    }
}

/// The queue of an order of this workspace.
pub fn of_order(workspace: WorkspaceId, random: &mut Random) -> Option<InQueue> {
    let number = (0..2).find(|n| customer::workspace(*n) == workspace)?;
    let timeout_secs = random.chance(200).then(|| random.between(1, 300));
    let queue = id(number, random.between(0, QUEUES - 1));
    random.chance(600).then(|| InQueue { id: queue, timeout_secs, pools: Vec::new() })
}

/// The queue of a task of this workspace that stands in another one than its run.
pub fn of_task(workspace: WorkspaceId, random: &mut Random) -> Option<InQueue> {
    let queue = random.chance(300).then(|| of_order(workspace, random)).flatten();
    queue.map(|queue| InQueue { timeout_secs: None, ..queue })
}

/// Other rules for a queue.
pub fn change(rules: QueueRules, random: &mut Random) -> QueueRules {
    QueueRules {
        is_enabled: random.chance(800),
        is_paused: random.chance(300),
        ..self::rules(rules.workspace, random)
    }
}

/// The same, so that everything in it comes to its end.
pub fn opened(rules: QueueRules) -> QueueRules {
    QueueRules { is_enabled: true, is_paused: false, ..rules }
}

/// Hands out, and compares what the queues gave with what they may.
pub fn dispatch(market: &mut Market, store: &Store, now: DateTime<Utc>) -> Result<(), String> {
    let views = |market: &Market| -> Vec<_> {
        store.queues.keys().filter_map(|id| Some((*id, market.queue_view(*id)?))).collect()
    };
    let before = views(market);
    market.dispatch(now);
    for ((id, before), (_, after)) in before.into_iter().zip(views(market)) {
        let max = store.queues[&id].max_running;
        let gave = after.tasks_running > before.tasks_running;
        if gave && (before.stop.is_some() || (max > 0 && after.tasks_running > max)) {
            return Err(format!("{id:?} gave more than it may: {before:?}, {after:?}, {max}"));
        }
    }
    Ok(())
}

/// No task of a queue may have been handed out in place of one of a lower rank.
pub fn check_ranks(
    market: &Market,
    leases: &[LeaseChange],
    store: &Store,
    now: DateTime<Utc>,
) -> Result<(), String> {
    for change in leases {
        let LeaseChange::Granted { node, lease } = change else { continue };
        // A restart tells of what nodes hold already.
        if store.leased.contains_key(lease) {
            continue;
        }
        if let Some(before) = market.overtaken_by(*lease, *node, now) {
            return Err(format!("{lease} went to {node:?} before {before:?}"));
        }
    }
    Ok(())
}

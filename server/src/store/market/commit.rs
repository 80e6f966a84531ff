//! Group commit: all that a batch of events changed, in one transaction.

use common::market::Changes;
use sea_orm::{ConnectionTrait, DbErr, QueryTrait as _};

use super::plans::StoredPlans;
use super::stages::{chunk_tables, resolutions, values};
use super::tasks::{attempts, call_answers, samples, small_results};
use super::{batch_number, runs, set_aside, stages, tasks};
use crate::store::jobs;
use crate::store::jobs::{CreatedJob, StartedJob};
use crate::store::money::booking_effects;
use crate::store::money::booking_effects::Booked;
use crate::store::money::{ledger, spend_caps, statement};
use crate::store::nodes::{devices, tallies, trust};
use crate::store::schedules;
use crate::store::schedules::skips;
use crate::store::{Db, begin};

/// Jobs that are stored with a batch.
#[derive(Debug, Default)]
pub struct BatchJobs {
    /// New ones.
    pub created: Vec<CreatedJob>,
    /// Those whose runs are new among the changes.
    pub started: Vec<StartedJob>,
}

/// Stores the changes, what was booked among them, and jobs that go with them, all or nothing, as
/// the batch of this number.
///
/// # Errors
/// The batch may have been stored all the same, where the answer to the commit was lost:
/// [`batch_number::last`] tells.
pub async fn commit(
    db: &Db,
    number: i64,
    changes: &Changes,
    booked: &[Booked],
    batch_jobs: &BatchJobs,
) -> Result<(), DbErr> {
    let (guard, stored) = (batch_number::advance(number), &db.known.plans);
    // What reads, or asks how many rows have changed, cannot be written down beforehand.
    let is_plain = booked.is_empty() && changes.set_aside.is_empty();
    let new_plans = if is_plain {
        let script = db.script();
        let new_plans = write(&script, stored, changes, batch_jobs).await?;
        db.run(guard.build(db.get_database_backend()), script).await?;
        new_plans
    } else {
        let tx = begin(db).await?;
        if guard.exec(&tx).await?.rows_affected != 1 {
            return Err(DbErr::RecordNotUpdated);
        }
        let new_plans = write(&tx, stored, changes, batch_jobs).await?;
        set_aside::put(&tx, &changes.set_aside).await?;
        for booked in booked {
            booking_effects::put(&tx, booked).await?;
        }
        tx.commit().await?;
        new_plans
    };
    stored.add(new_plans);
    Ok(())
}

/// Writes what a batch has changed, but for runs that are set aside. Gives the digests of plans
/// that are new.
async fn write(
    db: &impl ConnectionTrait,
    stored: &StoredPlans,
    changes: &Changes,
    batch_jobs: &BatchJobs,
) -> Result<Vec<String>, DbErr> {
    jobs::insert_created(db, &batch_jobs.created).await?;
    jobs::put_started(db, &batch_jobs.started).await?;
    schedules::put(db, &changes.schedules).await?;
    skips::insert(db, &changes.skips).await?;
    jobs::note_fired(db, &changes.fired).await?;
    let new_plans = runs::put(db, stored, &changes.runs, &changes.new_runs).await?;
    stages::put(db, &changes.stages).await?;
    resolutions::insert(db, &changes.resolutions).await?;
    values::insert(db, &changes.values).await?;
    for (run, block, table) in &changes.tables {
        chunk_tables::insert(db, *run, *block, table).await?;
    }
    tasks::put(db, &changes.tasks).await?;
    small_results::put(db, &changes.tasks).await?;
    attempts::insert(db, &changes.attempts).await?;
    attempts::insert(db, &changes.reopened).await?;
    call_answers::insert(db, &changes.call_answers).await?;
    devices::put(db, &changes.devices).await?;
    trust::put_windows(db, &changes.windows).await?;
    tallies::add(db, &changes.tallies).await?;
    trust::put_records(db, &changes.operators).await?;
    ledger::insert_transfers(db, &changes.transfers).await?;
    ledger::add_to_balances(db, &changes.balances).await?;
    statement::insert_lines(db, &changes.lines).await?;
    spend_caps::put(db, &changes.caps).await?;
    samples::insert(db, &changes.samples).await?;
    Ok(new_plans)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use common::compute::resources::Usage;
    use common::data::chunk_table::ChunkTable;
    use common::data::object_list::{Object, Objects, Place};
    use common::digest::Digest;
    use common::ids::{NodeId, RunId, WorkspaceId};
    use common::market::{CheckedSync, Market, Policy, TaskState};
    use common::money::credits::Credits;
    use common::money::ledger::Account;
    use common::money::shard::Shard;
    use common::money::statement::Head;
    use common::plan::Phase;
    use common::protocol::{Outcome, Output, Receipt, SignedReceipt, Sync};
    use common::run::callback::{Callback, RunEvent};
    use common::run::spec::RunSpec;
    use common::run::task::{Lease, StageNo, TaskRef};
    use common::testing::{self as build, PROCESS};
    use sea_orm::{EntityTrait as _, QueryOrder as _};
    use uuid::Uuid;

    use super::*;
    use crate::clock;
    use crate::store::load;
    use crate::store::money::statement;
    use crate::store::money::statement::LineField;
    use crate::store::nodes;
    use crate::store::query::selection::{Selection, Start};
    use crate::store::testing::{self, commit_next, databases, every_order_is_led_through};

    /// A run under a name that PostgreSQL does not take.
    fn spec(workspace: WorkspaceId) -> RunSpec {
        let task = common::testing::call("https://h.example/", 1);
        let callbacks = vec![Callback { on: RunEvent::ENDS.into(), when: None, task }];
        RunSpec { name: "a name\0with NUL".to_owned(), callbacks, ..testing::spec(workspace) }
    }

    pub fn table(chunks: u64) -> ChunkTable {
        let object =
            Object { name: "o".to_owned(), size: chunks * 10, place: Place::Empty, version: None };
        ChunkTable::every(Objects::pack(&[object]).unwrap(), 10).unwrap()
    }

    pub fn sync(receipts: Vec<(Receipt, SignedReceipt)>) -> CheckedSync {
        CheckedSync { sync: Sync { prefetch: 0, ..build::sync() }, receipts }
    }

    pub fn succeeded(lease: Lease) -> (Receipt, SignedReceipt) {
        let output = Output { name: "out".to_owned(), size: 3, digest: Digest::of(b"out") };
        let usage = Usage { cpu_ms: 100, memory_mib_ms: 100_000, wall_ms: 100, ..Usage::default() };
        let outcome = Outcome::Succeeded { outputs: vec![output], value: None };
        let (receipt, mut signed) = build::receipt(lease, outcome, usage);
        signed.contents.add(b"out".to_vec()).unwrap();
        (receipt, signed)
    }

    pub fn process(run: RunId, index: u32) -> Lease {
        Lease { task: TaskRef { run, stage: PROCESS, index }, attempt: 1 }
    }

    /// A market after one of three chunks is done and another is leased, with everything stored.
    pub async fn half_done(db: &Db, workspace: WorkspaceId, run: RunId) -> (Market, NodeId) {
        let token = nodes::issue_token(db, workspace).await.unwrap();
        let node = nodes::join(db, "peer", &token).await.unwrap().unwrap();
        let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
        let gift = Credits::from_units(500_000_000).unwrap();
        market.grant(workspace, gift, "gift", clock::now()).unwrap();
        market.start_run(run, Arc::new(spec(workspace)), clock::now()).unwrap();
        market.step_done(run, StageNo::new(1), Some(table(3)), clock::now());
        market.sync(node, workspace, sync(vec![]), clock::now());
        market.dispatch(clock::now());
        let later = clock::now() + chrono::TimeDelta::seconds(10);
        market.sync(node, workspace, sync(vec![]), later - chrono::TimeDelta::seconds(5));
        market.sync(node, workspace, sync(vec![succeeded(process(run, 0))]), later);
        commit_next(db, &market.drain(), &[Booked::Grant("gift".to_owned())]).await.unwrap();
        (market, node)
    }

    #[tokio::test]
    async fn market_is_the_same_after_a_reload() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = WorkspaceId::new(Uuid::now_v7());
            let run = RunId::new(Uuid::now_v7());
            let (before, node) = half_done(db, workspace, run).await;

            let again = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());

            let (old, new) = (before.run(run).unwrap(), again.run(run).unwrap());
            assert_eq!(again.check(), Ok(()), "{}", fresh.name);
            let name = old.spec.name.replace('\0', "\u{fffd}");
            assert_eq!(*new.spec, RunSpec { name, ..RunSpec::clone(&old.spec) });
            assert_eq!(new.phase(), Some(Phase::Process));
            assert_eq!((new.held(), new.captured()), (old.held(), old.captured()));
            assert!(new.captured() > Credits::ZERO);
            assert_eq!(new.progress().chunks_done, 1);
            assert_eq!(new.progress().tasks_running, 1);
            assert_eq!(again.node(node).unwrap().leased(), 1);
            let shard = Shard::of(workspace);
            for account in [
                Account::World(shard),
                Account::Available(workspace),
                Account::Held(workspace),
                Account::Pending(workspace, shard),
            ] {
                assert_eq!(again.balance(account), before.balance(account));
            }
        }
    }

    #[tokio::test]
    async fn queries_read_what_the_coordinator_wrote() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = WorkspaceId::new(Uuid::now_v7());
            let run = RunId::new(Uuid::now_v7());
            let (mut market, _) = half_done(db, workspace, run).await;

            let job = market.run(run).unwrap().spec.job;
            let view = runs::find(db, workspace, run).await.unwrap().unwrap();
            let stranger = WorkspaceId::new(Uuid::now_v7());
            let tasks = tasks::find(db, run, PROCESS, None, 10).await.unwrap();
            let outputs = tasks::outputs(db, run, PROCESS, None, 10).await.unwrap();

            assert_eq!((view.chunks, view.chunks_done), (Some(3), 1));
            assert_eq!(runs::find(db, stranger, run).await.unwrap(), None);
            let states: Vec<_> = tasks.iter().map(|task| task.state).collect();
            assert_eq!(states, [TaskState::Done, TaskState::Leased]);
            assert_eq!(tasks[0].price, view.price);
            assert_eq!(outputs.len(), 1);
            assert_eq!(outputs[0].files[0].digest, Digest::of(b"out"));

            market.cancel(run, "enough".to_owned(), clock::now()).unwrap();
            commit_next(db, &market.drain(), &[]).await.unwrap();
            let balance = statement::balance(db, workspace).await.unwrap();
            let (start, order) = (Start::Place(None), vec![(LineField::Id, true)]);
            let newest = Selection { tests: Vec::new(), order, start, limit: 10 };
            let lines = statement::list(db, workspace, &newest).await.unwrap().rows;
            assert_eq!(balance.held, Credits::ZERO);
            assert_eq!(lines.len(), 2);
            every_order_is_led_through(2, async |selection: Selection<LineField>| {
                statement::list(db, workspace, &selection).await.unwrap()
            })
            .await;
            let (last, first) = (&lines[0].line, &lines[1].line);
            assert_eq!(last.debit(), Some(view.price));
            assert_eq!(last.related.id, Some(job.uuid()));
            assert_eq!(last.balance, balance.available);
            assert_eq!(first.hash, first.chained(Head::default().hash));
            assert_eq!(last.hash, last.chained(first.hash));
            assert_eq!(load(db).await.unwrap().runs.len(), 0);
        }
    }

    #[tokio::test]
    async fn balances_equal_the_sum_of_the_transfers() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = WorkspaceId::new(Uuid::now_v7());
            half_done(db, workspace, RunId::new(Uuid::now_v7())).await;

            let mut sums: BTreeMap<(i16, Uuid, i16), i64> = BTreeMap::new();
            for row in ledger::transfers::Entity::find().all(db).await.unwrap() {
                *sums.entry((row.from_kind, row.from_owner, row.shard)).or_default() -= row.units;
                *sums.entry((row.to_kind, row.to_owner, row.to_shard)).or_default() += row.units;
            }
            let balances: BTreeMap<(i16, Uuid, i16), i64> = ledger::accounts::Entity::find()
                .order_by_asc(ledger::accounts::Column::Kind)
                .all(db)
                .await
                .unwrap()
                .into_iter()
                .map(|row| ((row.kind, row.owner, row.shard), row.units))
                .collect();

            assert_eq!(sums, balances);
            assert_eq!(balances.values().sum::<i64>(), 0);
        }
    }

    #[tokio::test]
    async fn batch_that_is_stored_is_known_by_its_number_and_not_stored_again() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = WorkspaceId::new(Uuid::now_v7());
            half_done(db, workspace, RunId::new(Uuid::now_v7())).await;
            let number = batch_number::last(db).await.unwrap();
            let booked = [Booked::Grant("another".to_owned())];
            let available = Account::Available(workspace);
            let (before, none) =
                (load(db).await.unwrap().ledger.units(available), BatchJobs::default());
            // Nothing but its number would keep this from being added twice.
            let added = BTreeMap::from([(available, 7)]);
            let changes = Changes { balances: added, ..Changes::default() };

            for wrong in [number, number + 2] {
                let refused = commit(db, wrong, &changes, &booked, &none).await;
                assert_eq!(refused, Err(DbErr::RecordNotUpdated), "{}", fresh.name);
            }
            assert_eq!(batch_number::last(db).await.unwrap(), number);
            commit(db, number + 1, &changes, &[], &none).await.unwrap();
            let again = commit(db, number + 1, &changes, &[], &none).await;

            assert_eq!(again, Err(DbErr::RecordNotUpdated), "{}", fresh.name);
            assert_eq!(batch_number::last(db).await.unwrap(), number + 1);
            let after = load(db).await.unwrap().ledger.units(available);
            assert_eq!(after, before + 7, "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn database_refuses_to_pay_a_task_twice() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = WorkspaceId::new(Uuid::now_v7());
            let run = RunId::new(Uuid::now_v7());
            let stale = load(db).await.unwrap();
            half_done(db, workspace, run).await;

            // A second coordinator that knows nothing of the first.
            let mut second = Market::load(Policy::default(), stale, clock::now());
            let node = nodes::find_by_peer(db, "peer").await.unwrap().unwrap();
            let gift = Credits::from_units(500_000_000).unwrap();
            second.grant(workspace, gift, "x", clock::now()).unwrap();
            second.start_run(run, Arc::new(spec(workspace)), clock::now()).unwrap();
            second.step_done(run, StageNo::new(1), Some(table(3)), clock::now());
            second.sync(node, workspace, sync(vec![]), clock::now());
            second.dispatch(clock::now());
            let later = clock::now() + chrono::TimeDelta::seconds(10);
            second.sync(node, workspace, sync(vec![succeeded(process(run, 0))]), later);

            assert!(commit_next(db, &second.drain(), &[]).await.is_err(), "{}", fresh.name);
        }
    }
}

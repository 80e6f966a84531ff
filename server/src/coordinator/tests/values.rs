//! What expressions decide is asked for beside the writer, and asked for again after a restart.

use common::market::StageOutcome as O;
use common::plan::{Block, BlockId, Body, Group, Plan};
use common::run::RunState;

use super::*;
use crate::coordinator::testing::{Worker, start};
use crate::store::jobs::StartAs;
use crate::store::market::runs;
use crate::store::testing::draft;

/// Of three calls of nothing, the second is skipped.
fn plan() -> Plan {
    let task = |when: Option<&str>| {
        let body = testing::pipeline().plan();
        let (_, block) = body.blocks().find(|(id, _)| *id == BlockId::new(3)).unwrap();
        let mut body = block.body.clone();
        if let Body::Container(work) = &mut body {
            work.reads = common::plan::Reads::Nothing;
        }
        Block { when: when.map(|text| text.parse().unwrap()), ..Block::new("task", body) }
    };
    let of = [1, 2, 3].map(BlockId::new).to_vec();
    let root = Block::new("run", Body::Group(Group::sequence(of)));
    let plan = Plan::new(vec![
        root,
        task(None),
        task(Some("{{ run.id == '' }}")),
        task(Some("{{ run.id != '' }}")),
    ]);
    plan.unwrap().with_output("run {{ run.id }}".parse().unwrap()).unwrap()
}

#[tokio::test]
async fn expressions_are_evaluated_and_their_run_goes_on() {
    let room = granted().await;
    let spec = RunSpec { plan: plan(), ..draft(&room.db, room.workspace).await };
    let how = StartAs::Only(common::package::config::JobConfig::default());
    let run = start(&room.coordinator, spec, how).await.unwrap();
    let mut worker = Worker::join(&room.db, room.workspace).await;
    // Whatever is under way is lost, and asked for again.
    let room = room.restarted(|| {}).await;

    let ended = async {
        loop {
            worker.turn(&room.coordinator).await;
            let view = runs::find(&room.db, room.workspace, run).await.unwrap().unwrap();
            if view.has_ended() {
                break view;
            }
        }
    };
    let view = timeout(SOON, ended).await.unwrap();

    assert_eq!(view.state, RunState::Succeeded, "{:?}", view.cause);
    assert_eq!(view.output, Some(format!("run {run}")));
    let stages = store::market::stages::find(&room.db, run, None, 10).await.unwrap();
    let how: Vec<_> = stages.iter().map(|stage| stage.ended.unwrap().how).collect();
    assert_eq!(how, [O::Done, O::Done, O::Skipped, O::Done]);
}

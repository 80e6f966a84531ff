use super::*;
use crate::data::location::{Destination, Source};
use crate::plan::{ContainerTask, Phase, Plan};
use crate::run::scheduling::TaskPriority;
use crate::testing::{container, pipeline};

pub fn block(body: Body) -> Block {
    Block::new("block", body)
}

pub fn work(reads: Reads) -> Block {
    block(Body::Container(Box::new(ContainerTask {
        container: container(),
        reads,
        queue: None,
        timeout_secs: 60,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
    })))
}

pub fn group(of: &[u16], after: &[&[u16]]) -> Block {
    let of = of.iter().copied().map(BlockId).collect();
    block(Body::Group(Group { of, after: after.iter().map(|places| places.to_vec()).collect() }))
}

pub fn each(list: List, body: u16) -> Block {
    let (item, body) = ("item".to_owned(), BlockId(body));
    block(Body::Each(Each { list, item, body, at_once: None, first: None }))
}

fn look() -> Block {
    block(Body::Data(Box::new(DataTask::Look { source: Source::Bypass })))
}

#[test]
fn plan_of_a_pipeline_is_read_back_from_its_json() {
    let plan = pipeline().plan();

    let text = serde_json::to_string(&plan).unwrap();

    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    assert!(serde_json::from_str::<Plan>("[]").is_err());
}

#[test]
fn plan_is_a_tree_whose_parents_come_first() {
    let leaf = || work(Reads::Nothing);
    for (blocks, wrong) in [
        (vec![], PlanError::Size),
        (vec![leaf(), leaf()], PlanError::NoTree(1)),
        (vec![group(&[1, 1], &[&[], &[]]), leaf()], PlanError::NoTree(1)),
        (vec![group(&[0], &[&[]])], PlanError::NoBlock(0)),
        (vec![group(&[9], &[&[]])], PlanError::NoBlock(0)),
        (vec![each(List::Copies(3), 0)], PlanError::NoBlock(0)),
    ] {
        assert_eq!(Plan::new(blocks), Err(wrong));
    }
    let chain = |depth: u16| {
        let links = (1..depth).map(|next| each(List::Copies(1), next));
        Plan::new(links.chain([leaf()]).collect())
    };
    assert!(chain(32).is_ok());
    assert_eq!(chain(33), Err(PlanError::TooDeep(32)));
}

#[test]
fn plan_order_of_a_group_has_no_cycle() {
    let two = |after: &[&[u16]]| {
        Plan::new(vec![group(&[1, 2], after), work(Reads::Nothing), work(Reads::Nothing)])
    };

    assert!(two(&[&[], &[0]]).is_ok());
    for after in [&[&[1][..], &[0][..]][..], &[&[0], &[]], &[&[7], &[]], &[&[]]] {
        assert_eq!(two(after), Err(PlanError::Order(0)));
    }
}

#[test]
fn plan_reads_only_existing_earlier_outputs_once() {
    let reads = |after: &[&[u16]], reads| {
        Plan::new(vec![group(&[1, 2], after), look(), work(reads)]).map(drop)
    };
    let in_order: &[&[u16]] = &[&[], &[0]];

    assert_eq!(reads(in_order, Reads::Objects(BlockId(1))), Ok(()));
    for (after, wrong) in [
        (&[&[][..], &[][..]][..], Reads::Objects(BlockId(1))),
        (in_order, Reads::Objects(BlockId(2))),
        (in_order, Reads::Objects(BlockId(9))),
        (in_order, Reads::Results(BlockId(1))),
        (in_order, Reads::Element),
    ] {
        assert_eq!(reads(after, wrong), Err(PlanError::Reads(2)), "{wrong:?}");
    }
    // What is opened for each element has no one result.
    let of = BlockId(2);
    let (assembler, destination) = (None, Destination::Bypass);
    let task = DataTask::Deliver { of, assembler, destination };
    let deliver = block(Body::Data(Box::new(task)));
    let blocks =
        vec![group(&[1, 3], in_order), each(List::Copies(2), 2), work(Reads::Nothing), deliver];
    assert_eq!(Plan::new(blocks).map(drop), Err(PlanError::Reads(3)));
}

#[test]
fn plan_keeps_no_reservation_for_elements_of_a_list() {
    let mut kept = work(Reads::Nothing);
    let Body::Container(task) = &mut kept.body else { unreachable!("it is a container") };
    task.is_reserved = true;

    assert!(Plan::new(vec![kept.clone()]).is_ok());
    let plan = Plan::new(vec![each(List::Copies(2), 1), kept]);
    assert_eq!(plan, Err(PlanError::Reserved(1)));
    assert_eq!(pipeline().plan().container_of(Phase::Assemble), None);
}

use super::*;
use crate::testing::{container, pipeline};

fn names(plan: &Plan) -> Vec<(String, Option<Phase>)> {
    plan.blocks().skip(1).map(|(_, block)| (block.name.clone(), block.phase)).collect()
}

fn named(of: &[(&str, Option<Phase>)]) -> Vec<(String, Option<Phase>)> {
    of.iter().map(|(name, phase)| ((*name).to_owned(), *phase)).collect()
}

#[test]
fn pipeline_of_builtin_engines_is_a_cut_a_list_and_a_delivery() {
    let plan = pipeline().plan();

    assert_eq!(
        names(&plan),
        named(&[
            ("partitioner", Some(Phase::Fetch)),
            ("app", Some(Phase::Process)),
            ("app", None),
            ("assembler", Some(Phase::Assemble)),
        ])
    );
    assert_eq!(plan.elements(BlockId::new(2), 7), (7, 7));
    assert_eq!(plan.task_name(BlockId::new(2), 3), "chunk 3");
}

#[test]
fn pipeline_of_custom_engines_has_tasks_around_its_list() {
    let custom = || Box::new(container());
    let (partition, assemble) = (Partition::Custom(custom()), Assemble::Custom(custom()));

    let plan = Pipeline { partition, assemble, ..pipeline() }.plan();

    assert_eq!(
        names(&plan),
        named(&[
            ("source", Some(Phase::Fetch)),
            ("partitioner", Some(Phase::Partition)),
            ("collector", Some(Phase::Partition)),
            ("app", Some(Phase::Process)),
            ("app", None),
            ("assembler", Some(Phase::Assemble)),
            ("delivery", Some(Phase::Deliver)),
        ])
    );
    assert_eq!(plan.task_name(BlockId::new(2), 0), "the partitioner");
    assert_eq!(plan.reserved().count(), 1);
}

#[test]
fn pipeline_of_a_test_job_works_on_its_first_chunks() {
    let plan = Pipeline { is_test: true, ..pipeline() }.plan();

    assert_eq!(plan.elements(BlockId::new(2), 1_000), (1_000, TEST_CHUNKS.get()));
    assert_eq!(plan.elements(BlockId::new(2), 1), (1, 1));
}

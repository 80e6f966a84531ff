use super::tests::{block, each, group, work};
use super::*;
use crate::expression::Template;
use crate::plan::{Child, Code, Name, Plan};
use crate::testing;

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

/// A container of an image, whose value is called so.
fn named(name: &str) -> Block {
    Block { var: Some(name.parse().unwrap()), ..image() }
}

fn image() -> Block {
    let mut block = work(Reads::Nothing);
    if let Body::Container(task) = &mut block.body {
        task.container.code = Code::Images(testing::image_code());
    }
    block
}

/// A container that is skipped where this is false.
fn when(text: &str) -> Block {
    Block { when: Some(template(text)), ..image() }
}

fn result(blocks: Vec<Block>) -> Result<(), PlanError> {
    Plan::new(blocks).map(drop)
}

#[test]
fn plan_expression_names_values_of_blocks_before_it() {
    let unknown = |name: &str| Err(PlanError::Task(2, name.to_owned()));
    // 1 sets a; 2 reads something.
    for (after, text, expected) in [
        (&[&[][..], &[0][..]][..], "{{ tasks.a }}", Ok(())),
        (&[&[], &[0]], "{{ tasks.a == inputs.b }}{{ run.id }}", Ok(())),
        (&[&[], &[]], "{{ tasks.a }}", unknown("a")),
        (&[&[1], &[]], "{{ tasks.a }}", unknown("a")),
        (&[&[], &[0]], "{{ tasks.b }}", unknown("b")),
    ] {
        let blocks = vec![group(&[1, 2], after), named("a"), when(text)];
        assert_eq!(result(blocks), expected, "{after:?} {text}");
    }
    // By several steps: 1, then 2, then 3.
    let chain =
        vec![group(&[3, 2, 1], &[&[1], &[2], &[]]), named("a"), image(), when("{{ tasks.a }}")];
    assert_eq!(result(chain), Ok(()));
}

#[test]
fn plan_value_in_a_list_is_seen_in_its_own_element_only() {
    let in_order: &[&[u16]] = &[&[], &[0]];
    let list = || each(List::Copies(2), 2);
    // 1 is a list of groups of 3 and 4; 5 comes after the list.
    let blocks = |inside: &str, after: &str| {
        let in_list = group(&[3, 4], in_order);
        let outer = group(&[1, 5], in_order);
        vec![outer, list(), in_list, named("a"), when(inside), when(after)]
    };

    assert_eq!(result(blocks("{{ tasks.a }}", "")), Ok(()));
    assert_eq!(result(blocks("{{ item.value }}", "")), Ok(()));
    assert_eq!(result(blocks("", "{{ tasks.a }}")), Err(PlanError::Task(5, "a".to_owned())));
    assert_eq!(result(blocks("", "{{ item }}")), Err(PlanError::Name(5, "item".to_owned())));
    // What a list of tasks gives is the list's own value.
    let outer = || group(&[1, 3], in_order);
    let named_list =
        |body| Block { var: Some("all".parse().unwrap()), ..each(List::Copies(2), body) };
    let after = || when("{{ tasks.all }}");
    assert_eq!(result(vec![outer(), named_list(2), image(), after()]), Ok(()));
    assert_eq!(result(vec![outer(), list(), named("a"), image()]), Err(PlanError::Value(2)));
    let of_groups = vec![named_list(1), group(&[2], &[&[]]), image()];
    assert_eq!(result(of_groups), Err(PlanError::Value(0)));
}

#[test]
fn plan_names_values_of_blocks_that_have_one() {
    let var = |block: Block| vec![Block { var: Some("a".parse().unwrap()), ..block }];
    let child = |detached| {
        let plan = Plan::new(vec![image()]).unwrap();
        let inputs = [("b".parse::<Name>().unwrap(), template("{{ 1 }}"))].into();
        block(Body::Child(Box::new(Child { name: None, plan, inputs, detached })))
    };

    assert_eq!(result(var(child(false))), Ok(()));
    assert_eq!(result(var(child(true))), Err(PlanError::Value(0)));
    // A package's contract has no value.
    assert_eq!(result(var(work(Reads::Nothing))), Err(PlanError::Value(0)));
}

#[test]
fn plan_puts_secrets_only_where_they_are_not_stored() {
    use crate::plan::{LateText, TextPlace};
    let late = |place: TextPlace| {
        let mut block = image();
        if let Body::Container(task) = &mut block.body
            && let Code::Images(code) = &mut task.container.code
        {
            let path = "/in/a".parse().unwrap();
            let mut parts = crate::compute::container::Parts::clone(&code.spec);
            parts.files.insert(path, String::new());
            code.spec = ContainerSpec::new(parts).unwrap();
            code.late.push(LateText { place, text: template("{{ secrets.s }}") });
        }
        vec![block]
    };
    let refused = Err(PlanError::Name(0, "secrets".to_owned()));
    let variable = TextPlace::Variable { program: None, name: "A".to_owned() };

    assert_eq!(result(late(variable)), Ok(()));
    assert_eq!(result(late(TextPlace::File("/in/a".parse().unwrap()))), refused);
    assert_eq!(result(vec![when("{{ secrets.s }}")]), refused);
}

#[test]
fn plan_output_names_values_of_the_whole_run() {
    let plan = || Plan::new(vec![group(&[1], &[&[]]), named("a")]).unwrap();
    let unknown = Err(PlanError::Task(0, "b".to_owned()));

    let whole = plan().with_output(template("{{ tasks.a }}")).unwrap();

    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), whole);
    assert_eq!(plan().with_output(template("{{ tasks.b }}")).map(drop), unknown);
}

#[test]
fn plan_reads_no_results_of_a_block_that_may_be_skipped() {
    let mut blocks =
        vec![group(&[1, 2], &[&[], &[0]]), work(Reads::Nothing), work(Reads::Results(BlockId(1)))];
    assert_eq!(result(blocks.clone()), Ok(()));

    blocks[1].when = Some(template("{{ inputs.a }}"));

    assert_eq!(result(blocks), Err(PlanError::Reads(2)));
}

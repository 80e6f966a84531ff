use std::collections::BTreeMap;

use super::compile::{RESULTS, RESULTS_VARIABLE};
use super::*;
use crate::compute::container::Program;
use crate::plan::{BlockId, Code, ContainerTask, Image, LateText, Plan, TextPlace};

fn program(image: &str) -> OrderedProgram {
    OrderedProgram {
        name: None,
        image: ImageName { name: image.to_owned(), secret: None },
        command: Command::Image,
        working_dir: None,
        environment: Environment::default(),
    }
}

fn order() -> ContainerOrder {
    ContainerOrder::of(program("b"), Resources::new(1000, 512))
}

fn side(name: &str) -> OrderedSide {
    let program = OrderedProgram { name: Some(name.to_owned()), ..program("a") };
    OrderedSide { program, needs: Resources::new(250, 128), port: Some(5432) }
}

fn local(name: &str) -> Image {
    Image::Local { name: name.to_owned() }
}

fn task(plan: &Plan) -> &ContainerTask {
    plan.container_tasks().next().unwrap()
}

#[test]
fn order_of_one_container_is_one_task() {
    let work = ContainerWork::new(order()).unwrap();

    let plan = work.plan(vec![Image::Binary], 60);

    assert_eq!(plan.blocks().count(), 1);
    let spec = plan.container_spec(BlockId::ROOT).unwrap();
    assert_eq!(spec.steps, [Program::new(Command::Image)]);
    assert_eq!(spec.environment.get(RESULTS_VARIABLE), Some(RESULTS));
    assert_eq!((task(&plan).timeout_secs, task(&plan).container.own_nodes), (60, false));
}

#[test]
fn order_with_a_folder_for_results_delivers_them() {
    let results = Some("/out".parse().unwrap());
    let work = ContainerWork::new(ContainerOrder { results, ..order() }).unwrap();

    let plan = work.plan(vec![Image::Binary], 60);

    let names: Vec<_> = plan.blocks().map(|(_, block)| block.name.as_str()).collect();
    assert_eq!(names, ["run", "main", "delivery"]);
}

#[test]
fn order_of_several_containers_has_the_resources_and_images_of_all() {
    let order = ContainerOrder {
        before: vec![program("c"), program("b")],
        after: vec![program("c")],
        beside: vec![side("db")],
        ..order()
    };
    let work = ContainerWork::new(order).unwrap();

    let names: Vec<_> = work.images().into_iter().map(|image| &*image.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let plan = work.plan(names.into_iter().map(local).collect(), 60);

    let spec = plan.container_spec(BlockId::ROOT).unwrap();
    let told: Vec<_> = spec.programs().map(|program| (&*program.name, program.image)).collect();
    assert_eq!(told, [("before-1", 2), ("before-2", 1), ("main", 1), ("after-1", 2), ("db", 0)]);
    let container = &task(&plan).container;
    assert_eq!(container.needs, Resources::new(1250, 640));
    assert_eq!(spec.needs_of_steps(container.needs), Resources::new(1000, 512));
    // An image of a node's own engine may be anything on a stranger's.
    assert!(container.own_nodes && container.asks().local_images);
}

#[test]
fn order_that_no_node_can_run_is_refused() {
    let with = |side: OrderedSide| ContainerOrder { beside: vec![side], ..order() };
    let nothing = OrderedSide { needs: Resources::NONE, ..side("db") };
    let files = BTreeMap::from([("/proc/x".parse().unwrap(), String::new())]);
    for refused in [
        with(side("main")),
        with(side("localhost")),
        with(side("Db")),
        with(nothing),
        ContainerOrder { files, ..order() },
        ContainerOrder { results: Some("/dev/out".parse().unwrap()), ..order() },
        ContainerOrder { shared: vec!["/fanfold".parse().unwrap()], ..order() },
    ] {
        assert!(ContainerWork::new(refused.clone()).is_err(), "{refused:?}");
        let text = serde_json::to_string(&refused).unwrap();
        assert!(serde_json::from_str::<ContainerWork>(&text).is_err(), "{text}");
    }
}

#[test]
fn order_is_read_back_from_its_text() {
    let order = ContainerOrder { beside: vec![side("db")], retries: 3, ..order() };
    let work = ContainerWork::new(order).unwrap();

    let text = serde_json::to_string(&work).unwrap();

    assert_eq!(serde_json::from_str::<ContainerWork>(&text).unwrap(), work);
}

#[test]
fn order_with_variables_of_its_run_has_them_in_its_main_program() {
    let late: BTreeMap<_, _> =
        [("RUN".to_owned(), "{{ run.id }}".parse::<Template>().unwrap())].into();
    let order = ContainerOrder { before: vec![program("c")], late: late.clone(), ..order() };
    let work = ContainerWork::new(order.clone()).unwrap();

    let plan = work.plan(vec![local("b"), local("c")], 60);

    let Code::Images(code) = &task(&plan).container.code else { panic!() };
    let place = TextPlace::Variable { program: Some(1), name: "RUN".to_owned() };
    assert_eq!(code.late, [LateText { place, text: late["RUN"].clone() }]);
    let text = serde_json::to_string(&work).unwrap();
    assert_eq!(serde_json::from_str::<ContainerWork>(&text).unwrap(), work);
    let late = [("RUN".to_owned(), "{{ secrets.a }}".parse::<Template>().unwrap())].into();
    let refused = ContainerWork::new(ContainerOrder { late, ..order });
    assert_eq!(refused, Err(InvalidOrder::Late("RUN".to_owned())));
}

//! What a node's owner allows, and whose tasks are for whose nodes.

use super::*;
use crate::compute::container::{
    Command, ContainerSpec, Content, Grants, Network, Parts, Profile, Program,
};
use crate::plan::{Block, Code, Container, ContainerTask, Image, ImageCode, Plan, Reads};
use crate::run::scheduling::TaskPriority;

/// A market with one run of one container.
fn wanting(profile: Profile, network: Network, image: Image, own_nodes: bool) -> Market {
    let results = (Content::Results, "/out".parse().unwrap());
    let spec = ContainerSpec::new(Parts {
        mounts: [results].into(),
        profile,
        network,
        ..Parts::of(Program::new(Command::Image))
    });
    let code =
        Code::Images(ImageCode { images: vec![image], spec: spec.unwrap(), late: Vec::new() });
    let task = ContainerTask {
        container: Container { code, own_nodes, ..container() },
        reads: Reads::Nothing,
        queue: None,
        timeout_secs: 60,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
    };
    let body = crate::plan::Body::Container(Box::new(task));
    let plan = Plan::new(vec![Block::new("main", body)]).unwrap();
    let mut market = funded("1000");
    let spec = testing::order_plan(CUSTOMER, plan);
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    market
}

fn with(grants: Grants) -> CheckedSync {
    let mut heard = holds(&[]);
    heard.sync.device.grants = grants;
    heard
}

fn all() -> Grants {
    Grants { plain: true, network: true, local_images: true }
}

fn is_given(market: &Market, n: u128) -> bool {
    !leased(market, n).is_empty()
}

#[test]
fn task_goes_only_to_nodes_whose_owners_allow_what_it_asks_for() {
    let (sealed, plain) = (Profile::Sealed, Profile::Plain);
    let (none, internet) = (Network::None, Network::Internet);
    let local = || Image::Local { name: "own:1".to_owned() };
    let none_of = |what: fn(&mut Grants)| {
        let mut grants = all();
        what(&mut grants);
        grants
    };
    type Count = fn(&Obstacles) -> usize;
    let cases: [(_, _, _, _, Count); 3] = [
        (plain, none, Image::Binary, none_of(|g| g.plain = false), |o| o.without_plain),
        (sealed, internet, Image::Binary, none_of(|g| g.network = false), |o| o.without_network),
        (sealed, none, local(), none_of(|g| g.local_images = false), |o| o.without_local_images),
    ];
    for (profile, network, image, grants, count) in cases {
        let mut market = wanting(profile, network, image, false);

        hear(&mut market, 0, with(Grants::default()), 0);
        hear(&mut market, 1, with(grants), 0);

        assert!(!is_given(&market, 0) && !is_given(&market, 1));
        let waits = obstacles(&market, 0);
        assert_eq!((count(&waits), waits.unfit(), waits.closed.count), (2, 2, 2));
        assert_eq!(waits.closed.named().collect::<Vec<_>>(), [node(0), node(1)]);
        hear(&mut market, 2, with(all()), 0);
        assert!(is_given(&market, 2));
    }
}

#[test]
fn task_without_wishes_goes_to_nodes_that_allow_nothing() {
    let mut market = wanting(Profile::Sealed, Network::None, Image::Binary, false);

    hear(&mut market, 0, with(Grants::default()), 0);

    assert!(is_given(&market, 0));
}

#[test]
fn task_for_own_nodes_goes_to_no_other_workspace() {
    let mut market = wanting(Profile::Sealed, Network::None, Image::Binary, true);

    hear(&mut market, 0, with(all()), 0);

    assert!(!is_given(&market, 0));
    let waits = obstacles(&market, 0);
    assert_eq!((waits.not_own, waits.closed.count), (1, 1));
    market.sync(node(1), CUSTOMER, with(Grants::default()), at(0));
    market.dispatch(at(0));
    assert!(is_given(&market, 1));
}

#[test]
fn owner_who_closes_a_node_gets_no_more_such_tasks() {
    let mut market = wanting(Profile::Plain, Network::None, Image::Binary, false);
    market.sync(node(0), OPERATOR, with(all()), at(0));

    hear(&mut market, 0, with(Grants::default()), 1);

    assert!(!is_given(&market, 0));
}

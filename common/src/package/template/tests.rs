//! Params of the three phases, and templates of others.

use serde_json::{Value, json};

use super::*;
use crate::data::location::{Cloud, Provider, Source};
use crate::secret::SecretId;

#[test]
fn params_of_2023_are_the_apps() {
    let read = |value| PhaseParams::read(Loose::new("params", value).unwrap());
    let app = |value: Value| serde_json::from_value::<Params>(value).unwrap();

    let old = read(json!({"data": {"a": 1}, "preset": "hd"})).unwrap();
    assert_eq!(old.app, app(json!({"a": 1, "preset": "hd"})));
    assert!(old.partitioner.is_empty() && old.assembler.is_empty());
    // What clients of 2025 send of it is empty.
    let new = read(json!({"app": {"a": 1}, "preset": ""})).unwrap();
    assert_eq!(new.app, app(json!({"a": 1})));
    let both = read(json!({"app": {}, "data": {}})).unwrap_err();
    assert_eq!(both.field, "params.data");
}

#[test]
fn params_of_an_unknown_phase_are_refused_and_the_known_ones_named() {
    let read = |value| PhaseParams::read(Loose::new("params", value).unwrap());

    let refused = read(json!({"ap": {"a": 1}})).unwrap_err();

    assert_eq!(refused.field, "params.ap");
    assert!(refused.problem.contains("partitioner, app, assembler"), "{refused}");
}

#[test]
fn phases_that_are_not_given_keep_their_params() {
    let read = |value| Loose::new("params", value).unwrap();
    let before = PhaseParams::read(read(json!({"app": {"a": 1}, "partitioner": {"b": 2}})));

    let change = ParamsChange::read(read(json!({"app": {"c": 3}}))).unwrap();
    let after = before.unwrap().changed_by(change);

    let expected = json!({"app": {"c": 3}, "partitioner": {"b": 2}});
    assert_eq!(after, PhaseParams::read(read(expected)).unwrap());
}

#[test]
fn lent_template_names_no_secret() {
    let template = |secret: Option<&str>| {
        let bucket = Cloud {
            provider: Provider::Aws { region: "us-east-1".to_owned() },
            name: "b".to_owned(),
            endpoint: None,
            secret: secret.map(|id| SecretId::named(id).unwrap()),
        };
        let paths = vec!["n".to_owned()];
        let mut template = Template::of("a".to_owned(), "p".to_owned(), "s".to_owned());
        template.source = Some(Source::Cloud { bucket: bucket.clone(), paths });
        template.destination = Some(Destination::Cloud { bucket, folder: String::new() });
        template
    };
    let owner = WorkspaceId::new(uuid::Uuid::from_u128(7));

    let closed = template(Some("mine")).lent(owner);
    let open = template(None).lent(owner);

    assert_eq!((closed.owner, closed.source, closed.destination), (Some(owner), None, None));
    let given = template(None);
    assert_eq!((open.source, open.destination), (given.source, given.destination));
}

#[test]
fn params_are_merged_key_by_key() {
    let params = |value| PhaseParams::read(Loose::new("params", value).unwrap()).unwrap();
    let base = params(json!({"app": {"a": 1, "b": 2}}));

    let both = base.overlaid(&params(json!({"app": {"b": 3}})));

    assert_eq!(both, params(json!({"app": {"a": 1, "b": 3}})));
}

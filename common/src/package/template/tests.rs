//! Templates as people wrote them.

use serde_json::{Value, json};

use super::*;

fn read(template: Value) -> Result<Template, Invalid> {
    Template::read(Loose::new("", template)?)
}

#[test]
fn a_published_template_is_read() {
    let template = read(json!({
        "id": "img-template", "description": "", "app": "img@0.1",
        "partitioner": "fanout-replica", "assembler": "zipper",
        "dataSource": {"dataSourceDescriptor": "bypass"},
        "dataDestination": {"data_source_descriptor": "bucket", "params": {}},
        "params": {"partitioner": {"num_replicas": 5}, "app": {}},
        "config": {"taskTimeout": 7200, "jobTimeout": 7200, "maxTaskRetries": 3},
        "createdAt": "2025-10-30T00:00:00Z", "updatedAt": "2025-10-30T00:00:00Z",
        "isPublic": false, "owner": "o", "userName": "u",
    }))
    .unwrap();

    assert_eq!(template.params.partitioner["num_replicas"], Exact::from(5));
    assert_eq!(template.config.task_retries, Some(3));
    assert_eq!(template.source.unwrap().name, "bypass");
}

#[test]
fn what_is_wrong_is_named() {
    let good = json!({"id": "t", "app": "a", "partitioner": "p", "assembler": "s"});
    for (field, value, named) in [
        ("id", json!("a/b"), "id"),
        ("app", json!("a@x"), "app"),
        ("partitioner", json!(null), "partitioner"),
        ("dataSource", json!({"dataSourceDescriptor": "ftp"}), "dataSource.dataSourceDescriptor"),
        ("params", json!({"app": []}), "params.app"),
        ("params", json!({"ap": {}}), "params.ap"),
        ("descripton", json!("d"), "descripton"),
        ("config", json!({"taskTimout": 60}), "config.taskTimout"),
        (
            "dataSource",
            json!({"dataSourceDescriptor": "bypass", "param": {"a": 1}}),
            "dataSource.param",
        ),
        ("default_params", json!({"app": {"params": {"a": 1}}}), "default_params.app.params"),
        ("assembler", json!("concat"), "params.assembler.nme"),
        (
            "dataSource",
            json!({"dataSourceDescriptor": "s3", "params": {"bucketName": "b", "name": "n",
                   "accessKey": "a", "secretKey": "s"}}),
            "dataSource.params",
        ),
    ] {
        let mut template = good.clone();
        if named.starts_with("params.assembler") {
            template["params"] = json!({"assembler": {"nme": "x"}});
        }
        template[field] = value;

        assert_eq!(read(template).unwrap_err().field, named);
    }
}

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

    let after = before.unwrap().changed_by(read(json!({"app": {"c": 3}}))).unwrap();

    let expected = json!({"app": {"c": 3}, "partitioner": {"b": 2}});
    assert_eq!(after, PhaseParams::read(read(expected)).unwrap());
}

#[test]
fn old_default_params_are_params() {
    let old = json!({"id": "t", "app": "a", "partitioner": "p", "assembler": "s",
        "default_params": {"partitioner": {"app_id": "fanout", "version": "0.1",
                                           "parameters": {"chunk_size": 2}},
                           "app": {}}});
    let mut both = old.clone();
    both["params"] = json!({});

    let params = read(old).unwrap().params;

    assert_eq!(params.partitioner["chunk_size"], Exact::from(2));
    assert!(params.app.is_empty());
    assert_eq!(read(both).unwrap_err().field, "default_params");
}

#[test]
fn a_job_may_name_its_packages_itself() {
    let unnamed = |value| Template::unnamed(&mut Loose::new("", value).unwrap());

    let named = unnamed(json!({"app": "a@0.1", "assembler": "zip"})).unwrap().unwrap();

    assert_eq!((named.app, named.partitioner.as_str()), ("a@0.1".into(), "passthrough"));
    assert_eq!(unnamed(json!({"name": "x"})).unwrap(), None);
    assert_eq!(unnamed(json!({"assembler": "zip"})).unwrap_err().field, "app");
    assert_eq!(unnamed(json!({"app": "a b"})).unwrap_err().field, "app");
}

#[test]
fn a_lent_template_names_no_secret() {
    let place = |secret| {
        json!({"dataSourceDescriptor": "s3",
               "params": {"bucketName": "b", "name": "n", "secret_id": secret}})
    };
    let template = read(json!({"id": "t", "app": "a", "partitioner": "p", "assembler": "s",
        "dataSource": place("mine"), "dataDestination": place("")}))
    .unwrap();
    let owner = WorkspaceId::new(uuid::Uuid::from_u128(7));

    let lent = template.lent(owner);

    assert_eq!((lent.owner, lent.source), (Some(owner), None));
    assert!(lent.destination.is_some());
}

#[test]
fn params_are_laid_over_key_by_key() {
    let params = |value| PhaseParams::read(Loose::new("params", value).unwrap()).unwrap();
    let base = params(json!({"app": {"a": 1, "b": 2}}));

    let both = base.overlaid(&params(json!({"app": {"b": 3}})));

    assert_eq!(both, params(json!({"app": {"a": 1, "b": 3}})));
}

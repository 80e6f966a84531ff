//! Templates as people wrote them.

use common::data::location::{Destination, Source};
use common::input::exact::Exact;
use serde_json::{Value, json};

use super::*;

fn read(template: Value) -> Result<Template, Invalid> {
    super::read(Loose::new("", template)?)
}

#[test]
fn published_template_is_read() {
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
    assert_eq!(template.source, Some(Source::Bypass));
    assert_eq!(template.destination, Some(Destination::Bucket));
}

#[test]
fn template_error_names_the_field() {
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
fn job_may_name_its_packages_itself() {
    let read = |value| unnamed(&mut Loose::new("", value).unwrap());

    let named = read(json!({"app": "a@0.1", "assembler": "zip"})).unwrap().unwrap();

    assert_eq!((named.app, named.partitioner.as_str()), ("a@0.1".into(), "passthrough"));
    assert_eq!(read(json!({"name": "x"})).unwrap(), None);
    assert_eq!(read(json!({"assembler": "zip"})).unwrap_err().field, "app");
    assert_eq!(read(json!({"app": "a b"})).unwrap_err().field, "app");
}

//! Params of the three phases, and templates of others.

use serde_json::{Value, json};

use super::*;
use crate::data::location::{Cloud, Provider, Source};
use crate::secret::SecretId;

fn app(params: Value) -> PhaseParams {
    PhaseParams { app: serde_json::from_value(params).unwrap(), ..PhaseParams::default() }
}

#[test]
fn phases_that_are_not_given_keep_their_params() {
    let cut: Params = serde_json::from_value(json!({"b": 2})).unwrap();
    let before = PhaseParams { partitioner: cut.clone(), ..app(json!({"a": 1})) };

    let given = Some(app(json!({"c": 3})).app);
    let after = before.changed_by(ParamsChange { app: given, ..ParamsChange::default() });

    assert_eq!(after, PhaseParams { partitioner: cut, ..app(json!({"c": 3})) });
}

#[test]
fn preset_is_a_param_of_the_app_unless_the_params_say_another() {
    let change = |given: Option<Value>| ParamsChange {
        app: given.map(|params| app(params).app),
        preset: Some("hd".to_owned()),
        ..ParamsChange::default()
    };

    let kept = app(json!({"a": 1})).changed_by(change(None));
    let said = app(json!({})).changed_by(change(Some(json!({"preset": "sd"}))));

    assert_eq!(kept, app(json!({"a": 1, "preset": "hd"})));
    assert_eq!(said, app(json!({"preset": "sd"})));
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
    let both = app(json!({"a": 1, "b": 2})).overlaid(&app(json!({"b": 3})));

    assert_eq!(both, app(json!({"a": 1, "b": 3})));
}

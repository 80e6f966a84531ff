//! The body of a request: every field of it is known to its route, or refused.
//!
//! A field that is passed over gives something else than what was asked for.

use common::package::loose::{Invalid, Loose, plain, unknown};

use super::shape::{Field, Kind};

/// Refuses the first field that is none of these, or of the shapes that they lead to.
pub fn check(body: &Loose, fields: &[Field]) -> Result<(), Invalid> {
    for key in body.keys() {
        let Some(field) = fields.iter().find(|field| plain(field.name) == plain(key)) else {
            let read = fields.iter().filter(|field| !matches!(field.kind, Kind::Unread));
            let names: Vec<&str> = read.map(|field| field.name).collect();
            return Err(Invalid::new(body.name(key), unknown(key, &names)));
        };
        match field.kind {
            Kind::One(shape) => {
                if let Some(inner) = body.look_into(key)? {
                    check(&inner, shape.fields)?;
                }
            }
            // Filters are read one by one, and each is checked then.
            Kind::Many(_) => {}
            Kind::Text
            | Kind::Date
            | Kind::Integer
            | Kind::Flag
            | Kind::Word(_)
            | Kind::Texts
            | Kind::Map
            | Kind::Any
            | Kind::Unread => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::bytenite::work::{CONFIG, PARAMS};
    use crate::api::http::route::Body;
    use crate::api::testing::TestServer;

    #[test]
    fn body_fields_are_known_at_every_depth_and_in_any_spelling() {
        let fields = [
            super::super::shape::one("config", &CONFIG, ""),
            super::super::shape::one("params", &PARAMS, ""),
        ];
        let says = |body: Value| {
            check(&Loose::new("", body).unwrap(), &fields).err().map(|invalid| invalid.to_string())
        };

        assert_eq!(says(json!({"config": {"task_timeout": 1}, "Params": {"app": {"x": 1}}})), None);
        assert_eq!(says(json!({"config": null, "other": ""})), None);
        let typo = says(json!({"config": {"taskTimout": 1}})).unwrap();
        assert!(typo.starts_with("config.taskTimout: is not a known field (did you mean "));
        assert!(
            typo.ends_with(
                "give taskTimeout, jobTimeout, isTestJob, maxTaskRetries, \
            requireResults, deterministic"
            ),
            "{typo}"
        );
        let outer = says(json!({"cofig": {}})).unwrap();
        assert!(outer.contains("cofig: is not a known field (did you mean config?)"), "{outer}");
    }

    #[tokio::test]
    async fn body_with_an_unknown_field_is_refused_by_every_call() {
        let server = TestServer::open().await;
        let mut passed = BTreeMap::new();
        let mut calls = 0;
        for api in crate::api::apis() {
            for route in &api.routes {
                if !matches!(route.body, Body::Json(_)) {
                    continue;
                }
                let id = |part: &str| match part.starts_with('{') {
                    true => uuid::Uuid::nil().to_string(),
                    false => part.to_owned(),
                };
                let path = format!("{}{}", api.prefixes[0], route.path);
                let path = path.split('/').map(id).collect::<Vec<_>>().join("/");
                let body = json!({"nosuchfield": {"a": 1}});

                let (status, answer) = server.call(route.method.clone(), &path, Some(body)).await;

                calls += 1;
                let says = answer["message"].as_str().or(answer["detail"].as_str());
                let says = says.or(answer["error"]["message"].as_str());
                let says = says.unwrap_or_default();
                if status != 400 || !says.starts_with("nosuchfield: is not a known field") {
                    passed.insert(path, answer);
                }
            }
        }
        assert!(calls > 25, "{calls}");
        assert!(passed.is_empty(), "{passed:#?}");
    }
}

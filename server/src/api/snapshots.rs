//! What programs depend on, as it was recorded: the OpenAPI documents and the bodies of failures.
//!
//! `INSTA_UPDATE=always cargo nextest run --workspace as_recorded` records them again; the
//! difference is then read in the commit.

use std::fmt::Write as _;

use common::access::{Role, Scope, Scopes, check};
use insta::assert_snapshot;
use serde_json::{Map, Value};

use super::bytenite::wire::error::ERRORS as BYTENITE;
use super::http::problem::{ErrorShape, Problem, Rejected};
use super::http::problem_json::ERRORS as OWN;
use super::testing::TestServer;
use crate::error::Error;
use crate::limits::{concurrency, quotas};

/// An operation with its failures as their descriptions alone: their bodies are those of the API.
fn shortened(operation: &Value) -> Value {
    let mut operation = operation.clone();
    for (status, answer) in operation["responses"].as_object_mut().unwrap() {
        if status != "200" {
            *answer = answer["description"].take();
        }
    }
    operation
}

/// The operations of one API, out of the document of all.
fn operations(document: &Value, tag: &str) -> Value {
    let paths = document["paths"].as_object().unwrap();
    let of_tag = paths.iter().filter_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        let own: Map<String, Value> = methods
            .filter(|(_, operation)| operation["tags"][0] == tag)
            .map(|(method, operation)| (method.clone(), shortened(operation)))
            .collect();
        (!own.is_empty()).then(|| (path.clone(), Value::Object(own)))
    });
    Value::Object(of_tag.collect())
}

#[tokio::test]
async fn openapi_documents_are_as_recorded() {
    let server = TestServer::open().await;
    let (_, mut document) = server.get("/docs/openapi.json").await;
    let apis = super::table::apis();

    let mut found = 0;
    for api in &apis {
        let operations = operations(&document, api.name);
        found += operations.as_object().unwrap().len();
        assert_snapshot!(format!("openapi_{}", api.name), format!("{operations:#}"));
    }

    let paths = document["paths"].take();
    assert_eq!(found, paths.as_object().unwrap().len());
    assert_snapshot!("openapi_schemas", format!("{document:#}"));
}

/// A failure of each kind, in the words of an API.
fn failures(shape: &ErrorShape) -> Vec<Problem> {
    let refused = [
        Error::field("params.app.case", "must be one of upper, lower, title"),
        Error::Invalid("the body is not JSON".to_owned()),
        Error::NotNow("the file has not been uploaded".to_owned()),
        Error::Blocked("INSUFFICIENT_CREDITS", "the wallet holds 3 of the 12 credits".to_owned()),
        Error::Unauthenticated,
        Error::Forbidden("only the owner of the server may do this".to_owned()),
        check(Role::User, Scopes::ALL, Scope::PackagesWrite).unwrap_err().into(),
        check(Role::Admin, Scopes::NONE, Scope::WalletRead).unwrap_err().into(),
        Error::not_found("job", "x\"y"),
        Error::TooLarge(1 << 20),
        Error::StorageFull(quotas::Full { held: 3 << 30, most: 4 << 30, needs: 2 << 30 }),
        Error::RateLimited(12),
        Error::Busy("downloads", concurrency::Full::Key),
        Error::TooSlow,
        Error::Unavailable,
        Error::Away("database"),
        Error::DiskFull("bucket"),
        Error::Damaged("\"a.csv\" is damaged".to_owned()),
        // What is behind it is for the log only.
        Error::Internal(Box::new(std::io::Error::other("postgres://user:password@host"))),
    ];
    let rejected = [
        Rejected::Path,
        Rejected::Method,
        Rejected::Target("it has a NUL"),
        Rejected::TargetTooLong(16 << 10),
    ];
    let refused = refused.iter().map(|error| shape.problem(error));
    refused.chain(rejected.into_iter().map(Problem::from)).collect()
}

fn shown(shape: &ErrorShape, failures: &[Problem]) -> String {
    let mut text = String::new();
    for failure in failures {
        let body: Value =
            serde_json::from_slice(&(shape.body)(failure, "0192e4a0-7c1e-7b60-a1a5-0b2f3c4d5e6f"))
                .unwrap();
        let retry =
            failure.retry_after.map_or_else(String::new, |secs| format!("; retry after {secs} s"));
        writeln!(text, "{}{retry}\n{body:#}\n", failure.status).unwrap();
    }
    text
}

#[test]
fn error_bodies_are_as_recorded() {
    for (name, shape) in [("own", &OWN), ("bytenite", &BYTENITE)] {
        let bodies = shown(shape, &failures(shape));

        assert!(!bodies.contains("password"), "{bodies}");
        assert_snapshot!(format!("error_bodies_{name}"), bodies);
    }
}

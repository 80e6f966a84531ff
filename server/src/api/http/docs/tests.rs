//! The documents, held against the table of routes, and the page.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::api::testing::TestServer;

#[tokio::test]
async fn documented_operations_and_routes_are_the_same() {
    let server = TestServer::open().await;
    let (status, document) = server.get("/docs/openapi.json").await;
    assert_eq!(status, 200);
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((path.clone(), method.to_uppercase()));
        }
    }
    let routed: BTreeSet<_> = crate::api::apis()
        .iter()
        .flat_map(|api| api.routes.iter().map(move |route| (api, route)))
        .map(|(api, route)| {
            (format!("{}{}", api.prefixes[0], route.path), route.method.to_string())
        })
        .collect();

    assert_eq!(documented, routed);
    // A wrong key is refused by the route itself, and not by there being none.
    for (path, method) in documented {
        let method: Method = method.parse().unwrap();
        let path = path.replace(['{', '}'], "");
        let (status, body) = server.call_as("ff_wrong", method, &path, None).await;

        assert!(status != 405 && !body.to_string().contains("path not found"), "{path}: {body}");
    }
}

#[tokio::test]
async fn api_has_its_document_and_a_page_to_try_it() {
    let server = TestServer::open().await;
    for api in ["/v1", "/v1/customer", "/v1/computing", "/v1/auth", "/v1/dev", "/v1/wallet"] {
        let (status, document) = server.get(&format!("{api}/docs/swagger.json")).await;
        let (page_status, page) = server.get(&format!("{api}/docs/")).await;
        let (_, start) = server.get(&format!("{api}/docs/swagger-initializer.js")).await;

        assert_eq!((status, page_status), (200, 200));
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        assert!(page.as_str().unwrap().contains("swagger-ui"));
        assert!(page.as_str().unwrap().contains("<title>Fanfold API</title>"));
        assert!(start.as_str().unwrap().contains(&format!("{api}/docs/swagger.json")));
    }
    assert_eq!(server.get("/v1/customer/docs/nothing.js").await.0, 404);
    assert_eq!(server.get("/v1/customer/docs").await.0, 200);
}

#[tokio::test]
async fn docs_page_does_not_wait_for_endless_answers() {
    let server = TestServer::open().await;

    let (_, start) = server.get("/docs/swagger-initializer.js").await;
    let (_, bundle) = server.get("/docs/swagger-ui-bundle.js").await;

    let start = start.as_str().unwrap();
    assert!(start.contains(r#"endless = ["/events"]"#), "{start}");
    assert!(start.contains("tryItOutEnabled: false"));
    // The hook that the script takes hold of.
    assert!(bundle.as_str().unwrap().contains("allowTryItOutFor"));
}

/// Each property of a schema, with where it stands.
fn properties(at: &str, schema: &Value, found: &mut Vec<(String, String, Value)>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                // A property may be called `properties` itself.
                if key == "properties" && map.get("type").is_some_and(|kind| kind == "object") {
                    for (name, property) in value.as_object().unwrap() {
                        found.push((at.to_owned(), name.clone(), property.clone()));
                    }
                }
                if key != "example" {
                    properties(&format!("{at}/{key}"), value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| properties(at, item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn fields_are_described_and_closed_sets_are_enums() {
    let server = TestServer::open().await;
    let (_, document) = server.get("/docs/openapi.json").await;
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    properties("", &document, &mut found);
    assert!(found.len() > 500, "{}", found.len());
    for (_, item) in document["paths"].as_object().unwrap() {
        for (_, operation) in item.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap().to_owned();
                found.push((operation["operationId"].to_string(), name, parameter.clone()));
            }
        }
    }
    for (at, name, schema) in &found {
        if schema["description"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("{at}: {name} is not described"));
        }
        let closed = [
            "state",
            "status",
            "priority",
            "role",
            "stage",
            "level",
            "condition",
            "secretType",
            "transactionType",
            "platform",
            "dataSourceDescriptor",
        ];
        let is_bare = |schema: &Value| {
            let schema = if schema["schema"].is_object() { &schema["schema"] } else { schema };
            schema["type"] == "string" && schema["enum"].is_null()
        };
        let is_place = name == "state" && at.contains("ContactInfo");
        let is_path = schema["in"] == "path";
        if closed.contains(&name.as_str()) && is_bare(schema) && !is_place && !is_path {
            wrong.push(format!("{at}: {name} is a bare text"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let states = &document["components"]["schemas"]["JobState"];
    assert_eq!(states["enum"].as_array().unwrap().len(), 11);
    for state in states["enum"].as_array().unwrap() {
        let described = states["description"].as_str().unwrap();
        assert!(described.contains(state.as_str().unwrap()), "{described}");
    }
}

#[tokio::test]
async fn operations_are_in_the_order_of_their_use_and_old_ones_last() {
    let server = TestServer::open().await;
    let text = server.client.get(format!("{}/docs/openapi.json", server.url)).send().await.unwrap();
    let text = text.text().await.unwrap();
    let at = |path: &str| text.find(&format!("\"{path}\":")).unwrap_or_else(|| panic!("{path}"));
    let order = [
        "/v1/customer/jobs",
        "/v1/customer/jobs/{jobId}",
        "/v1/customer/jobs/{jobId}/run",
        "/v1/customer/jobs/{jobId}/results",
        "/v1/auth/access_token",
        "/v1/dev/apps",
        "/v1/wallet/balance",
        "/v1/jobs/{job}/runs",
        "/v1/runs/{run}",
        "/v1/storage/{file}",
        "/v1/customer/jobs/run/{jobId}",
    ];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));
}

#[tokio::test]
async fn examples_of_the_docs_page_work_unchanged() {
    let server = TestServer::open().await;
    let (_, document) = server.get("/docs/openapi.json").await;
    // On a fresh server, where nothing has been made: only the coupon must be there first.
    for path in [
        "/v1/customer/jobs",
        "/v1/customer/jobs/filter",
        "/v1/customer/datasource/test",
        "/v1/dev/templates",
        "/v1/auth/api_key",
        "/v1/auth/secrets",
        "/v1/auth/members",
        "/v1/wallet/coupons",
        "/v1/wallet/redeem_coupon",
        "/v1/wallet/top_up",
        "/v1/wallet/transactions/filter",
    ] {
        let content = &document["paths"][path]["post"]["requestBody"]["content"];
        let example = content["application/json"]["example"].clone();

        let (status, body) = server.post(path, example.clone()).await;

        assert_eq!(status, 200, "{path}: {example}: {body}");
    }
}

#[tokio::test]
async fn second_form_of_an_answer_is_documented() {
    let server = TestServer::open().await;

    let (_, document) = server.get("/docs/openapi.json").await;

    let sheet = &document["paths"]["/v1/wallet/transactions/csv"]["get"]["responses"]["200"];
    let media: Vec<_> = sheet["content"].as_object().unwrap().keys().collect();
    assert_eq!(media, ["application/json", "text/csv"]);
}

#[tokio::test]
async fn operations_have_unique_names_and_descriptions() {
    let mut seen = BTreeSet::new();
    for api in crate::api::apis() {
        for route in &api.routes {
            assert!(seen.insert(route.operation.clone()), "{}", route.operation);
            assert!(!route.summary.is_empty(), "{}", route.operation);
        }
    }
}

//! Lists of jobs, asked in every way.

use common::money::credits::Credits;
use serde_json::{Value, json};

use crate::api::testing::TestServer;

/// Four jobs: `alpha` and `beta` are drafts, `gamma` and `delta` have failed.
async fn four_jobs() -> TestServer {
    let server = TestServer::open().await;
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
    server.template("passthrough", "passthrough").await;
    for (name, tags, priority) in [
        ("alpha", json!(["x", "y"]), "EXECUTION_PRIORITY_CHEAP"),
        ("Beta_1", json!(["y"]), "EXECUTION_PRIORITY_FAST"),
        ("gamma", json!([]), "EXECUTION_PRIORITY_BALANCED"),
        ("delta", json!(["x"]), "EXECUTION_PRIORITY_UNDEFINED"),
    ] {
        let id = server
            .job(json!({"templateId": "t", "name": name, "tags": tags, "priority": priority,
                        "regions": {"whitelist": ["eu"]},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        if name == "gamma" || name == "delta" {
            let job = format!("/v1/customer/jobs/{id}");
            assert_eq!(server.post(&format!("{job}/run"), json!({})).await.0, 200);
            assert_eq!(server.post(&format!("{job}/abort"), json!({})).await.0, 200);
        }
    }
    server
}

fn names(body: &Value) -> Vec<&str> {
    let jobs = body["data"].as_array().unwrap_or_else(|| panic!("no list: {body}"));
    jobs.iter().map(|job| job["name"].as_str().unwrap()).collect()
}

fn string(value: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": value})
}

#[tokio::test]
async fn job_list_condition_selects_its_jobs() {
    let server = four_jobs().await;
    for (field, condition, value, expected) in [
        ("name", "EQ", string("alpha"), vec!["alpha"]),
        ("name", "NEQ", json!("alpha"), vec!["Beta_1", "gamma", "delta"]),
        ("name", "GT", json!("delta"), vec!["gamma"]),
        ("name", "LIKE", json!("%ET%"), vec!["Beta_1"]),
        ("name", "LIKE", json!("beta\\_1"), vec!["Beta_1"]),
        ("name", "LIKE", json!("ET"), vec!["Beta_1"]),
        ("name", "LIKE", json!("a_1"), vec!["Beta_1"]),
        ("name", "LIKE", json!("a%"), vec!["alpha"]),
        ("state", "LIKE", json!("fail"), vec!["gamma", "delta"]),
        ("numChunks", "LT", json!(2.0), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("numChunks", "LT", json!("2e0"), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("paymentAmount", "LT", json!(1e-8), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("name", "LIKE", json!("alph\\_"), vec![]),
        ("name", "IN", json!(["alpha", {"stringValue": "gamma"}]), vec!["alpha", "gamma"]),
        ("name", "NOT_IN", json!(["alpha", "gamma"]), vec!["Beta_1", "delta"]),
        ("name", "NOT_IN", json!([]), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("name", "IN", json!([]), vec![]),
        ("state", "EQ", json!("JOB_STATE_NEW"), vec!["alpha", "Beta_1"]),
        ("state", "GTE", json!("JOB_STATE_STARTED"), vec!["gamma", "delta"]),
        ("state", "LIKE", json!("%failed"), vec!["gamma", "delta"]),
        ("state", "NOT_IN", json!(["JOB_STATE_FAILED"]), vec!["alpha", "Beta_1"]),
        ("status", "EQ", json!("cancelled"), vec!["gamma", "delta"]),
        ("status", "EQ", json!("failed"), vec![]),
        ("status", "IN", json!(["NEW", "failed"]), vec!["alpha", "Beta_1"]),
        ("status", "GT", json!("succeeded"), vec!["gamma", "delta"]),
        ("priority", "LT", json!("EXECUTION_PRIORITY_BALANCED"), vec!["alpha", "delta"]),
        ("templateId", "EQ", json!("t"), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("template_id", "NEQ", json!("t"), vec![]),
        ("createdAt", "LTE", json!("2020-01-01T00:00:00+01:00"), vec![]),
        ("endedAt", "EQ", Value::Null, vec!["alpha", "Beta_1"]),
        ("startedAt", "NEQ", Value::Null, vec!["gamma", "delta"]),
        ("startedAt", "GT", json!("2020-01-01T00:00:00Z"), vec!["gamma", "delta"]),
        ("startedAt", "LT", json!("2020-01-01T00:00:00Z"), vec![]),
        ("paymentAmount", "EQ", json!(0), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("paymentAmount", "GT", json!("0.00000001"), vec![]),
        ("numChunks", "LT", json!("2"), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("errorMessage", "EQ", json!("aborted by user"), vec!["gamma", "delta"]),
        ("description", "EQ", json!(""), vec!["alpha", "Beta_1", "gamma", "delta"]),
        ("tags", "ARRAY_CONTAINS", json!("x"), vec!["alpha", "delta"]),
        ("tags", "ARRAY_CONTAINS", json!(["x", "y"]), vec!["alpha"]),
        (
            "tags",
            "ARRAY_CONTAINS_ANY",
            json!({"values": ["x", "y"]}),
            vec!["alpha", "Beta_1", "delta"],
        ),
        (
            "regions.whitelist",
            "ARRAY_CONTAINS",
            json!("eu"),
            vec!["alpha", "Beta_1", "gamma", "delta"],
        ),
        ("name", "EQ", json!("' OR 1=1 --"), vec![]),
    ] {
        let body = json!({"filters": [{"field": field, "value": value,
            "condition": format!("FILTER_CONDITION_{condition}")}], "orderBy": "createdAt"});

        let (status, found) = server.post("/v1/customer/jobs/filter", body.clone()).await;

        assert_eq!(status, 200, "{body}: {found}");
        assert_eq!(names(&found), expected, "{body}");
        assert_eq!(found["pagination"]["total"], expected.len());
    }
}

#[tokio::test]
async fn job_is_found_by_the_values_it_shows() {
    let server = four_jobs().await;
    let (_, list) = server.get("/v1/customer/jobs?orderBy=-endedAt&limit=1").await;
    let job = &list["data"][0];
    for field in [
        "id",
        "name",
        "state",
        "status",
        "priority",
        "createdAt",
        "submittedAt",
        "startedAt",
        "endedAt",
        "paymentAmount",
        "numChunks",
        "errorMessage",
        "templateId",
    ] {
        let equal = json!({"field": field, "condition": "EQ", "value": job[field]});
        let body = json!({"filters": [equal], "orderBy": "-endedAt"});

        let (status, found) = server.post("/v1/computing/jobs/filter", body).await;

        assert_eq!(status, 200, "{field}: {found}");
        assert_eq!(found["data"][0]["id"], job["id"], "{field}");
    }
}

#[tokio::test]
async fn job_list_filters_add_up_and_pages_are_cut_in_order() {
    let server = four_jobs().await;
    let body = json!({
        "pagination": {"limit": "1", "offset": 1},
        "filters": [
            {"field": "state", "condition": "EQ", "value": "JOB_STATE_FAILED"},
            {"field": "name", "condition": "LIKE", "value": "%a"},
        ],
        "orderBy": "name desc",
    });

    let (_, found) = server.post("/v1/customer/jobs/filter", body).await;

    assert_eq!(names(&found), ["delta"]);
    let pagination = json!({"total": 2, "offset": 1, "hasPrevious": true, "hasNext": false});
    assert_eq!(found["pagination"], pagination);
    for (order, expected) in [
        ("createdAt", ["alpha", "Beta_1", "gamma", "delta"]),
        ("createdAt:desc", ["delta", "gamma", "Beta_1", "alpha"]),
        ("-created_at", ["delta", "gamma", "Beta_1", "alpha"]),
        ("state,name+desc", ["alpha", "Beta_1", "gamma", "delta"]),
        ("state+desc,createdAt+asc", ["gamma", "delta", "alpha", "Beta_1"]),
        ("endedAt,createdAt", ["gamma", "delta", "alpha", "Beta_1"]),
        ("priority", ["delta", "alpha", "gamma", "Beta_1"]),
    ] {
        let (_, list) = server.get(&format!("/v1/customer/jobs?orderBy={order}")).await;

        assert_eq!(names(&list), expected, "{order}");
    }
    for query in ["pagination.limit=2&pagination.offset=2", "limit=2&offset=2"] {
        let (_, list) = server.get(&format!("/v1/customer/jobs?{query}")).await;

        assert_eq!(names(&list), ["Beta_1", "alpha"], "{query}");
    }
}

#[tokio::test]
async fn job_list_cursors_lead_through_all_pages_of_an_order() {
    let server = four_jobs().await;
    let (_, list) = server.get("/v1/customer/jobs").await;
    assert_eq!(list["pagination"]["nextCursor"], Value::Null);
    for (order, expected) in [
        ("", ["delta", "gamma", "Beta_1", "alpha"]),
        ("endedAt,createdAt", ["gamma", "delta", "alpha", "Beta_1"]),
        ("-startedAt,name", ["delta", "gamma", "Beta_1", "alpha"]),
        ("state", ["Beta_1", "alpha", "delta", "gamma"]),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), json!("*"));
        let mut before = false;
        while let Some(text) = cursor.as_str() {
            let query = format!("orderBy={order}&limit=1&cursor={text}");
            let (_, list) = server.get(&format!("/v1/customer/jobs?{query}")).await;
            let page = json!({"cursor": text, "limit": 1});
            let body = json!({"pagination": page, "orderBy": order});
            let (_, filtered) = server.post("/v1/customer/jobs/filter", body).await;

            assert_eq!(list, filtered);
            seen.extend(names(&list).into_iter().map(str::to_owned));
            cursor = list["pagination"]["nextCursor"].clone();
            let page = &list["pagination"];
            assert_eq!((&page["total"], &page["offset"]), (&Value::Null, &Value::Null));
            assert_eq!(page["hasPrevious"], before);
            assert_eq!(page["hasNext"], cursor.is_string());
            before = true;
        }
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn job_list_cursor_skips_and_repeats_nothing_while_jobs_change() {
    let server = four_jobs().await;
    let page = async |cursor: &str| {
        let path = format!("/v1/customer/jobs?pagination.limit=2&pagination.cursor={cursor}");
        server.get(&path).await.1
    };
    let first = page("*").await;
    assert_eq!(names(&first), ["delta", "gamma"]);

    server.job(json!({"templateId": "t", "name": "new"})).await;
    let last = format!("/v1/customer/jobs/{}", first["data"][1]["id"].as_str().unwrap());
    assert_eq!(server.call(reqwest::Method::DELETE, &last, None).await.0, 200);

    let second = page(first["pagination"]["nextCursor"].as_str().unwrap()).await;
    assert_eq!(names(&second), ["Beta_1", "alpha"]);
    assert_eq!(second["pagination"], json!({"hasPrevious": true, "hasNext": false}));
}

#[tokio::test]
async fn job_list_filters_by_status_and_by_state() {
    let server = four_jobs().await;
    for (query, expected) in [
        ("status=new", vec!["Beta_1", "alpha"]),
        ("status=Cancelled&orderBy=createdAt", vec!["gamma", "delta"]),
        ("status=failed", vec![]),
        ("state=JOB_STATE_FAILED", vec!["delta", "gamma"]),
        ("state=JOB_STATE_FAILED&status=new", vec![]),
        ("status=&limit=1", vec!["delta"]),
    ] {
        let (status, list) = server.get(&format!("/v1/customer/jobs?{query}")).await;

        assert_eq!((status, names(&list)), (200, expected), "{query}");
    }
    let (status, refused) = server.get("/v1/customer/jobs?status=done").await;
    let says = refused["message"].as_str().unwrap();
    assert!(status == 400 && says.starts_with("status: must be one of new, "), "{says}");
}

#[tokio::test]
async fn job_list_excludes_jobs_of_other_workspaces() {
    let server = four_jobs().await;
    let stranger = server.stranger().await;
    let any = json!({"field": "name", "condition": "NEQ", "value": "x"});

    let path = "/v1/customer/jobs/filter";
    let body = json!({ "filters": [any] });
    let (status, found) = server.call_as(&stranger, reqwest::Method::POST, path, Some(body)).await;

    assert_eq!((status, &found["pagination"]["total"]), (200, &json!(0)));
    let (_, own) = server.get("/v1/customer/jobs?limit=1&cursor=*").await;
    let cursor = own["pagination"]["nextCursor"].as_str().unwrap();
    let path = format!("/v1/customer/jobs?cursor={cursor}");
    let (status, found) = server.call_as(&stranger, reqwest::Method::GET, &path, None).await;
    assert_eq!((status, &found["data"]), (200, &json!([])));
}

#[tokio::test]
async fn job_list_filter_error_is_named() {
    let server = TestServer::open().await;
    let filter = |field: &str, condition: &str, value: Value| json!({"filters": [{"field": field, "condition": condition, "value": value}]});
    for (body, named) in [
        (filter("secret", "EQ", json!("x")), "filters[0].field"),
        (filter("name", "SOUNDS", json!("x")), "filters[0].condition"),
        (filter("name", "ARRAY_CONTAINS", json!("x")), "filters[0].condition"),
        (filter("tags", "EQ", json!("x")), "filters[0].condition"),
        (filter("name", "EQ", json!(7)), "filters[0].value"),
        (filter("name", "LIKE", json!("x\\")), "filters[0].value"),
        (filter("name", "EQ", json!("a\u{0}")), "filters[0].value"),
        (filter("createdAt", "EQ", json!("yesterday")), "filters[0].value"),
        (filter("createdAt", "LIKE", json!("2026%")), "filters[0].value"),
        (filter("state", "EQ", json!("DONE")), "filters[0].value"),
        (filter("paymentAmount", "EQ", json!("1e99")), "filters[0].value"),
        (filter("id", "EQ", json!("7")), "filters[0].value"),
        (filter("name", "IN", json!(vec!["x"; 1001])), "filters[0].value"),
        (json!({"filters": "x"}), "filters"),
        (json!({"filters": [7]}), "filters[0]"),
        (json!({"filter": []}), "filter"),
        (json!({"orderBy": "name up"}), "orderBy"),
        (json!({"orderBy": "name;drop"}), "orderBy"),
        (json!({"pagination": {"limit": -1}}), "pagination.limit"),
        (json!({"pagination": {"cursor": "x"}}), "pagination.cursor"),
        (json!({"pagination": {"cursor": 7}}), "pagination.cursor"),
        (json!({"pagination": {"cursor": "*", "offset": 1}}), "pagination.offset"),
    ] {
        let (status, answer) = server.post("/v1/customer/jobs/filter", body.clone()).await;

        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().starts_with(named), "{body}: {answer}");
    }
}

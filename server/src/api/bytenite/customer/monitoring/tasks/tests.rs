//! Tasks through the API, with a node that the test plays.

use common::compute::container::Sharing;
use common::compute::device::Device;
use common::compute::resources::{Metering, Resources, Usage};
use common::ids::{NodeId, RunId};
use common::market::CheckedSync;
use common::protocol::{Failure, Held, Orders, Outcome, Receipt, Sync};
use common::run::task::Lease;
use common::testing;
use serde_json::{Value, json};

use crate::api::testing::{TestServer, binary, package};
use crate::store::nodes;

/// A node in a region that has said nothing yet.
async fn joined(server: &TestServer) -> NodeId {
    let token = nodes::issue_token(&server.app.db, server.workspace).await.unwrap();
    nodes::join(&server.app.db, "peer", &token).await.unwrap().unwrap()
}

fn says(held: Vec<Held>, ended: Option<Receipt>) -> CheckedSync {
    let device = Device {
        region: "eu-central-1".to_owned(),
        os: "Linux".to_owned(),
        cores: 4,
        gpus: vec!["Tesla T4".to_owned()],
        ..Device::default()
    };
    let capacity = Resources::new(4000, 4096).with_disk(u32::MAX);
    let sync = Sync { capacity, prefetch: 0, device, holding: held, ..testing::sync() };
    CheckedSync { sync, receipts: ended.into_iter().map(testing::signed).collect() }
}

/// Waits until the node is given a task.
async fn given(server: &TestServer, node: NodeId) -> Lease {
    loop {
        let Orders::Work { assign, .. } =
            server.app.coordinator.sync(node, says(vec![], None)).await.unwrap()
        else {
            panic!("the node is known");
        };
        if let Some(assignment) = assign.first() {
            return assignment.lease;
        }
        tokio::task::yield_now().await;
    }
}

async fn task(server: &TestServer, path: &str) -> Value {
    let (status, body) = server.get(path).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// Waits until the node is told of a run other than these, and how its tasks share containers.
async fn told(server: &TestServer, node: NodeId, known: &mut Vec<RunId>) -> Sharing {
    loop {
        let Orders::Work { works, .. } =
            server.app.coordinator.sync(node, says(vec![], None)).await.unwrap()
        else {
            panic!("the node is known");
        };
        if let Some(work) = works.iter().find(|work| !known.contains(&work.run)) {
            known.push(work.run);
            return work.sharing;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn node_is_told_whether_runs_share_containers_as_it_was_when_they_started() {
    let server = TestServer::open().await;
    let (node, mut known) = (joined(&server).await, Vec::new());
    server.running_job().await;
    assert_eq!(told(&server, node, &mut known).await, Sharing::Run);
    for sharing in [Sharing::Workspace, Sharing::Run] {
        let body = json!({"containers": sharing.as_str()});
        assert_eq!(server.patch("/v1/workspace", body).await.0, 200);
        let job = json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "bypass"},
                         "dataDestination": {"dataSourceDescriptor": "bucket"}});
        let run = format!("/v1/customer/jobs/{}/run", server.job(job).await);
        assert_eq!(server.post(&run, json!({})).await.0, 200);

        assert_eq!(told(&server, node, &mut known).await, sharing);
    }
}

#[tokio::test]
async fn task_shows_its_states_and_every_attempt() {
    let server = TestServer::open().await;
    let id = server.running_job_with(json!({}), json!({"config": {"maxTaskRetries": 1}})).await;
    let (list, one) =
        (format!("/v1/customer/jobs/{id}/tasks"), format!("/v1/customer/jobs/{id}/tasks/0"));
    let node = joined(&server).await;
    let lease = given(&server, node).await;
    let coordinator = &server.app.coordinator;
    let say = async |running_ms, ended| {
        let held = if ended {
            vec![]
        } else {
            vec![Held { lease, running_ms, waits_for_bucket: false, progress: None }]
        };
        let (input_bytes, metering) = (7, Metering::Counters);
        let usage =
            Usage { cpu_ms: 1500, wall_ms: 2000, input_bytes, metering, ..Usage::default() };
        let outcome =
            Outcome::Failed { failure: Failure::ExitCode(3), message: "no luck".to_owned() };
        let receipt = ended.then_some(Receipt { lease, usage, outcome });
        coordinator.sync(node, says(held, receipt)).await.unwrap();
    };

    assert_eq!(task(&server, &one).await["state"], "Assigned");
    say(None, false).await;
    assert_eq!(task(&server, &one).await["state"], "Received");
    say(Some(0), false).await;
    let running = task(&server, &one).await;
    assert_eq!((&running["state"], &running["exitCode"]), (&json!("Running"), &Value::Null));
    assert_eq!(task(&server, &list).await["tasks"][0]["state"], "Running");
    say(None, true).await;

    let body = task(&server, &one).await;
    let first = &body["attempts"][0];
    assert_eq!((&first["exitCode"], &first["state"]), (&json!(3), &json!("Failed")), "{body}");
    assert_eq!(first["usage"]["cpuSeconds"], 1.5);
    assert_eq!(first["usage"]["inputBytes"], 7);
    assert_eq!(first["usage"]["metering"], "counters");
    assert!(first["error"].as_str().unwrap().contains("no luck"));
    assert_eq!(first["node"], json!(node));
    assert_eq!(first["device"]["region"], "eu-central-1");
    assert_eq!(first["device"]["gpus"], json!(["Tesla T4"]));
    for time in ["assignedAt", "receivedAt", "runningAt", "completedAt"] {
        assert!(first[time].is_string(), "{time}: {body}");
    }
    assert!(body["scheduledAt"].is_string());
    // It is tried again, on the only node that there is.
    assert_eq!((&body["attempt"], &body["attempts"][1]["attempt"]), (&json!(2), &json!(2)));
    assert_eq!(body["attempts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn waiting_chunk_is_a_scheduled_task_and_the_only_one() {
    let server = TestServer::open().await;
    let id = server.running_job().await;
    let tasks = format!("/v1/customer/jobs/{id}/tasks");
    for state in ["JOB_STATE_STARTED", "JOB_STATE_UPLOADING", "JOB_STATE_PARTITIONING"] {
        server.get(&format!("/v1/customer/jobs/{id}?wait=20&state={state}")).await;
    }

    let body = task(&server, &tasks).await;

    let states: Vec<_> =
        body["tasks"].as_array().unwrap().iter().map(|task| task["state"].clone()).collect();
    assert_eq!(states, ["Scheduled"]);
    let one = task(&server, &format!("{tasks}/0")).await;
    let by_id = task(&server, &format!("{tasks}/{}", one["id"].as_str().unwrap())).await;
    assert_eq!(by_id, one);
    assert_eq!((&one["state"], &one["attempts"]), (&json!("Scheduled"), &json!([])));
    assert_eq!(task(&server, &format!("{tasks}?after=0")).await["tasks"], json!([]));
    for path in ["1", "x", "-1", "4294967295", "0?stage=assemble"] {
        assert_eq!(server.get(&format!("{tasks}/{path}")).await.0, 404, "{path}");
    }
    assert_eq!(server.get(&format!("{tasks}/0?stage=all")).await.0, 400);
    let stranger = server.stranger().await;
    let path = format!("{tasks}/0");
    assert_eq!(server.call_as(&stranger, reqwest::Method::GET, &path, None).await.0, 404);
}

#[tokio::test]
async fn job_that_no_node_can_run_has_its_reason() {
    let server = TestServer::open().await;
    let mut manifest = binary("a", "0.2");
    manifest["device_requirements"] = json!({"gpu": ["NVIDIA A100", "NVIDIA L4"]});
    server.post("/v1/dev/apps", json!({"data": package(&manifest)})).await;
    assert_eq!(server.post("/v1/dev/apps/a@0.2/activate", json!({})).await.0, 200);
    let node = joined(&server).await;
    server.app.coordinator.sync(node, says(vec![], None)).await.unwrap();

    for (draft, expected) in [
        (json!({"regions": {"whitelist": ["us"]}}), "1 of 1 nodes are outside the job's regions"),
        (
            json!({"regions": {"whitelist": ["EU"]}}),
            "1 of 1 nodes are without the GPU that it asks for",
        ),
    ] {
        let id = server.running_job_with(draft, json!({})).await;
        let job = format!("/v1/customer/jobs/{id}");
        for state in ["JOB_STATE_STARTED", "JOB_STATE_UPLOADING", "JOB_STATE_PARTITIONING"] {
            server.get(&format!("{job}?wait=20&state={state}")).await;
        }

        let body = task(&server, &format!("{job}/explain")).await;

        let no_node = "no known node can serve it: it waits for one that can";
        assert_eq!(body["reasons"], json!([no_node, expected]));
    }
}

//! Whole attempts on a server in memory, in real containers.

use std::collections::BTreeMap;

use common::compute::container::{Command, ContainerSpec, Isolation, Parts, Program};
use common::digest::Digest;
use common::protocol::{Cache, Contents};
use common::secret::SecretKind;

use super::*;
use crate::testing::{FakeServer, lease, parts, script_package, secret, tools, work};

/// Lives a whole attempt of `script`; `None` where there is no engine.
async fn lived(server: &FakeServer, script: &str) -> Option<Receipt> {
    let dir = tempfile::tempdir().unwrap();
    let tools = tools(server, dir.path()).await?;
    Some(lived_with(&tools, server, script).await)
}

pub async fn lived_with(
    tools: &Arc<Tools<FakeServer>>,
    server: &FakeServer,
    script: &str,
) -> Receipt {
    lived_in(tools, server, script, parts()).await
}

async fn lived_in(
    tools: &Arc<Tools<FakeServer>>,
    server: &FakeServer,
    script: &str,
    container: Parts,
) -> Receipt {
    let container = ContainerSpec::new(container).unwrap();
    let archive = script_package(script);
    let secrets = !server.state().secrets.is_empty();
    let package =
        Some(WorkPackage { owner: crate::testing::WORKSPACE, digest: Digest::of(&archive) });
    server.state().package = archive;
    lived_as(tools, Work { package, secrets, container, ..work() }).await
}

/// Lives an attempt at this work to its end.
pub async fn lived_as(tools: &Arc<Tools<FakeServer>>, work: Work) -> Receipt {
    let receipt = lived_beside(tools, work, 0).await;
    tools.warm.close().await;
    assert_eq!(std::fs::read_dir(tools.data_dir.work()).unwrap().count(), 0);
    assert_eq!(tools.engine.remove_leftovers().await.unwrap(), 0);
    receipt
}

/// The same as one of several attempts.
async fn lived_beside(tools: &Arc<Tools<FakeServer>>, work: Work, index: u32) -> Receipt {
    let (lease, work) = (lease(index), Arc::new(work));
    let (inputs, environment) = (Inputs::Files, Environment::default());
    let attempt = Attempt { lease, work, gpu: None, inputs, environment };
    let (events, mut heard) = mpsc::channel(8);
    let admitting = tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            if let Event::Prepared { admission, .. } = event {
                admission.send(None).unwrap();
            }
        }
    });

    let receipt = run(attempt, Arc::clone(tools), events, CancellationToken::new()).await;

    admitting.await.unwrap();
    let receipt = receipt.unwrap();
    tools.remote.keep(&receipt.contents);
    postcard::from_bytes(&receipt.receipt).unwrap()
}

#[tokio::test]
async fn attempts_of_a_stage_follow_one_another_in_a_container_unless_they_want_their_own() {
    let (server, _) = FakeServer::new();
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make control groups");
        return;
    }
    let script = "b cat /etc/hostname > $RESULTS/host; b cat $INPUTS/in > $RESULTS/copy; \
                  echo key $KEY; b ls /tmp > $RESULTS/left; echo x > /tmp/x";
    server.state().package = script_package(script);
    server.state().secrets = vec![secret("KEY", "TOPSECRET")];
    let owner = crate::testing::WORKSPACE;
    let digest = Digest::of(&server.state().package);
    for (isolation, containers) in [(Isolation::Warm, 1), (Isolation::Fresh, 3)] {
        let container = ContainerSpec::new(Parts { isolation, ..parts() }).unwrap();
        let package = Some(WorkPackage { owner, digest });
        let work = Work { package, secrets: true, container, ..work() };
        let mut hosts = std::collections::HashSet::new();
        for n in 0..3 {
            let input = format!("input {n}").into_bytes();
            server.state().inputs = BTreeMap::from([("in".to_owned(), input.clone())]);

            let receipt = lived_beside(&tools, work.clone(), n).await;

            let Outcome::Succeeded { outputs, .. } = receipt.outcome else { panic!("{receipt:?}") };
            let text = |name: &str| {
                let output = outputs.iter().find(|output| output.name == name).unwrap();
                server.state().stored[&output.digest].clone()
            };
            assert_eq!((text("copy"), text("left")), (input, Vec::new()));
            hosts.insert(text("host"));
        }
        assert_eq!(hosts.len(), containers, "{isolation:?}");
        tools.warm.close().await;
    }
    let lines = tools.logs.batches().into_iter().flat_map(|batch| batch.lines);
    let said: Vec<_> = lines.map(|line| line.text).filter(|line| line.starts_with("key")).collect();
    assert_eq!(said, ["key ***"; 6]);
    assert_eq!(std::fs::read_dir(tools.data_dir.work()).unwrap().count(), 0);
    assert_eq!(tools.engine.remove_leftovers().await.unwrap(), 0);
}

#[tokio::test]
async fn attempt_runs_its_steps_until_one_fails() {
    let (server, _) = FakeServer::new();
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };
    let line = |script: &str| {
        let words = ["/test/package/busybox", "sh", "-c", script];
        Program::new(Command::Line(words.map(str::to_owned).to_vec()))
    };
    let named = |name: &str, program| Program { name: name.to_owned(), ..program };
    let with = |end: &str| {
        let first = parts().steps.remove(0);
        let read = line("/test/package/busybox cat /test/file > $RESULTS/b; exit $(($END))");
        let never = line("echo late > $RESULTS/c");
        let file = ("/test/file".parse().unwrap(), "from the server".to_owned());
        let mut environment: BTreeMap<_, _> = parts()
            .environment
            .variables()
            .map(|text| {
                let (name, value) = text.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        environment.insert("END".to_owned(), end.to_owned());
        let environment = environment.try_into().unwrap();
        let steps = vec![named("a", first), named("b", read), named("c", never)];
        Parts { steps, files: [file].into(), environment, ..parts() }
    };

    let failed = lived_in(&tools, &server, "echo first > $RESULTS/a", with("3")).await;
    let done = lived_in(&tools, &server, "echo first > $RESULTS/a", with("0")).await;

    let Outcome::Failed { failure, .. } = failed.outcome else { panic!("{failed:?}") };
    assert_eq!(failure, Failure::ExitCode(3));
    let Outcome::Succeeded { outputs, .. } = done.outcome else { panic!("{done:?}") };
    let texts: Vec<_> = outputs
        .iter()
        .map(|output| (output.name.as_str(), server.state().stored[&output.digest].clone()))
        .collect();
    let expected = [("a", "first\n"), ("b", "from the server"), ("c", "late\n")];
    assert_eq!(texts, expected.map(|(name, text)| (name, text.as_bytes().to_vec())));
}

#[tokio::test]
async fn attempt_fetches_runs_and_stores() {
    let (server, _) = FakeServer::new();
    // Too long to travel with the receipt.
    let one = "one ".repeat(Contents::BYTES_MAX);
    for (name, text) in [("0000000_a", &*one), ("0000001_a", "two "), ("0000002_a", "")] {
        server.state().inputs.insert(name.into(), text.into());
    }
    server.state().put_failures = 1;

    let script = "b mkdir $RESULTS/d; b cat $INPUTS/* > $RESULTS/d/all";
    let Some(receipt) = lived(&server, script).await else { return };

    let Outcome::Succeeded { outputs, .. } = receipt.outcome else { panic!("{receipt:?}") };
    let all = format!("{one}two ").into_bytes();
    assert_eq!((outputs[0].name.as_str(), outputs[0].size), ("d__all", all.len() as u64));
    assert!(server.state().stored[&outputs[0].digest] == all);
    assert_eq!(server.state().put_failures, 0, "what broke off is stored again");
    assert!(receipt.usage.wall_ms > 0);
}

#[tokio::test]
async fn link_among_the_results_discloses_nothing() {
    let (server, _) = FakeServer::new();
    server.state().secrets = vec![secret("TOKEN", "TOPSECRET")];
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };
    let script = "b ln -s /etc/shadow $RESULTS/x-$TOKEN
        echo y > $RESULTS/y; b ln -s y $RESULTS/z";

    let receipt = lived_with(&tools, &server, script).await;

    let Outcome::Succeeded { outputs, .. } = &receipt.outcome else { panic!("{receipt:?}") };
    let names: Vec<_> = outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["y", "z"]);
    assert_eq!(server.state().stored.len(), 1);
    let text = texts(&tools);
    assert!(text.contains("left out of the results, because they are no files: x-***;"), "{text}");
}

#[tokio::test]
async fn folders_without_permissions_are_still_removed() {
    let (server, _) = FakeServer::new();
    let script = "b mkdir $RESULTS/d; echo x > $RESULTS/d/x; b chmod 0 $RESULTS/d";
    // Root reads it nevertheless, any other node cannot; both clean up, which `lived` checks.
    lived(&server, script).await;
}

#[tokio::test]
async fn input_names_cannot_leave_their_folder() {
    for name in ["../x", "/etc/x", "..", ""] {
        let (server, _) = FakeServer::new();
        server.state().inputs.insert(name.into(), b"x".to_vec());
        let Some(receipt) = lived(&server, "").await else { return };

        assert!(matches!(receipt.outcome, Outcome::NodeFault { .. }), "{name}: {receipt:?}");
    }
}

#[tokio::test]
async fn failing_script_is_reported_with_its_code() {
    let (server, _) = FakeServer::new();
    let Some(receipt) = lived(&server, "echo x > $RESULTS/x; exit 3").await else { return };

    let Outcome::Failed { failure, message } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!((failure, message.as_str()), (Failure::ExitCode(3), ""));
    assert!(server.state().stored.is_empty());
}

fn texts(tools: &Tools<FakeServer>) -> String {
    let lines = tools.logs.batches().into_iter().flat_map(|batch| batch.lines);
    lines.map(|line| line.text + "\n").collect()
}

#[tokio::test]
async fn container_has_its_secrets_and_no_output_shows_them() {
    const VALUE: &str = "TOP\"SECRET-0123456789";
    let (server, _) = FakeServer::new();
    let aws = Secret { secret_type: SecretKind::Aws, ..secret("S3", "AWSSECRET") };
    server.state().secrets = vec![secret("TOKEN", VALUE), aws];
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };
    let script = "echo \"out $TOKEN\"; echo \"err $TOKEN\" >&2; echo $SECRETS
        b printf 'cut TOP\"SEC'; b sleep 1; b printf 'RET-0123456789 end\\n'
        echo \"$TOKEN $S3_SECRET_KEY\" > $RESULTS/given
        b printf \"dying $TOKEN\"; exit 0";

    let receipt = lived_with(&tools, &server, script).await;
    let text = texts(&tools);

    let Outcome::Succeeded { outputs, .. } = &receipt.outcome else { panic!("{receipt:?} {text}") };
    let given = format!("{VALUE} AWSSECRET\n");
    assert_eq!(server.state().stored[&outputs[0].digest], given.as_bytes());
    for line in ["out ***", "err ***", "cut *** end", "dying ***"] {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in {text:?}");
    }
    assert!(text.contains(r#""id":"TOKEN""#) && text.contains(r#""secretKey":"***""#), "{text}");
    assert!(!text.contains("SECRET-0123") && !text.contains("AWSSECRET"), "{text}");
}

#[tokio::test]
async fn secrets_are_in_no_receipt_and_no_file_of_the_node() {
    const VALUE: &str = "TOPSECRET-0123456789";
    let (server, _) = FakeServer::new();
    server.state().secrets = vec![secret("TOKEN", VALUE)];
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };

    // A result that cannot be taken is named in the receipt.
    let script = r#"b touch "$RESULTS/a-$TOKEN\b""#;
    let receipt = lived_with(&tools, &server, script).await;

    let Outcome::Failed { failure: Failure::Results, message } = &receipt.outcome else {
        panic!("{receipt:?}")
    };
    assert!(message.contains("a-***") && !message.contains(VALUE), "{message}");
    let found =
        std::process::Command::new("grep").args(["-r", "-l", VALUE]).arg(dir.path()).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
}

#[tokio::test]
async fn containers_read_one_cache_and_write_to_the_other() {
    let (server, _) = FakeServer::new();
    for cache in [Cache::User, Cache::Shared] {
        let file = ("1".to_owned(), b"brought".to_vec());
        server.state().cached.insert((cache, "models/a".to_owned()), file);
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };

    let first = "b cat $CACHE/models/a $SHARED/models/a > $RESULTS/a
        echo mine > $CACHE/own; echo mine > $CACHE/models/own
        if (echo x > $SHARED/x) 2>/dev/null; then echo wrote; fi
        if (b rm $SHARED/models/a) 2>/dev/null; then echo removed; fi";
    let receipt = lived_with(&tools, &server, first).await;
    let text = texts(&tools);
    let Outcome::Succeeded { outputs, .. } = receipt.outcome else { panic!("{receipt:?} {text}") };
    assert_eq!(server.state().stored[&outputs[0].digest], b"broughtbrought");
    assert!(!text.contains("wrote") && !text.contains("removed"), "{text}");

    let second = "b cat $CACHE/own $CACHE/models/own > $RESULTS/b";
    let receipt = lived_with(&tools, &server, second).await;
    let Outcome::Succeeded { outputs, .. } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!(server.state().stored[&outputs[0].digest], b"mine\nmine\n");
}

#[tokio::test]
async fn container_that_fills_its_cache_is_ended() {
    let (server, _) = FakeServer::new();
    let script = "b dd if=/dev/zero of=$CACHE/x bs=1M count=8; b sleep 60";
    let Some(receipt) = lived(&server, script).await else { return };

    let Outcome::Failed { failure: Failure::Results, message } = receipt.outcome else {
        panic!("{receipt:?}")
    };
    assert!(message.contains("its workspace's cache"), "{message}");
}

//! Attempts of several containers, and of the profile `plain`, with the real engine.

use std::collections::BTreeMap;

use common::compute::container::{
    Command, ContainerSpec, Content, Network, Parts, Profile, Program, Side,
};
use common::compute::resources::Resources;
use common::plan::Image as Source;
use common::protocol::OwnContainer;
use common::secret::Hidden;

use super::tests::lived_as;
use super::*;
use crate::testing::{FakeServer, busybox_image, remove_image, tools, work};

/// A node, and an image of busybox in its engine.
struct Bench {
    tools: Arc<Tools<FakeServer>>,
    server: FakeServer,
    image: String,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (server, _) = FakeServer::new();
        let tools = tools(&server, dir.path()).await?;
        let image = busybox_image();
        Some(Self { tools, server, image, _dir: dir })
    }

    /// The receipt of a task of these parts, and all that its containers wrote.
    async fn lived(&self, parts: Parts, needs: Resources) -> (Receipt, String) {
        let images = vec![Source::Local { name: self.image.clone() }];
        let container = ContainerSpec::new(parts).unwrap();
        let work = Work { package: None, images, container, needs, ..work() };
        let receipt = lived_as(&self.tools, work).await;
        let batches = self.tools.logs.batches();
        let lines = batches.into_iter().flat_map(|batch| batch.lines);
        (receipt, lines.map(|line| line.text + "\n").collect())
    }

    /// The same of a task whose containers have texts of their own.
    async fn lived_with(&self, own: &OwnContainer, parts: Parts) -> (Receipt, String) {
        self.server.state().own = serde_json::to_vec(own).unwrap();
        let images = vec![Source::Local { name: self.image.clone() }];
        let container = ContainerSpec::new(parts).unwrap();
        let work = Work { package: None, late: true, images, container, needs: NEEDS, ..work() };
        let receipt = lived_as(&self.tools, work).await;
        let batches = self.tools.logs.batches();
        let lines = batches.into_iter().flat_map(|batch| batch.lines);
        (receipt, lines.map(|line| line.text + "\n").collect())
    }

    fn stored(&self, receipt: &Receipt) -> Vec<(String, String)> {
        let Outcome::Succeeded { outputs, .. } = &receipt.outcome else { panic!("{receipt:?}") };
        let state = self.server.state();
        let text = |output: &Output| String::from_utf8(state.stored[&output.digest].clone());
        outputs.iter().map(|output| (output.name.clone(), text(output).unwrap())).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        remove_image(&self.image);
    }
}

const NEEDS: Resources = Resources::new(1000, 128).with_disk(10);

fn shell(name: &str, script: &str) -> Program {
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    Program { name: name.to_owned(), ..Program::new(Command::Line(words)) }
}

fn alone(script: &str) -> Parts {
    let results = (Content::Results, "/out".parse().unwrap());
    Parts { mounts: BTreeMap::from([results]), ..Parts::of(shell("", script)) }
}

fn plain(script: &str) -> Parts {
    Parts { profile: Profile::Plain, ..alone(script) }
}

fn side(name: &str, script: &str, port: Option<u16>) -> Side {
    Side { program: shell(name, script), needs: Resources::new(100, 32), port }
}

#[tokio::test]
async fn attempt_without_a_package_runs_a_command_of_its_image() {
    let Some(bench) = Bench::new().await else { return };

    let (receipt, _) =
        bench.lived(alone("id -u > /out/user; touch /x || echo sealed"), NEEDS).await;

    let stored = bench.stored(&receipt);
    assert_eq!(stored.len(), 1);
    assert_ne!(stored[0].1, "0\n");
}

#[tokio::test]
async fn attempt_of_the_profile_plain_has_its_images_user_and_a_root_to_write_to() {
    let Some(bench) = Bench::new().await else { return };
    let script = "id -u > /out/user; echo written > /etc/own && cat /etc/own > /out/own; \
                  grep CapEff /proc/self/status > /out/caps; \
                  grep NoNewPrivs /proc/self/status > /out/privileges; \
                  ls /sys/class/net > /out/networks";

    let (receipt, _) = bench.lived(plain(script), NEEDS).await;

    let expected = [
        ("caps", "CapEff:\t0000000000000000\n"),
        ("networks", "lo\n"),
        ("own", "written\n"),
        ("privileges", "NoNewPrivs:\t1\n"),
        ("user", "0\n"),
    ];
    assert_eq!(bench.stored(&receipt), expected.map(|(n, t)| (n.to_owned(), t.to_owned())));
}

#[tokio::test]
async fn attempt_that_fills_its_own_root_is_ended() {
    let Some(bench) = Bench::new().await else { return };
    let fill = "n=0; while true; do n=$((n+1)); dd if=/dev/zero of=/fill$n bs=1M count=1; done";
    let hide = "exec 5>/hidden; rm /hidden; dd if=/dev/zero bs=1M count=8 >&5; \
                dd if=/dev/zero of=/shown bs=1M count=8; sync; sleep 60";
    for script in [fill, hide] {
        let (receipt, _) = bench.lived(plain(script), NEEDS).await;

        let Outcome::Failed { failure, message } = receipt.outcome else { panic!("{receipt:?}") };
        assert_eq!(failure, Failure::Results, "{message}");
        assert!(message.contains("wrote more than the disk space"), "{message}");
    }
}

#[tokio::test]
async fn attempt_whose_owner_allows_nothing_is_the_nodes_fault() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = FakeServer::new();
    let Some(tools) = crate::testing::closed_tools(&server, dir.path()).await else { return };
    let open = Parts { network: Network::Internet, ..alone("true") };
    for (parts, what) in [(plain("true"), "the profile plain"), (open, "a network")] {
        let images = vec![Source::Binary];
        let container = ContainerSpec::new(parts).unwrap();
        let work = Work { package: None, images, container, needs: NEEDS, ..work() };

        let receipt = lived_as(&tools, work).await;

        let Outcome::NodeFault { message } = receipt.outcome else { panic!("{receipt:?}") };
        assert!(message.contains("does not allow") && message.contains(what), "{message}");
    }
}

#[tokio::test]
async fn attempt_reaches_a_container_beside_its_steps_by_its_name() {
    let Some(bench) = Bench::new().await else { return };
    let serve = "mkdir /tmp/www; echo served > /tmp/www/page; sleep 1; \
                 httpd -f -p 8080 -h /tmp/www";
    let parts = Parts {
        steps: vec![
            shell("before", "wget -q -O /shared/page http://web:8080/page"),
            shell("main", "cat /shared/page > /out/page; ls /sys/class/net > /out/networks"),
        ],
        sides: vec![side("web", serve, Some(8080))],
        shared: vec!["/shared".parse().unwrap()],
        ..alone("")
    };

    let (receipt, log) = bench.lived(parts, NEEDS).await;

    let expected = [("networks", "lo\n"), ("page", "served\n")];
    assert_eq!(
        bench.stored(&receipt),
        expected.map(|(n, t)| (n.to_owned(), t.to_owned())),
        "{log}"
    );
    for text in ["container web started", "container before started", "container main started"] {
        assert!(log.contains(text), "{log}");
    }
}

#[tokio::test]
async fn attempt_goes_on_when_a_container_beside_it_ends_and_says_so() {
    let Some(bench) = Bench::new().await else { return };
    // What the step reads ends when the container beside it has ended, and no earlier.
    let main = "mkfifo /shared/end; exec 9<>/shared/end; touch /shared/ready; \
                until [ -e /shared/done ]; do sleep 0.1; done; \
                exec 7</shared/end 9>&-; cat <&7; echo on";
    let short = "until [ -e /shared/ready ]; do sleep 0.1; done; exec 8>/shared/end; \
                 touch /shared/done; echo gone >&2; exit 3";
    let parts = Parts {
        steps: vec![shell("main", main)],
        sides: vec![side("short", short, None)],
        shared: vec!["/shared".parse().unwrap()],
        ..alone("")
    };

    let (receipt, log) = bench.lived(parts, NEEDS).await;

    assert!(matches!(receipt.outcome, Outcome::Succeeded { .. }), "{receipt:?}");
    for text in ["short | gone\n", "main | on\n", "container short ended with exit code 3\n"] {
        assert!(log.contains(text), "{log}");
    }
}

#[tokio::test]
async fn attempt_names_the_container_that_failed() {
    let Some(bench) = Bench::new().await else { return };
    let parts = |beside: Side, first: &str| Parts {
        steps: vec![shell("first", first), shell("second", "exit 0")],
        sides: vec![beside],
        ..alone("")
    };
    let missing = Side {
        program: Program {
            name: "web".to_owned(),
            ..Program::new(Command::Line(vec!["no-such-program".to_owned()]))
        },
        ..side("web", "", None)
    };

    let (failed, _) = bench.lived(parts(side("web", "sleep 60", None), "exit 4"), NEEDS).await;
    let (unusable, _) = bench.lived(parts(missing, "sleep 60"), NEEDS).await;

    let Outcome::Failed { failure, message } = failed.outcome else { panic!("{failed:?}") };
    assert_eq!((failure, message.as_str()), (Failure::ExitCode(4), "in the container first"));
    let Outcome::Failed { failure, message } = unusable.outcome else { panic!("{unusable:?}") };
    assert_eq!(failure, Failure::Package, "{message}");
    assert!(message.contains("no-such-program"), "{message}");
}

#[tokio::test]
async fn attempt_gives_all_its_steps_the_time_of_one_task() {
    let Some(bench) = Bench::new().await else { return };
    let steps = vec![shell("a", "sleep 2"), shell("b", "sleep 3")];
    let container = ContainerSpec::new(Parts { steps, ..alone("") }).unwrap();
    let images = vec![Source::Local { name: bench.image.clone() }];
    let task_timeout_secs = Some(4);

    let work = Work { package: None, images, container, needs: NEEDS, task_timeout_secs, ..work() };
    let receipt = lived_as(&bench.tools, work).await;

    let Outcome::Failed { failure, message } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!(failure, Failure::Timeout);
    assert!(message.starts_with("in the container b"), "{message}");
}

#[tokio::test]
async fn attempt_gets_texts_of_its_own_and_gives_a_value() {
    let Some(bench) = Bench::new().await else { return };
    let script = "printf 'from %s' \"$GOT\" > /give/it; echo \"got $GOT and $KEY\"";
    let parts = Parts {
        shared: vec!["/give".parse().unwrap()],
        value: Some("/give/it".parse().unwrap()),
        ..alone(script)
    };
    let variables = [("GOT", "before"), ("KEY", "TOPSECRET")];
    let variables = variables.map(|(name, text)| (name, text.to_owned())).to_vec();
    let container = Parts { environment: Environment::of(variables).unwrap(), ..parts.clone() };
    let hidden = vec![Hidden("TOPSECRET".to_owned())];
    let own = OwnContainer { container: ContainerSpec::new(container).unwrap(), hidden };

    let (receipt, log) = bench.lived_with(&own, parts).await;

    let Outcome::Succeeded { value, .. } = receipt.outcome else { panic!("{receipt:?} {log}") };
    assert_eq!(value.as_deref(), Some("from before"));
    assert!(log.contains("got before and ***\n"), "{log}");
}

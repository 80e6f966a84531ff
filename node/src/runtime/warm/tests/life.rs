//! What tasks of warm containers are told, and how they and their containers end.

use common::compute::container::Isolation;
use common::compute::resources::{Metering, Resources};
use common::ids::RunId;
use common::secret::Hidden;
use tokio::time::sleep;

use super::*;
use crate::logs::redact::Redactor;
use crate::testing::lease;

async fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn warm_task_has_its_own_files_variables_and_results() {
    let Some(bench) = Bench::new().await else { return };
    for n in 0..3 {
        let own = |launch: &mut Launch| launch.env.push(format!("OWN={n}"));
        let script = "b cat $INPUTS/data > $RESULTS/copy; echo $OWN $NUMBER $HOME; b pwd";
        let ran = bench.script_with(script, own).await;

        assert_eq!(ran.ending(), Ending::Exited(0));
        assert_eq!(ran.text, format!("{n} 3 /tmp\n/test/package\n"));
        let results = [("copy".to_owned(), format!("input {n}\n").into_bytes())];
        assert_eq!(ran.results, results.into());
    }
    let ran = bench.script("echo ${OWN:-none}").await;
    assert_eq!(ran.text, "none\n");
    assert_eq!(bench.waiting().len(), 1);
    bench.end().await;
}

#[tokio::test]
async fn warm_output_comes_in_order_whole_and_without_secrets() {
    let Some(bench) = Bench::new().await else { return };
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; \
                  echo of TOPSECRET; printf unended";
    let hide = |launch: &mut Launch| {
        launch.redactor = Redactor::new(&[], &[Hidden("TOPSECRET".to_owned())]);
    };

    let ran = bench.script_with(script, hide).await;

    let mut expected: Vec<_> = (0..3000).map(|n| format!("line {n}")).collect();
    expected.extend(["of ***".to_owned(), "unended".to_owned()]);
    assert_eq!(ran.text.lines().collect::<Vec<_>>(), expected);
    bench.end().await;
}

#[tokio::test]
async fn warm_task_without_memory_leaves_its_container_to_the_next() {
    let Some(bench) = Bench::new().await else { return };

    let ran = bench.script("b tail -c 200m /dev/zero | b wc -c; exit 7").await;
    assert_eq!(ran.ending(), Ending::OutOfMemory);
    let waiting = bench.waiting();
    assert_eq!(bench.script("exit 7").await.ending(), Ending::Exited(7));

    assert_eq!(bench.waiting(), waiting);
    bench.end().await;
}

#[tokio::test]
async fn warm_task_is_billed_its_own_time_and_no_other_tasks() {
    let Some(bench) = Bench::new().await else { return };
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    for (script, busy) in [("", false), (burn, true), ("", false), ("b sleep 0.5", false)] {
        let Ended { ending, usage } = bench.script(script).await.ended.unwrap();

        assert_eq!((ending, usage.metering), (Ending::Exited(0), Metering::Counters), "{usage:?}");
        assert!(usage.memory_peak_bytes > 0 && usage.memory_peak_bytes <= 64 << 20, "{usage:?}");
        assert_eq!(busy, usage.cpu_ms > 100, "{script:?} {usage:?}");
        assert!(!script.contains("sleep") || usage.wall_ms >= 500, "{usage:?}");
    }
    bench.end().await;
}

#[tokio::test]
async fn warm_container_is_ended_with_a_task_that_takes_too_long_or_is_stopped() {
    let Some(bench) = Bench::new().await else { return };
    let short = |launch: &mut Launch| launch.timeout = Some(Duration::from_secs(1));

    let ran = bench.script_with("echo on; b sleep 600", short).await;
    assert_eq!((ran.ending(), ran.text.as_str()), (Ending::Timeout, "on\n"));
    assert!((1000..5000).contains(&ran.ended.unwrap().usage.wall_ms));
    assert_eq!(bench.waiting(), [""; 0]);

    bench.script("").await.ended.unwrap();
    let stop = async {
        until("it runs", || bench.tools.logs.any_unsent()).await;
        bench.stop.cancel();
    };
    let (ran, ()) = tokio::join!(bench.script("echo on; b sleep 600"), stop);
    assert_eq!(ran.ending(), Ending::Stopped);
    assert_eq!(bench.waiting(), [""; 0]);
    bench.end().await;
}

#[tokio::test]
async fn warm_task_whose_container_is_killed_is_told_as_killed() {
    let Some(bench) = Bench::new().await else { return };
    for by_engine in [true, false] {
        let kill = async {
            until("it runs", || bench.tools.logs.any_unsent()).await;
            let id = bench.text().lines().next().unwrap().to_owned();
            if by_engine {
                assert!(docker(&["kill", &id]).status.success());
                return;
            }
            let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &id]).stdout;
            let pid = String::from_utf8(pid).unwrap().trim().parse().unwrap();
            let process = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        };
        let (ran, ()) = tokio::join!(bench.script("b cat /etc/hostname; b sleep 600"), kill);

        assert_eq!(ran.ending(), Ending::Killed(137), "{by_engine}");
        assert_eq!(bench.script("exit 3").await.ending(), Ending::Exited(3));
    }
    bench.end().await;
}

#[tokio::test]
async fn warm_container_ends_by_itself_when_its_node_is_gone() {
    let Some(bench) = Bench::new().await else { return };
    bench.script("").await.ended.unwrap();
    let id = bench.waiting().remove(0);
    let mut warm = bench.tools.warm.take(&bench.shape(&work())).unwrap();

    drop(warm.link.take());

    until("the container ends", || {
        docker(&["inspect", "-f", "{{.State.Running}}", &id]).stdout == b"false\n"
    })
    .await;
    warm.remove().await;
    bench.end().await;
}

#[tokio::test]
async fn warm_container_is_for_tasks_of_its_shape_only() {
    let Some(bench) = Bench::new().await else { return };
    bench.script("").await.ended.unwrap();
    let other_run = Work { run: RunId::new(uuid::Uuid::from_u128(9)), ..work() };
    let larger = Work { needs: Resources::new(1000, 128).with_disk(10), ..work() };
    let mut container = parts();
    container.isolation = Isolation::Fresh;
    let fresh = Work { container: ContainerSpec::new(container).unwrap(), ..work() };
    for work in [other_run, larger, fresh] {
        assert!(bench.tools.warm.take(&bench.shape(&work)).is_none());
    }
    let shape = bench.shape(&work());
    let taken = bench.tools.warm.take(&shape).unwrap();
    assert!(bench.tools.warm.take(&shape).is_none(), "it has a task");
    bench.tools.warm.give(taken);

    // What is mounted has been replaced by another of the same name.
    let user = bench.dir.path().join("user");
    fs::rename(&user, bench.dir.path().join("old")).unwrap();
    dir_with_mode(&user, 0o777).unwrap();
    assert!(bench.tools.warm.take(&shape).is_none());
    until("it is removed", || {
        let label = bench.tools.data_dir.label();
        docker(&["ps", "-aq", "--filter", &format!("label=fanfold.node={label}")]).stdout.is_empty()
    })
    .await;
    bench.end().await;
}

#[tokio::test]
async fn task_that_wants_a_fresh_container_is_the_first_and_last_in_it() {
    let Some(bench) = Bench::new().await else { return };
    let container = ContainerSpec::new(Parts { isolation: Isolation::Fresh, ..parts() }).unwrap();
    let fresh = Work { container, ..work() };
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let ran = bench
            .run_launch(fresh.clone(), |_| {}, &["/test/package/busybox", "cat", "/etc/hostname"])
            .await;
        assert_eq!(bench.waiting(), [""; 0]);
        hosts.push(ran.text);
    }
    assert_ne!(hosts[0], hosts[1]);
    until("they are removed", || {
        let label = bench.tools.data_dir.label();
        docker(&["ps", "-aq", "--filter", &format!("label=fanfold.node={label}")]).stdout.is_empty()
    })
    .await;
    bench.end().await;
}

#[tokio::test]
async fn warm_container_that_no_task_comes_to_is_removed() {
    let Some(bench) = Bench::new().await else { return };
    bench.script("").await.ended.unwrap();
    assert_eq!(bench.waiting().len(), 1);

    until("it is removed", || bench.waiting().is_empty()).await;

    bench.end().await;
}

#[tokio::test]
async fn program_that_warm_containers_lack_is_the_packages_fault() {
    let Some(bench) = Bench::new().await else { return };
    for (command, what) in [
        ("python3", "no program \"python3\""),
        ("/test/package/missing", "no program"),
        ("/test/package", "does not let"),
    ] {
        let ran = bench.command(&[command]).await;

        let Err(Error::Unusable(message)) = ran.ended else { panic!("{ran:?}") };
        assert!(message.contains(what), "{command}: {message}");
    }
    let second = |launch: &mut Launch| {
        let Entry::Commands(commands) = &mut launch.entry else { panic!("{launch:?}") };
        commands.insert(0, vec!["python3".into(), "x".into()]);
    };
    assert_eq!(bench.script_with("echo second", second).await.text, "second\n");
    assert_eq!(lease(0).attempt, 1);
    bench.end().await;
}

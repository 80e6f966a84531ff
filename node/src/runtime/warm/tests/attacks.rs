//! Tasks that would leave something for the next one, or get at the supervisor.

use common::compute::container::{Isolation, Profile};

use super::*;
use crate::own_task::OwnTask;

/// Says what is there that a task without any before it would not find.
const LOOK: &str = "for p in /proc/[0-9]*; do p=${p#/proc/}; \
                      case $p in 1|$$) ;; *) [ -e /proc/$p/stat ] && echo process $p;; esac; done
                    for f in $(b find /tmp /dev/shm /dev/mqueue $RESULTS -mindepth 1); do \
                      echo file $f; done
                    b ls $INPUTS; b cat $INPUTS/data
                    for k in shm sem msg; do b tail -n +2 /proc/sysvipc/$k; done
                    b grep TCP: /proc/net/sockstat | b grep -o 'inuse [0-9]*\\|tw [0-9]*'
                    b stat -c '%a' $RESULTS; ulimit -n; b nice; b taskset -p $$ | b sed 's/.*: //'";

/// What a task finds that is the first one.
async fn first(bench: &Bench) -> String {
    let ran = bench.script(LOOK).await;
    assert_eq!(ran.ending(), Ending::Exited(0), "{}", ran.text);
    alike(&ran.text)
}

/// The input is each task's own.
fn alike(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("input "))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[tokio::test]
async fn warm_container_has_nothing_of_the_task_before() {
    let Some(bench) = Bench::new().await else { return };
    let clean = first(&bench).await;
    assert!(clean.starts_with("data\n") && !clean.contains("process"), "{clean}");
    let container = bench.waiting();
    for attack in [
        // Double forks, new sessions, ignored signals.
        "(b setsid $B sleep 600 &); (trap '' TERM HUP INT; b sleep 600 & b sleep 600 &)",
        "b setsid $B sh -c '(trap \"\" TERM; while :; do :; done) & while :; do :; done' &",
        // Its output stays open.
        "(b sleep 600; echo late) & exec 1>&- 2>&-",
        // Files, and folders that are closed.
        "b mkdir -p /tmp/a/b; echo x > /tmp/a/b/c; b chmod 000 /tmp/a/b /tmp/a; echo x > /tmp/.x",
        "echo x > /dev/shm/x; b ln -s /etc /tmp/link; b mkfifo /tmp/pipe; b dd if=/dev/zero \
         of=/dev/shm/y bs=1M count=20",
        "b mkdir $RESULTS/d; echo planted > $RESULTS/d/x; echo x > $RESULTS/planted",
        "echo x > $INPUTS/planted; b rm -f $INPUTS/data; b rm -rf /test /.fanfold",
        "b mv $RESULTS /tmp/r; b rmdir $RESULTS; b mv /.fanfold /.other; \
         b mv /.fanfold/supervise /tmp/",
        "b kill -9 1; b kill -STOP 1; b kill -TERM -1; b kill -9 -1",
        "/test/package/escape leave-shared",
    ] {
        bench.script(attack).await.ended.unwrap();

        let ran = bench.script(LOOK).await;

        assert_eq!(alike(&ran.text), clean, "after {attack}");
        assert_eq!(ran.text.matches("input ").count(), 1, "{}", ran.text);
    }
    assert_eq!(bench.waiting(), container, "all of that left nothing");
    bench.end().await;
}

#[tokio::test]
async fn container_whose_supervisor_or_folder_a_task_has_changed_is_thrown_away() {
    let Some(bench) = Bench::new().await else { return };
    let clean = first(&bench).await;
    for attack in [
        "/test/package/escape lower-supervisors-limit",
        "/test/package/escape renice-supervisor",
        "b taskset -p 1 1",
        "b chmod 777 $RESULTS; echo x > $RESULTS/x",
        "b setfattr -n user.note -v x $RESULTS || b chmod 711 $RESULTS",
        // A connection whose ports the next task would find taken.
        "b nc -l -p 7000 -e $B true & while ! b nc 127.0.0.1 7000 < /dev/null; do :; done; wait",
    ] {
        let before = bench.waiting();
        bench.script(attack).await.ended.unwrap();

        let after = bench.waiting();
        let ran = bench.script(LOOK).await;

        assert!(after.is_empty() || after == before, "{attack}");
        assert_eq!(alike(&ran.text), clean, "after {attack}");
        assert!(attack.contains("nc ") || after.is_empty(), "it is used again after {attack}");
    }
    bench.end().await;
}

#[tokio::test]
async fn task_that_takes_memory_and_time_from_the_supervisor_harms_itself_alone() {
    let Some(bench) = Bench::new().await else { return };
    for attack in ["starve-supervisor", "hurry-supervisor"] {
        let flood = "b dd if=/dev/zero bs=64k count=200 | b tr '\\0' 'x' | b fold -w 1000";
        let script = format!("/test/package/escape {attack}; {flood}; exit 3");
        let ran = bench.script(&script).await;

        assert_ne!(ran.ending(), Ending::Exited(0), "{attack}");
        assert_eq!(bench.waiting(), [""; 0], "{attack}");
        assert_eq!(bench.script("exit 4").await.ending(), Ending::Exited(4));
    }
    bench.end().await;
}

#[tokio::test]
async fn escape_kit_finds_no_way_out_of_a_warm_container_or_to_its_supervisor() {
    if Bench::new().await.is_none() {
        return;
    }
    let sealed = (Profile::Sealed, "limit-temporary-files");
    for (profile, own) in [sealed, (Profile::Plain, "supervisor-descriptors")] {
        let kit = OwnTask::new(ESCAPE_KIT, profile).await.unwrap();
        for _ in 0..2 {
            let ended = kit.run_supervised(Isolation::Warm).await.unwrap().unwrap();

            let said = kit.said();
            let out: Vec<_> = said.iter().filter(|line| !line.starts_with("held ")).collect();
            assert_eq!(out, [""; 0], "{profile:?}: {ended:?}");
            for name in ["supervisor-memory", "identity-capabilities", own] {
                assert!(said.contains(&format!("held {name}")), "{name}: {said:?}");
            }
        }
        kit.end().await;
    }
}

//! The protocol, without an engine.

use futures::StreamExt as _;
use proptest::prelude::*;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::super::link::{Link, told};
use super::super::protocol::{
    self, Done, End, Kind, SAID_BYTES_MAX, TASK_BYTES_MAX, Task, put_frame,
};

fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6)
}

fn done() -> impl Strategy<Value = Done> {
    let end = prop_oneof![
        any::<i32>().prop_map(End::Exited),
        any::<i32>().prop_map(End::Signalled),
        any::<i32>().prop_map(End::NotStarted),
    ];
    (end, any::<[u64; 5]>()).prop_map(
        |(end, [wall_ns, cpu_ns, own_cpu_ns, peak_bytes, oom_kills])| Done {
            end,
            wall_ns,
            cpu_ns,
            own_cpu_ns,
            peak_bytes,
            oom_kills,
        },
    )
}

proptest! {
    #[test]
    fn task_and_its_end_are_read_as_they_were_written(
        commands in proptest::collection::vec(texts(), 0..4),
        variables in texts(),
        done in done(),
    ) {
        let task = Task { commands, variables };
        let mut frames = Vec::new();
        put_frame(&mut frames, Kind::Task, &task.encode());
        put_frame(&mut frames, Kind::Done, &done.encode());

        let mut from = &frames[..];
        let first = protocol::read_frame(&mut from, TASK_BYTES_MAX).unwrap().unwrap();
        let second = protocol::read_frame(&mut from, TASK_BYTES_MAX).unwrap().unwrap();

        prop_assert_eq!((first.0, Task::decode(&first.1).unwrap()), (Kind::Task, task));
        prop_assert_eq!((second.0, Done::decode(&second.1).unwrap()), (Kind::Done, done));
        prop_assert!(protocol::read_frame(&mut from, TASK_BYTES_MAX).unwrap().is_none());
    }

    #[test]
    fn bytes_that_are_no_frames_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Task::decode(&bytes);
        let _ = Done::decode(&bytes);
        let _ = protocol::read_frame(&mut &bytes[..], SAID_BYTES_MAX);
    }
}

#[test]
fn frame_that_is_too_long_is_refused_before_it_is_read() {
    let mut frame = Vec::new();
    put_frame(&mut frame, Kind::Output, &vec![0; SAID_BYTES_MAX + 1]);

    assert!(protocol::read_frame(&mut &frame[..], SAID_BYTES_MAX).is_err());
    assert!(protocol::read_frame(&mut &b"?\0\0\0\0"[..], SAID_BYTES_MAX).is_err());
}

#[tokio::test]
async fn supervisors_words_are_a_tasks_output_and_then_its_report() {
    let done = Done {
        end: End::Exited(3),
        wall_ns: 1,
        cpu_ns: 2,
        own_cpu_ns: 3,
        peak_bytes: 4,
        oom_kills: 5,
    };
    for (left, cut) in [("", None), ("a process is left", None), ("", Some(1)), ("", Some(20))] {
        let (node, mut supervisor) = UnixStream::pair().unwrap();
        let mut frames = Vec::new();
        put_frame(&mut frames, Kind::Output, b"out");
        put_frame(&mut frames, Kind::Errors, b"err");
        put_frame(&mut frames, Kind::Done, &done.encode());
        put_frame(&mut frames, Kind::Clean, left.as_bytes());
        frames.truncate(cut.unwrap_or(frames.len()));
        let (report, reported) = oneshot::channel();

        tokio::io::AsyncWriteExt::write_all(&mut supervisor, &frames).await.unwrap();
        if cut.is_some() {
            drop(supervisor);
        }
        let pieces: Vec<_> = told(Link::of_tests(node), report).collect().await;

        let texts: Vec<_> = pieces.iter().map(|piece| (piece.is_error, &piece.bytes[..])).collect();
        if cut.is_some() {
            assert!(reported.await.is_err());
            continue;
        }
        assert_eq!(texts, [(false, &b"out"[..]), (true, b"err")]);
        let report = reported.await.unwrap();
        assert_eq!(report.done, done);
        let clean = report.clean.await.unwrap();
        assert_eq!(clean.err().as_deref(), (!left.is_empty()).then_some(left));
    }
}

//! Why a job does not go on, in the words that its customer reads.

use chrono::{DateTime, Utc};
use common::run::queue::QueueStop;

use super::status::{JobState, RunName, find};
use crate::app::App;
use crate::coordinator::{CallLimit, Hindrance, Obstacles, PlaceKind, SomeNodes, Waiting};
use crate::error::Result;
use crate::jobs::RunView;
use crate::people::caller::Caller;

/// What a job waits for.
#[derive(Debug)]
pub struct Why {
    /// It waits for a node, for a time, or for a place among the server's steps.
    pub waiting: bool,
    /// The nodes that were looked at.
    pub nodes: Option<usize>,
    pub reasons: Vec<String>,
}

/// How far the caller's job, or run, of this name is, and why it waits, or what it does.
pub async fn explain(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
) -> Result<(JobState, Why)> {
    let (_, run) = find(app, caller, name).await?;
    Ok((JobState::of(run.as_ref()), of(app, run.as_ref()).await?))
}

/// Why a job with this run waits, or what it does.
async fn of(app: &App, run: Option<&RunView>) -> Result<Why> {
    let Some(run) = run else { return Ok(goes_on("the job is a draft: run it".to_owned())) };
    if run.state.is_final() {
        let ended = run.error().map_or_else(String::new, |error| format!(": {error}"));
        return Ok(goes_on(format!("the job has ended{ended}")));
    }
    let mut why = match app.coordinator.waiting(run.id).await? {
        Some(waiting) => of_waiting(&waiting),
        None => of_hindrance(app.coordinator.hindrance(run.id).as_ref()),
    };
    let trouble = app.coordinator.progress(run.id).and_then(|live| live.trouble);
    why.reasons.extend(trouble.map(|trouble| trouble.to_string()));
    Ok(why)
}

/// The same as one text; empty for a job that goes on. The market is asked only where nothing of
/// the job is with a node.
pub(in crate::jobs) async fn message(app: &App, run: Option<&RunView>) -> Result<String> {
    let Some(run) = run.filter(|run| !run.state.is_final()) else { return Ok(String::new()) };
    let live = app.coordinator.progress(run.id);
    if live.as_ref().is_some_and(|live| live.tasks_running > 0) {
        let trouble = live.and_then(|live| live.trouble);
        return Ok(trouble.map_or_else(String::new, |trouble| trouble.to_string()));
    }
    let why = of(app, Some(run)).await?;
    Ok(if why.waiting { why.reasons.join("; ") } else { String::new() })
}

fn of_waiting(waiting: &Waiting) -> Why {
    match waiting {
        Waiting::Start(at) => waits(format!("its start is set for {}", time(*at))),
        Waiting::Retry(at) => waits(format!("the next try is at {}", time(*at))),
        Waiting::Unheard { tasks, of, nodes } => Why {
            waiting: tasks == of,
            ..waits(format!(
                "{tasks} of its {of} tasks under way are with nodes that have not been heard for a \
                 while ({}): they go elsewhere when these stay silent and another node can take \
                 them",
                named(nodes)
            ))
        },
        Waiting::Bucket { nodes, of } => Why {
            waiting: nodes == of,
            ..waits(format!("{nodes} of its {of} nodes wait for the server's bucket"))
        },
        Waiting::CallLimit(limit) => waits(of_call_limit(*limit)),
        Waiting::Queue(stop) => waits(of_queue(*stop)),
        Waiting::Expressions => goes_on("the server evaluates its expressions".to_owned()),
        Waiting::Node(obstacles) => {
            let mut reasons = reasons(obstacles);
            if reasons.is_empty() {
                reasons.push("nothing: the next task is about to be handed out".to_owned());
            }
            Why { waiting: true, nodes: Some(obstacles.nodes), reasons }
        }
    }
}

fn of_call_limit(limit: CallLimit) -> String {
    match limit {
        CallLimit::All(most) => format!("its call waits: the server makes {most} calls at once"),
        CallLimit::Workspace(most) => {
            format!("its call waits: your other calls use {most} of {most}")
        }
        CallLimit::Host(most) => {
            format!(
                "its call waits: {most} calls to its host are under way, and no more are made at once"
            )
        }
        CallLimit::Key(most) => {
            format!("its call waits: its own limit lets {most} be under way at once")
        }
        CallLimit::Rate(at) => {
            format!("its call waits for its own rate limit until {}", time(at))
        }
    }
}

fn of_queue(stop: QueueStop) -> String {
    match stop {
        QueueStop::Disabled => "its queue is disabled".to_owned(),
        QueueStop::Paused => "its queue is paused".to_owned(),
        QueueStop::Full(most) => format!("its queue runs {most} tasks, and no more at once"),
    }
}

fn of_hindrance(hindrance: Option<&Hindrance>) -> Why {
    match hindrance {
        Some(slow @ Hindrance::Slow(_)) => goes_on(hindered(slow)),
        Some(hindrance) => waits(hindered(hindrance)),
        None => goes_on("the job waits for no node: it goes on".to_owned()),
    }
}

fn waits(reason: String) -> Why {
    Why { waiting: true, nodes: None, reasons: vec![reason] }
}

fn goes_on(what: String) -> Why {
    Why { waiting: false, ..waits(what) }
}

/// The ids of the first nodes, as tasks name theirs.
fn named(nodes: &SomeNodes) -> String {
    let ids: Vec<_> = nodes.named().map(|id| id.to_string()).collect();
    match nodes.count - ids.len() {
        0 => ids.join(", "),
        more => format!("{} and {more} more", ids.join(", ")),
    }
}

fn time(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%dT%H:%M:%SZ")
}

fn hindered(hindrance: &Hindrance) -> String {
    let to_copy = |kind: &PlaceKind| match kind {
        PlaceKind::Step => "",
        PlaceKind::Copy => " to copy its source, whose server gives no ranges",
    };
    match hindrance {
        Hindrance::Own { kind, held, most } => {
            let why = to_copy(kind);
            format!("it waits for a place{why}: your other runs use {held} of {most}")
        }
        Hindrance::All { kind, most } => {
            let why = to_copy(kind);
            format!("it waits for a place{why}: all workspaces together use {most} of {most}")
        }
        Hindrance::Slow(slow) => slow.to_string(),
        Hindrance::Away(what) => what.clone(),
    }
}

fn reasons(waiting: &Obstacles) -> Vec<String> {
    let mut reasons = Vec::new();
    if waiting.nodes == 0 {
        reasons.push("no node has joined".to_owned());
    } else if waiting.unfit() == waiting.nodes {
        reasons.push("no known node can serve it: it waits for one that can".to_owned());
    }
    if waiting.at_bucket > 0 {
        let (nodes, of) = (waiting.at_bucket, waiting.nodes);
        reasons.push(format!("{nodes} of {of} nodes wait for the server's bucket"));
    }
    if waiting.lacks_credits && waiting.is_capped {
        let cap = "the spend cap of its project leaves too little for one more task: raise it";
        reasons.push(cap.to_owned());
    } else if waiting.lacks_credits {
        reasons.push("the wallet cannot cover one more task: top up".to_owned());
    }
    let silent = format!("silent ({})", named(&waiting.silent));
    let disk = format!("without {} GiB of disk free for tasks", waiting.disk_mib.div_ceil(1024));
    let closed = named(&waiting.closed);
    let not_own = format!("of other workspaces, where the job is for your own nodes ({closed})");
    let without_plain =
        format!("closed to the profile plain: their owners open it with --allow-plain ({closed})");
    let without_network = format!(
        "without a network for containers: their owners give one with --container-network ({closed})"
    );
    let without_local_images = format!(
        "not lending the images of their engine: their owners do with --local-images, or you push \
         the image ({closed})"
    );
    for (nodes, what) in [
        (waiting.silent.count, silent.as_str()),
        (waiting.aside, "set aside for this workspace after faults in a row with its tasks"),
        (waiting.failed_probe, "set aside because the server's probe of them failed"),
        (waiting.engine_away, "without their container engine, which does not answer"),
        (
            waiting.barred,
            "set aside because their operators have given false results to this workspace",
        ),
        (waiting.disputed, "set aside until a third node has checked their results for this job"),
        (waiting.elsewhere, "outside the job's regions"),
        (waiting.outside_pools, "outside the pools of its queue"),
        (waiting.not_own, not_own.as_str()),
        (waiting.without_plain, without_plain.as_str()),
        (waiting.without_network, without_network.as_str()),
        (waiting.without_local_images, without_local_images.as_str()),
        (waiting.too_few_cpus, "too small: too few vCPUs"),
        (waiting.too_little_memory, "too small: too little memory"),
        (waiting.too_little_disk, disk.as_str()),
        (waiting.without_gpu, "without the GPU that it asks for"),
        (waiting.busy, "busy"),
        (waiting.new, "of operators that are new here and have their share of the job"),
        (waiting.failed_there, "where every waiting task has failed before"),
    ] {
        if nodes > 0 {
            reasons.push(format!("{nodes} of {} nodes are {what}", waiting.nodes));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use common::ids::NodeId;
    use uuid::Uuid;

    use super::*;
    use crate::data::pace::{Side, Slow};

    /// Whether a job waits, the nodes that were looked at, and the reasons.
    fn shown(why: &Why) -> String {
        let Why { waiting, nodes, reasons } = why;
        let nodes = nodes.map_or_else(String::new, |nodes| format!(" for one of {nodes} nodes"));
        let state = if *waiting { format!("waits{nodes}") } else { "goes on".to_owned() };
        format!("{state}\n  {}\n", reasons.join("\n  "))
    }

    fn silent() -> SomeNodes {
        (1..=5).map(|id| NodeId::new(Uuid::from_u128(id))).collect()
    }

    /// Some nodes under each obstacle.
    fn obstacles() -> Obstacles {
        let silent = silent();
        Obstacles {
            nodes: 40,
            silent,
            aside: 1,
            failed_probe: 2,
            engine_away: 1,
            barred: 3,
            disputed: 4,
            elsewhere: 4,
            outside_pools: 1,
            not_own: 1,
            without_plain: 1,
            without_network: 1,
            without_local_images: 1,
            closed: silent,
            too_few_cpus: 6,
            too_little_memory: 7,
            too_little_disk: 8,
            without_gpu: 9,
            busy: 10,
            at_bucket: 11,
            new: 12,
            disk_mib: 3000,
            failed_there: 13,
            lacks_credits: true,
            is_capped: true,
        }
    }

    #[test]
    fn explain_texts_are_as_recorded() {
        let (at, silent, all) = (DateTime::UNIX_EPOCH, silent(), obstacles());
        let unfit = Obstacles { nodes: 2, too_few_cpus: 2, ..Obstacles::default() };
        let ready = Obstacles { nodes: 2, ..Obstacles::default() };
        let waiting = [
            Waiting::Start(at),
            Waiting::Retry(at),
            Waiting::Unheard { tasks: 2, of: 2, nodes: silent },
            Waiting::Unheard { tasks: 2, of: 3, nodes: silent },
            Waiting::CallLimit(CallLimit::All(256)),
            Waiting::CallLimit(CallLimit::Workspace(64)),
            Waiting::CallLimit(CallLimit::Host(16)),
            Waiting::CallLimit(CallLimit::Key(2)),
            Waiting::CallLimit(CallLimit::Rate(at)),
            Waiting::Queue(QueueStop::Disabled),
            Waiting::Queue(QueueStop::Paused),
            Waiting::Queue(QueueStop::Full(3)),
            Waiting::Expressions,
            Waiting::Bucket { nodes: 2, of: 2 },
            Waiting::Bucket { nodes: 1, of: 2 },
            Waiting::Node(Obstacles::default()),
            Waiting::Node(unfit),
            Waiting::Node(ready),
            Waiting::Node(all),
            Waiting::Node(Obstacles { lacks_credits: true, ..ready }),
        ];
        let slow = |side| Slow { server: "data.example".to_owned(), side, bytes_per_sec: 100 };
        let hindrances = [
            Hindrance::Own { kind: PlaceKind::Step, held: 2, most: 2 },
            Hindrance::Own { kind: PlaceKind::Copy, held: 2, most: 2 },
            Hindrance::All { kind: PlaceKind::Step, most: 16 },
            Hindrance::All { kind: PlaceKind::Copy, most: 8 },
            Hindrance::Slow(slow(Side::Source)),
            Hindrance::Slow(slow(Side::Destination)),
            Hindrance::Away("the bucket cannot be reached".to_owned()),
        ];

        let texts: Vec<String> = waiting
            .iter()
            .map(of_waiting)
            .chain(hindrances.iter().map(|hindrance| of_hindrance(Some(hindrance))))
            .chain([of_hindrance(None)])
            .map(|why| shown(&why))
            .collect();

        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn silent_nodes_are_named_up_to_three_and_counted_beyond() {
        let nodes = |n: u128| -> Vec<NodeId> {
            (1..=n).map(|id| NodeId::new(Uuid::from_u128(id))).collect()
        };
        let told = |n: u128| {
            let silent: SomeNodes = nodes(n).into_iter().collect();
            reasons(&Obstacles { nodes: 9, silent, ..Obstacles::default() })
        };
        let [a, b, c] = nodes(3)[..] else { panic!("three nodes") };

        assert_eq!(told(0), Vec::<String>::new());
        assert_eq!(told(1), [format!("1 of 9 nodes are silent ({a})")]);
        assert_eq!(told(3), [format!("3 of 9 nodes are silent ({a}, {b}, {c})")]);
        assert_eq!(told(5), [format!("5 of 9 nodes are silent ({a}, {b}, {c} and 2 more)")]);
    }
}

//! Why a node has no work, in words for its operator.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::coordinator::{Idle, Live, Obstacles};

/// Why a node has no work; empty where it has some. `None` is a silent node.
pub fn idle_reason(live: Option<Live>) -> String {
    let Some(live) = live else {
        return "it is silent: its process, its machine or its network is down".to_owned();
    };
    match live.idle {
        None => String::new(),
        Some(Idle::Barred(until)) => {
            format!(
                "checks found false results of its operator: it gets no tasks until {}",
                time(until)
            )
        }
        Some(Idle::FailedProbe) => {
            "it failed a probe, and gets tasks again when it passes one: its log says what failed"
                .to_owned()
        }
        Some(Idle::EngineAway) => "its container engine does not answer: start it, and the node \
                                   takes tasks again"
            .to_owned(),
        Some(Idle::NoWork) => "no work is waiting".to_owned(),
        Some(Idle::Soon) => "a task is about to come".to_owned(),
        Some(Idle::Unfit { runs, obstacles, aside_until }) => unfit(runs, &obstacles, aside_until),
    }
}

fn unfit(runs: usize, obstacles: &Obstacles, aside_until: Option<DateTime<Utc>>) -> String {
    let until = aside_until.map_or_else(String::new, |until| format!(" until {}", time(until)));
    let counted = [
        (obstacles.aside, format!("it is set aside after faults with their tasks{until}")),
        (obstacles.barred, "their customers get no results of its operator's nodes".to_owned()),
        (obstacles.disputed, "its results for them differ from another node's".to_owned()),
        (obstacles.elsewhere, "they may not run in its region".to_owned()),
        (obstacles.outside_pools, "it is in no pool of their queues".to_owned()),
        (obstacles.not_own, "they are for nodes of their own workspace".to_owned()),
        (obstacles.without_plain, "it does not allow the profile plain".to_owned()),
        (obstacles.without_network, "it gives containers no network".to_owned()),
        (obstacles.without_local_images, "it does not lend its engine's images".to_owned()),
        (obstacles.too_few_cpus, "it lends too few CPUs".to_owned()),
        (obstacles.too_little_memory, "it lends too little memory".to_owned()),
        (obstacles.too_little_disk, "it lends too little disk".to_owned()),
        (obstacles.without_gpu, "it has no GPU of those they ask for".to_owned()),
        (obstacles.new, "as a new operator's node it has its share of them".to_owned()),
        (obstacles.failed_there, "what waits of them has failed on it".to_owned()),
        (obstacles.busy, "it has no room".to_owned()),
    ];
    let reasons = counted.iter().filter(|(count, _)| *count > 0);
    let reasons: Vec<String> = reasons.map(|(count, why)| format!("{count}: {why}")).collect();
    format!("of {runs} jobs that wait none has a task for it: {}", reasons.join("; "))
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use common::compute::resources::Resources;

    use super::*;

    #[test]
    fn idle_node_has_its_reason() {
        let told = |idle| {
            let capacity = Resources::new(1, 1);
            idle_reason(Some(Live { capacity, used: Resources::NONE, tasks: 0, idle }))
        };
        let obstacles = Obstacles { too_few_cpus: 2, aside: 1, ..Obstacles::default() };
        let aside_until = Some(DateTime::UNIX_EPOCH);

        assert_eq!(told(None), "");
        assert_eq!(told(Some(Idle::NoWork)), "no work is waiting");
        assert_eq!(
            told(Some(Idle::Unfit { runs: 3, obstacles, aside_until })),
            "of 3 jobs that wait none has a task for it: 1: it is set aside after faults with their \
             tasks until 1970-01-01T00:00:00Z; 2: it lends too few CPUs"
        );
        assert!(idle_reason(None).contains("silent"));
    }
}

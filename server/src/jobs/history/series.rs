//! What the runs of a job used, period by period.
//!
//! Attempts that are long enough have samples. Of shorter ones their receipts tell what they used:
//! each is one point.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::protocol::SAMPLE_SECS;
use common::run::task::Lease;

use super::{Whose, Window, runs_in};
use crate::app::App;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::store::market::tasks::samples::SampleView;
use crate::store::market::tasks::usages::UsageView;
use crate::store::market::tasks::{samples, usages};

/// The most samples, and the most attempts without samples, that one answer is made of.
const SAMPLES_MAX: u64 = 200_000;
const ATTEMPTS_MAX: u64 = 20_000;

/// What was used in a period by all attempts that ran in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The end of the period.
    pub at: DateTime<Utc>,
    /// Thousandths of a core: the mean over the attempts.
    pub cpu_millis: u64,
    /// The sum over the attempts.
    pub memory_bytes: u64,
}

#[derive(Default)]
struct Bucket {
    attempts: u64,
    cpu_millis: u64,
    memory_bytes: u64,
}

/// The periods of the window in which something ran, the oldest first.
pub async fn read(app: &App, caller: &Caller, whose: Whose, window: Window) -> Result<Vec<Point>> {
    let runs = runs_in(app, caller, whose, window).await?;
    let times = (window.from, window.until);
    let mut found = samples::find(&app.db, &runs, times, SAMPLES_MAX).await?;
    let sampled: BTreeSet<Lease> = found.iter().map(|sample| sample.lease).collect();
    let ended = usages::find(&app.db, &runs, times, ATTEMPTS_MAX).await?;
    let unsampled = ended.into_iter().filter(|ended| !sampled.contains(&ended.lease));
    found.extend(unsampled.map(|UsageView { lease, ended_at: at, usage }| {
        let wall_ms = usage.wall_ms.max(1);
        let cpu_millis = usage.cpu_ms.saturating_mul(1000) / wall_ms;
        let memory_bytes = (usage.memory_mib_ms / wall_ms).saturating_mul(1 << 20);
        SampleView { lease, at, cpu_millis, memory_bytes }
    }));
    Ok(points(&found))
}

fn points(samples: &[SampleView]) -> Vec<Point> {
    let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
    for sample in samples {
        let bucket = buckets.entry(period_end(sample.at)).or_default();
        bucket.attempts += 1;
        bucket.cpu_millis = bucket.cpu_millis.saturating_add(sample.cpu_millis);
        bucket.memory_bytes = bucket.memory_bytes.saturating_add(sample.memory_bytes);
    }
    let point = |(end, Bucket { attempts, cpu_millis, memory_bytes }): (i64, Bucket)| {
        let at = DateTime::from_timestamp(end, 0)?;
        Some(Point { at, cpu_millis: cpu_millis / attempts, memory_bytes })
    };
    buckets.into_iter().filter_map(point).collect()
}

/// The seconds since 1970 at which the period ends that an instant is in, or is the end of.
fn period_end(at: DateTime<Utc>) -> i64 {
    let period = i64::from(SAMPLE_SECS);
    let secs = at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0);
    secs.div_euclid(period) * period + if secs.rem_euclid(period) == 0 { 0 } else { period }
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::testing::process;

    use super::*;

    fn sample(index: u32, secs: i64, cpu_millis: u64, memory_bytes: u64) -> SampleView {
        let lease = process(RunId::new(uuid::Uuid::nil()), index, 1);
        let at = DateTime::from_timestamp(secs, 0).unwrap();
        SampleView { lease, at, cpu_millis, memory_bytes }
    }

    #[test]
    fn point_has_the_mean_of_cores_and_the_sum_of_memory() {
        let points = points(&[
            sample(0, 30, 500, 10),
            sample(1, 30, 1500, 20),
            sample(0, 45, 100, 1),
            // Of a short attempt that ended within the period.
            sample(2, 31, 300, 5),
        ]);

        let told: Vec<_> =
            points.iter().map(|p| (p.at.timestamp(), p.cpu_millis, p.memory_bytes)).collect();
        assert_eq!(told, [(30, 1000, 30), (45, 200, 6)]);
    }
}

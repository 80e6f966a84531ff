//! The ids of traces and spans. They follow from the names of what they stand for.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::RunId;
use common::run::task::{Lease, StageNo, TaskRef};
use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};

/// A run's trace has the run's own id, without its hyphens.
pub fn trace(run: RunId) -> TraceId {
    TraceId::from_bytes(run.uuid().into_bytes())
}

pub fn run(run: RunId) -> SpanId {
    span(run)
}

/// The delivery of a failed run's results that began again at this time.
pub fn redelivery(run: RunId, at: DateTime<Utc>) -> SpanId {
    span(format_args!("{run}/again/{}", at.timestamp_micros()))
}

pub fn stage(run: RunId, stage: StageNo) -> SpanId {
    span(format_args!("{run}/{stage}"))
}

/// A stage of a delivery that began again at this time.
pub fn stage_again(run: RunId, stage: StageNo, at: DateTime<Utc>) -> SpanId {
    span(format_args!("{run}/{stage}/again/{}", at.timestamp_micros()))
}

pub fn task(task: TaskRef) -> SpanId {
    span(task)
}

pub fn attempt(lease: Lease) -> SpanId {
    span(lease)
}

fn span(name: impl Display) -> SpanId {
    let mut bytes = [0; 8];
    let digest = Digest::of(format!("fanfold span {name}").as_bytes());
    bytes.copy_from_slice(&digest.bytes()[..8]);
    SpanId::from_bytes(bytes)
}

pub fn sampler(ratio: f64) -> Sampler {
    if ratio >= 1.0 { Sampler::AlwaysOn } else { Sampler::TraceIdRatioBased(ratio) }
}

/// Whether a run is traced: all of it or nothing. The sampler reads an id as a random number,
/// which a UUID with its time and version is not, so it is given the id's digest.
pub fn is_sampled(sampler: &Sampler, run: RunId) -> bool {
    if matches!(sampler, Sampler::AlwaysOn) {
        return true;
    }
    let mut drawn = [0; 16];
    drawn.copy_from_slice(&Digest::of(run.uuid().as_bytes()).bytes()[..16]);
    let id = TraceId::from_bytes(drawn);
    let result = sampler.should_sample(None, id, "run", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_follow_from_names_and_differ() {
        let id = RunId::new(Uuid::from_u128(0x0192_3456_789a_8bcd_8ef0_1234_5678_9abc));
        let no = StageNo::new(2);
        let of = TaskRef { run: id, stage: no, index: 1 };
        let at = DateTime::UNIX_EPOCH;

        let spans = [
            run(id),
            redelivery(id, at),
            stage(id, no),
            stage_again(id, no, at),
            task(of),
            attempt(Lease { task: of, attempt: 1 }),
            attempt(Lease { task: of, attempt: 2 }),
        ];

        assert_eq!(trace(id).to_string(), "01923456789a8bcd8ef0123456789abc");
        // Written down: a restart of another version must give the same.
        assert_eq!(spans[0].to_string(), "0083b511d6580c93");
        assert_eq!(spans[5].to_string(), "1f9a1d38ad38a8ed");
        let distinct: std::collections::BTreeSet<_> =
            spans.iter().map(ToString::to_string).collect();
        assert_eq!(distinct.len(), spans.len());
    }

    #[test]
    fn sample_ratio_selects_its_part_of_runs_and_always_the_same() {
        let runs: Vec<RunId> = (0..2_000_u128)
            // As they are made: the time, then the version and the variant among random bits.
            .map(|n| RunId::of_job(common::ids::JobId::new(Uuid::from_u128(n << 96)), 1))
            .collect();
        let sampled = |ratio| {
            let sampler = sampler(ratio);
            runs.iter().filter(|run| is_sampled(&sampler, **run)).count()
        };

        assert_eq!(sampled(1.0), 2_000);
        assert_eq!(sampled(0.0), 0);
        for (ratio, least, most) in [(0.1, 140, 260), (0.5, 900, 1_100), (0.9, 1_740, 1_860)] {
            let count = sampled(ratio);

            assert!((least..=most).contains(&count), "{ratio}: {count}");
            assert_eq!(count, sampled(ratio));
        }
    }
}

//! Small inputs that travel with their assignments: those that lie with the server, which would pass
//! their bytes on one by one all the same.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use common::data::object_list::{Object, Place};
use common::error_chain::chain;
use common::ids::{NodeId, RunId};
use common::protocol::{Assignment, INPUT_BYTES_MAX, INPUTS_BYTES_MAX, Inputs, Orders};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use crate::coordinator::leases::{LiveInputs, LiveLease};
use crate::data;
use crate::p2p::backend::Port;

/// How long the orders wait for bytes. What is not read by then the node asks for.
const PATIENCE: Duration = Duration::from_millis(500);
/// The most bytes that are read at once for several inputs, and the most between two of them.
const SPAN_BYTES_MAX: u64 = 512 << 10;
const GAP_BYTES_MAX: u64 = 4 << 10;
/// Reads at once, for one message.
const READS_MAX: usize = 4;

/// Adds the bytes of small inputs to the orders of a node; gives how many bytes.
pub async fn add<P: Port>(port: &P, node: NodeId, orders: &mut Orders) -> u64 {
    let Orders::Work { assign, .. } = orders else { return 0 };
    let spans = spans(wanted(port, node, assign));
    let mut reads = futures::stream::iter(spans)
        .map(|span| async { (read(port, &span).await, span) })
        .buffer_unordered(READS_MAX);
    let mut passed = 0;
    let adding = async {
        while let Some((bytes, span)) = reads.next().await {
            match bytes {
                Ok(Some(bytes)) => passed += span.give(&bytes, assign),
                Ok(None) => {}
                // The node asks for it, and is told.
                Err(error) => tracing::debug!(error = %chain(&error), "small inputs not read"),
            }
        }
    };
    if timeout(PATIENCE, adding).await.is_err() {
        tracing::debug!(%node, "small inputs left out: reading them takes too long");
    }
    passed
}

/// A part of an object that is the input of an assignment.
struct Input {
    /// The place of the assignment.
    n: usize,
    run: RunId,
    live: Arc<LiveLease>,
    object: Object,
    part: Range<u64>,
}

/// Inputs that lie beside one another in an object.
struct Span {
    live: Arc<LiveLease>,
    object: Object,
    run: RunId,
    part: Range<u64>,
    inputs: Vec<(usize, Range<u64>)>,
}

impl Span {
    fn of(input: Input) -> Self {
        let Input { n, run, live, object, part } = input;
        Self { live, object, run, part: part.clone(), inputs: vec![(n, part)] }
    }

    /// Whether an input, which begins no earlier, is read with these.
    fn takes(&self, input: &Input) -> bool {
        let Range { start, end } = &input.part;
        self.run == input.run
            && self.object == input.object
            && *start <= self.part.end.saturating_add(GAP_BYTES_MAX)
            && end.saturating_sub(self.part.start) <= SPAN_BYTES_MAX
    }

    fn add(&mut self, input: Input) {
        self.part.end = self.part.end.max(input.part.end);
        self.inputs.push((input.n, input.part));
    }

    /// Gives each input its part of the bytes, and says how many those are.
    fn give(&self, bytes: &[u8], assign: &mut [Assignment]) -> u64 {
        let mut given = 0;
        let at = |at: u64| usize::try_from(at - self.part.start).unwrap_or(usize::MAX);
        for (n, part) in &self.inputs {
            let assignment = assign.get_mut(*n).map(|assignment| &mut assignment.inputs);
            let own = bytes.get(at(part.start)..at(part.end));
            if let (Some(Inputs::File { content, .. }), Some(own)) = (assignment, own) {
                *content = Some(own.to_vec());
                given += own.len() as u64;
            }
        }
        given
    }
}

/// The small inputs that lie in the server's own bucket or database, as many as a message takes.
fn wanted<P: Port>(port: &P, node: NodeId, assign: &[Assignment]) -> Vec<Input> {
    let mut left = INPUTS_BYTES_MAX;
    let mut wanted = Vec::new();
    for (n, assignment) in assign.iter().enumerate() {
        let Inputs::File { bytes, .. } = assignment.inputs else { continue };
        if bytes == 0 || bytes > INPUT_BYTES_MAX.min(left) {
            continue;
        }
        let Some(live) = port.lease(node, assignment.lease) else { continue };
        let LiveInputs::Chunk { table, index } = &live.inputs else { continue };
        let Some(chunk) = table.get(*index) else { continue };
        if matches!(chunk.object.place, Place::Bucket { .. }) && chunk.len() == bytes {
            left -= bytes;
            let (run, part) = (assignment.lease.task.run, chunk.from..chunk.to);
            wanted.push(Input { n, run, live, object: chunk.object, part });
        }
    }
    wanted
}

fn spans(mut wanted: Vec<Input>) -> Vec<Span> {
    let key = |input: &Input| match &input.object.place {
        Place::Bucket { key } => key.clone(),
        Place::Source { .. } | Place::Empty => String::new(),
    };
    wanted.sort_by_cached_key(|input| (input.run, key(input), input.part.start));
    let mut spans: Vec<Span> = Vec::new();
    for input in wanted {
        match spans.last_mut().filter(|span| span.takes(&input)) {
            Some(span) => span.add(input),
            None => spans.push(Span::of(input)),
        }
    }
    spans
}

/// The bytes of a span; `None` where nodes read the object themselves.
async fn read<P: Port>(port: &P, span: &Span) -> Result<Option<Vec<u8>>, data::Error> {
    if port.direct(&span.live, &span.object).await?.is_some() {
        return Ok(None);
    }
    let bytes = port.read(&span.live, &span.object, span.part.clone()).await?;
    let pieces: Vec<bytes::Bytes> = bytes.try_collect().await?;
    let bytes = pieces.concat();
    let is_whole = bytes.len() as u64 == span.part.end - span.part.start;
    if is_whole { Ok(Some(bytes)) } else { Err(data::Error::Mismatch) }
}

#[cfg(test)]
mod tests {
    use common::ids::WorkspaceId;
    use common::plan::BlockId;
    use uuid::Uuid;

    use super::*;

    fn input(n: usize, object: &str, part: Range<u64>) -> Input {
        let spec = common::testing::order(
            WorkspaceId::new(Uuid::from_u128(1)),
            &common::testing::pipeline(),
        );
        let live = LiveLease {
            spec: Arc::new(spec),
            block: BlockId::new(0),
            inputs: LiveInputs::None,
            late: None,
            stored: Default::default(),
            log: Default::default(),
        };
        let place = Place::Bucket { key: object.to_owned() };
        let object = Object { name: "x".to_owned(), size: 1 << 40, place, version: None };
        Input { n, run: RunId::new(Uuid::from_u128(2)), live: Arc::new(live), object, part }
    }

    #[test]
    fn small_inputs_beside_one_another_are_read_at_once() {
        let far = SPAN_BYTES_MAX + 50;
        let wanted = vec![
            input(0, "a", 20..30),
            input(1, "b", 0..10),
            input(2, "a", 0..10),
            input(3, "a", far..far + 10),
            input(4, "a", 5..25),
        ];

        let spans = spans(wanted);

        let told: Vec<_> = spans
            .iter()
            .map(|span| (span.part.clone(), span.inputs.iter().map(|(n, _)| *n).collect()))
            .collect();
        let expected: [(Range<u64>, Vec<usize>); 3] =
            [(0..30, vec![2, 4, 0]), (far..far + 10, vec![3]), (0..10, vec![1])];
        assert_eq!(told, expected);
    }

    #[test]
    fn span_has_no_more_bytes_than_it_may() {
        let nth = |n: u32| {
            let from = u64::from(n) * 4096;
            input(n as usize, "a", from..from + 4096)
        };
        let many = (0..200).map(nth).collect();

        let spans = spans(many);

        assert!(spans.iter().all(|span| span.part.end - span.part.start <= SPAN_BYTES_MAX));
        assert_eq!(spans.iter().map(|span| span.inputs.len()).sum::<usize>(), 200);
        assert_eq!(spans.len(), 2);
    }
}

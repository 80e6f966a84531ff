//! Finds the objects of a source and makes chunks of them.

use common::data::chunk_table::ChunkTable;
use common::data::location::Source;
use common::data::object_list::{Object, Objects, Place};
use common::plan::{Partitioner, Phase};

use super::deliver::key;
use super::{Context, Results, Step, StepError, StepNews};
use crate::coordinator::Command;
use crate::coordinator::turns::{Kind, Turn};
use crate::data::Resolved;
use crate::store::market::tasks;
use crate::store::market::tasks::OutputView;

/// The most names in a warning about files that are left out.
const NAMED_MAX: usize = 5;

impl Context {
    /// Finds the objects of a source. The turn is kept for what is done with them.
    pub(super) async fn look(
        &self,
        step: &Step,
        source: &Source,
    ) -> Result<(Objects, Turn), StepError> {
        let Step { run, spec, pace, .. } = step;
        let turn = self.turn(Kind::Step, step).await;
        match self.data.resolve(*run, spec.workspace, source, pace).await? {
            Resolved::Objects(objects) => Ok((objects, turn)),
            Resolved::ToStage => {
                drop(turn);
                let turn = self.turn(Kind::Copy, step).await;
                Ok((self.data.stage(*run, spec.workspace, source, pace).await?, turn))
            }
        }
    }

    pub(super) async fn partition(
        &self,
        step: &Step,
        source: &Source,
        partitioner: Partitioner,
    ) -> Result<ChunkTable, StepError> {
        let (objects, _turn) = self.look(step, source).await?;
        // Without a read it takes no time: that it has come to this phase is told with its end.
        if reads_source(partitioner) {
            self.enter(step, Phase::Partition).await;
        }
        let owner = step.spec.workspace;
        Ok(self.data.partition(owner, source, partitioner, objects, &step.pace).await?)
    }

    /// Makes chunks of `data_0.bin`, `data_1.bin`, …; other files are no chunks, and are named.
    pub(super) async fn collect(&self, step: &Step) -> Result<ChunkTable, StepError> {
        let _turn = self.turn(Kind::Step, step).await;
        let Some(Results { stage, .. }) = step.results else {
            return Ok(ChunkTable::whole(Objects::pack(&[])?));
        };
        let outputs = tasks::outputs(&self.db, step.run, stage, None, 1).await?;
        let (mut numbered, mut others) = (Vec::<(u64, OutputView)>::new(), Vec::new());
        for output in outputs.into_iter().flat_map(|task| task.files) {
            match chunk_number(&output.name) {
                Some(n) => numbered.push((n, output)),
                None => others.push(output.name),
            }
        }
        numbered.sort_by_key(|(n, _)| *n);
        if let Some(warning) = left_out(&others) {
            let (run, stage) = (step.run, step.stage);
            self.send(Command::Step(StepNews::Warns { run, stage, warning })).await;
        }
        let objects: Vec<Object> = numbered
            .into_iter()
            .map(|(_, output)| Object {
                size: output.size,
                place: Place::Bucket { key: key(&output).path() },
                name: output.name,
                version: None,
            })
            .collect();
        Ok(ChunkTable::whole(Objects::pack(&objects)?))
    }
}

/// Whether cutting needs more of a source than the sizes of its files.
fn reads_source(partitioner: Partitioner) -> bool {
    match partitioner {
        Partitioner::Lines { .. } | Partitioner::Csv { .. } | Partitioner::Tar { .. } => true,
        Partitioner::Passthrough
        | Partitioner::Bytes { .. }
        | Partitioner::File
        | Partitioner::Replicate { .. } => false,
    }
}

/// What is said of a partitioner's files that are no chunks.
fn left_out(others: &[String]) -> Option<String> {
    let more = others.len().checked_sub(1)?.saturating_sub(NAMED_MAX - 1);
    let mut named = others[..others.len() - more].join(", ");
    if more > 0 {
        named = format!("{named} and {more} more");
    }
    Some(format!(
        "the partitioner wrote files that are no chunks and were left out: {named}; chunks are \
         called data_0.bin, data_1.bin and so on, and lie in no folder"
    ))
}

fn chunk_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("data_")?.strip_suffix(".bin")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_chunks_are_named_up_to_a_limit() {
        let names = |n: usize| (0..n).map(|n| format!("f{n}")).collect::<Vec<_>>();
        assert_eq!(left_out(&[]), None);
        for (n, named) in [
            (1, "left out: f0; chunks"),
            (5, "left out: f0, f1, f2, f3, f4; chunks"),
            (6, "left out: f0, f1, f2, f3, f4 and 1 more; chunks"),
        ] {
            let warning = left_out(&names(n)).unwrap();
            assert!(warning.contains(named), "{warning}");
        }
    }

    #[test]
    fn chunks_are_numbered_files_only() {
        assert_eq!(chunk_number("data_0.bin"), Some(0));
        assert_eq!(chunk_number("data_12.bin"), Some(12));
        for name in ["data_.bin", "data_+1.bin", "data_1.bin.tmp", "log.txt", "data_-1.bin"] {
            assert_eq!(chunk_number(name), None, "{name}");
        }
    }
}

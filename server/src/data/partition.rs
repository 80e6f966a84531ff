//! The built-in partitioners: they compute where objects are cut, and copy nothing.

mod kind;
mod lines;

use common::data::chunk_table::{ChunkTable, CutError};
use common::data::object_list::Objects;
use common::plan::Partitioner;

use super::Error;
use super::source::Reader;

/// Cuts objects.
///
/// # Errors
/// `Customer` where the data cannot be cut so, and whatever reading it says.
pub async fn partition(
    reader: &Reader,
    partitioner: Partitioner,
    objects: Objects,
) -> Result<ChunkTable, Error> {
    match partitioner {
        Partitioner::Passthrough | Partitioner::File => Ok(ChunkTable::whole(objects)),
        Partitioner::Replicate { copies } => ChunkTable::copies(objects, copies),
        Partitioner::Bytes { bytes } => ChunkTable::every(objects, bytes),
        Partitioner::Lines { bytes: 0 } => Err(CutError::NoBytes),
        Partitioner::Lines { bytes } => {
            let (starts, counts) = lines::cut(reader, &objects, bytes).await?;
            ChunkTable::at(objects, starts, &counts)
        }
    }
    .map_err(|error| Error::Customer(format!("params.partitioner: {error}")))
}

#[cfg(test)]
mod tests;

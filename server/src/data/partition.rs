//! The built-in partitioners: they compute where objects are cut, and copy nothing.

mod borders;
mod csv;
mod kind;
mod lines;
mod tar;

use common::data::chunk_table::{ChunkTable, CutError};
use common::data::object_list::Objects;
use common::plan::Partitioner;

use super::Error;
use super::source::Reader;
use borders::Records;

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
        Partitioner::Lines { bytes } => at_records(reader, objects, Records::Lines, bytes).await?,
        Partitioner::Csv { bytes } => at_records(reader, objects, Records::Csv, bytes).await?,
        Partitioner::Tar { bytes } => at_records(reader, objects, Records::Tar, bytes).await?,
    }
    .map_err(|error| Error::Customer(format!("params.partitioner: {error}")))
}

async fn at_records(
    reader: &Reader,
    objects: Objects,
    records: Records,
    bytes: u64,
) -> Result<Result<ChunkTable, CutError>, Error> {
    if bytes == 0 {
        return Ok(Err(CutError::NoBytes));
    }
    let (starts, counts) = borders::cut(reader, &objects, records, bytes).await?;
    Ok(ChunkTable::at(objects, starts, &counts))
}

#[cfg(test)]
mod tests;

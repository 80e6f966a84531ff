//! Chunks that end where lines end.

use bytes::{Bytes, BytesMut};
use common::data::object_list::Object;
use futures::TryStreamExt as _;

use super::borders::{Borders, LOOK_BYTES, LOOK_BYTES_MAX, RECORD_BYTES_MAX, TooLong};
use super::kind::{Kind, LineEnd, kind};
use crate::data::Error;

/// What is read of an object to see what it is.
const HEAD_BYTES: u64 = 4 << 10;

/// The starts of an object's chunks. An object that is no text is one chunk.
pub async fn starts(borders: Borders<'_>, object: &Object) -> Result<Vec<u64>, Error> {
    let Kind::Text(end) = kind(&borders.head(object, HEAD_BYTES).await?) else {
        return Ok(vec![0]);
    };
    let lines = Lines { borders, object };
    let found = lines.starts_by(end).await?;
    if let Ok(starts) = &found
        && starts.len() > 1
    {
        return Ok(starts.clone());
    }
    let first_line = match found {
        Ok(_) => lines.line_start(0, end).await?,
        Err(too_long) => Err(too_long),
    };
    let is_one_line = first_line == Ok(Some(object.size));
    // Files of old Macs, and some instruments, have carriage returns alone, or nearly.
    if end == LineEnd::Lf
        && (is_one_line || !matches!(first_line, Ok(Some(_))))
        && let Some(starts) = lines.starts_by_returns().await?
    {
        return Ok(starts);
    }
    match first_line {
        Ok(Some(_)) => Ok(vec![0]),
        Ok(None) => Err(no_lines(object)),
        Err(too_long) => Err(long_line(object, too_long)),
    }
}

/// Finds where lines begin.
#[derive(Clone, Copy)]
struct Lines<'a> {
    borders: Borders<'a>,
    object: &'a Object,
}

impl Lines<'_> {
    /// The starts by carriage returns, of which there must be one before the object's last two
    /// bytes: these may be the end of its only line.
    async fn starts_by_returns(self) -> Result<Option<Vec<u64>>, Error> {
        let within = self.object.size.saturating_sub(1);
        match self.line_start(0, LineEnd::Cr).await? {
            Ok(Some(first)) if first < within => {}
            Ok(_) | Err(_) => return Ok(None),
        }
        let Ok(mut starts) = self.starts_by(LineEnd::Cr).await? else { return Ok(None) };
        starts.retain(|start| *start < within);
        Ok(Some(starts))
    }

    async fn starts_by(self, end: LineEnd) -> Result<Result<Vec<u64>, TooLong>, Error> {
        if self.borders.are_far_apart() { self.look(end).await } else { self.scan(end).await }
    }

    /// Finds the starts with a small read at each, several at a time.
    async fn look(self, end: LineEnd) -> Result<Result<Vec<u64>, TooLong>, Error> {
        let Borders { bytes, .. } = self.borders;
        let wishes = (1..self.object.size.div_ceil(bytes)).map(|n| at_unit(n * bytes, end));
        self.borders.look(self.object, wishes, |wish| self.line_start(wish, end)).await
    }

    /// The first start of a line at or after `wish`, which is at a unit's border; `None` where no
    /// line ends from there on.
    async fn line_start(
        self,
        wish: u64,
        end: LineEnd,
    ) -> Result<Result<Option<u64>, TooLong>, Error> {
        let _turn = self.borders.reads.acquire().await;
        // The unit before decides whether a line starts at the wish itself.
        let (mut from, mut window) = (wish.saturating_sub(end.width() as u64), LOOK_BYTES);
        while from < self.object.size {
            if from.saturating_sub(wish) >= RECORD_BYTES_MAX {
                return Ok(Err(TooLong(wish)));
            }
            let piece = self.borders.read(self.object, from, window).await?;
            if let Some(behind) = end.find(&piece) {
                return Ok(Ok(Some(from + behind as u64)));
            }
            (from, window) = (from + piece.len() as u64, (window * 2).min(LOOK_BYTES_MAX));
        }
        Ok(Ok(None))
    }

    /// Finds the starts in one pass.
    async fn scan(self, end: LineEnd) -> Result<Result<Vec<u64>, TooLong>, Error> {
        let Self { object, borders } = self;
        let _turn = borders.reads.acquire().await;
        let width = end.width() as u64;
        let mut starts = vec![0];
        let mut wish = at_unit(borders.bytes, end);
        let mut at = 0u64;
        let mut units = Units { rest: BytesMut::new(), width: end.width() };
        let mut pieces = borders.read_through(object).await?;
        while let Some(piece) = pieces.try_next().await? {
            let piece = units.whole(piece);
            let next = at + piece.len() as u64;
            while wish < object.size && wish <= next {
                let skip = (wish - width).saturating_sub(at);
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                let Some(behind) = end.find(piece.get(skip..).unwrap_or_default()) else { break };
                let start = at + (skip + behind) as u64;
                if start < object.size {
                    starts.push(start);
                }
                wish = at_unit((start / borders.bytes + 1) * borders.bytes, end);
            }
            at = next;
            if wish < object.size && at.saturating_sub(wish) > RECORD_BYTES_MAX {
                return Ok(Err(TooLong(wish)));
            }
        }
        Ok(Ok(starts))
    }
}

/// Makes pieces of whole units.
struct Units {
    rest: BytesMut,
    width: usize,
}

impl Units {
    fn whole(&mut self, piece: Bytes) -> Bytes {
        let odd = (self.rest.len() + piece.len()) % self.width;
        if self.rest.is_empty() && odd == 0 {
            return piece;
        }
        self.rest.extend_from_slice(&piece);
        self.rest.split_to(self.rest.len() - odd).freeze()
    }
}

/// The border of a unit at or after a byte.
fn at_unit(byte: u64, end: LineEnd) -> u64 {
    byte.next_multiple_of(end.width() as u64)
}

fn no_lines(object: &Object) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has no line ends; partition it by bytes instead, or whole \
         (partitioner file)",
        object.shown()
    ))
}

fn long_line(object: &Object, TooLong(at): TooLong) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has a line longer than {} MiB around byte {at}; partition it by \
         bytes instead, or give it line ends",
        object.shown(),
        RECORD_BYTES_MAX >> 20
    ))
}

#[cfg(test)]
mod tests;

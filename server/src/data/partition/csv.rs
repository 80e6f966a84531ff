//! Chunks that end where records of CSV end: a line end within quotes ends none.

mod record_end;

use common::data::object_list::Object;
use futures::TryStreamExt as _;

use super::borders::{Borders, LOOK_BYTES, LOOK_BYTES_MAX, RECORD_BYTES_MAX, TooLong};
use super::kind::{Kind, LineEnd, kind};
use crate::data::Error;
use record_end::{Dialect, Found, Search, State};

/// What is read of an object to see what it is, and how its fields are divided.
const HEAD_BYTES: u64 = 64 << 10;
/// How far a look goes while it is not sure what is within quotes. Beyond, reading all of the
/// object once costs less than such looks at many borders.
const UNSURE_BYTES_MAX: u64 = 4 << 20;

/// The starts of an object's chunks. An object that is no text is one chunk.
pub async fn starts(borders: Borders<'_>, object: &Object) -> Result<Vec<u64>, Error> {
    let head = borders.head(object, HEAD_BYTES).await?;
    match kind(&head) {
        Kind::NoText => return Ok(vec![0]),
        Kind::Text(LineEnd::Lf) => {}
        Kind::Text(_) => return Err(wide(object)),
    }
    let csv = Csv { borders, object, dialect: Dialect::of(&head) };
    if borders.are_far_apart() {
        let wishes = (1..object.size.div_ceil(borders.bytes)).map(|n| n * borders.bytes);
        match borders.look(object, wishes, |wish| csv.record_start(wish)).await? {
            Ok(starts) => return Ok(starts),
            Err(Stop::TooLong(too_long)) => return Err(long_record(object, too_long)),
            Err(Stop::Unsure) => {}
        }
    }
    csv.scan().await
}

/// Why a look does not tell where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    TooLong(TooLong),
    /// What is within quotes cannot be told without all that comes before.
    Unsure,
}

#[derive(Clone, Copy)]
struct Csv<'a> {
    borders: Borders<'a>,
    object: &'a Object,
    dialect: Dialect,
}

impl Csv<'_> {
    /// The first start of a record at or after `wish`; `None` where no record ends from there on.
    async fn record_start(self, wish: u64) -> Result<Result<Option<u64>, Stop>, Error> {
        let _turn = self.borders.reads.acquire().await;
        // The byte before decides whether a record starts at the wish itself.
        let first = wish - 1;
        let (mut from, mut window) = (first, LOOK_BYTES);
        let mut search = Search::new(self.dialect);
        while from < self.object.size {
            let piece = self.borders.read(self.object, from, window).await?;
            match search.feed(&piece) {
                Found::End(end) => return Ok(Ok(Some(first + end))),
                Found::Broken => return Ok(Err(Stop::Unsure)),
                Found::NotYet { is_sure } => {
                    let seen = from - first;
                    if seen >= RECORD_BYTES_MAX {
                        return Ok(Err(Stop::TooLong(TooLong(wish))));
                    }
                    if !is_sure && seen >= UNSURE_BYTES_MAX {
                        return Ok(Err(Stop::Unsure));
                    }
                }
            }
            (from, window) = (from + piece.len() as u64, (window * 2).min(LOOK_BYTES_MAX));
        }
        Ok(match search.finish() {
            None => Ok(None),
            Some(Found::End(end)) => Ok(Some(first + end)),
            Some(Found::NotYet { .. } | Found::Broken) => Err(Stop::Unsure),
        })
    }

    /// Finds the starts in one pass over all of the object, in which nothing is left to guess.
    async fn scan(self) -> Result<Vec<u64>, Error> {
        let Self { borders, object, dialect } = self;
        let _turn = borders.reads.acquire().await;
        let (mut starts, mut wish, mut at) = (vec![0], borders.bytes, 0u64);
        let mut state = State::FieldStart;
        let mut pieces = borders.read_through(object).await?;
        while let Some(piece) = pieces.try_next().await? {
            for byte in &piece {
                at += 1;
                if state.is_record_end(*byte) && at >= wish && at < object.size {
                    starts.push(at);
                    wish = (at / borders.bytes + 1) * borders.bytes;
                }
                state = state.after_any(*byte, dialect.delimiter);
            }
            if at.saturating_sub(wish) > RECORD_BYTES_MAX {
                return Err(long_record(object, TooLong(wish)));
            }
        }
        Ok(starts)
    }
}

fn wide(object: &Object) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} is text of two or four bytes a character, of which records \
         cannot be told; store it as UTF-8, or partition it by lines",
        object.shown()
    ))
}

fn long_record(object: &Object, TooLong(at): TooLong) -> Error {
    Error::Customer(format!(
        "params.partitioner: {:?} has no record that ends in {} MiB from byte {at} on: a quote may \
         be missing; partition it by lines instead, or mend it",
        object.shown(),
        RECORD_BYTES_MAX >> 20
    ))
}

#[cfg(test)]
mod tests;

//! Chunks of whole members of tar archives. Each chunk is an archive that tar can read; the last
//! one has the archive's end.

use bytes::Bytes;
use common::data::object_list::Object;

use super::borders::{Borders, LOOK_BYTES, LOOK_BYTES_MAX};
use super::kind::is_tar;
use crate::data::Error;

const BLOCK: u64 = 512;
/// An extended header is read whole: it has a few lines.
const EXTENDED_BYTES_MAX: u64 = LOOK_BYTES_MAX;

/// The starts of an object's chunks. An object that is no archive is one chunk.
///
/// Only the headers of its members are read, one after the other: where the next one is, each
/// tells.
pub async fn starts(borders: Borders<'_>, object: &Object) -> Result<Vec<u64>, Error> {
    if !is_tar(&borders.head(object, BLOCK).await?) {
        return Ok(vec![0]);
    }
    let _turn = borders.reads.acquire().await;
    let mut headers = Headers { borders, object, from: 0, read: Bytes::new(), window: LOOK_BYTES };
    let (mut starts, mut wish, mut at) = (vec![0], borders.bytes, 0);
    while let Some(next) = headers.member(at).await? {
        if at >= wish {
            starts.push(at);
            wish = (at / borders.bytes + 1) * borders.bytes;
        }
        at = next;
    }
    Ok(starts)
}

/// The headers of an archive, read as far ahead as they lie close together.
struct Headers<'a> {
    borders: Borders<'a>,
    object: &'a Object,
    from: u64,
    read: Bytes,
    window: u64,
}

impl Headers<'_> {
    /// Where the member ends that begins at `at`, with the headers that belong to it; `None` where
    /// the archive ends.
    async fn member(&mut self, at: u64) -> Result<Option<u64>, Error> {
        let (mut at, mut size) = (at, None);
        loop {
            let block = self.bytes(at, BLOCK).await?;
            if block.len() < 512 || block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            if !is_tar(&block) {
                return Err(damaged(self.object, at));
            }
            let own = number(&block[124..136]).ok_or_else(|| damaged(self.object, at))?;
            let kind = block[156];
            // Of some kinds the size is that of the file they name: nothing follows.
            let stored = if matches!(kind, b'1'..=b'6') { 0 } else { size.unwrap_or(own) };
            let data = at + BLOCK;
            match kind {
                // What is said of the next member.
                b'x' => {
                    let text = self.bytes(data, own.min(EXTENDED_BYTES_MAX)).await?;
                    size = size_in(&text).or(size);
                    at = end_of(self.object, data, own)?;
                }
                b'L' | b'K' | b'g' | b'X' => at = end_of(self.object, data, own)?,
                // Of a sparse file more of its map may follow.
                b'S' => {
                    let mut data = data;
                    let mut has_more = block[482] != 0;
                    while has_more {
                        has_more = self.bytes(data, BLOCK).await?.get(504).is_some_and(|b| *b != 0);
                        data += BLOCK;
                    }
                    return end_of(self.object, data, stored).map(Some);
                }
                _ => return end_of(self.object, data, stored).map(Some),
            }
        }
    }

    /// These bytes of the object, fewer where it ends before.
    async fn bytes(&mut self, from: u64, len: u64) -> Result<Bytes, Error> {
        let behind = self.from + self.read.len() as u64;
        if from < self.from || (from + len).min(self.object.size) > behind {
            // Members are small where the next header is close: more of them are read at once.
            let is_close = from >= self.from && from < behind + self.window;
            let window = if is_close { self.window * 2 } else { LOOK_BYTES };
            self.window = window.clamp(LOOK_BYTES, LOOK_BYTES_MAX);
            self.read = match from < self.object.size {
                true => self.borders.read(self.object, from, self.window.max(len)).await?,
                false => Bytes::new(),
            };
            self.from = from;
        }
        let index = |at: u64| usize::try_from(at - self.from).unwrap_or(usize::MAX);
        let (first, end) = (index(from).min(self.read.len()), index(from + len));
        Ok(self.read.slice(first..end.min(self.read.len())))
    }
}

/// Where data of this size ends, in whole blocks.
fn end_of(object: &Object, data: u64, size: u64) -> Result<u64, Error> {
    let end = size.checked_next_multiple_of(BLOCK).and_then(|bytes| data.checked_add(bytes));
    end.filter(|end| *end <= object.size.next_multiple_of(BLOCK))
        .ok_or_else(|| damaged(object, data))
}

/// A number of a header: octal digits, or bytes where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let bytes = std::iter::once(first & 0x7f).chain(rest.iter().copied());
        return bytes
            .into_iter()
            .try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(byte.into()));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The size that an extended header gives its member: lines of `<length> size=<bytes>`.
fn size_in(extended: &[u8]) -> Option<u64> {
    let mut rest = extended;
    let mut size = None;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let len: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..len)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value).ok()?.trim_end().parse().ok();
        }
        rest = &rest[len..];
    }
    size
}

fn damaged(object: &Object, at: u64) -> Error {
    Error::Customer(format!(
        "params.partitioner: the archive {:?} is damaged or ends too early: there is no header of \
         a member at byte {at}",
        object.shown()
    ))
}

#[cfg(test)]
mod tests;

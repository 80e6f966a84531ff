//! Pages of lists. A cursor says where the page before ended; clients only carry it.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::api::http::shape::{Field, integer, text};
use crate::error::{Error, Result};
use crate::listing::Page;

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 1_000;

pub const LIMIT: Field =
    integer("limit", "At most this many, 1 to 1000; 50 where it is left out").example("50");
pub const CURSOR: Field = text("cursor", "The next_cursor of the page before");

/// What every list takes.
pub const PAGE: [Field; 2] = [LIMIT, CURSOR];

/// How many rows a query asks for.
pub fn limit(query: &BTreeMap<String, String>) -> Result<u32> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT_DEFAULT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        Error::field("limit", format!("must be a whole number from 1 to {LIMIT_MAX}"))
    })
}

/// Where the page before ended.
pub fn cursor<T: FromStr>(query: &BTreeMap<String, String>) -> Result<Option<T>> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    let place = text.parse().map(Some);
    place.map_err(|_| Error::field("cursor", "must be the next_cursor of the page before"))
}

/// The page that a query asks for, of a list whose cursor counts the rows before it.
pub fn numbered(query: &BTreeMap<String, String>) -> Result<Page> {
    Ok(Page { offset: cursor(query)?.unwrap_or(0), limit: limit(query)?.into() })
}

/// The cursor that asks for more than this page and the `n` rows on it, where there is more.
pub fn after(page: Page, n: usize, total: u64) -> Option<String> {
    let before = page.offset.saturating_add(n as u64);
    (n > 0 && before < total).then(|| before.to_string())
}

/// The cursor that asks for more, where a page is full.
pub fn next<T, C: ToString>(rows: &[T], limit: u32, place: impl Fn(&T) -> C) -> Option<String> {
    let last = rows.last().filter(|_| rows.len() >= limit as usize)?;
    Some(place(last).to_string())
}

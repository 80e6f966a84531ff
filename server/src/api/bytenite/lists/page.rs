//! Pages of lists, as this API asks for and gives them.

use std::collections::BTreeMap;

use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::shape::{Field, integer};
use crate::error::{Error, Result};
pub use crate::listing::Page;

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 1000;

/// What the query of a list by offsets may ask.
pub const PAGE: &[Field] = &[LIMIT.called("pagination.limit"), OFFSET.called("pagination.offset")];

pub const LIMIT: Field =
    integer("limit", "At most this many: 50 where it is left out, never more than 1000")
        .example("50");
pub const OFFSET: Field = integer("offset", "Skips this many");

/// What the answer says about its part of the list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// How many there are in all; left out with a cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Left out with a cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    has_previous: bool,
    has_next: bool,
    /// Where a cursor was asked with: the one that asks for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Pages as this API writes them.
impl Page {
    pub const FIRST: Self = Self { offset: 0, limit: LIMIT_DEFAULT };

    pub fn read(query: &BTreeMap<String, String>) -> Result<Self> {
        let number = |name: &str| {
            let Some((field, text)) = [format!("pagination.{name}"), name.to_owned()]
                .into_iter()
                .find_map(|field| query.get(&field).map(|text| (field, text)))
            else {
                return Ok(None);
            };
            // The database counts with a sign.
            let number = text.parse().ok().filter(|n| *n <= i64::MAX.unsigned_abs());
            number.map(Some).ok_or_else(|| Error::field(field, "must be a whole number"))
        };
        Ok(Self::new(number("limit")?, number("offset")?))
    }

    /// Reads the `pagination` of a body.
    pub fn from_body(mut fields: Loose) -> Result<Self> {
        let range = 0..=i64::MAX.unsigned_abs();
        let (limit, offset) =
            (fields.number("limit", range.clone())?, fields.number("offset", range)?);
        fields.finish()?;
        Ok(Self::new(limit, offset))
    }

    fn new(limit: Option<u64>, offset: Option<u64>) -> Self {
        let limit = match limit {
            None | Some(0) => LIMIT_DEFAULT,
            Some(limit) => limit.min(LIMIT_MAX),
        };
        Self { offset: offset.unwrap_or(0), limit }
    }

    /// Of a page that has this many rows, which may be fewer than its limit: large rows fill it.
    pub const fn of(self, total: u64, rows: u64) -> Pagination {
        Pagination {
            total: Some(total),
            offset: Some(self.offset),
            has_previous: self.offset > 0 && total > 0,
            has_next: rows > 0 && self.offset.saturating_add(rows) < total,
            next_cursor: None,
        }
    }
}

impl Pagination {
    pub const fn by_cursor(has_previous: bool, next: Option<String>) -> Self {
        let has_next = next.is_some();
        Self { total: None, offset: None, has_previous, has_next, next_cursor: next }
    }
}

/// A page in the shape of the customer's and the wallet's lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paged<T> {
    pub pagination: Pagination,
    #[schema(inline)]
    pub data: Vec<T>,
}

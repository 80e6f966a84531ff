//! Pages of lists, as this API asks for and gives them.

use std::collections::BTreeMap;

use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Error, Result};
use super::shape::{Field, Kind, Shape, integer, one, text, word};

const LIMIT_DEFAULT: u64 = 50;
const LIMIT_MAX: u64 = 1000;

/// What a list's query may ask.
pub const PAGE: &[Field] = &[
    integer("pagination.limit", "At most so many; 50 where it is left out"),
    integer("pagination.offset", "After so many"),
    text("orderBy", "As `createdAt desc, name`"),
];

/// What a filter call may ask.
pub const FILTER: &[Field] = &[
    one("pagination", &PAGINATION, ""),
    Field::new("filters", Kind::Many(&FILTERS), "All of them must be met"),
    text("orderBy", "As `createdAt desc, name`"),
];

const PAGINATION: Shape =
    Shape { name: "PaginationIn", fields: &[integer("limit", ""), integer("offset", "")] };

const FILTERS: Shape = Shape {
    name: "CommonFilter",
    fields: &[
        text("field", "").required(),
        word("condition", &CONDITIONS, "").required(),
        Field::new("value", Kind::Any, "Plain, or a protobuf Any"),
    ],
};

const CONDITIONS: [&str; 11] = [
    "FILTER_CONDITION_EQ",
    "FILTER_CONDITION_NEQ",
    "FILTER_CONDITION_GT",
    "FILTER_CONDITION_GTE",
    "FILTER_CONDITION_LT",
    "FILTER_CONDITION_LTE",
    "FILTER_CONDITION_ARRAY_CONTAINS",
    "FILTER_CONDITION_ARRAY_CONTAINS_ANY",
    "FILTER_CONDITION_IN",
    "FILTER_CONDITION_NOT_IN",
    "FILTER_CONDITION_LIKE",
];

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub offset: u64,
    pub limit: u64,
}

/// What the answer says about its part of the list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    total: u64,
    offset: u64,
    has_previous: bool,
    has_next: bool,
}

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

    pub const fn of(self, total: u64) -> Pagination {
        Pagination {
            total,
            offset: self.offset,
            has_previous: self.offset > 0 && total > 0,
            has_next: self.offset.saturating_add(self.limit) < total,
        }
    }
}

/// A page in the shape of the customer's and the wallet's lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paged<T> {
    pub pagination: Pagination,
    #[schema(inline)]
    pub data: Vec<T>,
}

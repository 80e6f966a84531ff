//! Which part of a list a caller asks for, and in what order.

use std::collections::BTreeMap;

use common::package::loose::Loose;
use serde_json::Value;

use super::named::Named;
use super::page::{LIMIT, OFFSET, Page, Pagination};
use super::{cursor, filter};
use crate::api::http::shape::{Field as ShapeField, Kind as ShapeKind, Shape, one, text};
use crate::error::{Error, Result};
use crate::listing::{Found, Rest, Selection, Start, Test};

const FILTERS_MAX: usize = 50;
const ORDERS_MAX: usize = 5;

/// What a list's query may ask.
pub const LIST: &[ShapeField] = &[
    LIMIT.called("pagination.limit"),
    OFFSET.called("pagination.offset"),
    CURSOR.called("pagination.cursor"),
    ORDER_BY,
];

/// What a filter call may ask.
pub const FILTER: &[ShapeField] = &[
    one("pagination", &PAGINATION, ""),
    ShapeField::new("filters", ShapeKind::Many(&filter::SHAPE), "All of them must be met"),
    ORDER_BY,
];

const PAGINATION: Shape = Shape { name: "PaginationIn", fields: &[LIMIT, OFFSET, CURSOR] };

const CURSOR: ShapeField = text(
    "cursor",
    "Instead of an offset: * for the first page, then the nextCursor of the page before, in the \
     same order. Nothing is counted, so that the last page comes as quickly as the first.",
);

const ORDER_BY: ShapeField = text("orderBy", "As `createdAt desc, id`").example("createdAt desc");

/// Reads a list's query; `order` is the one where none is asked for.
pub fn from_query<F: Named>(
    query: &BTreeMap<String, String>,
    order: &[(F, bool)],
) -> Result<Selection<F>> {
    let page = Page::read(query)?;
    let cursor = query.get("pagination.cursor").or_else(|| query.get("cursor"));
    let text = query.get("orderBy").or_else(|| query.get("order_by"));
    let text = text.map_or("", String::as_str);
    select(page, cursor.map(String::as_str), Vec::new(), text, order)
}

/// Reads a list's query, where fields of the query ask for rows whose field is equal.
pub fn from_query_with<F: Named>(
    query: &BTreeMap<String, String>,
    order: &[(F, bool)],
    equal: &[(&str, F)],
) -> Result<Selection<F>> {
    let mut selection = from_query(query, order)?;
    for (name, field) in equal {
        if let Some(text) = query.get(*name).filter(|text| !text.is_empty()) {
            selection.tests.push(filter::equals(name, *field, text)?);
        }
    }
    Ok(selection)
}

/// Reads the body of a filter call.
pub fn from_body<F: Named>(mut body: Loose, order: &[(F, bool)]) -> Result<Selection<F>> {
    let (page, cursor) = match body.object("pagination")? {
        None => (Page::FIRST, None),
        Some(mut fields) => {
            let cursor = fields.text("cursor")?;
            (Page::from_body(fields)?, cursor)
        }
    };
    let filters = match body.value("filters") {
        None => Vec::new(),
        Some(Value::Array(filters)) if filters.len() <= FILTERS_MAX => filters,
        Some(_) => {
            let problem = format!("must be a list of at most {FILTERS_MAX} filters");
            return Err(Error::field("filters", problem));
        }
    };
    let mut tests = Vec::with_capacity(filters.len());
    for (at, filter) in filters.into_iter().enumerate() {
        tests.push(filter::read(Loose::new(format!("filters[{at}]"), filter)?)?);
    }
    let text = body.text("orderBy")?.unwrap_or_default();
    body.finish()?;
    select(page, cursor.as_deref(), tests, &text, order)
}

/// What an answer says about its part of the list.
pub fn pagination<F: Named, T>(selection: &Selection<F>, found: &Found<T>) -> Pagination {
    match &found.rest {
        Rest::Total(total) => {
            let offset = match selection.start {
                Start::Offset(offset) => offset,
                Start::Place(_) => 0,
            };
            Page { offset, limit: selection.limit }.of(*total, found.rows.len() as u64)
        }
        Rest::After(after) => {
            let next = after.as_ref().map(|place| cursor::write(&selection.strict_order(), place));
            Pagination::by_cursor(selection.start != Start::Place(None), next)
        }
    }
}

fn select<F: Named>(
    page: Page,
    cursor: Option<&str>,
    tests: Vec<(F, Test)>,
    order: &str,
    default: &[(F, bool)],
) -> Result<Selection<F>> {
    let order = if order.is_empty() { default.to_vec() } else { read_order(order)? };
    let start = Start::Offset(page.offset);
    let mut selection = Selection { tests, order, start, limit: page.limit };
    if let Some(text) = cursor.filter(|text| !text.is_empty()) {
        if page.offset > 0 {
            return Err(Error::field("pagination.offset", "cannot stand beside a cursor"));
        }
        selection.start = Start::Place(match text {
            cursor::FIRST => None,
            text => Some(cursor::read(&selection.strict_order(), text).ok_or_else(|| {
                let problem = "must be *, or the nextCursor of this list in this order";
                Error::field("pagination.cursor", problem)
            })?),
        });
    }
    Ok(selection)
}

/// Reads `createdAt desc, name`; `-createdAt` and `createdAt:desc` say the same.
fn read_order<F: Named>(text: &str) -> Result<Vec<(F, bool)>> {
    let mut order = Vec::new();
    for term in text.split(',').map(str::trim).filter(|term| !term.is_empty()) {
        let (name, direction) = match term.split_once([' ', ':']) {
            Some((name, direction)) => (name, direction.trim()),
            None => (term, ""),
        };
        let (name, minus) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let field = filter::find_field("orderBy", name)?;
        let descending = match direction.to_lowercase().as_str() {
            "" => minus,
            "asc" if !minus => false,
            "desc" if !minus => true,
            _ => return Err(Error::field("orderBy", "must be a field and asc or desc")),
        };
        order.push((field, descending));
    }
    if order.len() > ORDERS_MAX {
        let problem = format!("must name at most {ORDERS_MAX} fields");
        return Err(Error::field("orderBy", problem));
    }
    Ok(order)
}

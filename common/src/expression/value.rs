//! Values while an expression is evaluated. Clones share what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;

use super::{DEPTH_MAX, Fault};

#[derive(Debug, Clone)]
pub(super) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    List(Arc<List>),
    /// The whole numbers from the first to the last; none where the last is less.
    Range(i64, i64),
    Map(Arc<Map>),
    Time(DateTime<Tz>),
    Duration(TimeDelta),
    Zone(Tz),
}

#[derive(Debug)]
pub(super) struct List {
    pub items: Vec<Value>,
    depth: u8,
}

#[derive(Debug)]
pub(super) struct Map {
    pub entries: BTreeMap<String, Value>,
    /// What is not there is the empty text, and otherwise nil.
    pub is_textual: bool,
    depth: u8,
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }

    /// # Errors
    /// The elements have too many levels.
    pub fn list(items: Vec<Self>) -> Result<Self, Fault> {
        let depth = level(items.iter())?;
        Ok(Self::List(Arc::new(List { items, depth })))
    }

    /// # Errors
    /// The entries have too many levels.
    pub fn map(entries: BTreeMap<String, Self>) -> Result<Self, Fault> {
        let depth = level(entries.values())?;
        Ok(Self::Map(Arc::new(Map { entries, is_textual: false, depth })))
    }

    /// A map of which what is not there is the empty text.
    ///
    /// # Errors
    /// The entries have too many levels.
    pub fn textual_map(entries: BTreeMap<String, Self>) -> Result<Self, Fault> {
        let depth = level(entries.values())?;
        Ok(Self::Map(Arc::new(Map { entries, is_textual: true, depth })))
    }

    fn depth(&self) -> u8 {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Range(..)
            | Self::Time(_)
            | Self::Duration(_)
            | Self::Zone(_) => 0,
        }
    }

    /// What kind of value it is, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) | Self::Range(..) => "a list",
            Self::Map(_) => "a map",
            Self::Time(_) => "a time",
            Self::Duration(_) => "a duration",
            Self::Zone(_) => "a time zone",
        }
    }

    /// What `type()` calls it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "string",
            Self::List(_) | Self::Range(..) => "array",
            Self::Map(_) => "map",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Zone(_) => "time.Location",
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// How many levels something has that these are in.
fn level<'a>(of: impl Iterator<Item = &'a Value>) -> Result<u8, Fault> {
    let depth = of.map(Value::depth).max().unwrap_or(0) + 1;
    if depth > DEPTH_MAX { Err(Fault::TooDeep) } else { Ok(depth) }
}

/// How many numbers there are from one to another.
pub(super) fn range_len(from: i64, to: i64) -> Result<i64, Fault> {
    if to < from {
        return Ok(0);
    }
    to.checked_sub(from).and_then(|len| len.checked_add(1)).ok_or(Fault::Overflow)
}

//! Lists whose elements are worked on one by one.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Fault;
use super::evaluator::Evaluation;
use super::value::{Value, range_len};

/// The most elements of a list.
pub const ITEMS_MAX: u32 = 1_000_000;

/// The elements of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Items {
    /// Whole numbers, one after the other.
    Numbers {
        from: i64,
        len: u32,
    },
    Values(Vec<Json>),
}

impl Items {
    pub fn len(&self) -> u32 {
        match self {
            Self::Numbers { len, .. } => *len,
            Self::Values(values) => u32::try_from(values.len()).unwrap_or(u32::MAX),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element with this index, counted from 0.
    pub fn get(&self, index: u32) -> Option<Json> {
        match self {
            Self::Numbers { from, len } => {
                (index < *len).then(|| from.saturating_add(index.into()).into())
            }
            Self::Values(values) => values.get(usize::try_from(index).ok()?).cloned(),
        }
    }
}

/// The elements that a value stands for.
pub(super) fn items(evaluation: &mut Evaluation<'_>, value: &Value) -> Result<Items, Fault> {
    let json = match value {
        Value::Int(len) => return numbers(0, *len),
        Value::Range(from, to) => return numbers(*from, range_len(*from, *to)?),
        Value::Text(text) => {
            evaluation.spend_bytes(text.len())?;
            serde_json::from_str(text).map_err(|_| Fault::NoList(value.kind()))?
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Zone(_) => evaluation.json(value)?,
    };
    match json {
        Json::Array(values) if values.len() <= ITEMS_MAX as usize => Ok(Items::Values(values)),
        Json::Array(_) => Err(Fault::TooManyItems),
        Json::Number(len) => numbers(0, len.as_i64().ok_or(Fault::NoList("a number"))?),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Object(_) => {
            Err(Fault::NoList(value.kind()))
        }
    }
}

fn numbers(from: i64, len: i64) -> Result<Items, Fault> {
    if len < 0 {
        return Err(Fault::NoList("a negative number"));
    }
    let len = u32::try_from(len).ok().filter(|len| *len <= ITEMS_MAX);
    Ok(Items::Numbers { from, len: len.ok_or(Fault::TooManyItems)? })
}

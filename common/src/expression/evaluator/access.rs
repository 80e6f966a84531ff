//! Reading of members, elements and slices.

use std::sync::Arc;

use serde_json::Value as Json;

use super::super::syntax::Node;
use super::super::value::{Value, range_len};
use super::super::{Fault, number};
use super::Evaluation;

impl Evaluation<'_> {
    /// A value of the scope.
    pub(super) fn root(&mut self, name: &str) -> Result<Value, Fault> {
        let scope = self.scope;
        let json = scope.get(name).ok_or_else(|| Fault::UnknownName(name.to_owned()))?;
        match json {
            Json::Object(members) => {
                let entries = self.entries_of_json(members)?;
                Value::textual_map(entries)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                self.of_json(json)
            }
        }
    }

    pub(super) fn member(
        &mut self,
        of: &Node,
        key: &Node,
        is_optional: bool,
    ) -> Result<Value, Fault> {
        let scope = self.scope;
        // One member of a large map is read without the others.
        if let Node::Root(name) = of
            && let Some(Json::Object(members)) = scope.get(name)
        {
            let key = self.evaluate(key)?;
            let Value::Text(key) = &key else {
                return Err(Fault::Key { of: "a map", key: key.kind() });
            };
            let member = members.get(&**key);
            return member.map_or_else(|| Ok(Value::text("")), |json| self.of_json(json));
        }
        let of = self.evaluate(of)?;
        if matches!(of, Value::Nil) && is_optional {
            return Ok(Value::Nil);
        }
        let key = self.evaluate(key)?;
        match (&of, &key) {
            (Value::Map(map), Value::Text(key)) => {
                self.spend_bytes(key.len())?;
                let missing = || if map.is_textual { Value::text("") } else { Value::Nil };
                Ok(map.entries.get(&**key).cloned().unwrap_or_else(missing))
            }
            (Value::List(list), Value::Int(index)) => {
                let len = list.items.len();
                let place = from_end(*index, len);
                let item = place.and_then(|place| list.items.get(place));
                item.cloned().ok_or(Fault::NoElement { index: *index, len })
            }
            (Value::Range(from, to), Value::Int(index)) => {
                let len = usize::try_from(range_len(*from, *to)?).map_err(|_| Fault::Overflow)?;
                let place = from_end(*index, len).filter(|place| *place < len);
                let place = place.and_then(|place| i64::try_from(place).ok());
                let item = place.and_then(|place| from.checked_add(place));
                item.map(Value::Int).ok_or(Fault::NoElement { index: *index, len })
            }
            (Value::Map(_) | Value::List(_) | Value::Range(..), _) => {
                Err(Fault::Key { of: of.kind(), key: key.kind() })
            }
            _ => Err(Fault::NoMembers(of.kind())),
        }
    }

    pub(super) fn slice(
        &mut self,
        of: &Node,
        from: Option<&Node>,
        to: Option<&Node>,
    ) -> Result<Value, Fault> {
        let of = self.evaluate(of)?;
        let mut bound = |node: Option<&Node>| {
            let value = node.map(|node| self.evaluate(node)).transpose()?;
            value.map(|value| number::whole("a slice", &value)).transpose()
        };
        let (from, to) = (bound(from)?, bound(to)?);
        if let Value::Text(text) = &of {
            self.spend_bytes(text.len())?;
            let chars = text.chars().count();
            let (start, end) = bounds(from, to, chars);
            let part: String = text.chars().skip(start).take(end - start).collect();
            return self.made_text(&part);
        }
        let items = self.elements_of("a slice", &of)?;
        let (start, end) = bounds(from, to, items.len());
        self.made_list(items[start..end].to_vec())
    }

    /// The elements of a list, for an operator or function of this name.
    pub fn elements_of(
        &mut self,
        operator: &'static str,
        value: &Value,
    ) -> Result<Elements, Fault> {
        match value {
            Value::List(list) => Ok(Elements::Shared(Arc::clone(list))),
            Value::Range(from, to) => {
                let len = usize::try_from(range_len(*from, *to)?).map_err(|_| Fault::Overflow)?;
                self.spend_items(len)?;
                Ok(Elements::Made((*from..=*to).take(len).map(Value::Int).collect()))
            }
            Value::Nil
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_)
            | Value::Time(_)
            | Value::Duration(_)
            | Value::Zone(_) => Err(Fault::Operand { operator, operand: value.kind() }),
        }
    }
}

/// The elements of a list.
pub(in super::super) enum Elements {
    Shared(Arc<super::super::value::List>),
    Made(Vec<Value>),
}

impl std::ops::Deref for Elements {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        match self {
            Self::Shared(list) => &list.items,
            Self::Made(items) => items,
        }
    }
}

/// The place of an element. A negative index counts from the end.
fn from_end(index: i64, len: usize) -> Option<usize> {
    let place = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { len.checked_sub(place) } else { Some(place) }
}

/// The places where a slice begins and ends, which are in the list.
fn bounds(from: Option<i64>, to: Option<i64>, len: usize) -> (usize, usize) {
    let place = |index: i64| {
        let place = from_end(index, len);
        place.unwrap_or(if index < 0 { 0 } else { len }).min(len)
    };
    let (start, end) = (from.map_or(0, place), to.map_or(len, place));
    (start.min(end), end)
}

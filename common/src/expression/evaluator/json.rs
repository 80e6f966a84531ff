//! Values from JSON, as JSON, and as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::super::value::Value;
use super::super::{Fault, RESULT_BYTES_MAX, number, time};
use super::Evaluation;

impl Evaluation<'_> {
    pub fn of_json(&mut self, json: &Json) -> Result<Value, Fault> {
        self.spend(1)?;
        Ok(match json {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(value) => match value.as_i64() {
                Some(value) => Value::Int(value),
                None => Value::Float(value.as_f64().ok_or(Fault::Overflow)?),
            },
            Json::String(text) => {
                self.spend_bytes(text.len())?;
                Value::text(text)
            }
            Json::Array(items) => {
                let items = items.iter().map(|item| self.of_json(item));
                let items = items.collect::<Result<_, _>>()?;
                self.made_list(items)?
            }
            Json::Object(members) => Value::map(self.entries_of_json(members)?)?,
        })
    }

    pub(super) fn entries_of_json(
        &mut self,
        members: &Map<String, Json>,
    ) -> Result<BTreeMap<String, Value>, Fault> {
        let mut entries = BTreeMap::new();
        for (key, json) in members {
            self.spend_bytes(key.len())?;
            self.spend_items(1)?;
            entries.insert(key.clone(), self.of_json(json)?);
        }
        Ok(entries)
    }

    /// The value as JSON, which is no longer than a result may be.
    pub fn json(&mut self, value: &Value) -> Result<Json, Fault> {
        let json = self.nested_json(value)?;
        if json.to_string().len() > RESULT_BYTES_MAX { Err(Fault::TooLong) } else { Ok(json) }
    }

    fn nested_json(&mut self, value: &Value) -> Result<Json, Fault> {
        self.spend(1)?;
        Ok(match value {
            Value::Nil => Json::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => number::json(*value)?,
            Value::Text(text) => {
                self.spend_bytes(text.len())?;
                Json::String((**text).to_owned())
            }
            Value::List(_) | Value::Range(..) => {
                let items = self.elements_of("JSON", value)?;
                self.spend_items(items.len())?;
                let items = items.iter().map(|item| self.nested_json(item));
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Map(map) => {
                let mut members = Map::new();
                for (key, value) in &map.entries {
                    self.spend_bytes(key.len())?;
                    self.spend_items(1)?;
                    members.insert(key.clone(), self.nested_json(value)?);
                }
                Json::Object(members)
            }
            Value::Time(value) => Json::String(time::print(*value)),
            Value::Duration(value) => Json::String(time::print_duration(*value)),
            Value::Zone(zone) => Json::String(zone.name().to_owned()),
        })
    }

    /// The value as text: lists and maps as JSON, what is not there as the empty text.
    pub fn print(&mut self, value: &Value) -> Result<String, Fault> {
        let mut text = String::new();
        match value {
            Value::Nil => {}
            Value::Text(value) => {
                self.spend_bytes(value.len())?;
                text.push_str(value);
            }
            Value::Float(value) => text = number::print(*value),
            Value::Bool(value) => {
                // Writing to a text does not fail.
                let _ = write!(text, "{value}");
            }
            Value::Int(value) => {
                let _ = write!(text, "{value}");
            }
            Value::Time(value) => text = time::print(*value),
            Value::Duration(value) => text = time::print_duration(*value),
            Value::Zone(zone) => text.push_str(zone.name()),
            Value::List(_) | Value::Range(..) | Value::Map(_) => {
                text = self.json(value)?.to_string();
                self.spend_bytes(text.len())?;
            }
        }
        Ok(text)
    }
}

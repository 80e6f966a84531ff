//! JSON from outside: read within bounds, and every refusal names the field.
//!
//! What is accepted here is stored inside other documents, which nest it a few levels deeper, and
//! must be readable there: the bounds lie far below those of `serde_json`.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::package::loose::Invalid;

/// The most lists and objects inside one another.
pub const DEPTH_MAX: usize = 64;
/// The most values of one document, counting lists and objects. A value takes about 100 bytes of
/// memory, however short its text is.
pub const VALUES_MAX: usize = 200_000;
/// Names of the path to a field that a message shows.
const PATH_SHOWN: usize = 4;
const PATH_CHARS_MAX: usize = 120;

/// Reads JSON text; `field` is its own name in messages, empty for a body.
///
/// # Errors
/// Names the field at which the text is not JSON, or goes beyond `DEPTH_MAX` or `VALUES_MAX`.
pub fn read(field: &str, json: &[u8]) -> Result<Value, Invalid> {
    let state = RefCell::new(State::default());
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = Bounded { levels: DEPTH_MAX, state: &state }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| {
        let State { path, refusal, .. } = state.into_inner();
        let problem = refusal.unwrap_or_else(|| format!("is not JSON: {error}"));
        Invalid::new(named(field, &path), problem)
    })
}

/// The name of the field that a path leads to. Only its beginning is shown of a long one.
fn named(field: &str, path: &[String]) -> String {
    let shown = path.iter().take(PATH_SHOWN).map(String::as_str);
    let outer = Some(field).filter(|field| !field.is_empty());
    let name = outer.into_iter().chain(shown).collect::<Vec<_>>().join(".");
    let name = name.chars().filter(|c| !c.is_control()).take(PATH_CHARS_MAX).collect::<String>();
    if name.is_empty() { "body".to_owned() } else { name }
}

#[derive(Default)]
struct State {
    /// The names of the objects' fields that are being read.
    path: Vec<String>,
    values: usize,
    refusal: Option<String>,
}

/// Reads one value with at most this many levels of lists and objects in it.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    levels: usize,
    state: &'a RefCell<State>,
}

impl<'a> Bounded<'a> {
    /// The same for what is inside a list or an object.
    fn inner<E: serde::de::Error>(self) -> Result<Bounded<'a>, E> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return Err(self.refuse(format!(
                "has more than {DEPTH_MAX} lists and objects inside one another"
            )));
        };
        Ok(Bounded { levels, ..self })
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        self.state.borrow_mut().values += 1;
        if self.state.borrow().values > VALUES_MAX {
            return Err(self.refuse(format!("brings the whole to more than {VALUES_MAX} values")));
        }
        Ok(())
    }

    fn refuse<E: serde::de::Error>(self, refusal: String) -> E {
        let error = E::custom(&refusal);
        self.state.borrow_mut().refusal = Some(refusal);
        error
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("no finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            self.state.borrow_mut().path.push(key.clone());
            let value = fields.next_value_seed(inner)?;
            self.state.borrow_mut().path.pop();
            if map.contains_key(&key) {
                self.state.borrow_mut().path.push(key);
                let refusal = "is given twice".to_owned();
                self.state.borrow_mut().refusal = Some(refusal);
                return Err(A::Error::custom("a key is given twice"));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// This many objects inside one another.
    fn nested(levels: usize) -> String {
        format!("{}{}", r#"{"a":"#.repeat(levels - 1) + "{}", "}".repeat(levels - 1))
    }

    #[test]
    fn json_deeper_than_64_levels_is_refused_by_name() {
        assert!(read("", nested(64).as_bytes()).is_ok());
        assert!(read("", format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
        let deep = format!(r#"{{"x": 1, "params": {}}}"#, nested(64));
        let refused = read("", deep.as_bytes()).unwrap_err();
        assert_eq!(refused.field, "params.a.a.a");
        assert!(refused.problem.contains("more than 64"), "{refused}");
        for levels in [127, 128, 500_000] {
            let refused = read("manifest.json", nested(levels).as_bytes()).unwrap_err();
            assert!(refused.problem.contains("more than 64"), "{levels}: {refused}");
            assert!(refused.field.starts_with("manifest.json.a."), "{refused}");
        }
    }

    #[test]
    fn json_of_too_many_values_is_refused() {
        let long = format!(r#"{{"list":[{}0]}}"#, "0,".repeat(VALUES_MAX));

        let refused = read("", long.as_bytes()).unwrap_err();

        assert_eq!(refused.field, "list");
        assert!(refused.problem.contains("values"), "{refused}");
    }

    #[test]
    fn json_error_names_its_field() {
        for (text, field) in [
            (r#"{"a": {"b": tru}}"#, "a.b"),
            (r#"{"a": 1e999}"#, "a"),
            (r#"{"a": "\ud800"}"#, "a"),
            (r#"{"a": 1, "a": 2}"#, "a"),
            ("", "body"),
            ("{} x", "body"),
        ] {
            assert_eq!(read("", text.as_bytes()).unwrap_err().field, field, "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_read_as_it_was_written(value in value()) {
            prop_assert_eq!(read("", value.to_string().as_bytes()), Ok(value));
        }
    }

    #[test]
    fn json_numbers_keep_their_kind() {
        let value = read("", br#"[18446744073709551615, -1, 0.5, 1e300]"#).unwrap();

        assert_eq!(value, json!([u64::MAX, -1, 0.5, 1e300]));
    }
}

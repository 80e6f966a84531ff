//! Filters of lists: a field, a condition and a value, as callers write them.

use chrono::{DateTime, Utc};
use common::input::exact::{plain, whole};
use common::money::credits::Credits;
use common::package::loose::Loose;
use serde_json::Value;
use uuid::Uuid;

use super::named::Named;
use crate::api::http::shape::{Field as ShapeField, Kind as ShapeKind, Shape, text, word};
use crate::error::{Error, Result};
use crate::listing::{Comparison, Kind, Operand, Test};

const OPERANDS_MAX: usize = 1_000;
const LIST_OPERANDS_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 4_096;
/// Wrappers inside wrappers.
const DEPTH_MAX: usize = 4;

pub const SHAPE: Shape = Shape {
    name: "CommonFilter",
    fields: &[
        text("field", "As answers call it, such as name or createdAt")
            .required()
            .example("createdAt"),
        word(
            "condition",
            &CONDITIONS,
            "LIKE takes a pattern in any case: % is any text, _ any character, and without a % it \
             is looked for anywhere in the text; IN and NOT_IN take lists; fields that are lists \
             take ARRAY_CONTAINS and ARRAY_CONTAINS_ANY alone",
        )
        .required()
        .example("FILTER_CONDITION_GT"),
        ShapeField::new("value", ShapeKind::Any, "Plain, or a protobuf Any")
            .example("\"2026-01-31T12:00:00Z\""),
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

/// Reads one test of a list's rows.
pub fn read<F: Named>(mut filter: Loose) -> Result<(F, Test)> {
    let at = filter.name("field");
    let field: F = find_field(&at, &filter.required_text("field")?)?;
    let at = filter.name("condition");
    let condition = filter.required_text("condition")?.to_uppercase();
    let value_at = filter.name("value");
    let value = unwrap(filter.value("value").unwrap_or_default(), &value_at, 0)?;
    filter.finish()?;
    let operands = Operands::of(&value_at, field);
    let compare = |how| operands.compare(how, &value);
    let list = field.kind() == Kind::Texts;
    let test = match condition.strip_prefix("FILTER_CONDITION_").unwrap_or(&condition) {
        "ARRAY_CONTAINS" if list => Test::HasAll(operands.texts(&value)?),
        "ARRAY_CONTAINS_ANY" if list => Test::HasAny(operands.texts(&value)?),
        _ if list => {
            let problem = "must be ARRAY_CONTAINS or ARRAY_CONTAINS_ANY for a list";
            return Err(Error::field(at, problem));
        }
        "EQ" => compare(Comparison::Equal)?,
        "NEQ" => compare(Comparison::NotEqual)?,
        "GT" => compare(Comparison::Greater)?,
        "GTE" => compare(Comparison::GreaterOrEqual)?,
        "LT" => compare(Comparison::Less)?,
        "LTE" => compare(Comparison::LessOrEqual)?,
        "IN" => Test::In(operands.all(&value)?),
        "NOT_IN" => Test::NotIn(operands.all(&value)?),
        "LIKE" => operands.like(&value)?,
        "ARRAY_CONTAINS" | "ARRAY_CONTAINS_ANY" => {
            return Err(Error::field(at, format!("{} is not a list", field.name())));
        }
        _ => {
            let problem = "must be FILTER_CONDITION_ and EQ, NEQ, GT, GTE, LT, LTE, \
                           ARRAY_CONTAINS, ARRAY_CONTAINS_ANY, IN, NOT_IN or LIKE";
            return Err(Error::field(at, problem));
        }
    };
    Ok((field, test))
}

/// The test that a field is what a query says; `at` is the query's field.
pub fn equals<F: Named>(at: &str, field: F, text: &str) -> Result<(F, Test)> {
    let operands = Operands::of(at, field);
    let value = Value::String(text.to_owned());
    Ok((field, operands.compare(Comparison::Equal, &value)?))
}

/// The field that a caller names.
pub fn find_field<F: Named>(at: &str, name: &str) -> Result<F> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let found = F::ALL.iter().find(|field| plain(field.name()) == plain(name));
    found.copied().ok_or_else(|| {
        let names: Vec<_> = F::ALL.iter().map(|field| field.name()).collect();
        Error::field(at, format!("must be one of {}", names.join(", ")))
    })
}

/// The value inside the wrappers that protobuf's JSON puts around one: `Any` of a wrapper type,
/// of a list, or of a `Value`.
fn unwrap(value: Value, at: &str, depth: usize) -> Result<Value> {
    if depth > DEPTH_MAX {
        return Err(Error::field(at, "is wrapped too often"));
    }
    let inner = |value| unwrap(value, at, depth + 1);
    match value {
        Value::Array(items) => {
            Ok(Value::Array(items.into_iter().map(inner).collect::<Result<_>>()?))
        }
        Value::Object(mut map) => {
            map.remove("@type");
            let mut fields = map.into_iter();
            match (fields.next(), fields.next()) {
                (None, _) => Ok(Value::Null),
                (Some((key, value)), None) => match key.replace('_', "").to_lowercase().as_str() {
                    "value" | "values" | "stringvalue" | "numbervalue" | "boolvalue"
                    | "listvalue" | "int64value" | "int32value" | "doublevalue" => inner(value),
                    "nullvalue" => Ok(Value::Null),
                    _ => Err(Error::field(at, "must be a value, or one with its @type")),
                },
                _ => Err(Error::field(at, "must be a value, or one with its @type")),
            }
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Ok(plain),
    }
}

/// Reads values as a field of this kind takes them.
struct Operands<'a> {
    at: &'a str,
    kind: Kind,
    choices: &'static [&'static str],
}

impl<'a> Operands<'a> {
    fn of<F: Named>(at: &'a str, field: F) -> Self {
        Self { at, kind: field.kind(), choices: field.choices() }
    }

    fn compare(&self, how: Comparison, value: &Value) -> Result<Test> {
        if value.is_null() && self.kind != Kind::Text {
            if how == Comparison::Equal {
                return Ok(Test::Unset);
            }
            if how == Comparison::NotEqual {
                return Ok(Test::Set);
            }
        }
        Ok(Test::Compare(how, self.one(value)?))
    }

    fn all(&self, value: &Value) -> Result<Vec<Operand>> {
        self.items(value, OPERANDS_MAX)?.iter().map(|item| self.one(item)).collect()
    }

    fn texts(&self, value: &Value) -> Result<Vec<String>> {
        self.items(value, LIST_OPERANDS_MAX)?.iter().map(|item| self.text(item)).collect()
    }

    /// A list's values; a single value is a list of one.
    fn items<'v>(&self, value: &'v Value, count_max: usize) -> Result<&'v [Value]> {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if items.len() > count_max {
            return Err(self.refuse(format!("must be a list of at most {count_max} values")));
        }
        Ok(items)
    }

    fn like(&self, value: &Value) -> Result<Test> {
        let pattern = anywhere(self.text(value)?);
        match self.kind {
            Kind::Text if dangling_escape(&pattern) => {
                Err(self.refuse("must not end in a single backslash".to_owned()))
            }
            Kind::Text => Ok(Test::Like(pattern)),
            Kind::Choice => {
                let like = |(number, name): (i64, &&str)| {
                    is_like(&name.to_lowercase(), &pattern.to_lowercase())
                        .then_some(Operand::Number(number))
                };
                Ok(Test::In((0..).zip(self.choices).filter_map(like).collect()))
            }
            Kind::Uuid | Kind::Time | Kind::Count | Kind::Amount | Kind::Texts => {
                Err(self.refuse("can be LIKE a pattern in texts only".to_owned()))
            }
        }
    }

    fn one(&self, value: &Value) -> Result<Operand> {
        match self.kind {
            Kind::Text | Kind::Texts => Ok(Operand::Text(self.text(value)?)),
            Kind::Uuid => {
                let id = value.as_str().and_then(|text| Uuid::try_parse(text).ok());
                id.map(Operand::Uuid).ok_or_else(|| self.refuse("must be a UUID".to_owned()))
            }
            Kind::Time => Ok(Operand::Number(self.time(value)?.timestamp_micros())),
            Kind::Count => {
                let number = match value {
                    Value::Number(number) => whole(&number.to_string()),
                    Value::String(text) => whole(text),
                    Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
                };
                let number = number.and_then(|number| i64::try_from(number).ok());
                let number = number.ok_or_else(|| self.refuse("must be a whole number".to_owned()));
                Ok(Operand::Number(number?))
            }
            Kind::Amount => self.amount(value),
            Kind::Choice => {
                let names = self.choices;
                let found = value.as_str().and_then(|text| {
                    (0..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text))
                });
                let (number, _) = found
                    .ok_or_else(|| self.refuse(format!("must be one of {}", names.join(", "))))?;
                Ok(Operand::Number(number))
            }
        }
    }

    fn text(&self, value: &Value) -> Result<String> {
        let text = match value {
            Value::Null => "",
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(self.refuse("must be a text".to_owned()));
            }
        };
        if text.contains('\0') || text.chars().count() > TEXT_CHARS_MAX {
            let problem = format!("must have no NUL and at most {TEXT_CHARS_MAX} characters");
            return Err(self.refuse(problem));
        }
        Ok(text.to_owned())
    }

    fn time(&self, value: &Value) -> Result<DateTime<Utc>> {
        let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let problem = "must be a time such as 2027-01-31T12:00:00Z";
        time.map(|time| time.to_utc()).ok_or_else(|| self.refuse(problem.to_owned()))
    }

    /// Amounts of the statement may be negative.
    fn amount(&self, value: &Value) -> Result<Operand> {
        let text = match value {
            Value::Number(number) => plain(&number.to_string()),
            Value::String(text) => plain(text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let text = text.unwrap_or_default();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.as_str()),
        };
        let amount: Credits = digits
            .parse()
            .map_err(|_| self.refuse("must be an amount with at most eight decimals".to_owned()))?;
        Ok(Operand::Number(if negative { -amount.units() } else { amount.units() }))
    }

    fn refuse(&self, problem: String) -> Error {
        Error::field(self.at, problem)
    }
}

/// A pattern without a `%` is looked for anywhere: `FILTER_CONDITION_EQ` is there for the whole
/// text.
fn anywhere(pattern: String) -> String {
    let mut escaped = false;
    let has_wildcard = pattern.chars().any(|c| {
        let is = c == '%' && !escaped;
        escaped = c == '\\' && !escaped;
        is
    });
    if has_wildcard || dangling_escape(&pattern) { pattern } else { format!("%{pattern}%") }
}

fn dangling_escape(pattern: &str) -> bool {
    pattern.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// Whether a short name fits a pattern of `%` and `_`.
fn is_like(name: &str, pattern: &str) -> bool {
    let name: Vec<_> = name.chars().collect();
    // What the pattern read so far can have matched: all lengths of the name's beginning.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for c in pattern.chars() {
        let mut next = vec![false; name.len() + 1];
        match c {
            '%' => {
                let first = reached.iter().position(|is| *is).unwrap_or(next.len());
                next[first..].fill(true);
            }
            c => {
                for at in 0..name.len() {
                    next[at + 1] = reached[at] && (c == '_' || c == name[at]);
                }
            }
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filter_value_is_read_in_all_protobuf_wrappers() {
        let prefix = "type.googleapis.com/google.protobuf";
        for (wrapped, plain) in [
            (json!("x"), json!("x")),
            (json!({"@type": format!("{prefix}.StringValue"), "value": "x"}), json!("x")),
            (json!({"@type": format!("{prefix}.Int64Value"), "value": "7"}), json!("7")),
            (json!({"stringValue": "x"}), json!("x")),
            (json!({"@type": format!("{prefix}.Value"), "value": {"number_value": 7}}), json!(7)),
            (
                json!({"@type": format!("{prefix}.ListValue"), "value": ["a", {"stringValue": "b"}]}),
                json!(["a", "b"]),
            ),
            (
                json!({"@type": format!("{prefix}.ListValue"),
                       "values": [{"stringValue": "a"}]}),
                json!(["a"]),
            ),
            (json!({"nullValue": null}), Value::Null),
        ] {
            assert_eq!(unwrap(wrapped.clone(), "v", 0).unwrap(), plain, "{wrapped}");
        }
        let mut deep = json!("x");
        for _ in 0..20 {
            deep = json!({ "value": deep });
        }
        assert!(unwrap(deep, "v", 0).is_err());
        assert!(unwrap(json!({"a": 1, "b": 2}), "v", 0).is_err());
    }

    #[test]
    fn filter_names_match_as_the_database_matches_texts() {
        for (pattern, fits) in [
            ("job_%", true),
            ("%complete", true),
            ("%", true),
            ("job_state_complete", true),
            ("", false),
            ("complete", false),
            ("%%%%%%%%%%%%%%%%%%%%%%%%x", false),
        ] {
            assert_eq!(is_like("job_state_complete", pattern), fits, "{pattern}");
        }
        assert!(dangling_escape(r"a\") && !dangling_escape(r"a\\"));
    }

    #[test]
    fn filter_pattern_without_a_wildcard_matches_anywhere() {
        for (pattern, sought) in [
            ("twice", "%twice%"),
            ("my_job", "%my_job%"),
            (r"50\%", r"%50\%%"),
            ("", "%%"),
            ("tw%", "tw%"),
            (r"a\\%", r"a\\%"),
            (r"a\", r"a\"),
        ] {
            assert_eq!(anywhere(pattern.to_owned()), sought, "{pattern}");
        }
    }
}

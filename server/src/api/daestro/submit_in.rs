//! What a caller says of a job that is submitted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::order::parameters::PARAMETERS_MAX;
use common::package::loose::Loose;
use serde_json::Value;

use super::names;
use crate::api::http::shape::{Field, Kind, map, text, texts};
use crate::error::{Error, Result};
use crate::jobs::draft::NAME_CHARS_MAX;
use crate::jobs::queues::submit::{DefinitionName, Variable};

/// The most words of a command.
const WORDS_MAX: usize = 1024;

pub const FIELDS: [Field; 7] = [
    text("job_definition", "project_code::job_definition_name:version").required(),
    text("job_queue", "project_code::job_queue_name").required(),
    text("name", "Unique in the queue; made up where it is left out"),
    texts("container_cmd", "In place of the definition's command; words may be Param::name"),
    map("container_cmd_parameter", "Texts in place of Param::name"),
    map("container_env", "Objects with a text `value`, and perhaps `sensitive`"),
    Field::new("schedule_at", Kind::Any, "A time in RFC 3339, or seconds since 1970"),
];

/// What a body of `FIELDS` says.
pub struct SubmitIn {
    pub definition: DefinitionName,
    /// Its project, and its name.
    pub queue: (String, String),
    pub name: Option<String>,
    pub command: Option<Vec<String>>,
    pub parameters: BTreeMap<String, String>,
    pub variables: BTreeMap<String, Variable>,
    pub start_at: Option<DateTime<Utc>>,
}

/// Reads a whole body of `FIELDS`.
pub fn read(mut body: Loose) -> Result<SubmitIn> {
    let definition = body.required_text("job_definition")?;
    let queue = body.required_text("job_queue")?;
    let has_command = body.has("container_cmd");
    let command = body.texts("container_cmd", WORDS_MAX)?;
    let read = SubmitIn {
        definition: names::definition("job_definition", &definition)?,
        queue: names::queue("job_queue", &queue)?,
        name: body.line("name", NAME_CHARS_MAX)?,
        command: has_command.then_some(command),
        parameters: text_values(&mut body, "container_cmd_parameter")?,
        variables: variables(&mut body)?,
        start_at: start_at(&mut body)?,
    };
    body.finish()?;
    Ok(read)
}

/// An object of texts, whose keys are kept as they are.
pub fn text_values(body: &mut Loose, key: &str) -> Result<BTreeMap<String, String>> {
    let field = body.name(key);
    let values = body.params(key)?.unwrap_or_default();
    if values.len() > PARAMETERS_MAX {
        return Err(Error::field(field, format!("must have at most {PARAMETERS_MAX} values")));
    }
    let text = |(name, value): (String, common::input::exact::Exact)| match value.value() {
        Value::String(text) => Ok((name, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(Error::field(format!("{field}.{name}"), "must be a text"))
        }
    };
    values.into_iter().map(text).collect()
}

fn variables(body: &mut Loose) -> Result<BTreeMap<String, Variable>> {
    let field = body.name("container_env");
    let values = body.params("container_env")?.unwrap_or_default();
    if values.len() > PARAMETERS_MAX {
        return Err(Error::field(field, format!("must have at most {PARAMETERS_MAX} variables")));
    }
    let mut variables = BTreeMap::new();
    for (name, value) in values {
        let wrong = || {
            let problem = "must be an object with a text value, and perhaps sensitive";
            Error::field(format!("{field}.{name}"), problem)
        };
        let Value::Object(mut object) = value.value() else { return Err(wrong()) };
        let Some(Value::String(value)) = object.remove("value") else { return Err(wrong()) };
        let is_sensitive = match object.remove("sensitive") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(is_sensitive)) => is_sensitive,
            Some(_) => return Err(wrong()),
        };
        if !object.is_empty() {
            return Err(wrong());
        }
        variables.insert(name, Variable { value, is_sensitive });
    }
    Ok(variables)
}

fn start_at(body: &mut Loose) -> Result<Option<DateTime<Utc>>> {
    let time = match body.value("schedule_at") {
        None => return Ok(None),
        Some(Value::String(text)) => {
            DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc())
        }
        Some(Value::Number(number)) => {
            number.as_i64().and_then(|secs| DateTime::from_timestamp(secs, 0))
        }
        Some(_) => None,
    };
    let problem = "must be a time such as 2025-05-17T06:37:00.000Z, or seconds since 1970";
    time.map(Some).ok_or_else(|| Error::field("schedule_at", problem))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_with(field: &str, value: Value) -> Result<SubmitIn> {
        let mut body = json!({"job_definition": "p::d:1", "job_queue": "p::q"});
        body[field] = value;
        read(Loose::new("", body).unwrap())
    }

    #[test]
    fn schedule_at_has_both_forms() {
        let at = |value| read_with("schedule_at", value).ok().and_then(|read| read.start_at);
        let expected = DateTime::from_timestamp(1_747_463_820, 0);

        assert_eq!(at(json!("2025-05-17T06:37:00.000Z")), expected);
        assert_eq!(at(json!(1_747_463_820)), expected);
        for wrong in [json!("tomorrow"), json!(1.5), json!(true), json!([])] {
            assert!(read_with("schedule_at", wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_are_objects_with_a_value() {
        let fine = json!({"A": {"value": ""}, "a": {"value": "x", "sensitive": true}});
        let read = read_with("container_env", fine).unwrap().variables;
        assert!(!read["A"].is_sensitive && read["a"].is_sensitive);

        for wrong in [
            json!({"A": "x"}),
            json!({"A": {}}),
            json!({"A": {"value": 1}}),
            json!({"A": {"value": "x", "sensitive": "yes"}}),
            json!({"A": {"value": "x", "other": 1}}),
        ] {
            assert!(read_with("container_env", wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parameters_keep_empty_values_and_the_case_of_their_names() {
        let given = json!({"a": "", "A": "x"});
        let read = read_with("container_cmd_parameter", given).unwrap().parameters;

        assert_eq!((read["a"].as_str(), read["A"].as_str()), ("", "x"));
        assert!(read_with("container_cmd_parameter", json!({"a": 1})).is_err());
    }
}

//! `schema.json`: the JSON Schema of a package's params.
//!
//! Both the schema and the params are strangers' texts. What checking them can cost is therefore
//! bounded before it begins: a schema refers to nothing outside itself, never to itself, stays
//! small when its references are written out, and its patterns match in linear time.

use std::fmt::Write as _;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::loose::Invalid;
use super::template::PhaseParams;
use crate::input::json;
use crate::plan::Params;

/// The most bytes of a `schema.json`.
pub const SCHEMA_BYTES_MAX: u64 = 64 * 1024;
/// Values of a schema, its references written out.
const VALUES_MAX: usize = 2_000;
const DEPTH_MAX: usize = 32;
/// Values of a schema times values of the params: each pair may become one complaint.
const COST_MAX: usize = 250_000;
/// Values of a schema times bytes of the params.
const COST_BYTES_MAX: usize = 64 * 1024 * 1024;
const PATTERN_BYTES_MAX: usize = 64 * 1024;
const PROBLEM_CHARS_MAX: usize = 300;
/// They make the cost of a check grow with more than its size.
const UNBOUNDED: [&str; 6] = [
    "$dynamicRef",
    "$recursiveRef",
    "$anchor",
    "$dynamicAnchor",
    "unevaluatedProperties",
    "unevaluatedItems",
];
const FILE: &str = "schema.json";

/// A schema that is safe to check with.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    values: usize,
}

impl Schema {
    /// Reads a `schema.json` as it was pushed.
    ///
    /// # Errors
    /// Names the place in the schema that is none, or that could cost too much.
    pub fn parse(json: &[u8]) -> Result<Value, Invalid> {
        let schema = json::read(FILE, json)?;
        Self::new(&schema)?;
        Ok(schema)
    }

    pub fn new(schema: &Value) -> Result<Self, Invalid> {
        if !schema.is_object() {
            return Err(Invalid::new(FILE, "must be a JSON object"));
        }
        let mut size = Size { root: schema, values: 0, open: Vec::new() };
        size.add(schema, FILE, 0)?;
        let validator = options(schema)?.build(schema).map_err(|error| not_a_schema(&error))?;
        Ok(Self { validator, values: size.values })
    }

    /// Checks the params of one phase; `field` is their name, such as `params.app`.
    pub fn check(&self, field: &str, params: &Params) -> Result<(), Invalid> {
        let params = self.bounded(field, params)?;
        self.validator.validate(&params).map_err(|error| told(field, &error))
    }

    /// Checks params to which more may be added later: those that are there must be right, and no
    /// other is missed.
    pub fn check_part(&self, field: &str, params: &Params) -> Result<(), Invalid> {
        let params = self.bounded(field, params)?;
        let wrong = self.validator.iter_errors(&params).find(|error| !is_incomplete(error));
        wrong.map_or(Ok(()), |error| Err(told(field, &error)))
    }

    /// The params as one value that is not too large to be checked.
    fn bounded(&self, field: &str, params: &Params) -> Result<Value, Invalid> {
        let params = params.iter().map(|(key, value)| (key.clone(), value.value()));
        let params = Value::Object(params.collect());
        let (values, bytes) = (count(&params), params.to_string().len());
        if values.saturating_mul(self.values) > COST_MAX
            || bytes.saturating_mul(self.values) > COST_BYTES_MAX
        {
            let problem = "is too large to be checked against the package's schema.json: give \
                           large data as the job's data source";
            return Err(Invalid::new(field, problem));
        }
        Ok(params)
    }
}

/// The schemas of the packages that a job names; each checks the params of its phase.
#[derive(Debug, Default)]
pub struct Schemas {
    pub partitioner: Option<Value>,
    pub app: Option<Value>,
    pub assembler: Option<Value>,
}

impl Schemas {
    pub fn check(&self, params: &PhaseParams) -> Result<(), Invalid> {
        for (schema, field, params) in [
            (&self.partitioner, "params.partitioner", &params.partitioner),
            (&self.app, "params.app", &params.app),
            (&self.assembler, "params.assembler", &params.assembler),
        ] {
            if let Some(schema) = schema {
                Schema::new(schema)?.check(field, params)?;
            }
        }
        Ok(())
    }
}

fn told(field: &str, error: &ValidationError<'_>) -> Invalid {
    let problem = shortened(&error.masked_with("the value").to_string());
    Invalid::new(format!("{field}{}", dotted(error.instance_path().as_str())), problem)
}

/// Whether a further param can mend it: it is about all of them together, and no single one is
/// too many.
fn is_incomplete(error: &ValidationError<'_>) -> bool {
    let is_one_too_many = matches!(
        error.kind(),
        ValidationErrorKind::AdditionalProperties { .. }
            | ValidationErrorKind::MaxProperties { .. }
            | ValidationErrorKind::PropertyNames { .. }
    );
    error.instance_path().as_str().is_empty() && !is_one_too_many
}

fn options(schema: &Value) -> Result<jsonschema::ValidationOptions<'static>, Invalid> {
    // Most schemas of packages say nothing and are written as draft 7 was.
    let draft = Draft::Draft7.detect(schema);
    if draft == Draft::Unknown {
        let problem = "must be a JSON Schema draft: 4, 6, 7, 2019-09 or 2020-12";
        return Err(Invalid::new(format!("{FILE}.$schema"), problem));
    }
    // Without look-around and back-references no pattern can take long.
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    Ok(jsonschema::options()
        .with_draft(draft)
        .with_pattern_options(patterns)
        .should_validate_formats(false))
}

/// How much a schema is, its references written out.
struct Size<'a> {
    root: &'a Value,
    values: usize,
    /// The references that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Size<'a> {
    fn add(&mut self, value: &'a Value, place: &str, depth: usize) -> Result<(), Invalid> {
        let refuse = |problem: &str| Err(Invalid::new(shortened(place), problem));
        self.values += 1;
        if self.values > VALUES_MAX {
            return refuse("is too large, with its references written out: simplify the schema");
        }
        if depth > DEPTH_MAX {
            return refuse("is nested too deeply, with its references written out");
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let inside = format!("{place}.{key}");
                    self.field(key, value, &inside, depth)?;
                    self.add(value, &inside, depth + 1)?;
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.add(item, &format!("{place}[{i}]"), depth + 1)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn field(
        &mut self,
        key: &'a str,
        value: &'a Value,
        place: &str,
        depth: usize,
    ) -> Result<(), Invalid> {
        let refuse = |problem: &str| Err(Invalid::new(shortened(place), problem));
        if UNBOUNDED.contains(&key) {
            return refuse("is not supported here");
        }
        // Beyond the top it would change what references inside it mean.
        if depth > 0 && matches!(key, "$id" | "id" | "$schema") && value.is_string() {
            return refuse("may stand at the top of the schema only");
        }
        let ("$ref", Some(target)) = (key, value.as_str()) else { return Ok(()) };
        if self.open.contains(&target) {
            return refuse("refers to itself: write the levels out");
        }
        let local = target.strip_prefix('#').filter(|path| !path.contains('%'));
        let found = local.and_then(|path| self.root.pointer(path));
        let Some(found) = found else {
            return refuse("must lead to a place in the schema itself, such as #/definitions/x");
        };
        self.open.push(target);
        self.add(found, place, depth + 1)?;
        self.open.pop();
        Ok(())
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn not_a_schema(error: &ValidationError<'_>) -> Invalid {
    let place = format!("{FILE}{}", dotted(error.instance_path().as_str()));
    Invalid::new(shortened(&place), format!("is no JSON Schema: {}", shortened(&error.to_string())))
}

/// A JSON pointer as messages write paths: `/a/0/b` is `.a[0].b`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let written = match part.parse::<usize>() {
            Ok(index) => write!(path, "[{index}]"),
            Err(_) => write!(path, ".{part}"),
        };
        written.expect("a text takes any text");
    }
    path
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= PROBLEM_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(PROBLEM_CHARS_MAX).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params(value: Value) -> Params {
        serde_json::from_value(value).unwrap()
    }

    fn refused(schema: &Value) -> Invalid {
        Schema::parse(schema.to_string().as_bytes()).unwrap_err()
    }

    fn app() -> Value {
        json!({
            "$id": "db://hello", "title": "Hello",
            "definitions": {"case": {"type": "string", "enum": ["upper", "lower", "title"]}},
            "properties": {"case": {"$ref": "#/definitions/case"},
                           "sizes": {"type": "array", "items": {"type": "integer"}},
                           "name": {"type": "string", "pattern": "^[a-z]+$"}},
            "required": ["case"], "type": "object",
        })
    }

    #[test]
    fn schema_error_names_the_param() {
        let schema = Schema::new(&app()).unwrap();
        let says = |value| match schema.check("params.app", &params(value)) {
            Ok(()) => String::new(),
            Err(invalid) => invalid.to_string(),
        };

        assert_eq!(says(json!({"case": "upper", "sizes": [1, 2], "name": "a"})), "");
        assert!(says(json!({"case": "loud"})).starts_with("params.app.case: the value is not"));
        assert!(says(json!({})).starts_with("params.app: \"case\" is a required"));
        let sizes = says(json!({"case": "upper", "sizes": [1, "x"]}));
        assert!(sizes.starts_with("params.app.sizes[1]: "), "{sizes}");
        assert!(says(json!({"case": "upper", "name": "A"})).starts_with("params.app.name: "));
    }

    #[test]
    fn schema_checks_partial_params_without_requiring_the_rest() {
        let mut schema = app();
        schema["additionalProperties"] = json!(false);
        schema["anyOf"] = json!([{"required": ["name"]}, {"required": ["sizes"]}]);
        let schema = Schema::new(&schema).unwrap();
        let says = |value| match schema.check_part("params.app", &params(value)) {
            Ok(()) => String::new(),
            Err(invalid) => invalid.to_string(),
        };

        assert_eq!(says(json!({})), "");
        assert_eq!(says(json!({"case": "upper"})), "");
        assert!(says(json!({"case": "loud"})).starts_with("params.app.case: "));
        assert!(says(json!({"sizes": [1, "x"]})).starts_with("params.app.sizes[1]: "));
        let unknown = says(json!({"cas": "upper"}));
        assert!(unknown.starts_with("params.app: ") && unknown.contains("cas"), "{unknown}");
    }

    #[test]
    fn schema_that_is_invalid_is_refused_with_its_place() {
        for (schema, place) in [
            (json!([]), "schema.json"),
            (json!({"type": "text"}), "schema.json.type"),
            (json!({"properties": {"a": {"minimum": "1"}}}), "schema.json.properties.a.minimum"),
            (json!({"$schema": "http://example.com/mine"}), "schema.json.$schema"),
            (json!({"properties": {"a": {"pattern": "("}}}), "schema.json.properties.a.pattern"),
        ] {
            assert_eq!(refused(&schema).field, place, "{}", refused(&schema));
        }
        assert!(Schema::parse(b"{").unwrap_err().problem.contains("is not JSON"));
    }

    #[test]
    fn schema_refers_only_to_itself() {
        for target in ["http://127.0.0.1/x.json", "file:///etc/passwd", "other.json", "#/nowhere"] {
            assert!(refused(&json!({"$ref": target})).problem.contains("must lead"), "{target}");
        }
        let moved = json!({"properties": {"a": {"$id": "http://x/", "$ref": "#/properties"}}});
        assert_eq!(refused(&moved).field, "schema.json.properties.a.$id");
    }

    #[test]
    fn schema_bomb_is_refused_before_expansion() {
        let mut doubling = json!({"definitions": {"a0": {"type": "string"}}});
        for i in 1..60 {
            let inner = json!({"$ref": format!("#/definitions/a{}", i - 1)});
            doubling["definitions"][format!("a{i}")] = json!({"allOf": [inner, inner]});
        }
        doubling["$ref"] = json!("#/definitions/a59");
        let mut deep = json!({"type": "string"});
        for _ in 0..50 {
            deep = json!({"anyOf": [deep]});
        }
        let many: Vec<_> = (0..VALUES_MAX).map(|_| json!(true)).collect();

        for bomb in [
            doubling,
            deep,
            json!({"$ref": "#"}),
            json!({"definitions": {"a": {"$ref": "#/definitions/b"},
                                   "b": {"$ref": "#/definitions/a"}}}),
            json!({"allOf": many}),
            json!({"unevaluatedProperties": false}),
            json!({"pattern": "((((a{99}){99}){99}){99}){99}"}),
            json!({"patternProperties": {"((((a{99}){99}){99}){99}){99}": true}}),
            json!({"pattern": "^(?=a)"}),
        ] {
            refused(&bomb);
        }
    }

    #[test]
    fn schema_pattern_is_matched_in_linear_time() {
        let schema = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let text = format!("{}!", "a".repeat(100_000));

        let checked =
            Schema::new(&schema).unwrap().check("params.app", &params(json!({"a": text})));

        assert_eq!(checked.unwrap_err().field, "params.app.a");
    }

    #[test]
    fn params_that_are_too_large_for_their_schema_are_refused() {
        let schema = json!({"anyOf": [{"properties": {"a": {"items": {"allOf":
            (0..200).map(|_| json!({"type": "string"})).collect::<Vec<_>>()}}}}]});
        let numbers: Vec<_> = (0..100_000).collect();

        let checked =
            Schema::new(&schema).unwrap().check("params.app", &params(json!({"a": numbers})));

        assert!(checked.unwrap_err().problem.contains("too large"));
    }
}

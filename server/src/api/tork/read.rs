//! From the bytes of a request to a document.

use serde::de::DeserializeOwned;
use serde_saphyr::Error as YamlError;

use super::document::Job;
use crate::error::{Error, Result};

/// The most levels of lists and maps in one another: a task in a task takes three, and much of a
/// thread's stack.
const DEPTH_MAX: usize = 40;
/// The most values, and the most that aliases may stand for.
const VALUES_MAX: usize = 100_000;

/// What a document is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

/// Which documents are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Job,
    ScheduledJob,
}

/// The first field of each part of a document, and what the part is called.
const PARTS: [(&str, &str); 15] = [
    ("entrypoint+parallel", "Task"),
    ("entrypoint+probe", "AuxTask"),
    ("initialDelay", "Retry"),
    ("cpus", "Limits"),
    ("username", "Registry"),
    ("queue+retry", "Defaults"),
    ("cron", "Schedule"),
    ("after", "AutoDelete"),
    ("event", "Webhook"),
    ("role", "Permission"),
    ("path", "Probe"),
    ("opts", "Mount"),
    ("list", "Each"),
    ("detached", "SubJob"),
    ("schedule", "Job"),
];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::ScheduledJob => "ScheduledJob",
        }
    }

    /// The field that only the other kind has.
    const fn foreign(self) -> &'static str {
        match self {
            Self::Job => "schedule",
            Self::ScheduledJob => "wait",
        }
    }
}

/// Reads a document of this content type.
///
/// # Errors
/// It is no such document; the message names the place where that is known.
pub fn read(kind: Kind, content_type: Option<&str>, bytes: &[u8]) -> Result<Job> {
    let format = format(kind, content_type)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Invalid("EOF".to_owned()));
    }
    let text = str::from_utf8(bytes)
        .map_err(|_| Error::Invalid("the document is not UTF-8".to_owned()))?;
    let job: Job = match format {
        Format::Json => json(text)?,
        Format::Yaml => yaml(text).map_err(|error| Error::Invalid(yaml_fault(kind, &error)))?,
    };
    let is_foreign = match kind {
        Kind::Job => job.schedule.is_some(),
        Kind::ScheduledJob => job.wait.is_some(),
    };
    if !is_foreign {
        return Ok(job);
    }
    let field = kind.foreign();
    Err(Error::Invalid(match format {
        Format::Json => format!("json: unknown field {field:?}"),
        Format::Yaml => {
            let begins = |line: &str| line.trim_start_matches(['"', '\'']).starts_with(field);
            let line = (1..).zip(text.lines()).find(|(_, line)| begins(line));
            unknown(line.map_or(1, |(line, _)| line), field, kind.name())
        }
    }))
}

fn format(kind: Kind, content_type: Option<&str>) -> Result<Format> {
    let shown = content_type.unwrap_or_default();
    let media = shown.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (media.as_str(), kind) {
        ("application/json", _) => Ok(Format::Json),
        ("text/yaml" | "application/x-yaml" | "application/yaml" | "text/x-yaml", _) => {
            Ok(Format::Yaml)
        }
        ("", Kind::Job) => Err(Error::Invalid("missing content type".to_owned())),
        _ => Err(Error::Invalid(format!("unknown content type: {shown}"))),
    }
}

/// The first document of a text; what follows it counts nothing.
fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    if depth(text) > DEPTH_MAX {
        let why = format!("json: lists and maps lie more than {DEPTH_MAX} deep in one another");
        return Err(Error::Invalid(why));
    }
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let read = documents.next().unwrap_or_else(|| serde_json::from_str(text));
    read.map_err(|error| {
        let told = error.to_string();
        let named = told.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        Error::Invalid(match named {
            Some(field) => format!("json: unknown field {field:?}"),
            None if error.is_eof() => "unexpected EOF".to_owned(),
            None => format!("json: {told}"),
        })
    })
}

/// How many lists and maps of a JSON text lie in one another at most.
fn depth(text: &str) -> usize {
    let (mut open, mut most, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                open += 1;
                most = most.max(open);
            }
            b']' | b'}' if !is_text => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The first document of a text, within bounds: it is read on a thread's stack, and aliases repeat
/// what they stand for.
fn yaml<T: DeserializeOwned>(text: &str) -> std::result::Result<T, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: VALUES_MAX * 2,
            max_nodes: VALUES_MAX,
            max_depth: DEPTH_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: VALUES_MAX,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
}

fn yaml_fault(kind: Kind, error: &YamlError) -> String {
    let error = error.without_snippet();
    let line = error.location().map_or(1, |place| place.line());
    if let YamlError::SerdeUnknownField { field, expected, .. } = error {
        return unknown(line, field, part(kind, expected));
    }
    let told = error.to_string();
    let what = told.lines().next().unwrap_or_default();
    format!("yaml: line {line}: {what}")
}

fn unknown(line: u64, field: &str, part: &str) -> String {
    format!("yaml: unmarshal errors:\n  line {line}: field {field} not found in type input.{part}")
}

/// What the part of a document is called that has these fields.
fn part(kind: Kind, fields: &[&str]) -> &'static str {
    let has = |names: &str| names.split('+').all(|name| fields.contains(&name));
    match PARTS.into_iter().find(|(names, _)| has(names)) {
        Some((_, "Job")) => kind.name(),
        Some((_, name)) => name,
        None => match fields {
            ["timeout"] => "Wait",
            _ => "Parallel",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(content_type: &str, text: &str) -> String {
        read(Kind::Job, Some(content_type), text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn document_in_yaml_turns_scalars_into_texts() {
        let text = "name: x\ninputs: {a: 1, b: true, c: }\ntasks:\n  - limits: {cpus: .5}\n";

        let job = read(Kind::Job, Some("text/yaml"), text.as_bytes()).unwrap();

        let inputs: Vec<_> = super::super::document::texts(job.inputs.as_ref()).collect();
        assert_eq!(inputs, [("a", "1"), ("b", "true"), ("c", "")]);
        let limits = job.tasks.unwrap()[0].limits.clone().unwrap();
        assert_eq!(limits.cpus.as_deref(), Some(".5"));
    }

    #[test]
    fn document_with_unknown_field_is_refused_with_its_line() {
        for (text, told) in [
            ("name: x\nfoo: 1\n", "line 2: field foo not found in type input.Job"),
            ("tasks:\n  - nam: x\n", "line 2: field nam not found in type input.Task"),
            (
                "defaults:\n  limits:\n    cpu: 1\n",
                "line 3: field cpu not found in type input.Limits",
            ),
            ("wait: {x: 1}\n", "line 1: field x not found in type input.Wait"),
            ("name: x\nschedule: {}\n", "line 2: field schedule not found in type input.Job"),
        ] {
            assert_eq!(fault("text/yaml", text), format!("yaml: unmarshal errors:\n  {told}"));
        }
        assert_eq!(fault("application/json", "{\"foo\": 1}"), "json: unknown field \"foo\"");
    }

    #[test]
    fn document_that_is_none_is_refused() {
        assert_eq!(fault("application/json", ""), "EOF");
        assert_eq!(fault("application/json", "{"), "unexpected EOF");
        assert_eq!(fault("text/plain", "x"), "unknown content type: text/plain");
        assert_eq!(fault("", "x"), "missing content type");
        assert!(fault("text/yaml", "name: [a\n").starts_with("yaml: line "));
        assert!(fault("application/json", "{\"name\": 1}").starts_with("json: invalid type"));
    }

    #[test]
    fn document_of_tasks_that_lie_too_deep_in_one_another_is_refused() {
        let nested = |depth: usize| {
            let inner = "{name: a, parallel: {tasks: [".repeat(depth);
            format!("{{name: x, tasks: [{inner}{{name: a}}{}]}}", "]}}".repeat(depth))
        };

        let json = |text: String| {
            let names = ["name", "parallel", "tasks"];
            let named = |text: String, name: &&str| {
                text.replace(&format!("{name}:"), &format!("\"{name}\":"))
            };
            names.iter().fold(text, named).replace("x,", "\"]x[\",").replace(" a", "\"a\"")
        };

        for (depth, is_taken) in [(12, true), (13, false), (600, false), (14_000, false)] {
            let yaml = read(Kind::Job, Some("text/yaml"), nested(depth).as_bytes());
            assert_eq!(yaml.is_ok(), is_taken, "{depth} {yaml:?}");
            let json = read(Kind::Job, Some("application/json"), json(nested(depth)).as_bytes());
            assert_eq!(json.is_ok(), is_taken, "{depth} {json:?}");
        }
    }

    #[test]
    fn document_of_aliases_without_end_is_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (n, m) in ('a'..'j').zip('b'..='j') {
            text += &format!("{m}: &{m} [*{n}, *{n}, *{n}, *{n}, *{n}, *{n}, *{n}, *{n}, *{n}]\n");
        }

        assert!(fault("text/yaml", &text).starts_with("yaml: "));
    }
}

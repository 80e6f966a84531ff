//! What this API calls the fields that use cases name in their refusals.

use common::package::loose::Invalid;

use crate::error::Error;

/// The beginning of a field's name, and what it is here. The first that fits counts.
const NAMES: &[(&str, &str)] = &[
    ("dataSource.params.secret_id", "source.secret"),
    ("dataDestination.params.secret_id", "destination.secret"),
    ("dataSource", "source"),
    ("dataDestination", "destination"),
    ("config.taskTimeout", "config.task_timeout"),
    ("config.jobTimeout", "config.job_timeout"),
    ("config.isTestJob", "config.is_test_job"),
    ("config.maxTaskRetries", "config.max_task_retries"),
    ("config.requireResults", "config.require_results"),
    ("after", "cursor"),
];

/// A refusal with its field in this API's words.
pub fn renamed(mut error: Error) -> Error {
    // The text of the last begins with the field.
    if let Error::Field(Invalid { field: text, .. })
    | Error::SecretDenied(text, _)
    | Error::NotNow(text) = &mut error
    {
        *text = name(text);
    }
    error
}

fn name(text: &str) -> String {
    for (theirs, ours) in NAMES {
        let rest = text.strip_prefix(theirs);
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(['.', ':']));
        if let Some(rest) = rest {
            return format!("{ours}{rest}");
        }
    }
    text.to_owned()
}

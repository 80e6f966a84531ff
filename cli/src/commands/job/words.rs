//! Refusals in the words of the command line: the API names its fields.

use crate::client::failure::Failure;

/// Fields of the API, and the options that set them.
const OPTIONS: [(&str, &str); 10] = [
    ("dataSource", "--source"),
    ("dataDestination", "--destination"),
    ("params", "--params"),
    ("config", "--config"),
    ("name", "--name"),
    ("description", "--description"),
    ("regions", "--region"),
    ("startAt", "--start-at"),
    ("tags", "--tag"),
    ("templateId", "the template"),
];
/// What the API says of a field that nobody has set.
const MISSING: &str = "is missing: set it first";
/// What the API says of a file that has not come.
const NO_FILE: &str = "the file has not been uploaded";

/// The same failure with options in place of the API's fields.
pub fn own(failure: Failure) -> Failure {
    if let Failure::Refused { message } = &failure {
        return Failure::Refused { message: told(message) };
    }
    failure
}

fn told(message: &str) -> String {
    let Some((field, problem)) = message.split_once(": ") else { return message.to_owned() };
    let (first, rest) = field.split_once('.').unwrap_or((field, ""));
    let Some((_, option)) = OPTIONS.iter().find(|(name, _)| *name == first) else {
        return message.to_owned();
    };
    // A place's own fields are its params.
    let rest = if first == "params" { rest } else { rest.trim_start_matches("params.") };
    match (rest, problem) {
        ("", problem) if problem.starts_with(NO_FILE) => {
            format!("{NO_FILE}: fanfold job upload JOB FILE")
        }
        (_, MISSING) if rest.is_empty() => format!("{option} is missing"),
        ("", _) => format!("{option}: {problem}"),
        _ => format!("{option}: {rest}: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_options() {
        let cases = [
            ("dataSource: is missing: set it first", "--source is missing"),
            ("dataDestination: is missing: set it first", "--destination is missing"),
            ("dataSource.params.bucketName: is missing", "--source: bucketName: is missing"),
            (
                "dataSource: the file has not been uploaded: PUT it to dataSource.params.tempUrl",
                "the file has not been uploaded: fanfold job upload JOB FILE",
            ),
            ("params.app.case: unknown", "--params: app.case: unknown"),
            ("config.taskTimeout: too long", "--config: taskTimeout: too long"),
            ("this job has been started already", "this job has been started already"),
            ("the wallet: is empty", "the wallet: is empty"),
        ];
        for (api, own) in cases {
            assert_eq!(told(api), own);
        }
    }
}

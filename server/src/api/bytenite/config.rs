//! A job's config as this API writes it: when it stops trying.

use common::package::config::{JobConfig, RETRIES_MAX, TIMEOUT_SECS_MAX};
use common::package::loose::{Invalid, Loose};

/// Fields that configs of 2023 were shown with, all of them empty: a client that sends such a
/// config back asks for nothing.
const OLD_FIELDS: [&str; 4] =
    ["minChunkSize", "maxChunkSize", "replicationFactor", "partitioningSettings"];

pub fn read(mut fields: Loose) -> Result<JobConfig, Invalid> {
    let config = JobConfig {
        task_timeout_secs: fields.small("taskTimeout", TIMEOUT_SECS_MAX)?,
        job_timeout_secs: fields.small("jobTimeout", TIMEOUT_SECS_MAX)?,
        is_test: fields.flag("isTestJob")?,
        task_retries: fields.small("maxTaskRetries", RETRIES_MAX)?,
        require_results: fields.flag("requireResults")?,
        deterministic: fields.flag("deterministic")?,
    };
    drop_old(&mut fields)?;
    fields.finish()?;
    Ok(config)
}

fn drop_old(fields: &mut Loose) -> Result<(), Invalid> {
    for key in OLD_FIELDS {
        let field = fields.name(key);
        let is_empty = |text: &str| matches!(text, "0" | "\"0\"" | "{}" | "[]");
        if fields.ignore(key).is_some_and(|value| !is_empty(value.text())) {
            let problem = "is a field of 2023 that nothing here follows: the partitioner's params \
                           say how data is cut";
            return Err(Invalid::new(field, problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn config_is_read_in_any_spelling() {
        let given = json!({"taskTimeout": "3600", "job_timeout": 0, "isTestJob": false});

        let config = read(Loose::new("config", given).unwrap()).unwrap();

        let expected = JobConfig {
            task_timeout_secs: Some(3600),
            job_timeout_secs: Some(0),
            is_test: Some(false),
            ..JobConfig::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn unknown_config_fields_are_named() {
        let says = |value| match read(Loose::new("config", value).unwrap()) {
            Ok(_) => String::new(),
            Err(invalid) => invalid.to_string(),
        };
        let typo = says(json!({"taskTimout": 60}));

        assert!(typo.starts_with("config.taskTimout: is not"), "{typo}");
        assert!(typo.contains("did you mean taskTimeout?"), "{typo}");
        assert!(typo.contains("maxTaskRetries"), "{typo}");
        // As a config of 2023 was shown.
        let old = json!({"minChunkSize": "0", "maxChunkSize": "0", "replicationFactor": 0,
                         "partitioningSettings": {}});
        assert_eq!(says(old), "");
        let asked = says(json!({"replicationFactor": 3}));
        assert!(asked.starts_with("config.replicationFactor: is a field of 2023"), "{asked}");
    }
}

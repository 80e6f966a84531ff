//! A job's config: when it stops trying.

use serde::{Deserialize, Serialize};

use super::loose::{Invalid, Loose};
use crate::plan::Limits;

/// 30 days.
const TIMEOUT_SECS_MAX: u64 = 30 * 24 * 3600;
const RETRIES_MAX: u64 = 100;

/// Each field is `None` where it was not given, so that configs can be laid over one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobConfig {
    /// 0 is the server's default.
    pub task_timeout_secs: Option<u32>,
    /// 0 is no limit.
    pub job_timeout_secs: Option<u32>,
    pub is_test: Option<bool>,
    pub task_retries: Option<u32>,
    pub require_results: Option<bool>,
    pub deterministic: Option<bool>,
}

impl JobConfig {
    pub fn read(mut fields: Loose) -> Result<Self, Invalid> {
        let timeout = 0..=TIMEOUT_SECS_MAX;
        let config = Self {
            task_timeout_secs: fields.number("taskTimeout", timeout.clone())?.map(small),
            job_timeout_secs: fields.number("jobTimeout", timeout)?.map(small),
            is_test: fields.flag("isTestJob")?,
            task_retries: fields.number("maxTaskRetries", 0..=RETRIES_MAX)?.map(small),
            require_results: fields.flag("requireResults")?,
            deterministic: fields.flag("deterministic")?,
        };
        drop_old(&mut fields)?;
        fields.finish()?;
        Ok(config)
    }

    /// This config, with `over`'s fields in place of its own where they are given.
    #[must_use]
    pub fn overlaid(self, over: Self) -> Self {
        Self {
            task_timeout_secs: over.task_timeout_secs.or(self.task_timeout_secs),
            job_timeout_secs: over.job_timeout_secs.or(self.job_timeout_secs),
            is_test: over.is_test.or(self.is_test),
            task_retries: over.task_retries.or(self.task_retries),
            require_results: over.require_results.or(self.require_results),
            deterministic: over.deterministic.or(self.deterministic),
        }
    }

    /// The limits of a run, with the server's default for a task timeout that is not given.
    pub fn limits(self, task_timeout_secs: u32) -> Limits {
        Limits {
            task_timeout_secs: self
                .task_timeout_secs
                .filter(|secs| *secs > 0)
                .unwrap_or(task_timeout_secs),
            job_timeout_secs: self.job_timeout_secs.filter(|secs| *secs > 0),
            task_retries: self.task_retries.unwrap_or(0),
            require_results: self.require_results.unwrap_or(false),
            deterministic: self.deterministic.unwrap_or(true),
        }
    }
}

/// Fields that configs of 2023 were shown with, all of them empty: a client that sends such a
/// config back asks for nothing.
pub const OLD_FIELDS: [&str; 4] =
    ["minChunkSize", "maxChunkSize", "replicationFactor", "partitioningSettings"];

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

fn small(n: u64) -> u32 {
    u32::try_from(n).expect("the bounds fit")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn configs_are_merged_in_order() {
        let read = |value| JobConfig::read(Loose::new("config", value).unwrap()).unwrap();
        let base = read(json!({"taskTimeout": "3600", "jobTimeout": 3600, "maxTaskRetries": 3}));
        let over = read(json!({"job_timeout": 0, "isTestJob": false}));

        let limits = base.overlaid(over).limits(1800);

        assert_eq!(limits.task_timeout_secs, 3600);
        assert_eq!(JobConfig::default().limits(1800).task_timeout_secs, 1800);
        assert_eq!(limits.job_timeout_secs, None);
        assert_eq!(limits.task_retries, 3);
    }

    #[test]
    fn unknown_config_fields_are_named() {
        let says = |value| match JobConfig::read(Loose::new("config", value).unwrap()) {
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

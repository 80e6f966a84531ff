//! A job's config: when it stops trying.

use serde::{Deserialize, Serialize};

use crate::plan::Limits;

/// The limits that an API reads a config by; the first is 30 days.
pub const TIMEOUT_SECS_MAX: u32 = 30 * 24 * 3600;
pub const RETRIES_MAX: u32 = 100;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_are_merged_in_order() {
        let base = JobConfig {
            task_timeout_secs: Some(3600),
            job_timeout_secs: Some(3600),
            task_retries: Some(3),
            ..JobConfig::default()
        };
        let over =
            JobConfig { job_timeout_secs: Some(0), is_test: Some(false), ..JobConfig::default() };

        let limits = base.overlaid(over).limits(1800);

        assert_eq!(limits.task_timeout_secs, 3600);
        assert_eq!(JobConfig::default().limits(1800).task_timeout_secs, 1800);
        assert_eq!(limits.job_timeout_secs, None);
        assert_eq!(limits.task_retries, 3);
    }
}

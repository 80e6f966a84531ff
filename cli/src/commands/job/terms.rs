//! What `fanfold job create` says of a job beside its work: when, where and how soon it runs.

use chrono::{DateTime, Utc};
use common::input::exact::Exact;
use serde_json::json;

use crate::commands::secret::time;

/// What is said of a job beside its work.
#[derive(Debug, Default, clap::Args)]
pub struct Terms {
    /// Description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Priority against other jobs on busy nodes
    #[arg(long, value_parser = ["cheap", "balanced", "fast"])]
    pub priority: Option<String>,
    /// Only nodes in this region; repeatable
    #[arg(long = "region", value_name = "REGION")]
    pub regions: Vec<String>,
    /// No nodes in this region; repeatable
    #[arg(long = "not-region", value_name = "REGION")]
    pub not_regions: Vec<String>,
    /// No sooner than this, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub start_at: Option<DateTime<Utc>>,
    /// A label; repeatable
    #[arg(long = "tag", value_name = "LABEL")]
    pub tags: Vec<String>,
}

impl Terms {
    /// The fields of the create call that say it.
    pub fn parts(&self) -> Vec<(&'static str, Option<Exact>)> {
        let priority = self.priority.as_ref();
        let priority = priority.map(|word| format!("EXECUTION_PRIORITY_{}", word.to_uppercase()));
        let named = !self.regions.is_empty() || !self.not_regions.is_empty();
        let regions = json!({"whitelist": self.regions, "blacklist": self.not_regions});
        vec![
            ("description", self.description.as_deref().map(Exact::from)),
            ("priority", priority.map(Exact::from)),
            ("regions", named.then(|| regions.into())),
            ("startAt", self.start_at.map(|at| at.to_rfc3339().into())),
            ("tags", (!self.tags.is_empty()).then(|| json!(self.tags).into())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn draft_has_its_start_and_regions() {
        let terms = Terms {
            description: None,
            priority: Some("fast".to_owned()),
            regions: vec!["eu".to_owned()],
            not_regions: Vec::new(),
            start_at: Some(time("2027-01-31").unwrap()),
            tags: vec!["nightly".to_owned()],
        };

        let said: BTreeMap<_, _> =
            terms.parts().into_iter().filter_map(|(name, part)| Some((name, part?))).collect();

        assert_eq!(
            serde_json::to_string(&said).unwrap(),
            concat!(
                r#"{"priority":"EXECUTION_PRIORITY_FAST","#,
                r#""regions":{"blacklist":[],"whitelist":["eu"]},"#,
                r#""startAt":"2027-01-31T00:00:00+00:00","tags":["nightly"]}"#
            )
        );
    }
}

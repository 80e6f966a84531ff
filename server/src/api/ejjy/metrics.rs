//! What a job's runs used, as time series.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Number;
use utoipa::ToSchema;
use warp::http::{Method, StatusCode};

use super::envelope::{self, Envelope};
use super::jobs::JSON;
use super::scope::{PATH, Scope};
use super::window;
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::text;
use crate::error::{Error, Result};
use crate::jobs::history::Whose;
use crate::jobs::history::series::{self, Point};

/// The most names of one request.
const NAMES_MAX: usize = 20;
const CPU: &str = "cpu_usage";
const MEMORY: &str = "memory_usage";

pub fn routes() -> Vec<Route> {
    let names = text(
        "names",
        "Names with commas between: cpu_usage, memory_usage; both where it is left out",
    );
    vec![
        raw(Method::GET, "Ejjy_GetJobMetrics", format!("{PATH}/jobs/{{job}}/metrics"), JSON, read)
            .gives::<Envelope<BTreeMap<String, Series>>>()
            .summary("Gets what the runs of a job used in a window of time")
            .query([&[names][..], &window::FIELDS].concat())
            .fails(&[(207, "Some of the metrics have failed")]),
    ]
}

/// One metric, with a status of its own.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EjjySeries)]
enum Series {
    Known {
        status: &'static str,
        unit: &'static str,
        /// Times with values.
        #[schema(value_type = Vec<Object>)]
        points: Vec<(DateTime<Utc>, Number)>,
    },
    Failed {
        status: &'static str,
        error: String,
    },
}

async fn read(mut call: Call) -> Result<Answer> {
    let scope = Scope::of(&mut call).await?;
    let job = scope.job(&mut call).await?.job.id;
    let query = call.query()?;
    let window = window::read(&query)?;
    let names = read_names(&query)?;
    let (app, _permit) = (call.app(), call.answer_permit(&scope.caller).await);
    let points = series::read(app, &scope.caller, Whose::Job(job), window).await?;
    let all: BTreeMap<String, Series> =
        names.into_iter().map(|name| (name.to_owned(), Series::of(name, &points))).collect();
    let has_failed = all.values().any(|series| matches!(series, Series::Failed { .. }));
    if has_failed {
        return envelope::success(StatusCode::MULTI_STATUS, "Some metrics failed", all);
    }
    envelope::found("All metrics succeeded", all)
}

fn read_names(query: &BTreeMap<String, String>) -> Result<Vec<&str>> {
    let Some(text) = query.get("names") else { return Ok(vec![CPU, MEMORY]) };
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(Error::field("names", format!("must be 1 to {NAMES_MAX} names")));
    }
    Ok(names)
}

impl Series {
    fn of(name: &str, points: &[Point]) -> Self {
        let known = |unit, value: fn(&Point) -> Number| Self::Known {
            status: "success",
            unit,
            points: points.iter().map(|point| (point.at, value(point))).collect(),
        };
        match name {
            CPU => known("cores", |point| thousandths(point.cpu_millis)),
            MEMORY => known("bytes", |point| point.memory_bytes.into()),
            _ => {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
                let error = format!("unknown metric {shown:?}: there are {CPU} and {MEMORY}");
                Self::Failed { status: "error", error }
            }
        }
    }
}

/// A number of thousandths, as one of whole ones.
fn thousandths(millis: u64) -> Number {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.parse().unwrap_or_else(|_| 0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_has_its_own_status_unit_and_values() {
        let at = DateTime::from_timestamp(1_776_871_800, 0).unwrap();
        let points = [Point { at, cpu_millis: 1420, memory_bytes: 7 }];
        let shown = |name| serde_json::to_string(&Series::of(name, &points)).unwrap();

        assert_eq!(
            shown(CPU),
            r#"{"status":"success","unit":"cores","points":[["2026-04-22T15:30:00Z",1.42]]}"#
        );
        assert_eq!(
            shown(MEMORY),
            r#"{"status":"success","unit":"bytes","points":[["2026-04-22T15:30:00Z",7]]}"#
        );
        assert!(shown("disk").starts_with(r#"{"status":"error","error":"unknown metric"#));
    }
}

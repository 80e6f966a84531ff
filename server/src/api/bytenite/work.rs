//! What jobs and templates both say of the work: where its data is, the params, the config.

use common::data::location::{Destination, DraftSource};
use common::package::config::JobConfig;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::descriptor::{self, Checked, Inline};
use crate::api::http::shape::{Field, Shape, flag, integer, map, text, unread, word};
use crate::error::Result;
use crate::jobs::draft::Given;
use crate::secrets::KeyPair;

/// Where data comes from or goes to.
pub const DATA: Shape = Shape {
    name: "DataSource",
    fields: &[
        word(
            "dataSourceDescriptor",
            &["aws", "s3", "gcp", "storj", "azure", "url", "file", "bucket", "bypass"],
            "s3 is an old name of aws; url and file give data only, bucket (temporary links to \
             the results) takes it only; bypass is no data",
        )
        .required()
        .example("bypass"),
        map(
            "params",
            "As the descriptor needs them: name (a key, a folder or a pattern), names, bucketName, \
             cloudRegion, endpoint, accountName, secret_id, url",
        ),
    ],
};

/// The params of the three phases.
pub const PARAMS: Shape = Shape {
    name: "AppParams",
    fields: &[
        map(
            "partitioner",
            "As the partitioner needs them; lines, csv, tar and bytes take chunk_bytes",
        ),
        map(
            "assembler",
            "As the assembler needs them; concat takes name and separator, zip takes name",
        ),
        map("app", "What the app finds in APP_PARAMS, to the last digit"),
        map("data", "The name that app had in 2023"),
        text("preset", "Told to the app as its param preset; clients of 2023 send it"),
    ],
};

pub const CONFIG: Shape = Shape {
    name: "JobConfig",
    fields: &[
        integer("taskTimeout", "Seconds; 0 is the server's default, which a quote shows"),
        integer("jobTimeout", "Seconds; 0 means no limit"),
        flag(
            "isTestJob",
            "Works on the first two chunks only (numChunksTotal says how many there are), and also \
             with packages that are not active",
        ),
        integer("maxTaskRetries", "Further tries of a task that failed"),
        flag("requireResults", "A task that gives no results has failed and is not paid"),
        flag(
            "deterministic",
            "Whether the same input always gives the same results (the default), so that a second \
             node can check the first",
        ),
        old("minChunkSize"),
        old("maxChunkSize"),
        old("replicationFactor"),
        old("partitioningSettings"),
    ],
};

/// A field of the configs of 2023; `common` drops it where it is empty and refuses it otherwise.
const fn old(name: &'static str) -> Field {
    unread(name, "Of 2023: it may be sent back empty or 0, as it was shown")
}

/// A config as it is shown: unset is 0. What older clients do not know is shown where the job
/// says it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigOut {
    task_timeout: u32,
    job_timeout: u32,
    is_test_job: bool,
    max_task_retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    require_results: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deterministic: Option<bool>,
}

impl From<JobConfig> for ConfigOut {
    fn from(config: JobConfig) -> Self {
        Self {
            task_timeout: config.task_timeout_secs.unwrap_or(0),
            job_timeout: config.job_timeout_secs.unwrap_or(0),
            is_test_job: config.is_test.unwrap_or(false),
            max_task_retries: config.task_retries.unwrap_or(0),
            require_results: config.require_results,
            deterministic: config.deterministic,
        }
    }
}

/// Reads where data comes from.
pub fn read_source(fields: Loose) -> Result<Given<DraftSource>> {
    Ok(given(descriptor::read_source(fields)?))
}

/// Reads where results go.
pub fn read_destination(fields: Loose) -> Result<Given<Destination>> {
    Ok(given(descriptor::read_destination(fields)?))
}

fn given<L>(checked: Checked<L>) -> Given<L> {
    let Checked { location, inline } = checked;
    let keys = inline.map(|Inline { access_key, secret_key }| KeyPair { access_key, secret_key });
    Given { location, keys }
}

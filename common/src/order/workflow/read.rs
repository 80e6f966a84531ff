//! From the text of a job file to what it says.

use serde_saphyr::DuplicateKeyPolicy;

use super::{FILE_BYTES_MAX, InvalidWorkflow, JobFile};

/// The most levels of lists and maps in one another. Steps lie up to three levels apart, and
/// reading one takes much of a thread's stack.
const DEPTH_MAX: usize = 40;
/// The most values, and the most that aliases may stand for.
const VALUES_MAX: usize = 100_000;
const ALIASES_MAX: usize = 1_000;

/// Reads YAML, of which JSON is a part.
pub(super) fn read(text: &str) -> Result<JobFile, InvalidWorkflow> {
    if text.len() > FILE_BYTES_MAX {
        return Err(InvalidWorkflow::Large);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: VALUES_MAX * 2,
            max_nodes: VALUES_MAX,
            max_depth: DEPTH_MAX,
            max_aliases: ALIASES_MAX,
            max_documents: 1,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: VALUES_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| InvalidWorkflow::Syntax(error.to_string()))
}

//! Fields of requests, as use cases name them in their refusals: in the core's own words. Each API
//! names them in its own spelling (`api::http::problem::ErrorShape`).

use std::fmt;

use common::secret::DataEnd;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// As the request, or a document in it, names it; all APIs name it the same.
    Named(String),
    /// The id that a caller chooses for a job.
    JobId,
    /// Where a job's data comes from, or where its results go.
    Location(DataEnd),
    /// The secret that a location names.
    LocationSecret(DataEnd),
    /// The keys that were given inside a location.
    LocationKeys(DataEnd),
    /// Where the page before ended.
    Cursor,
    /// A package's archive.
    Archive,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::JobId => f.write_str("job"),
            Self::Location(end) => f.write_str(name(*end)),
            Self::LocationSecret(end) => write!(f, "{}.secret", name(*end)),
            Self::LocationKeys(end) => write!(f, "{}.keys", name(*end)),
            Self::Cursor => f.write_str("cursor"),
            Self::Archive => f.write_str("archive"),
        }
    }
}

const fn name(end: DataEnd) -> &'static str {
    match end {
        DataEnd::Source => "source",
        DataEnd::Destination => "destination",
    }
}

impl From<&str> for Field {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<String> for Field {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

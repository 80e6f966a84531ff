//! How fast calls go out: how many at once, and how many in a time.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// Limits that calls of a workspace with the same key share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// `None` is the host that the call goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The most calls that are under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// So many calls in a time; as many can go out together after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub calls: NonZeroU32,
    pub per_secs: NonZeroU32,
}

impl Flow {
    pub const fn is_unlimited(&self) -> bool {
        self.at_once.is_none() && self.rate.is_none()
    }
}

//! What expressions see.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;

/// The values that expressions read, by name: `inputs`, `secrets`, `tasks`, `item`, `job`, `run`.
/// What is missing in one of these maps is the empty text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(BTreeMap<String, Value>);

impl Scope {
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// What would otherwise differ between two evaluations of the same text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// The time that `now()` gives.
    pub now: DateTime<Utc>,
    /// What `randomInt()` follows from, together with the text and how often it was called there.
    pub seed: [u8; 32],
}

impl Default for Fixed {
    fn default() -> Self {
        Self { now: DateTime::UNIX_EPOCH, seed: [0; 32] }
    }
}

impl Fixed {
    /// The number that the `n`th call gives in this text.
    pub(super) fn number(&self, source: &str, n: u32) -> u64 {
        let mut bytes = Vec::with_capacity(source.len() + 64);
        bytes.extend_from_slice(b"fanfold random ");
        bytes.extend_from_slice(&self.seed);
        bytes.extend_from_slice(&n.to_be_bytes());
        bytes.extend_from_slice(source.as_bytes());
        let mut number = [0; 8];
        number.copy_from_slice(&Digest::of(&bytes).bytes()[..8]);
        u64::from_be_bytes(number)
    }
}

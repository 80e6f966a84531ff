//! Secrets: what they are for, and how a container gets them.

mod id;
mod purpose;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use id::{DataEnd, NotAName, SecretId};
pub use purpose::{Misuse, NotAKind, Purpose, SecretKind, Target, Unbound};

/// The most bytes of all secrets of one container: they travel in one frame, and the variable that
/// holds them all must stay below what a kernel takes.
pub const SECRETS_BYTES_MAX: usize = 48 * 1024;

/// The variable that lists all secrets.
const LIST: &str = "SECRETS";
/// What the contract gives to containers; no secret may stand in for it.
const CONTRACT: [&str; 19] = [
    "APP_PARAMS",
    "ASSEMBLER_PARAMS",
    "CHUNKS_DIR",
    "CHUNK_KEY",
    "CHUNK_NAME",
    "CHUNK_NUMBER",
    "FANFOLD_RESULTS",
    "FANFOLD_SCHEDULED_FOR",
    "HOME",
    "OUTPUT_DIR",
    "PARTITIONER_PARAMS",
    "PATH",
    "RESULTS_DIR",
    LIST,
    "SHARED_CACHE_DIR",
    "SOURCE_DIR",
    "TASK_DIR",
    "TASK_RESULTS_DIR",
    "USER_CACHE_DIR",
];

/// Variables that the loader of every program heeds, and those of NVIDIA's tools: a donor's own
/// programs read them when they prepare a container.
const HOST_PREFIXES: [&str; 4] = ["GCONV_", "GLIBC_", "LD_", "NVIDIA_"];

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A secret with its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    pub id: String,
    pub secret_type: SecretKind,
    pub expires_at: Option<DateTime<Utc>>,
    pub access_key: Hidden,
    pub params: BTreeMap<String, String>,
    pub name: String,
    pub secret_key: Hidden,
}

/// Whether a secret of this id can be given to a container: its id becomes the name of a variable.
pub fn is_variable(id: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let first = id.bytes().next().is_some_and(letter);
    let is_taken =
        CONTRACT.contains(&id) || HOST_PREFIXES.iter().any(|prefix| id.starts_with(prefix));
    first && id.bytes().all(|b| letter(b) || b.is_ascii_digit()) && !is_taken
}

/// The variables of a container that hold these secrets.
pub fn variables(secrets: &[Secret]) -> Vec<String> {
    if secrets.is_empty() {
        return Vec::new();
    }
    let list = serde_json::to_string(secrets).expect("secrets are plain data");
    let mut variables = vec![format!("{LIST}={list}")];
    for Secret { id, secret_type, access_key, secret_key, .. } in secrets {
        if *secret_type == SecretKind::Other {
            variables.push(format!("{id}={}", secret_key.0));
        } else {
            variables.push(format!("{id}_ACCESS_KEY={}", access_key.0));
            variables.push(format!("{id}_SECRET_KEY={}", secret_key.0));
        }
    }
    variables
}

impl Secret {
    /// What it weighs against `SECRETS_BYTES_MAX`.
    pub fn bytes(&self) -> usize {
        let params: usize =
            self.params.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let texts = [
            self.id.as_str(),
            self.secret_type.name(),
            &self.name,
            &self.access_key.0,
            &self.secret_key.0,
        ];
        texts.iter().map(|text| text.len() + 8).sum::<usize>() + params + 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(id: &str, secret_type: SecretKind) -> Secret {
        Secret {
            id: id.to_owned(),
            secret_type,
            expires_at: DateTime::from_timestamp(1_800_000_000, 0),
            access_key: Hidden("ACCESS".to_owned()),
            params: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
            name: "a \"name\"".to_owned(),
            secret_key: Hidden("SEC=RET".to_owned()),
        }
    }

    #[test]
    fn secret_has_the_documented_variables() {
        let variables =
            variables(&[secret("S3", SecretKind::Aws), secret("token", SecretKind::Other)]);

        assert_eq!(
            variables[1..],
            ["S3_ACCESS_KEY=ACCESS", "S3_SECRET_KEY=SEC=RET", "token=SEC=RET"]
        );
        let list = variables[0].strip_prefix("SECRETS=").unwrap();
        let list: serde_json::Value = serde_json::from_str(list).unwrap();
        assert_eq!(
            list[0],
            serde_json::json!({"id": "S3", "secretType": "aws", "accessKey": "ACCESS",
                "expiresAt": "2027-01-15T08:00:00Z", "params": {"region": "eu"},
                "name": "a \"name\"", "secretKey": "SEC=RET"})
        );
        assert!(super::variables(&[]).is_empty());
    }

    #[test]
    fn secret_id_that_no_variable_can_have_is_refused() {
        for id in ["A", "_a1", "openai_KEY"] {
            assert!(is_variable(id), "{id}");
        }
        for id in ["LD_PRELOAD", "LD_AUDIT", "NVIDIA_VISIBLE_DEVICES", "GLIBC_TUNABLES"] {
            assert!(!is_variable(id), "{id}");
        }
        for id in ["", "1A", "my-s3", "a.b", "A=B", "ä", "TASK_DIR", "SECRETS", "HOME", "A B"] {
            assert!(!is_variable(id), "{id}");
        }
    }

    #[test]
    fn secret_is_hidden_in_logs() {
        let shown = format!("{:?}", secret("S3", SecretKind::Aws));

        assert!(!shown.contains("SEC=RET") && !shown.contains("ACCESS"), "{shown}");
    }
}

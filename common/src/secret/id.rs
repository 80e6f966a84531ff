//! The ids of secrets: those that members choose, and those that nobody can write.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::JobId;

const NAME_CHARS_MAX: usize = 128;
/// What the ids of values of variables begin with.
const VARIABLE: &str = "variable/";
/// What the ids of what came with a job begin with.
const JOB: &str = "job/";

/// The id of a secret, as it is stored.
///
/// A derived one has a slash, which no name has: what a caller writes is read with [`Self::named`],
/// so no request can mean a derived one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretId(String);

/// Which end of a job's data the keys inside a descriptor are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataEnd {
    Source,
    Destination,
}

/// The text is not a name that a member can give to a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a secret: letters, digits, - _ and ., at most {NAME_CHARS_MAX} of them")]
pub struct NotAName;

impl SecretId {
    /// An id as members write it: it becomes the name of a variable and a part of paths.
    pub fn named(text: &str) -> Result<Self, NotAName> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.bytes().all(plain) {
            return Err(NotAName);
        }
        Ok(Self(text.to_owned()))
    }

    /// The keys that came inside a job's descriptor.
    pub fn of_job(job: JobId, end: DataEnd) -> Self {
        let end = match end {
            DataEnd::Source => "source",
            DataEnd::Destination => "destination",
        };
        Self(format!("{JOB}{job}/{end}"))
    }

    /// A value that came with a job: a secret of its own, or the password of a registry.
    pub fn of_order(job: JobId, what: &str) -> Self {
        Self(format!("{JOB}{job}/order/{what}"))
    }

    /// What the ids of all secrets begin with that are of one job alone.
    pub fn prefixes_of_job(job: JobId) -> [String; 2] {
        [format!("{JOB}{job}/"), format!("{VARIABLE}{job}/")]
    }

    /// The job that a derived one is of. One of a variable may be of a definition, whose id is no
    /// job's.
    pub fn job(&self) -> Option<JobId> {
        let rest = self.0.strip_prefix(JOB).or_else(|| self.0.strip_prefix(VARIABLE))?;
        rest.split_once('/')?.0.parse().ok()
    }

    /// The same of another job, where it is of this one.
    #[must_use]
    pub fn of_copy(&self, from: JobId, to: JobId) -> Option<Self> {
        self.job().filter(|job| *job == from)?;
        Some(Self(self.0.replacen(&from.to_string(), &to.to_string(), 1)))
    }

    /// The login for the private image of a package.
    pub fn of_image(family: &str, name: &str, version: impl fmt::Display) -> Self {
        Self(format!("image/{family}/{name}@{version}"))
    }

    /// The value of a variable of one job's or definition's containers.
    pub fn of_variable(owner: Uuid, name: &str) -> Self {
        Self(format!("{VARIABLE}{owner}/{name}"))
    }

    /// The variable that a container gets it as: its id, or what a derived one is the value of.
    pub fn variable(&self) -> Option<&str> {
        match self.0.strip_prefix(VARIABLE) {
            Some(derived) => derived.split_once('/').map(|(_, name)| name),
            None => Some(self.as_str()).filter(|_| self.is_named()),
        }
    }

    /// An id as the store has it.
    pub const fn stored(text: String) -> Self {
        Self(text)
    }

    /// Whether a member has chosen it; no list shows the others.
    pub fn is_named(&self) -> bool {
        Self::named(&self.0).is_ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn derived_id_cannot_be_named() {
        let job = JobId::new(Uuid::from_u128(7));
        for derived in [
            SecretId::of_job(job, DataEnd::Source),
            SecretId::of_job(job, DataEnd::Destination),
            SecretId::of_order(job, "value/a"),
            SecretId::of_image("app", "priv", "1.0"),
            SecretId::of_variable(job.uuid(), "TOKEN"),
        ] {
            assert!(!derived.is_named(), "{derived}");
            assert_eq!(SecretId::named(derived.as_str()), Err(NotAName));
        }
    }

    #[test]
    fn secret_of_a_variable_has_its_name() {
        let derived = SecretId::of_variable(Uuid::from_u128(7), "TOKEN");

        assert_eq!(derived.variable(), Some("TOKEN"));
        assert_eq!(SecretId::named("token").unwrap().variable(), Some("token"));
        assert_eq!(SecretId::of_image("app", "priv", "1.0").variable(), None);
    }

    #[test]
    fn secret_of_a_job_is_known_by_its_prefixes() {
        let job = JobId::new(Uuid::from_u128(7));
        let own = [
            SecretId::of_job(job, DataEnd::Source),
            SecretId::of_order(job, "value/a"),
            SecretId::of_variable(job.uuid(), "TOKEN"),
        ];
        for id in own {
            let begins = |prefix: &String| id.as_str().starts_with(prefix.as_str());
            assert!(SecretId::prefixes_of_job(job).iter().any(begins), "{id}");
            assert_eq!(id.job(), Some(job));
            let copy = JobId::new(Uuid::from_u128(8));
            assert_eq!(id.of_copy(job, copy).and_then(|id| id.job()), Some(copy));
            assert_eq!(id.of_copy(copy, job), None);
        }
        assert_eq!(SecretId::of_image("app", "priv", "1.0").job(), None);
        assert_eq!(SecretId::named("job").unwrap().job(), None);
    }

    proptest! {
        #[test]
        fn name_never_is_a_derived_id(text in "\\PC{0,40}|(job|image)[/%.-][a-z0-9/%.@-]{0,60}") {
            if let Ok(id) = SecretId::named(&text) {
                prop_assert!(id.is_named() && !id.as_str().contains('/'));
            }
        }
    }
}

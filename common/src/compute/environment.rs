//! The variables of a container: their names, and what fits into them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// The most bytes of one variable with its name: the kernel takes 32 pages, its end included.
pub const VARIABLE_BYTES_MAX: usize = (128 << 10) - 1;
/// The most bytes of all variables: a quarter of the smallest usual stack.
pub const VARIABLES_BYTES_MAX: usize = 1 << 20;
/// The longest name of a variable that holds params.
const PARAMS_NAME: &str = "PARTITIONER_PARAMS=";
/// The most bytes of the params of one phase, as JSON.
pub const PARAMS_BYTES_MAX: usize = VARIABLE_BYTES_MAX - PARAMS_NAME.len();

/// Variables that a container can have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Environment(Vec<Variable>);

/// Names and values, in the order of the names. One is made for each task that is handed out, so
/// names that are known to the program are not copied.
type Variable = (Cow<'static, str>, String);

/// Why variables are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvironment {
    #[error("{0:?} is not the name of a variable")]
    Name(String),
    #[error("the variable {0} is there twice")]
    Twice(String),
    #[error("the variable {0} has a NUL in its value")]
    Nul(String),
    #[error("the variable {0} is larger than {VARIABLE_BYTES_MAX} bytes")]
    Large(String),
    #[error("the variables are larger than {VARIABLES_BYTES_MAX} bytes together")]
    TooMany,
}

impl Environment {
    /// # Errors
    /// The variables are not those that a program can get.
    pub fn of(variables: Vec<(&'static str, String)>) -> Result<Self, InvalidEnvironment> {
        let named = |(name, value)| (Cow::Borrowed(name), value);
        Self::checked(variables.into_iter().map(named).collect())
    }

    fn checked(mut variables: Vec<Variable>) -> Result<Self, InvalidEnvironment> {
        use InvalidEnvironment as E;
        variables.sort_unstable();
        for (name, value) in &variables {
            if bytes(name, value) > VARIABLE_BYTES_MAX + 1 {
                return Err(E::Large(name.chars().take(64).collect()));
            }
            if !is_name(name) {
                return Err(E::Name(name.clone().into_owned()));
            }
            if value.contains('\0') {
                return Err(E::Nul(name.clone().into_owned()));
            }
        }
        if let Some(pair) = variables.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(E::Twice(pair[0].0.clone().into_owned()));
        }
        let environment = Self(variables);
        if environment.bytes() > VARIABLES_BYTES_MAX { Err(E::TooMany) } else { Ok(environment) }
    }

    /// The variables as programs get them, each as `NAME=value`.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }

    /// The names, in their order, with their values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// What they take in a process's memory.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| bytes(name, value)).sum()
    }
}

/// A variable in memory has a `=`, and a NUL at its end.
const fn bytes(name: &str, value: &str) -> usize {
    name.len() + value.len() + 2
}

/// Whether a shell can name a variable so.
pub fn is_name(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|b| is_letter(b) || b.is_ascii_digit())
}

impl TryFrom<BTreeMap<String, String>> for Environment {
    type Error = InvalidEnvironment;

    fn try_from(variables: BTreeMap<String, String>) -> Result<Self, InvalidEnvironment> {
        let named = |(name, value)| (Cow::Owned(name), value);
        Self::checked(variables.into_iter().map(named).collect())
    }
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Result<Environment, InvalidEnvironment> {
        BTreeMap::from([(name.to_owned(), value.to_owned())]).try_into()
    }

    #[test]
    fn environment_has_plain_names_and_values_of_limited_size() {
        use InvalidEnvironment as E;
        let fits = "x".repeat(PARAMS_BYTES_MAX);
        assert!(of("PARTITIONER_PARAMS", &fits).is_ok());
        assert_eq!(of("_a1", "b=c\n").unwrap().variables().collect::<Vec<_>>(), ["_a1=b=c\n"]);
        for name in ["", "1A", "A-B", "A B", "A=B", "ä", "A\0"] {
            assert_eq!(of(name, "x"), Err(E::Name(name.to_owned())));
        }
        let twice = Environment::of(vec![("A", String::new()), ("A", "1".to_owned())]);
        assert_eq!(twice, Err(E::Twice("A".to_owned())));
        assert_eq!(of("A", "a\0b"), Err(E::Nul("A".to_owned())));
        assert!(matches!(of("PARTITIONER_PARAMS", &format!("{fits}x")), Err(E::Large(_))));
        let many = (0..9).map(|n| (format!("A{n}"), fits.clone())).collect::<BTreeMap<_, _>>();
        assert_eq!(Environment::try_from(many), Err(E::TooMany));
    }
}

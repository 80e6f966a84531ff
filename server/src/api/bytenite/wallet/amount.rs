//! Numbers that no float may hold, as JSON numbers all the same.

use std::fmt::Display;
use std::str::FromStr;

use common::money::credits::Credits;
use common::package::loose::Loose;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// An exact decimal as a JSON number, written from its text.
#[derive(Debug, Clone, ToSchema)]
#[schema(value_type = f64)]
pub struct Amount(String);

impl Amount {
    pub fn of(credits: Credits) -> Self {
        Self(credits.to_string())
    }

    /// A decimal of our own writing, such as `-0.00039755`.
    pub fn exact(decimal: impl Display) -> Self {
        Self(decimal.to_string())
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.0.clone()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// Takes an amount out of a body, be it a text or a number; zero is unset.
pub fn take<T: FromStr<Err: Display>>(body: &mut Loose, key: &str) -> Result<Option<T>> {
    let field = body.name(key);
    match body.value(key) {
        None => Ok(None),
        Some(Value::String(text)) => read(&field, &text),
        Some(Value::Number(number)) => read(&field, &number.to_string()),
        Some(_) => Err(Error::field(field, "must be a decimal")),
    }
}

/// Reads an amount; zero is unset.
pub fn read<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<Option<T>> {
    let text = text.trim();
    if !text.is_empty() && text.trim_matches(['0', '.']).is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: T::Err| Error::field(field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_numbers_of_eight_decimals() {
        let most = Credits::from_units(i64::MAX).unwrap();

        let text = serde_json::to_string(&(Amount::of(most), Amount::exact("-0.00000001")));

        assert_eq!(text.unwrap(), "[92233720368.54775807,-0.00000001]");
    }
}

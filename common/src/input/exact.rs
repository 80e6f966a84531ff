//! JSON that keeps what it was given: numbers with all their digits.
//!
//! A number of `serde_json` has 64 bits, so 123456789012345678901234567890 or 3.14159265358979323846
//! would come out rounded. What is handed on to a customer's own program is kept as text instead.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A decimal with more digits than this is not expanded.
const DIGITS_MAX: usize = 64;

/// A JSON value as it was written, without the white space between its parts.
#[derive(Clone)]
pub struct Exact(Box<RawValue>);

impl Exact {
    fn new(text: &str) -> Self {
        let text = RawValue::from_string(compact(text));
        Self(text.expect("JSON is JSON without the white space between its parts"))
    }

    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The value with its numbers rounded to 64 bits.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }

    /// Whether it is null or an empty text, as many clients send their unset fields.
    pub fn is_unset(&self) -> bool {
        matches!(self.text(), "null" | "\"\"")
    }
}

impl<T: Into<Value>> From<T> for Exact {
    fn from(value: T) -> Self {
        Self::new(&value.into().to_string())
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // White space stands in lists and objects; a text may be large and is not copied.
        let has_parts = raw.get().starts_with(['[', '{']);
        Ok(if has_parts { Self::new(raw.get()) } else { Self(raw) })
    }
}

/// JSON text without the white space that is outside its texts.
fn compact(json: &str) -> String {
    let mut inside = false;
    let mut escaped = false;
    let mut kept = String::with_capacity(json.len());
    for c in json.chars() {
        if inside {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            inside = !ends;
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            inside = c == '"';
        }
        kept.push(c);
    }
    kept
}

/// The whole number that a decimal stands for: `3600`, `3600.0` and `3.6e3` are the same one, as
/// the JSON of protobuf has it. `None` where it is no decimal, has a fraction, or is too long.
pub fn whole(decimal: &str) -> Option<i128> {
    plain(decimal)?.parse().ok()
}

/// A decimal without an exponent and without zeros at the end of its fraction: `1e-8` is
/// `0.00000001`. `None` where it is no decimal, or has too many digits.
pub fn plain(decimal: &str) -> Option<String> {
    let (sign, unsigned) = match decimal.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", decimal),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (before, after) = match mantissa.split_once('.') {
        Some((before, after)) if !after.is_empty() => (before, after),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    let digits = format!("{before}{after}");
    if before.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The number of digits before the point, without leading zeros.
    let point = i64::try_from(before.len()).ok()? + i64::from(exponent);
    let significant = digits.trim_start_matches('0');
    let point = point - i64::try_from(digits.len() - significant.len()).ok()?;
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let length = i64::try_from(significant.len()).ok()?;
    let most = i64::try_from(DIGITS_MAX).ok()?;
    if length > most || point > most || point < -most {
        return None;
    }
    let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
    let number = if point <= 0 {
        format!("0.{}{significant}", zeros(-point))
    } else if point >= length {
        format!("{significant}{}", zeros(point - length))
    } else {
        let (before, after) = significant.split_at(usize::try_from(point).ok()?);
        format!("{before}.{after}")
    };
    Some(format!("{sign}{number}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn exact_json_keeps_digits_and_drops_white_space() {
        for (given, kept) in [
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (
                "{ \"a\" : [ 3.14159265358979323846 , -0.10 ] }",
                r#"{"a":[3.14159265358979323846,-0.10]}"#,
            ),
            (r#"{"a b": " \" c \\"}"#, r#"{"a b":" \" c \\"}"#),
            ("\n1E400\t", "1E400"),
        ] {
            let exact: Exact = serde_json::from_str(given).unwrap();

            assert_eq!(exact.text(), kept);
            assert_eq!(serde_json::to_string(&exact).unwrap(), kept);
            let map = BTreeMap::from([("x", exact)]);
            let text = serde_json::to_string(&map).unwrap();
            assert_eq!(text, format!("{{\"x\":{kept}}}"));
        }
    }

    #[test]
    fn whole_number_is_read_as_protobuf_writes_it() {
        for (text, number) in [
            ("3600", Some(3600)),
            ("3600.0", Some(3600)),
            ("3.6e3", Some(3600)),
            ("3.6E+3", Some(3600)),
            ("36000e-1", Some(3600)),
            ("-7.00", Some(-7)),
            ("0e999", Some(0)),
            ("-0", Some(0)),
            ("0.0", Some(0)),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("007", Some(7)),
            ("3600.5", None),
            ("1e-1", None),
            ("1e99", None),
            ("1e99999999999", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("5.", None),
            ("1e", None),
            ("0x10", None),
            ("NaN", None),
            (" 1", None),
            ("1_0", None),
        ] {
            assert_eq!(whole(text), number, "{text:?}");
        }
        assert_eq!(plain("1e-8").as_deref(), Some("0.00000001"));
        assert_eq!(plain("-12.50").as_deref(), Some("-12.5"));
    }

    proptest! {
        #[test]
        fn whole_number_is_read_in_every_form(n in any::<i64>(), zeros in 0_usize..9) {
            let zeros = "0".repeat(zeros);
            prop_assert_eq!(whole(&n.to_string()), Some(n.into()));
            prop_assert_eq!(whole(&format!("{n}.0{zeros}")), Some(n.into()));
            prop_assert_eq!(whole(&format!("{n}{zeros}e-{}", zeros.len())), Some(n.into()));
        }

        #[test]
        fn whole_number_parser_takes_any_text(text in "[-+0-9.eE ]{0,40}") {
            let _ = whole(&text);
        }

        #[test]
        fn exact_json_keeps_its_value(texts in proptest::collection::vec(any::<String>(), 0..4)) {
            let value = json!({ "list": texts, "n": [1, -2, 0.5, null, true] });
            let spaced = serde_json::to_string_pretty(&value).unwrap();
            let exact: Exact = serde_json::from_str(&spaced).unwrap();

            prop_assert_eq!(exact.value(), value);
        }
    }
}

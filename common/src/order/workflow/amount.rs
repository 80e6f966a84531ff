//! Amounts as job files write them: a number, or a text with a unit.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Thousandths of a vCPU. It is written in vCPUs, such as 0.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu(pub u32);

/// It is written as a number of MiB, or such as 512MiB or 4GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mebibytes(pub u32);

/// It is written as a number of seconds, or such as 90s, 10m or 1h30m.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub u32);

/// An amount that is written as a number or a text.
trait Amount: Sized {
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Option<Self>;

    fn print(&self) -> String;
}

impl Amount for Cpu {
    const EXPECTED: &'static str = "vCPUs with at most three decimals, such as 2 or 0.5";

    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if part.len() > 3
            || !is_number(whole)
            || !is_number(part)
            || text.len() < 2 && part.is_empty() && whole.is_empty()
        {
            return None;
        }
        let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let millis: u32 = format!("{part:0<3}").parse().ok()?;
        whole.checked_mul(1_000)?.checked_add(millis).map(Self)
    }

    fn print(&self) -> String {
        let (whole, millis) = (self.0 / 1_000, self.0 % 1_000);
        if millis == 0 {
            return whole.to_string();
        }
        format!("{whole}.{millis:03}").trim_end_matches('0').to_owned()
    }
}

impl Amount for Mebibytes {
    const EXPECTED: &'static str = "a number of MiB, or an amount such as 512MiB or 4GiB";

    fn parse(text: &str) -> Option<Self> {
        let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let factor = match unit.trim_start() {
            "" | "MiB" => 1,
            "GiB" => 1 << 10,
            "TiB" => 1 << 20,
            _ => return None,
        };
        number.parse::<u32>().ok()?.checked_mul(factor).map(Self)
    }

    fn print(&self) -> String {
        format!("{}MiB", self.0)
    }
}

impl Amount for Seconds {
    const EXPECTED: &'static str = "a number of seconds, or a time such as 90s, 10m or 1h30m";

    fn parse(text: &str) -> Option<Self> {
        if let Ok(secs) = text.parse() {
            return Some(Self(secs));
        }
        let (mut rest, mut secs) = (text, 0_u32);
        while !rest.is_empty() {
            let unit = rest.find(|c: char| !c.is_ascii_digit())?;
            let factor = match rest[unit..].chars().next()? {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return None,
            };
            let part = rest[..unit].parse::<u32>().ok()?.checked_mul(factor)?;
            secs = secs.checked_add(part)?;
            rest = &rest[unit + 1..];
        }
        (!text.is_empty()).then_some(Self(secs))
    }

    fn print(&self) -> String {
        format!("{}s", self.0)
    }
}

struct Reader<A>(std::marker::PhantomData<A>);

impl<A: Amount> Visitor<'_> for Reader<A> {
    type Value = A;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<A, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<A, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<A, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<A, E> {
        A::parse(text.trim()).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// How an amount is read, written and described.
macro_rules! amount {
    ($amount:ident) => {
        impl<'de> Deserialize<'de> for $amount {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader(std::marker::PhantomData))
            }
        }

        impl Serialize for $amount {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.print())
            }
        }

        impl JsonSchema for $amount {
            fn schema_name() -> Cow<'static, str> {
                stringify!($amount).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let expected = <$amount as Amount>::EXPECTED;
                json_schema!({ "type": ["number", "string"], "description": expected })
            }
        }
    };
}

amount!(Cpu);
amount!(Mebibytes);
amount!(Seconds);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_numbers_or_texts_with_units() {
        for (text, millis) in [("2", 2_000), ("0.5", 500), (".25", 250), ("1.125", 1_125)] {
            assert_eq!(Cpu::parse(text), Some(Cpu(millis)), "{text}");
        }
        for (text, mib) in [("512", 512), ("512MiB", 512), ("4 GiB", 4_096), ("1TiB", 1 << 20)] {
            assert_eq!(Mebibytes::parse(text), Some(Mebibytes(mib)), "{text}");
        }
        for (text, secs) in [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5_400)] {
            assert_eq!(Seconds::parse(text), Some(Seconds(secs)), "{text}");
        }
        for text in ["", "-1", "1.2345", "x", ".", "5000000", "1.2.3"] {
            assert_eq!(Cpu::parse(text), None, "{text}");
        }
        for text in ["", "1MB", "GiB", "-1", "1.5GiB", "5000000TiB"] {
            assert_eq!(Mebibytes::parse(text), None, "{text}");
        }
        for text in ["", "s", "1x", "1h30", "-1s", "50000d"] {
            assert_eq!(Seconds::parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_read_back_what_they_write() {
        for millis in [0, 1, 10, 500, 1_000, 1_250] {
            assert_eq!(Cpu::parse(&Cpu(millis).print()), Some(Cpu(millis)));
        }
        let json = serde_json::json!([0.5, 2, "4GiB", "1h"]);
        let (cpu, whole, memory, time): (Cpu, Cpu, Mebibytes, Seconds) =
            serde_json::from_value(json).unwrap();
        assert_eq!(
            (cpu, whole, memory, time),
            (Cpu(500), Cpu(2_000), Mebibytes(4_096), Seconds(3_600))
        );
    }
}

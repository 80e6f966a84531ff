//! Durations, shares of processors and sizes of memory, as documents write them.

use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const DIGITS_MAX: usize = 18;

/// A duration such as `1h30m` or `1.5s`; one below nothing counts as none. `None` where the text is
/// no duration.
pub fn duration(text: &str) -> Option<Duration> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut nanos: u64 = 0;
    let mut left = rest;
    if left == "0" {
        return Some(Duration::ZERO);
    }
    if left.is_empty() {
        return None;
    }
    while !left.is_empty() {
        let end = left.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = left.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(times(number, size)?)?;
        left = after;
    }
    Some(if is_negative { Duration::ZERO } else { Duration::from_nanos(nanos) })
}

/// A decimal number times a whole one, rounded up.
fn times(number: &str, size: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !is_number(whole) || !is_number(part) {
        return None;
    }
    let part = &part[..part.len().min(DIGITS_MAX)];
    let digits = format!("{whole}{part}");
    let digits: u128 =
        if digits.len() > 2 * DIGITS_MAX { return None } else { digits.parse().ok()? };
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    u64::try_from((digits * u128::from(size)).div_ceil(scale)).ok()
}

/// Thousandths of a processor: of `.5`, `2` or `1/4`, rounded up.
pub fn cpu_millis(text: &str) -> Option<u32> {
    let millis = match text.split_once('/') {
        None => times(text, 1_000)?,
        Some((over, under)) => {
            let under: u64 = under.parse().ok().filter(|under| *under > 0)?;
            times(over, 1_000)?.div_ceil(under)
        }
    };
    u32::try_from(millis).ok().filter(|millis| *millis > 0)
}

/// Mebibytes: of a number with `b`, `k`, `m`, `g`, `t` or `p`, rounded up.
pub fn memory_mib(text: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let size: u64 = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit) {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    };
    let mib = times(number, size)?.div_ceil(1 << 20);
    u32::try_from(mib).ok().filter(|mib| *mib > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_time_are_read() {
        for (text, millis) in [
            ("300ms", Some(300)),
            ("1.5h", Some(5_400_000)),
            ("1h30m10s5ms", Some(5_410_005)),
            ("0", Some(0)),
            (".5s", Some(500)),
            ("-1s", Some(0)),
            ("5d", None),
            ("5", None),
            ("", None),
            ("s", None),
            (".s", None),
            ("1..5s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(duration(text).map(|time| time.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn figures_of_machines_are_read() {
        for (text, millis) in
            [(".5", Some(500)), ("2", Some(2_000)), ("1/4", Some(250)), ("1/0", None), ("x", None)]
        {
            assert_eq!(cpu_millis(text), millis, "{text}");
        }
        for (text, mib) in [
            ("10m", Some(10)),
            ("1MB", Some(1)),
            ("1.5g", Some(1536)),
            ("512KiB", Some(1)),
            ("5x", None),
            ("", None),
            ("0", None),
        ] {
            assert_eq!(memory_mib(text), mib, "{text}");
        }
    }
}

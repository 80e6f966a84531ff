//! Which part of a file a request asks for.

use std::ops::Range;

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// Reads a Range header. Several ranges, and what cannot be read, get the whole file, as the
/// standard allows.
pub fn parse_range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    match (number(first), number(last), first.trim(), last.trim()) {
        (Ok(from), Ok(to), _, _) if from <= to => {
            if from >= size {
                return Asked::Beyond;
            }
            Asked::Part(from..to.saturating_add(1).min(size))
        }
        (Ok(from), _, _, "") => {
            if from >= size {
                return Asked::Beyond;
            }
            Asked::Part(from..size)
        }
        (_, Ok(tail), "", _) => {
            if tail == 0 || size == 0 {
                return Asked::Beyond;
            }
            Asked::Part(size.saturating_sub(tail)..size)
        }
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_defines() {
        for (header, asked) in [
            ("bytes=0-4", Asked::Part(0..5)),
            ("bytes=5-", Asked::Part(5..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=8-30", Asked::Part(8..10)),
            ("bytes=0-18446744073709551615", Asked::Part(0..10)),
            ("bytes=10-", Asked::Beyond),
            ("bytes=10-12", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-4", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=99999999999999999999999-", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=-", Asked::Whole),
        ] {
            assert_eq!(parse_range(header, 10), asked, "{header}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::Beyond);
    }
}

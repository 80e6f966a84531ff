//! File names that come from outside: out of URLs, keys and containers.

/// Longest name in bytes that every file system and archive takes, with room for a chunk's number.
const NAME_BYTES_MAX: usize = 200;

/// The file name of a URL's or key's path: its last segment, percent-decoded and made safe.
pub fn of_url(path: &str) -> String {
    let last = path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(last).decode_utf8_lossy();
    // The decoding can bring new slashes.
    of_key(&decoded)
}

/// The file name of an object's key: its last segment, made safe.
pub fn of_key(key: &str) -> String {
    safe(key.rsplit(['/', '\\']).find(|segment| !segment.is_empty()).unwrap_or_default())
}

/// A name that is one plain segment of a path anywhere: no separators, no control characters,
/// neither empty nor made of dots only, and not too long. A safe name stays as it is.
pub fn safe(name: &str) -> String {
    let mut safe: String = name
        .chars()
        .map(|c| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '#' | '%' => '_',
            c if c.is_control() || c == char::REPLACEMENT_CHARACTER => '_',
            c => c,
        })
        .collect();
    while safe.len() > NAME_BYTES_MAX {
        safe.pop();
    }
    if safe.trim_matches(['.', ' ']).is_empty() { "data".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_become_plain_segments() {
        for (name, expected) in [
            ("report.csv", "report.csv"),
            ("Bücher 2026.txt", "Bücher 2026.txt"),
            ("..", "data"),
            (" . ", "data"),
            ("", "data"),
            ("a/../b", "a_.._b"),
            ("a\\b", "a_b"),
            ("x#1", "x_1"),
            ("a\0b\nc", "a_b_c"),
        ] {
            assert_eq!(safe(name), expected);
            assert_eq!(safe(expected), expected);
        }
        assert_eq!(safe(&"é".repeat(500)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn the_last_segment_of_a_path_is_the_name() {
        assert_eq!(of_url("/a/b%20c.txt"), "b c.txt");
        assert_eq!(of_url("/a/b/"), "b");
        assert_eq!(of_url("/a/..%2F..%2Fetc%2Fpasswd"), "passwd");
        assert_eq!(of_url("/"), "data");
        assert_eq!(of_key("logs/2026/day.log"), "day.log");
    }
}

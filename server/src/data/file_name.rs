//! File names that come from outside: out of URLs, keys and containers.

use common::digest::Digest;
use common::input::text::is_plain;

/// Longest name in bytes that every file system and archive takes, with room for a chunk's number.
const NAME_BYTES_MAX: usize = 200;
/// Longest name in bytes of a result; a file system takes no longer one.
const RESULT_BYTES_MAX: usize = 255;

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

/// A name that is one plain segment of a path anywhere: no separators, visible characters alone,
/// neither empty nor made of dots only, and not too long. A safe name stays as it is.
pub fn safe(name: &str) -> String {
    let mut safe: String = name
        .chars()
        .map(|c| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '#' | '%' => '_',
            c if !is_plain(c) || c == char::REPLACEMENT_CHARACTER => '_',
            c => c,
        })
        .collect();
    while safe.len() > NAME_BYTES_MAX {
        safe.pop();
    }
    if safe.trim_matches(['.', ' ']).is_empty() { "data".to_owned() } else { safe }
}

/// The one name of a result file: in the destination, in lists, links and archives. It is the
/// name that the app gave, as long as a file can have it anywhere; what had to be changed gets a
/// mark of what it was, so that no file takes the place of another.
pub fn of_result(name: &str) -> String {
    let mut safe: String = name
        .chars()
        .map(|c| match c {
            '/' | '\\' => '_',
            c if !is_plain(c) || c == char::REPLACEMENT_CHARACTER => '_',
            c => c,
        })
        .collect();
    if safe.trim_matches(['.', ' ']).is_empty() {
        "data".clone_into(&mut safe);
    }
    if safe == name && name.len() <= RESULT_BYTES_MAX {
        return safe;
    }
    let mark = &Digest::of(name.as_bytes()).to_string()[..12];
    let (stem, suffix) = match safe.rsplit_once('.') {
        Some((stem, suffix)) if !stem.is_empty() && suffix.len() < 16 => (stem, suffix),
        _ => (safe.as_str(), ""),
    };
    let dot = if suffix.is_empty() { "" } else { "." };
    let room = RESULT_BYTES_MAX - mark.len() - suffix.len() - 2;
    format!("{}-{mark}{dot}{suffix}", &stem[..stem.floor_char_boundary(room)])
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
            ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
        ] {
            assert_eq!(safe(name), expected);
            assert_eq!(safe(expected), expected);
        }
        assert_eq!(safe(&"é".repeat(500)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn result_name_is_kept_where_a_file_can_have_it() {
        for name in ["a.txt", "2026-11-28T08:15:00.json", "100%#*?<>|\".x", "Bücher ~1", ".env"] {
            assert_eq!(of_result(name), name);
        }
        let long = format!("0000001_{}.txt", "x".repeat(243));
        assert_eq!(of_result(&long), long);
    }

    #[test]
    fn result_names_stay_distinct() {
        let long = |end: &str| format!("0000001_{}{end}.txt", "x".repeat(250));
        let names = [
            "a.txt",
            "a/b.txt",
            "a\\b.txt",
            "a_b.txt",
            "a\nb.txt",
            "..",
            "...",
            "",
            &long("1"),
            &long("2"),
        ];

        let distinct: Vec<String> = names.into_iter().map(of_result).collect();

        assert_eq!((distinct[0].as_str(), distinct[3].as_str()), ("a.txt", "a_b.txt"));
        assert!(distinct[1].starts_with("a_b-") && distinct[1].ends_with(".txt"));
        assert!(distinct.iter().all(|name| of_result(name) == *name));
        let unique: std::collections::HashSet<_> = distinct.iter().collect();
        assert_eq!(unique.len(), names.len());
    }

    #[test]
    fn name_is_the_last_segment_of_a_path() {
        assert_eq!(of_url("/a/b%20c.txt"), "b c.txt");
        assert_eq!(of_url("/a/b/"), "b");
        assert_eq!(of_url("/a/..%2F..%2Fetc%2Fpasswd"), "passwd");
        assert_eq!(of_url("/"), "data");
        assert_eq!(of_key("logs/2026/day.log"), "day.log");
    }
}

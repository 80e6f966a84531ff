//! The names of files in a cache.

/// The most bytes of a name.
pub const NAME_BYTES_MAX: usize = 512;
const PART_BYTES_MAX: usize = 200;
const PARTS_MAX: usize = 16;

/// Whether a text is a name: a relative path of plain ASCII parts. It becomes the path of an
/// object and of a file on nodes, where other characters have meanings of their own.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+=@".contains(&b);
    let part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.len() <= PART_BYTES_MAX
            && !part.starts_with('-')
            && part.bytes().all(plain)
    };
    name.len() <= NAME_BYTES_MAX
        && name.split('/').count() <= PARTS_MAX
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cache_name_is_a_plain_path() {
        for name in ["a", "models/llama-3_8b@q4.gguf", ".hidden/x", "a/b/c/d"] {
            assert!(is_name(name), "{name}");
        }
        let deep = vec!["a"; PARTS_MAX + 1].join("/");
        for name in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a\\b",
            "a b",
            "ä",
            "-a",
            "a#1",
            "a%2e",
            "a\0",
            "a\nb",
            deep.as_str(),
            &"x".repeat(201),
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn cache_name_stays_in_its_folder(name in "[a./\\\\-]{0,12}|\\PC{0,20}") {
            if is_name(&name) {
                let normal = |part| matches!(part, std::path::Component::Normal(_));
                let inside = std::path::Path::new(&name).components().all(normal);
                prop_assert!(inside);
            }
        }
    }
}

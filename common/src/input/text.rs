//! Text of strangers: which characters may be shown, and stand in names.
//!
//! A text can carry commands to a terminal, and characters that nobody sees but that change what
//! is seen. Names with either are refused; other text is shown without them.

use std::fmt::Write as _;

/// Whether a character is visible as itself: neither a control character nor an invisible one.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !is_invisible(c)
}

/// Characters that make a text look like another one: they turn the direction of writing, join,
/// or have no width.
pub const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
        | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text as it may be shown: without control characters and invisible ones; tabs stay.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| *c == '\t' || is_plain(*c)).collect()
}

/// JSON text with its invisible characters escaped: it says the same and shows all it says.
pub fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_invisible(c) || (c.is_control() && !c.is_ascii()) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a text does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_without_control_and_invisible_characters() {
        assert_eq!(shown("a\u{1b}[2Jb\r\n\tc\u{9b}"), "a[2Jb\tc");
        assert_eq!(shown("invoice\u{202e}fdp.exe"), "invoicefdp.exe");
        assert_eq!(shown("zero\u{200b}width\u{feff}\u{e0041}"), "zerowidth");
        assert_eq!(shown("Bücher 日本 שלום 🙂"), "Bücher 日本 שלום 🙂");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({"a\u{202e}": "b\u{e0041}\u{9b} ü", "c": 1});

        let escaped = escaped(&value.to_string());

        assert!(escaped.chars().all(is_plain), "{escaped}");
        assert!(escaped.contains("\\u202e"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }
}

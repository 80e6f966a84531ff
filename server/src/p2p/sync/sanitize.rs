//! Text that a node wrote, made fit for a database and a reader.

use common::input::text::is_invisible;

/// At most `bytes_max` bytes, cut between characters, without what makes a text look like another
/// one, and without NUL: PostgreSQL refuses it, and one refused line would take everything
/// committed with it along. Other control characters stay: they are the container's own, and
/// whoever shows them takes them out.
pub fn tidy(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text[..end].chars().filter(|c| *c != '\0' && !is_invisible(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_loses_its_nuls() {
        assert_eq!(tidy("a\0b", 10), "ab");
        assert_eq!(tidy("a\u{202e}b\u{200b}", 10), "ab");
        assert_eq!(tidy("aä", 2), "a");
        assert_eq!(tidy("aä", 3), "aä");
    }
}

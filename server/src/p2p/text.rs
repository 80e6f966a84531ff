//! Text that a node wrote, made fit for a database and a reader.

/// At most `bytes_max` bytes, cut between characters, without NUL: PostgreSQL refuses it, and one
/// refused line would take everything committed with it along.
pub fn tidy(text: &str, bytes_max: usize) -> String {
    let end = text.floor_char_boundary(bytes_max);
    text[..end].replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_loses_its_nuls() {
        assert_eq!(tidy("a\0b", 10), "ab");
        assert_eq!(tidy("aä", 2), "a");
        assert_eq!(tidy("aä", 3), "aä");
    }
}

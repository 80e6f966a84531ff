//! What is searched for: words, of which all must be found, and tags, of which one is enough.

const ENDINGS: [(&str, &str); 5] = [("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")];
/// No word is cut to fewer letters.
const LETTERS_MIN: usize = 3;

/// A search.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Search {
    words: Vec<String>,
    pub tags: Vec<String>,
}

impl Search {
    pub fn read(text: &str) -> Self {
        let mut search = Self::default();
        for part in text.split_whitespace() {
            let tags = part.strip_prefix("tags:").or_else(|| part.strip_prefix("tag:"));
            match tags {
                Some(tags) => {
                    let tags = tags.split(',').filter(|tag| !tag.is_empty());
                    search.tags.extend(tags.map(str::to_owned));
                }
                None => search.words.extend(words(part)),
            }
        }
        search
    }

    pub fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether all words are found in these texts together.
    pub fn matches(&self, texts: &[&str]) -> bool {
        let found: Vec<String> = texts.iter().flat_map(|text| words(text)).collect();
        self.words.iter().all(|word| found.contains(word))
    }
}

/// The words of a text, each cut to what its forms have in common.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(|part| stem(&part.to_lowercase()))
}

fn stem(word: &str) -> String {
    for (ending, instead) in ENDINGS {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.chars().count() >= LETTERS_MIN
        {
            let rest = rest.strip_suffix('e').unwrap_or(rest);
            return format!("{rest}{instead}");
        }
    }
    word.strip_suffix('e').filter(|rest| rest.len() >= LETTERS_MIN).unwrap_or(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_finds_words_in_all_their_forms() {
        let texts = ["COMPLETED", "lion job", "It roars, loudly."];
        for (query, is_found) in [
            ("lion", true),
            ("LIONS", true),
            ("lion completed", true),
            ("complete roaring", true),
            ("lion zebra", false),
            ("lio", false),
            ("", true),
        ] {
            assert_eq!(Search::read(query).matches(&texts), is_found, "{query}");
        }
    }

    #[test]
    fn search_tells_tags_from_words() {
        let search = Search::read("tag:a word tags:b,,c");

        assert_eq!(search.tags, ["a", "b", "c"]);
        assert_eq!(search.words, ["word"]);
        assert!(!Search::read("tags:a").has_words());
    }
}

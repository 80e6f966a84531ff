//! Which known name was meant by one that is not known.

/// Longer texts are no misspelt names.
const NAME_BYTES_MAX: usize = 128;
const EDITS_MAX: usize = 3;

/// The known name that is most like this one, in any case of letters; `None` where none is much
/// like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let name = name.to_lowercase();
    let most = EDITS_MAX.min(name.chars().count() / 2).max(1);
    known
        .into_iter()
        .map(|other| (distance(&name, &other.to_lowercase()), other))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, other)| other)
}

/// Whether a name is a known one but for a letter or two.
pub fn is_misspelt<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> bool {
    let is_short = name.len() <= NAME_BYTES_MAX && name.chars().count() > EDITS_MAX;
    is_short
        && known
            .into_iter()
            .any(|known| (1..EDITS_MAX).contains(&strsim::osa_distance(name, known)))
}

/// How many letters must be changed, added, removed or swapped; one name inside the other is as
/// near as one letter.
fn distance(name: &str, other: &str) -> usize {
    let (short, long) = if name.len() < other.len() { (name, other) } else { (other, name) };
    let is_part = short.chars().count() >= EDITS_MAX && long.contains(short);
    if is_part && short != long { 1 } else { strsim::osa_distance(name, other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_the_one_that_was_meant() {
        let templates = ["hello-world-template", "code-stats", "sum-template"];
        let fields = ["taskTimeout", "jobTimeout", "isTestJob", "maxTaskRetries"];
        for (wrong, known, right) in [
            ("hello-world", templates.as_slice(), Some("hello-world-template")),
            ("code-stat", &templates, Some("code-stats")),
            ("codestats", &templates, Some("code-stats")),
            ("sum", &templates, Some("sum-template")),
            ("transcode", &templates, None),
            ("", &templates, None),
            ("taskTimout", &fields, Some("taskTimeout")),
            ("TaskTimeOut", &fields, Some("taskTimeout")),
            ("timeout", &fields, Some("taskTimeout")),
            ("tsakTimeout", &fields, Some("taskTimeout")),
            ("replicas", &fields, None),
            ("a", &fields, None),
            ("ap", &["partitioner", "app"], Some("app")),
        ] {
            assert_eq!(nearest(wrong, known.iter().copied()), right, "{wrong}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), fields), None);
    }

    #[test]
    fn misspelt_name_differs_by_a_letter_or_two() {
        let known = ["promotional_credits", "public_url", "data"];

        for name in ["promotional_credit", "promotoinal_credits", "pubic_ulr"] {
            assert!(is_misspelt(name, known), "{name}");
        }
        for name in ["promotional_credits", "url", "api_key", "date_of_birth", "dat"] {
            assert!(!is_misspelt(name, known), "{name}");
        }
    }
}

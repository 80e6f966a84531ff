//! Whether a command's output is what its page shows.
//!
//! A page shows real output, whole or some lines of it. What differs from run to run is not
//! compared: ids, keys and digests, amounts with decimals, dates and times, and the width of columns.

/// The first line that the page shows and the output does not have at its turn.
pub fn missing<'a>(shown: &'a [String], output: &str) -> Option<&'a str> {
    let mut lines = output.lines().map(plain);
    let expected = shown.iter().filter(|line| !line.trim().is_empty() && line.trim() != "...");
    expected.map(String::as_str).find(|line| {
        let wanted = plain(line);
        !lines.any(|line| line == wanted)
    })
}

/// A line without what differs from run to run.
fn plain(line: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let mut text = String::new();
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let end =
                rest.find(|letter: char| is_part(letter) != is_part(first)).unwrap_or(rest.len());
            let (token, after) = rest.split_at(end);
            text.push_str(if is_part(first) { mask(token) } else { token });
            rest = after;
        }
        words.push(text);
    }
    words.join(" ")
}

/// What stands for a word that differs from run to run; else the word.
fn mask(word: &str) -> &str {
    let core = word.trim_matches(['.', ':', '-']);
    let has_digit = core.bytes().any(|b| b.is_ascii_digit());
    let is_of = |separators: &str| {
        core.chars().all(|letter| letter.is_ascii_digit() || separators.contains(letter))
    };
    let is_time = is_of("-:TZ.") && (core.matches('-').count() == 2 || core.contains(':'));
    if !has_digit {
        word
    } else if core.len() >= 20 {
        "<id>"
    } else if is_time {
        "<time>"
    } else if is_of(".") && core.matches('.').count() == 1 {
        "<amount>"
    } else {
        word
    }
}

#[test]
fn shown_line_is_found_whatever_ids_amounts_and_times_are() {
    let output = "2026-11-29T01:02:03Z  chunk 0  began\n\
                  job 0198c2f4-1111-7e11-8f00-123456789abc: succeeded, 0.00000361 credits\n\
                  ID   STATE\n7    done\n";
    let shown = |line: &str| missing(&[line.to_owned()], output).is_none();

    assert!(shown("2027-01-01T09:00:00Z  chunk 0  began"));
    assert!(shown("job 0198c2f4-2222-7e11-8f00-cba987654321: succeeded, 1.5 credits"));
    assert!(shown("7 done") && shown("...") && shown(""));
    assert!(!shown("2027-01-01T09:00:00Z  chunk 1  began"));
    assert!(!shown("job 0198c2f4-2222-7e11-8f00-cba987654321: failed, 1.5 credits"));
    let turned = ["7 done", "ID STATE"].map(str::to_owned);
    assert_eq!(missing(&turned, output), Some("ID STATE"));
}

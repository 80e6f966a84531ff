//! Where a record of CSV (RFC 4180) ends, told from any byte of a file on.
//!
//! A line end within quotes ends no record, and whether a byte is within quotes depends on all
//! before it. So each state that a file can be in is followed from the byte on. A state ends where
//! its rules are broken: a quote opens a field only where the field begins, and what follows a
//! closing quote is a delimiter or a line end. The wrong states soon break them, because the quotes
//! that open fields in the one close them in the other.

/// Records in a row with as many fields as the first record of the file, and without quotes, that
/// tell that they are not lines within one quoted field.
const LIKE_RECORDS_MIN: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// At the beginning of a field.
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote within quotes: it ends the field, or is the first half of an escaped one.
    Quote,
    /// Behind a carriage return that follows a closing quote.
    Return,
}

impl State {
    const ALL: [Self; 5] = [Self::FieldStart, Self::Plain, Self::Quoted, Self::Quote, Self::Return];

    /// The state behind a byte; `None` where the rules do not allow the byte here.
    fn after(self, byte: u8, delimiter: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Quoted, _) | (Self::Quote | Self::FieldStart, b'"') => Self::Quoted,
            (_, b'\n') => Self::FieldStart,
            (Self::Return, _) => return None,
            (_, byte) if byte == delimiter => Self::FieldStart,
            (Self::Quote, b'\r') => Self::Return,
            (Self::Quote, _) | (Self::Plain, b'"') => return None,
            (Self::FieldStart | Self::Plain, _) => Self::Plain,
        })
    }

    /// The same for files that break the rules: a quote in the middle of a field is a character
    /// like others.
    pub fn after_any(self, byte: u8, delimiter: u8) -> Self {
        self.after(byte, delimiter).unwrap_or(Self::Plain)
    }

    /// Whether a record ends with this byte.
    pub fn is_record_end(self, byte: u8) -> bool {
        byte == b'\n' && self != Self::Quoted
    }
}

/// How the fields of a file are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    /// How many delimiters its first record has, where that could be seen.
    delimiters: Option<u32>,
}

impl Dialect {
    /// The dialect of a file that begins so: the delimiter is the one that its first record has
    /// most of.
    pub fn of(head: &[u8]) -> Self {
        let count = |delimiter: u8| {
            let (mut state, mut found) = (State::FieldStart, 0);
            for byte in head {
                if state.is_record_end(*byte) {
                    return (found, true);
                }
                found += u32::from(*byte == delimiter && state != State::Quoted);
                state = state.after_any(*byte, delimiter);
            }
            (found, false)
        };
        let counted = [b',', b';', b'\t', b'|'].map(|delimiter| (delimiter, count(delimiter)));
        // The first of equals: a file without any has one column.
        let mut best = counted[0];
        for other in counted {
            if other.1.0 > best.1.0 {
                best = other;
            }
        }
        let (delimiter, (delimiters, is_whole)) = best;
        Self { delimiter, delimiters: is_whole.then_some(delimiters).filter(|n| *n > 0) }
    }
}

/// What is known after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The record ends before this byte, counted from the first one.
    End(u64),
    /// More bytes must be seen. `is_sure` says that it is sure what is within quotes.
    NotYet { is_sure: bool },
    /// The file breaks the rules.
    Broken,
}

/// One state that the file may have been in at the first byte, followed from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guess {
    state: State,
    end: Option<u64>,
    /// The delimiters in the record that it is in.
    delimiters: u32,
    /// Whole records with as many as the first record of the file has, until one has others.
    like_records: Option<u32>,
}

/// Follows a file from any byte on until the first record ends.
#[derive(Debug)]
pub struct Search {
    dialect: Dialect,
    at: u64,
    has_quotes: bool,
    guesses: Vec<Guess>,
}

impl Search {
    pub fn new(dialect: Dialect) -> Self {
        let guess = |state| Guess { state, end: None, delimiters: 0, like_records: Some(0) };
        let guesses = State::ALL.map(guess).to_vec();
        Self { dialect, at: 0, has_quotes: false, guesses }
    }

    /// Takes in the bytes that follow.
    pub fn feed(&mut self, piece: &[u8]) -> Found {
        for byte in piece {
            self.at += 1;
            self.has_quotes |= *byte == b'"';
            let (at, dialect, before) = (self.at, self.dialect, self.guesses.len());
            self.guesses.retain_mut(|guess| guess.take(*byte, at, dialect));
            if *byte == b'\n' || self.guesses.len() < before {
                self.merge();
                if let found @ (Found::End(_) | Found::Broken) = self.found() {
                    return found;
                }
            }
        }
        self.found()
    }

    /// The file ends here: its last field does not end within quotes.
    pub fn finish(mut self) -> Option<Found> {
        self.guesses.retain(|guess| guess.state != State::Quoted);
        self.merge();
        match self.found() {
            Found::NotYet { is_sure: true } => None,
            found @ (Found::End(_) | Found::NotYet { .. } | Found::Broken) => Some(found),
        }
    }

    /// States that have come to the same are one.
    fn merge(&mut self) {
        let mut merged: Vec<Guess> = Vec::with_capacity(self.guesses.len());
        for guess in &self.guesses {
            if !merged.iter().any(|other| (other.state, other.end) == (guess.state, guess.end)) {
                merged.push(*guess);
            }
        }
        self.guesses = merged;
    }

    fn found(&self) -> Found {
        let Some(first) = self.guesses.first() else { return Found::Broken };
        if let Some(end) = first.end
            && self.guesses.iter().all(|guess| guess.end == first.end)
        {
            return Found::End(end);
        }
        let is_outside = |guess: &&Guess| guess.like_records >= Some(LIKE_RECORDS_MIN);
        if !self.has_quotes
            && let Some(end) = self.guesses.iter().find(is_outside).and_then(|guess| guess.end)
        {
            return Found::End(end);
        }
        let is_quoted = |guess: &Guess| guess.state == State::Quoted;
        let is_sure = self.guesses.iter().all(is_quoted) || !self.guesses.iter().any(is_quoted);
        Found::NotYet { is_sure: is_sure && self.guesses.iter().all(|guess| guess.end.is_none()) }
    }
}

impl Guess {
    /// Whether the byte may stand there.
    fn take(&mut self, byte: u8, at: u64, dialect: Dialect) -> bool {
        let Some(state) = self.state.after(byte, dialect.delimiter) else { return false };
        if self.state.is_record_end(byte) {
            // The first record is not seen from its beginning.
            if self.end.is_some() {
                let is_like = dialect.delimiters == Some(self.delimiters);
                self.like_records = self.like_records.filter(|_| is_like).map(|n| n + 1);
            }
            self.end.get_or_insert(at);
            self.delimiters = 0;
        } else if state == State::FieldStart {
            self.delimiters += 1;
        }
        self.state = state;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(file: &str, from: usize) -> Option<Found> {
        let mut search = Search::new(Dialect::of(file.as_bytes()));
        match search.feed(&file.as_bytes()[from..]) {
            Found::NotYet { .. } => search.finish(),
            found @ (Found::End(_) | Found::Broken) => Some(found),
        }
    }

    #[test]
    fn dialect_is_that_of_the_first_record() {
        for (head, delimiter, delimiters) in [
            ("a,b,c\n1;2;3;4\n", b',', Some(2)),
            ("a;b\n", b';', Some(1)),
            ("a\tb\n", b'\t', Some(1)),
            ("a|b\n", b'|', Some(1)),
            ("\"a;b;c\",\"d\"\n", b',', Some(1)),
            ("\"a\nb,,\"|c\n", b'|', Some(1)),
            ("one\ntwo\n", b',', None),
            ("a;b", b';', None),
            ("", b',', None),
        ] {
            assert_eq!(Dialect::of(head.as_bytes()), Dialect { delimiter, delimiters }, "{head:?}");
        }
    }

    #[test]
    fn line_ends_within_quotes_end_no_record() {
        let file = "a,b\n1,\"x\ny, \"\"z\"\"\n\"\n2,y\n";

        assert_eq!(find(file, 0), Some(Found::End(4)));
        // From within the quoted field, and from behind it.
        for from in 6..file.find("\n2").unwrap() {
            assert_eq!(find(file, from), Some(Found::End((20 - from) as u64)), "{from}");
        }
    }

    #[test]
    fn lines_without_any_quote_are_records_where_they_have_the_fields_of_one() {
        let like = format!("a,b\n{}", "1,2\n".repeat(20));
        assert_eq!(find(&like[..60], 9), Some(Found::End(3)));

        let mut search = Search::new(Dialect::of(b"a,b\n"));
        let prose = "It may be a text in quotes, or not.\nWho knows?\n".repeat(20);
        assert_eq!(search.feed(prose.as_bytes()), Found::NotYet { is_sure: false });
        // Until the quote that ends it, and what follows.
        assert_eq!(search.feed(b"It was.\",1\n"), Found::End(prose.len() as u64 + 11));
    }

    #[test]
    fn quotes_that_break_the_rules_are_told() {
        let mut search = Search::new(Dialect::of(b"a,b\n"));

        assert_eq!(search.feed(b"6\" pipe,1\n"), Found::Broken);
    }

    fn field() -> impl Strategy<Value = String> {
        "[a-c,;\"\n\r ]{0,6}"
    }

    fn written(field: &str, always: bool) -> String {
        if always || field.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn record_end_is_right_from_every_byte_or_cannot_be_told(
            records in proptest::collection::vec(
                (proptest::collection::vec(field(), 3), any::<bool>()), 1..12),
        ) {
            let mut file = "one,two,three\n".to_owned();
            let mut ends = vec![file.len()];
            for (fields, always) in &records {
                let fields: Vec<String> =
                    fields.iter().map(|field| written(field, *always)).collect();
                file.push_str(&fields.join(","));
                file.push('\n');
                ends.push(file.len());
            }
            for from in 0..file.len() {
                match find(&file, from) {
                    Some(Found::End(end)) => {
                        let end = from + usize::try_from(end).unwrap();
                        let expected = ends.iter().copied().find(|end| *end > from);
                        prop_assert_eq!(Some(end), expected, "{:?} from {}", file, from);
                    }
                    None => prop_assert!(false, "{file:?} has no record end from {from}"),
                    Some(Found::NotYet { .. }) => {}
                    Some(Found::Broken) => prop_assert!(false, "{file:?} is broken from {from}"),
                }
            }
        }
    }
}

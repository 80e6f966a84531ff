//! How long a failed step is tried again.

use super::StepError;
use crate::data::Error as DataError;
use crate::store;

/// How long a step is tried again.
pub(super) enum Patience<'a> {
    /// The customer must change something.
    None,
    /// Stored data is not as it should be; rarely does that pass.
    Few,
    /// A customer's server fails for now.
    Elsewhere(&'a str),
    /// A part of the server's own is away, and the customer cannot do anything about it.
    Ours(&'static str),
}

pub(super) fn patience(error: &StepError) -> Patience<'_> {
    let of_database = |error| {
        if store::is_away(error) { Patience::Ours("database") } else { Patience::Few }
    };
    match error {
        StepError::TooMany(_) => Patience::None,
        StepError::Db(error) => of_database(error),
        StepError::Data(error) => match error {
            DataError::Customer(_)
            | DataError::At(..)
            | DataError::Full(_)
            | DataError::Damaged(_) => Patience::None,
            DataError::NotFound(_) | DataError::Mismatch => Patience::Few,
            DataError::Elsewhere(text) => Patience::Elsewhere(text),
            DataError::Store(_) => Patience::Ours("bucket"),
            DataError::Io(_) => match error.of_database() {
                Some(error) => of_database(error),
                None => Patience::Ours("bucket"),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_waits_for_an_unreachable_service_and_not_after_a_refusal() {
        let full = std::io::ErrorKind::StorageFull;
        for error in [
            DataError::Io(std::io::ErrorKind::ConnectionRefused.into()),
            DataError::Io(full.into()),
            DataError::from(store::no_answer()),
        ] {
            let error = StepError::Data(error);
            assert!(matches!(patience(&error), Patience::Ours(_)), "{error:?}");
        }
        assert!(matches!(patience(&StepError::Db(store::no_answer())), Patience::Ours("database")));
        let elsewhere = StepError::Data(DataError::Elsewhere("503".to_owned()));
        assert!(matches!(patience(&elsewhere), Patience::Elsewhere("503")));
        let refused = StepError::Data(DataError::Customer("403".to_owned()));
        assert!(matches!(patience(&refused), Patience::None));
        let missing = StepError::Data(DataError::NotFound("x".to_owned()));
        assert!(matches!(patience(&missing), Patience::Few));
    }
}

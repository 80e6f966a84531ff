//! What this API calls the fields that use cases name in their refusals.

use common::secret::DataEnd;

use crate::field::Field;

pub fn name(field: &Field) -> String {
    match field {
        Field::Named(name) => name.clone(),
        Field::JobId => "id".to_owned(),
        Field::Location(end) | Field::LocationKeys(end) => location(*end).to_owned(),
        Field::LocationSecret(end) => format!("{}.secret", location(*end)),
        Field::Cursor => "cursor".to_owned(),
        Field::Archive => "body".to_owned(),
    }
}

const fn location(end: DataEnd) -> &'static str {
    match end {
        DataEnd::Source => "source",
        DataEnd::Destination => "destination",
    }
}

#[cfg(test)]
mod tests {
    use DataEnd::{Destination, Source};

    use super::*;

    #[test]
    fn fields_have_the_names_of_this_api() {
        for (field, expected) in [
            (Field::from("params.app.x"), "params.app.x"),
            (Field::JobId, "id"),
            (Field::Location(Source), "source"),
            (Field::LocationSecret(Source), "source.secret"),
            (Field::LocationKeys(Source), "source"),
            (Field::LocationSecret(Destination), "destination.secret"),
            (Field::Cursor, "cursor"),
            (Field::Archive, "body"),
        ] {
            assert_eq!(name(&field), expected);
        }
    }
}

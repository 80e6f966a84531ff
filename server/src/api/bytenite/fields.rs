//! What this API calls the fields that use cases name in their refusals.

use common::secret::DataEnd;

use crate::field::Field;

pub fn name(field: &Field) -> String {
    match field {
        Field::Named(name) => name.clone(),
        Field::JobId => "jobId".to_owned(),
        Field::Location(end) => location(*end).to_owned(),
        Field::LocationSecret(end) => format!("{}.params.secret_id", location(*end)),
        Field::LocationKeys(end) => format!("{}.params", location(*end)),
        Field::Cursor => "after".to_owned(),
        Field::Archive => "data".to_owned(),
    }
}

const fn location(end: DataEnd) -> &'static str {
    match end {
        DataEnd::Source => "dataSource",
        DataEnd::Destination => "dataDestination",
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
            (Field::JobId, "jobId"),
            (Field::Location(Source), "dataSource"),
            (Field::LocationSecret(Source), "dataSource.params.secret_id"),
            (Field::LocationKeys(Source), "dataSource.params"),
            (Field::LocationSecret(Destination), "dataDestination.params.secret_id"),
            (Field::Cursor, "after"),
            (Field::Archive, "data"),
        ] {
            assert_eq!(name(&field), expected);
        }
    }
}

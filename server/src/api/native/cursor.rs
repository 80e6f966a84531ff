//! Cursors of lists that the database orders: where a page ended, as one text. Clients only carry
//! them; what they make of them is as hostile as all else that they send.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use common::input::json;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::listing::{Field, Found, Kind, Operand, Place, Rest, Selection, Start};

/// Where the page before ended, in a list of this order.
pub fn read<F: Field>(
    query: &BTreeMap<String, String>,
    order: &[(F, bool)],
) -> Result<Option<Place>> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    let place = place(order, text).map(Some);
    place.ok_or_else(|| Error::field("cursor", "must be the next_cursor of the page before"))
}

/// The cursor that asks for more, where there is more.
pub fn next<T>(found: &Found<T>) -> Option<String> {
    let Rest::After(Some(place)) = &found.rest else { return None };
    let value = |operand: &Option<Operand>| match operand {
        None => Value::Null,
        Some(Operand::Text(text)) => json!(text),
        Some(Operand::Number(number)) => json!(number),
        Some(Operand::Uuid(id)) => json!(id),
    };
    let values: Vec<Value> = place.0.iter().map(value).collect();
    Some(BASE64.encode(json!(values).to_string()))
}

fn place<F: Field>(order: &[(F, bool)], text: &str) -> Option<Place> {
    let values = json::read("cursor", &BASE64.decode(text).ok()?).ok()?;
    let values: Vec<Value> = serde_json::from_value(values).ok()?;
    let selection =
        Selection { tests: Vec::new(), order: order.to_vec(), start: Start::Place(None), limit: 0 };
    let order = selection.strict_order();
    if values.len() != order.len() {
        return None;
    }
    let operands = order.iter().zip(&values).map(|((field, _), value)| {
        if value.is_null() {
            return field.is_optional().then_some(None);
        }
        operand(field.kind(), value).map(Some)
    });
    operands.collect::<Option<_>>().map(Place)
}

fn operand(kind: Kind, value: &Value) -> Option<Operand> {
    match kind {
        Kind::Text | Kind::Texts => {
            // No database keeps a NUL in a text.
            let text = value.as_str().filter(|text| !text.contains('\0'))?;
            Some(Operand::Text(text.to_owned()))
        }
        Kind::Uuid => Uuid::try_parse(value.as_str()?).ok().map(Operand::Uuid),
        Kind::Time | Kind::Count | Kind::Amount | Kind::Choice => {
            value.as_i64().map(Operand::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::list::JobField;

    const ORDER: [(JobField, bool); 2] = [(JobField::EndedAt, true), (JobField::Name, false)];

    fn asked(text: String) -> BTreeMap<String, String> {
        BTreeMap::from([("cursor".to_owned(), text)])
    }

    #[test]
    fn cursor_leads_back_to_its_place() {
        let id = Some(Operand::Uuid(Uuid::from_u128(7)));
        let name = Some(Operand::Text("an \"ü\"".to_owned()));
        for ended in [None, Some(Operand::Number(-1))] {
            let place = Place(vec![ended, name.clone(), id.clone()]);
            let found = Found { rows: vec![()], rest: Rest::After(Some(place.clone())) };

            let text = next(&found).unwrap();

            assert_eq!(read(&asked(text.clone()), &ORDER).unwrap(), Some(place));
            assert!(read(&asked(text), &ORDER[..1]).is_err());
        }
        let last = Found { rows: vec![()], rest: Rest::After(None) };
        assert_eq!(next(&last), None);
    }

    #[test]
    fn cursor_that_is_invalid_is_refused() {
        let id = Uuid::from_u128(7).to_string();
        let encoded = |values: Value| BASE64.encode(values.to_string());
        for text in [
            encoded(json!([1, null, id])),
            encoded(json!(["1", "a", id])),
            encoded(json!([1.5, "a", id])),
            encoded(json!([1, "a\0", id])),
            encoded(json!([1, "a", "7"])),
            encoded(json!([1, "a"])),
            encoded(json!(null)),
            "%%%".to_owned(),
            String::new(),
        ] {
            assert!(read(&asked(text.clone()), &ORDER).is_err(), "{text}");
        }
    }
}

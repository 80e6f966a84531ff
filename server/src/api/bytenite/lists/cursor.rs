//! Cursors: where a page of a list ended, as callers carry it to the next one. Callers are not to
//! read them; what they make of them is as hostile as all else they send.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use common::input::json;
use serde_json::{Value, json};
use uuid::Uuid;

use super::named::Named;
use crate::listing::{Kind, Operand, Place};

/// Asks for the first page of those that a cursor leads through.
pub const FIRST: &str = "*";

pub fn write<F: Named>(order: &[(F, bool)], place: &Place) -> String {
    let value = |operand: &Option<Operand>| match operand {
        None => Value::Null,
        Some(Operand::Text(text)) => json!(text),
        Some(Operand::Number(number)) => json!(number),
        Some(Operand::Uuid(id)) => json!(id),
    };
    let terms = order.iter().map(|term| Value::String(name_of(term)));
    let terms: Vec<_> = terms.zip(place.0.iter().map(value)).collect();
    BASE64.encode(json!(terms).to_string())
}

/// Reads a cursor of a list in this order; `None` where the text is no cursor of this order.
pub fn read<F: Named>(order: &[(F, bool)], text: &str) -> Option<Place> {
    let terms = json::read("cursor", &BASE64.decode(text).ok()?).ok()?;
    let terms: Vec<(String, Value)> = serde_json::from_value(terms).ok()?;
    if terms.len() != order.len() {
        return None;
    }
    let read = |(term, (name, value)): (&(F, bool), (String, Value))| {
        (name == name_of(term)).then_some(())?;
        let (field, _) = term;
        if value.is_null() {
            return field.is_optional().then_some(None);
        }
        operand(field.kind(), &value).map(Some)
    };
    order.iter().zip(terms).map(read).collect::<Option<_>>().map(Place)
}

/// A term of an order, as `orderBy` takes it.
fn name_of<F: Named>((field, descending): &(F, bool)) -> String {
    let minus = if *descending { "-" } else { "" };
    format!("{minus}{}", field.name())
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
    use crate::store::jobs::JobField;

    const ORDER: [(JobField, bool); 3] =
        [(JobField::EndedAt, true), (JobField::Name, false), (JobField::Id, true)];

    #[test]
    fn cursor_leads_back_to_its_place() {
        let id = Some(Operand::Uuid(Uuid::from_u128(7)));
        let name = Some(Operand::Text("an \"ü\"".to_owned()));
        for ended in [None, Some(Operand::Number(-1))] {
            let place = Place(vec![ended, name.clone(), id.clone()]);

            let text = write(&ORDER, &place);

            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert_eq!(read(&ORDER, &text), Some(place));
            assert_eq!(read(&ORDER[..2], &text), None);
            let [(_, _), name, id] = ORDER;
            assert_eq!(read(&[(JobField::EndedAt, false), name, id], &text), None);
        }
    }

    #[test]
    fn cursor_that_is_invalid_is_refused() {
        let id = Uuid::from_u128(7).to_string();
        for terms in [
            json!([["-endedAt", 1], ["name", null], ["-id", id]]),
            json!([["-endedAt", "1"], ["name", "a"], ["-id", id]]),
            json!([["-endedAt", 1.5], ["name", "a"], ["-id", id]]),
            json!([["-endedAt", 1], ["name", "a\0"], ["-id", id]]),
            json!([["-endedAt", 1], ["name", "a"], ["-id", "7"]]),
            json!([["-endedAt", 1], ["name", "a"]]),
            json!({"-endedAt": 1}),
            json!(null),
        ] {
            assert_eq!(read(&ORDER, &BASE64.encode(terms.to_string())), None, "{terms}");
        }
        for text in ["", "*", "%%%", "W10", "ä"] {
            assert_eq!(read(&ORDER, text), None, "{text}");
        }
    }
}

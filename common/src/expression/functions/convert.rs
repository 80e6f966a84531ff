//! Functions from one type to another.

use data_encoding::BASE64;

use super::super::evaluator::Evaluation;
use super::super::value::Value;
use super::super::{Fault, number};
use super::{Call, Function, of_values};

pub(super) const FUNCTIONS: &[Function] = &[
    of_values("int", 1, 1, int),
    of_values("float", 1, 1, |_, call| {
        let Value::Text(text) = call.get(0) else { return call.number(0).map(Value::Float) };
        let value = text.trim().parse().map_err(|_| call.wrong(0, "a number"))?;
        Ok(Value::Float(value))
    }),
    of_values("string", 1, 1, |e, call| {
        let text = e.print(call.get(0))?;
        e.made_text(&text)
    }),
    of_values("type", 1, 1, |_, call| Ok(Value::text(call.get(0).type_name()))),
    of_values("toJSON", 1, 1, |e, call| {
        let json = e.json(call.get(0))?;
        e.made_text(&format!("{json:#}"))
    }),
    of_values("fromJSON", 1, 1, |e, call| {
        e.spend_bytes(call.text(0)?.len())?;
        let json = serde_json::from_str(call.text(0)?);
        let json = json.map_err(|error| call.fault(error.to_string()))?;
        e.of_json(&json)
    }),
    of_values("toBase64", 1, 1, |e, call| e.made_text(&BASE64.encode(call.text(0)?.as_bytes()))),
    of_values("fromBase64", 1, 1, |e, call| {
        let bytes = BASE64.decode(call.text(0)?.as_bytes());
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        e.made_text(&text.ok_or_else(|| call.wrong(0, "text in base64"))?)
    }),
];

fn int(_: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    match call.get(0) {
        Value::Int(value) => Ok(Value::Int(*value)),
        Value::Float(value) => number::truncated(*value).map(Value::Int).ok_or(Fault::Overflow),
        Value::Text(text) => {
            let value = text.trim().parse().map_err(|_| call.wrong(0, "a whole number"))?;
            Ok(Value::Int(value))
        }
        Value::Nil
        | Value::Bool(_)
        | Value::List(_)
        | Value::Range(..)
        | Value::Map(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Zone(_) => Err(call.wrong(0, "a number or text")),
    }
}

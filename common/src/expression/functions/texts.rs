//! Functions of text.

use super::super::evaluator::Evaluation;
use super::super::value::Value;
use super::super::{Fault, RESULT_BYTES_MAX, number};
use super::{Call, Function, of_values};

pub(super) const FUNCTIONS: &[Function] = &[
    of_values("trim", 1, 2, |e, call| {
        let text = call.text(0)?;
        if !call.has(1) {
            return e.made_text(text.trim());
        }
        let ends: Vec<char> = call.text(1)?.chars().collect();
        // Each character is compared with each of the ends.
        e.spend(text.len() / 8 * ends.len().max(1))?;
        e.made_text(text.trim_matches(ends.as_slice()))
    }),
    of_values("trimPrefix", 1, 2, |e, call| {
        let (text, prefix) = (call.text(0)?, if call.has(1) { call.text(1)? } else { " " });
        e.made_text(text.strip_prefix(prefix).unwrap_or(text))
    }),
    of_values("trimSuffix", 1, 2, |e, call| {
        let (text, suffix) = (call.text(0)?, if call.has(1) { call.text(1)? } else { " " });
        e.made_text(text.strip_suffix(suffix).unwrap_or(text))
    }),
    of_values("upper", 1, 1, |e, call| e.made_text(&call.text(0)?.to_uppercase())),
    of_values("lower", 1, 1, |e, call| e.made_text(&call.text(0)?.to_lowercase())),
    of_values("split", 2, 3, |e, call| {
        let (text, by) = (call.text(0)?, call.text(1)?);
        parts(e, call, |most| text.splitn(most, by).collect(), text, by)
    }),
    of_values("splitAfter", 2, 3, |e, call| {
        let (text, by) = (call.text(0)?, call.text(1)?);
        parts(e, call, |most| split_after(text, by, most), text, by)
    }),
    of_values("replace", 3, 4, |e, call| {
        let most = if call.has(3) { usize::try_from(call.whole(3)?).ok() } else { None };
        replaced(e, call, most)
    }),
    of_values("repeat", 2, 2, |e, call| {
        let text = call.text(0)?;
        let times = usize::try_from(call.whole(1)?).map_err(|_| call.wrong(1, "at least 0"))?;
        if text.len().saturating_mul(times) > RESULT_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        e.made_text(&text.repeat(times))
    }),
    of_values("join", 1, 2, join),
    of_values("indexOf", 2, 2, |e, call| {
        e.spend_bytes(call.text(0)?.len())?;
        Ok(place(call.text(0)?.find(call.text(1)?)))
    }),
    of_values("lastIndexOf", 2, 2, |e, call| {
        e.spend_bytes(call.text(0)?.len())?;
        Ok(place(call.text(0)?.rfind(call.text(1)?)))
    }),
    of_values("hasPrefix", 2, 2, |_, call| Ok(call.text(0)?.starts_with(call.text(1)?).into())),
    of_values("hasSuffix", 2, 2, |_, call| Ok(call.text(0)?.ends_with(call.text(1)?).into())),
];

fn place(byte: Option<usize>) -> Value {
    byte.map_or(Value::Int(-1), number::of_len)
}

/// The parts of a text as a list. The third argument is the most parts.
fn parts<'a>(
    evaluation: &mut Evaluation<'_>,
    call: &Call<'_>,
    split: impl FnOnce(usize) -> Vec<&'a str>,
    text: &str,
    by: &str,
) -> Result<Value, Fault> {
    // A text has at most as many parts as characters and its two ends.
    evaluation.spend_bytes(text.len())?;
    let most = if call.has(2) { usize::try_from(call.whole(2)?).ok() } else { None };
    if by.is_empty() {
        let chars = text.chars().take(most.unwrap_or(usize::MAX));
        let parts: Vec<Value> = chars.map(|c| Value::text(c.encode_utf8(&mut [0; 4]))).collect();
        evaluation.spend_bytes(text.len())?;
        return evaluation.made_list(parts);
    }
    let parts = split(most.unwrap_or(usize::MAX));
    evaluation.made_list(parts.into_iter().map(Value::text).collect())
}

fn split_after<'a>(text: &'a str, by: &str, most: usize) -> Vec<&'a str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while parts.len() + 1 < most
        && let Some(at) = rest.find(by)
    {
        let (part, after) = rest.split_at(at + by.len());
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

fn replaced(
    evaluation: &mut Evaluation<'_>,
    call: &Call<'_>,
    most: Option<usize>,
) -> Result<Value, Fault> {
    let (text, old, new) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let most = most.unwrap_or(usize::MAX);
    evaluation.spend_bytes(text.len())?;
    let found = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let longer = found.min(most).saturating_mul(new.len()).saturating_add(text.len());
    // What is replaced makes the text shorter again, so this is an upper bound.
    if longer > RESULT_BYTES_MAX * 2 {
        return Err(Fault::TooLong);
    }
    evaluation.made_text(&text.replacen(old, new, most))
}

fn join(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let by = if call.has(1) { call.text(1)? } else { "" };
    let mut text = String::new();
    for (index, element) in call.list(evaluation, 0)?.iter().enumerate() {
        if index > 0 {
            text.push_str(by);
        }
        text.push_str(&evaluation.print(element)?);
        if text.len() > RESULT_BYTES_MAX {
            return Err(Fault::TooLong);
        }
    }
    evaluation.made_text(&text)
}

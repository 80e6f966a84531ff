//! Functions of lists and maps.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::evaluator::Evaluation;
use super::super::value::{Value, range_len};
use super::super::{Fault, number};
use super::{Call, Function, of_values};

pub(super) const FUNCTIONS: &[Function] = &[
    of_values("len", 1, 1, len),
    of_values("first", 1, 1, |e, call| Ok(end(&call.list(e, 0)?, <[Value]>::first))),
    of_values("last", 1, 1, |e, call| Ok(end(&call.list(e, 0)?, <[Value]>::last))),
    of_values("get", 2, 2, get),
    of_values("take", 2, 2, |e, call| {
        let most = usize::try_from(call.whole(1)?).map_err(|_| call.wrong(1, "at least 0"))?;
        let elements = call.list(e, 0)?;
        e.made_list(elements.iter().take(most).cloned().collect())
    }),
    of_values("keys", 1, 1, |e, call| {
        let keys = entries(call)?.keys().map(|key| Value::text(key)).collect();
        e.made_list(keys)
    }),
    of_values("values", 1, 1, |e, call| e.made_list(entries(call)?.values().cloned().collect())),
    of_values("toPairs", 1, 1, |e, call| {
        let mut pairs = Vec::new();
        for (key, value) in entries(call)? {
            pairs.push(e.made_list(vec![Value::text(key), value.clone()])?);
        }
        e.made_list(pairs)
    }),
    of_values("fromPairs", 1, 1, from_pairs),
    of_values("reverse", 1, 1, |e, call| {
        let elements = call.list(e, 0)?;
        e.made_list(elements.iter().rev().cloned().collect())
    }),
    of_values("uniq", 1, 1, uniq),
    of_values("concat", 1, u8::MAX, |e, call| {
        let mut all = Vec::new();
        for place in 0..call.arguments.len() {
            let elements = call.list(e, place)?;
            e.spend_items(elements.len())?;
            all.extend_from_slice(&elements);
        }
        e.made_list(all)
    }),
    of_values("flatten", 1, 1, |e, call| {
        let mut all = Vec::new();
        flatten(e, call, call.get(0), &mut all)?;
        e.made_list(all)
    }),
    of_values("sort", 1, 2, |e, call| {
        let elements = call.list(e, 0)?;
        let sorted = sorted(e, call, elements.iter().map(|v| (v.clone(), v.clone())).collect())?;
        e.made_list(sorted)
    }),
];

fn len(_: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    match call.get(0) {
        Value::Text(text) => Ok(number::of_len(text.chars().count())),
        Value::List(list) => Ok(number::of_len(list.items.len())),
        Value::Range(from, to) => range_len(*from, *to).map(Value::Int),
        Value::Map(map) => Ok(number::of_len(map.entries.len())),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Zone(_) => Err(call.wrong(0, "text, a list or a map")),
    }
}

fn end(elements: &[Value], end: fn(&[Value]) -> Option<&Value>) -> Value {
    end(elements).cloned().unwrap_or(Value::Nil)
}

/// An element or member; nil where it is not there.
fn get(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    if let Value::Map(map) = call.get(0) {
        return Ok(map.entries.get(call.text(1)?).cloned().unwrap_or(Value::Nil));
    }
    let elements = call.list(evaluation, 0)?;
    let index = usize::try_from(call.whole(1)?).ok();
    Ok(index.and_then(|index| elements.get(index)).cloned().unwrap_or(Value::Nil))
}

fn entries<'a>(call: &'a Call<'_>) -> Result<&'a BTreeMap<String, Value>, Fault> {
    if let Value::Map(map) = call.get(0) { Ok(&map.entries) } else { Err(call.wrong(0, "a map")) }
}

fn from_pairs(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let mut entries = BTreeMap::new();
    for pair in call.list(evaluation, 0)?.iter() {
        let Value::List(pair) = pair else { return Err(call.fault("an element is no pair")) };
        let [key, value] = pair.items.as_slice() else {
            return Err(call.fault("an element is no pair"));
        };
        evaluation.spend_items(1)?;
        entries.insert(evaluation.print(key)?, value.clone());
    }
    Value::map(entries)
}

fn uniq(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let elements = call.list(evaluation, 0)?;
    let mut unique: Vec<Value> = Vec::new();
    'elements: for element in elements.iter() {
        for known in &unique {
            if known.kind() == element.kind() && evaluation.is_equal(known, element)? {
                continue 'elements;
            }
        }
        unique.push(element.clone());
    }
    evaluation.made_list(unique)
}

/// Adds the elements of a list, and of all lists in it. Values have a bounded depth.
fn flatten(
    evaluation: &mut Evaluation<'_>,
    call: &Call<'_>,
    value: &Value,
    all: &mut Vec<Value>,
) -> Result<(), Fault> {
    for element in evaluation.elements_of(call.function, value)?.iter() {
        evaluation.spend_items(1)?;
        if let Value::List(_) | Value::Range(..) = element {
            flatten(evaluation, call, element, all)?;
        } else {
            all.push(element.clone());
        }
    }
    Ok(())
}

/// The values in the order of their keys. The second argument of the call turns it round.
pub(super) fn sorted(
    evaluation: &mut Evaluation<'_>,
    call: &Call<'_>,
    mut keyed: Vec<(Value, Value)>,
) -> Result<Vec<Value>, Fault> {
    let is_descending = match if call.has(1) { call.text(1)? } else { "asc" } {
        "asc" => false,
        "desc" => true,
        _ => return Err(call.fault("the order is \"asc\" or \"desc\"")),
    };
    // The sort itself cannot fail, so the first fault of a comparison is kept.
    let mut fault = None;
    keyed.sort_by(|(left, _), (right, _)| {
        if fault.is_some() {
            return Ordering::Equal;
        }
        let paid = evaluation.spend(1);
        let order = paid.and_then(|()| evaluation.order(call.function, left, right));
        let order = order.unwrap_or_else(|error| {
            fault = Some(error);
            None
        });
        let order = order.unwrap_or(Ordering::Equal);
        if is_descending { order.reverse() } else { order }
    });
    fault.map_or_else(|| Ok(keyed.into_iter().map(|(_, value)| value).collect()), Err)
}

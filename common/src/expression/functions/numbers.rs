//! Functions of numbers.

use super::super::evaluator::Evaluation;
use super::super::number;
use super::super::syntax::Arithmetic;
use super::super::value::Value;
use super::super::{Fault, RESULT_BYTES_MAX};
use super::{Call, Function, of_values};

pub(super) const FUNCTIONS: &[Function] = &[
    of_values("abs", 1, 1, |_, call| {
        let Value::Int(value) = call.get(0) else {
            return call.number(0).map(|value| Value::Float(value.abs()));
        };
        value.checked_abs().map(Value::Int).ok_or(Fault::Overflow)
    }),
    of_values("ceil", 1, 1, |_, call| call.number(0).map(|value| Value::Float(value.ceil()))),
    of_values("floor", 1, 1, |_, call| call.number(0).map(|value| Value::Float(value.floor()))),
    of_values("round", 1, 1, |_, call| call.number(0).map(|value| Value::Float(value.round()))),
    of_values("max", 1, u8::MAX, |e, call| most(e, call, |found, best| found > best)),
    of_values("min", 1, u8::MAX, |e, call| most(e, call, |found, best| found < best)),
    of_values("mean", 1, u8::MAX, |e, call| {
        let numbers = numbers(e, call)?;
        if numbers.is_empty() { Ok(Value::Int(0)) } else { mean(&numbers) }
    }),
    of_values("median", 1, u8::MAX, |e, call| {
        let mut numbers = numbers(e, call)?;
        let key = |value: &Value| number::as_float(value).unwrap_or(f64::NAN);
        numbers.sort_by(|left, right| key(left).total_cmp(&key(right)));
        let middle = numbers.len() / 2;
        match numbers.len() {
            0 => Ok(Value::Int(0)),
            len if len % 2 == 1 => Ok(numbers[middle].clone()),
            _ => mean(&numbers[middle - 1..=middle]),
        }
    }),
    of_values("randomInt", 0, 1, random),
    // From a number to another, which is not in it.
    of_values("sequence", 2, 2, |_, call| {
        let (from, end) = (call.whole(0)?, call.whole(1)?);
        if from < end { Ok(Value::Range(from, end - 1)) } else { Ok(Value::Range(0, -1)) }
    }),
    of_values("bitand", 2, 2, |_, call| Ok(Value::Int(call.whole(0)? & call.whole(1)?))),
    of_values("bitor", 2, 2, |_, call| Ok(Value::Int(call.whole(0)? | call.whole(1)?))),
    of_values("bitxor", 2, 2, |_, call| Ok(Value::Int(call.whole(0)? ^ call.whole(1)?))),
    of_values("bitnand", 2, 2, |_, call| Ok(Value::Int(call.whole(0)? & !call.whole(1)?))),
    of_values("bitnot", 1, 1, |_, call| Ok(Value::Int(!call.whole(0)?))),
    of_values("bitshl", 2, 2, |_, call| {
        Ok(Value::Int(call.whole(0)?.checked_shl(shift(call)?).unwrap_or(0)))
    }),
    of_values("bitshr", 2, 2, |_, call| Ok(Value::Int(call.whole(0)? >> shift(call)?.min(63)))),
    of_values("bitushr", 2, 2, |_, call| {
        let shifted = call.whole(0)?.cast_unsigned().checked_shr(shift(call)?).unwrap_or(0);
        Ok(Value::Int(shifted.cast_signed()))
    }),
];

fn shift(call: &Call<'_>) -> Result<u32, Fault> {
    let bits = u64::try_from(call.whole(1)?).map_err(|_| call.wrong(1, "at least 0"))?;
    Ok(u32::try_from(bits).unwrap_or(u32::MAX))
}

/// All numbers that a function is called with, alone or in lists.
fn numbers(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Vec<Value>, Fault> {
    let mut numbers = Vec::new();
    for (place, value) in call.arguments.iter().enumerate() {
        if let Value::List(_) | Value::Range(..) = value {
            let elements = call.list(evaluation, place)?;
            evaluation.spend_items(elements.len())?;
            numbers.extend_from_slice(&elements);
        } else {
            numbers.push(value.clone());
        }
    }
    if numbers.iter().all(|value| number::as_float(value).is_some()) {
        Ok(numbers)
    } else {
        Err(call.fault("an argument is no number"))
    }
}

fn most(
    evaluation: &mut Evaluation<'_>,
    call: &Call<'_>,
    is_better: fn(f64, f64) -> bool,
) -> Result<Value, Fault> {
    let mut best: Option<(f64, Value)> = None;
    for value in numbers(evaluation, call)? {
        let found = number::as_float(&value).unwrap_or(f64::NAN);
        if best.as_ref().is_none_or(|(best, _)| is_better(found, *best)) {
            best = Some((found, value));
        }
    }
    best.map(|(_, value)| value).ok_or_else(|| call.fault("there is no number"))
}

fn mean(numbers: &[Value]) -> Result<Value, Fault> {
    let failed = || Err(Fault::Overflow);
    let mut sum = Value::Float(0.0);
    for value in numbers {
        sum = number::arithmetic(Arithmetic::Add, &sum, value).unwrap_or_else(failed)?;
    }
    let len = number::of_len(numbers.len());
    number::arithmetic(Arithmetic::Divide, &sum, &len).unwrap_or_else(failed)
}

/// A whole number from 0, below the argument where there is one.
fn random(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    // It hashes the source of the template, which is paid for.
    evaluation.spend_bytes(RESULT_BYTES_MAX / 256)?;
    let drawn = evaluation.random() >> 1;
    if !call.has(0) {
        return Ok(Value::Int(drawn.cast_signed()));
    }
    let below = u64::try_from(call.whole(0)?).ok().filter(|below| *below > 0);
    let below = below.ok_or_else(|| call.wrong(0, "at least 1"))?;
    Ok(Value::Int((drawn % below).cast_signed()))
}

//! Arithmetic: whole numbers do not round or wrap, and other numbers are as IEEE 754 has them.

use serde_json::{Number, Value as Json};

use super::Fault;
use super::syntax::Arithmetic;
use super::value::Value;

/// Whole numbers up to this one are exact as floating point numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[expect(clippy::cast_precision_loss, reason = "a large whole number is rounded, as in Go")]
pub(super) const fn float(value: i64) -> f64 {
    value as f64
}

/// The whole number that a floating point number is without its fraction.
#[expect(clippy::cast_possible_truncation, reason = "the number is known to fit")]
pub(super) fn truncated(value: f64) -> Option<i64> {
    (value.abs() <= EXACT_MAX).then_some(value.trunc() as i64)
}

/// A length as a value.
pub(super) fn of_len(len: usize) -> Value {
    Value::Int(i64::try_from(len).unwrap_or(i64::MAX))
}

pub(super) const fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(float(*value)),
        Value::Float(value) => Some(*value),
        Value::Nil
        | Value::Bool(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Range(..)
        | Value::Map(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Zone(_) => None,
    }
}

/// The whole number that an operator needs.
pub(super) fn whole(operator: &'static str, value: &Value) -> Result<i64, Fault> {
    if let Value::Int(value) = value {
        Ok(*value)
    } else {
        Err(Fault::Operand { operator, operand: value.kind() })
    }
}

pub(super) fn minus(value: &Value) -> Result<Value, Fault> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Fault::Overflow),
        Value::Float(value) => Ok(Value::Float(-value)),
        Value::Duration(value) => Ok(Value::Duration(-*value)),
        Value::Nil
        | Value::Bool(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Range(..)
        | Value::Map(_)
        | Value::Time(_)
        | Value::Zone(_) => Err(Fault::Operand { operator: "-", operand: value.kind() }),
    }
}

pub(super) fn plus(value: &Value) -> Result<Value, Fault> {
    if as_float(value).is_some() {
        Ok(value.clone())
    } else {
        Err(Fault::Operand { operator: "+", operand: value.kind() })
    }
}

/// What an operator makes of two numbers; `None` where one of the values is no number.
#[expect(clippy::float_arithmetic, reason = "expressions compute with such numbers")]
pub(super) fn arithmetic(
    operator: Arithmetic,
    left: &Value,
    right: &Value,
) -> Option<Result<Value, Fault>> {
    let (x, y) = (as_float(left)?, as_float(right)?);
    let wholes = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some((*left, *right)),
        _ => None,
    };
    let (of_wholes, of_floats) = match operator {
        Arithmetic::Add => (wholes.map(|(left, right)| left.checked_add(right)), x + y),
        Arithmetic::Subtract => (wholes.map(|(left, right)| left.checked_sub(right)), x - y),
        Arithmetic::Multiply => (wholes.map(|(left, right)| left.checked_mul(right)), x * y),
        Arithmetic::Divide => (None, x / y),
        Arithmetic::Power => (None, x.powf(y)),
        Arithmetic::Remainder => {
            let (left, right) = wholes?;
            if right == 0 {
                return Some(Err(Fault::DivisionByZero));
            }
            (Some(left.checked_rem(right)), 0.0)
        }
    };
    Some(match of_wholes {
        Some(whole) => whole.map(Value::Int).ok_or(Fault::Overflow),
        None => Ok(Value::Float(of_floats)),
    })
}

/// A number as it is printed: in decimal, without an exponent and without a fraction of zero.
pub(super) fn print(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

pub(super) fn json(value: f64) -> Result<Json, Fault> {
    if let Some(whole) = truncated(value).filter(|whole| is_same(float(*whole), value)) {
        return Ok(whole.into());
    }
    let number = Number::from_f64(value).ok_or_else(|| Fault::NotJson(print(value)))?;
    Ok(Json::Number(number))
}

/// Whether two numbers are equal to the last bit.
pub(super) fn is_same(left: f64, right: f64) -> bool {
    left.partial_cmp(&right).is_some_and(std::cmp::Ordering::is_eq)
}

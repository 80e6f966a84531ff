//! Operators between two values.

use std::cmp::Ordering;

use regex::RegexBuilder;

use super::Fault;
use super::evaluator::{Evaluation, truth};
use super::number;
use super::syntax::{Arithmetic, Binary, Node, Order, TextTest};
use super::time;
use super::value::Value;

/// The most bytes of a pattern.
const PATTERN_TEXT_MAX: usize = 1 << 10;
/// The work of compiling a pattern.
const PATTERN_WORK: usize = 20_000;
/// How many bytes a compiled pattern takes at most, and then the work for each byte of a text: the
/// time of a match is at worst that of looking at all of the pattern at each byte.
const PATTERN_SIZES: [(usize, usize); 3] = [(4 << 10, 4), (32 << 10, 32), (256 << 10, 256)];

impl Evaluation<'_> {
    pub(super) fn binary(
        &mut self,
        operator: Binary,
        left: &Node,
        right: &Node,
    ) -> Result<Value, Fault> {
        let left = self.evaluate(left)?;
        match operator {
            // These do not evaluate their right side where their left side decides.
            Binary::Or => {
                let decides = truth("or", &left)?;
                if decides { Ok(left) } else { self.truth_of("or", right) }
            }
            Binary::And => {
                let decides = !truth("and", &left)?;
                if decides { Ok(left) } else { self.truth_of("and", right) }
            }
            Binary::OrElse => {
                if matches!(left, Value::Nil) {
                    self.evaluate(right)
                } else {
                    Ok(left)
                }
            }
            Binary::Equal => {
                let right = self.evaluate(right)?;
                self.is_equal(&left, &right).map(Value::Bool)
            }
            Binary::Unequal => {
                let right = self.evaluate(right)?;
                self.is_equal(&left, &right).map(|is_equal| Value::Bool(!is_equal))
            }
            Binary::Order(order) => {
                let right = self.evaluate(right)?;
                let found = self.order(order.name(), &left, &right)?;
                Ok(Value::Bool(found.is_some_and(|found| holds(order, found))))
            }
            Binary::In => {
                let right = self.evaluate(right)?;
                self.is_in(&left, &right).map(Value::Bool)
            }
            Binary::NotIn => {
                let right = self.evaluate(right)?;
                self.is_in(&left, &right).map(|is_in| Value::Bool(!is_in))
            }
            Binary::Text(test) => {
                let right = self.evaluate(right)?;
                self.text_test(test, &left, &right).map(Value::Bool)
            }
            Binary::NotText(test) => {
                let right = self.evaluate(right)?;
                self.text_test(test, &left, &right).map(|holds| Value::Bool(!holds))
            }
            Binary::Range => {
                let right = self.evaluate(right)?;
                Ok(Value::Range(number::whole("..", &left)?, number::whole("..", &right)?))
            }
            Binary::Arithmetic(operator) => {
                let right = self.evaluate(right)?;
                self.arithmetic(operator, &left, &right)
            }
        }
    }

    fn truth_of(&mut self, operator: &'static str, node: &Node) -> Result<Value, Fault> {
        let value = self.evaluate(node)?;
        truth(operator, &value).map(Value::Bool)
    }

    pub(super) fn arithmetic(
        &mut self,
        operator: Arithmetic,
        left: &Value,
        right: &Value,
    ) -> Result<Value, Fault> {
        if let (Arithmetic::Add, Value::Text(first), Value::Text(second)) = (operator, left, right)
        {
            let mut text = String::with_capacity(first.len() + second.len());
            text.push_str(first);
            text.push_str(second);
            return self.made_text(&text);
        }
        number::arithmetic(operator, left, right)
            .or_else(|| time::arithmetic(operator, left, right))
            .unwrap_or_else(|| Err(operands(operator.name(), left, right)))
    }

    /// Whether two values are equal. A text that is compared with a number is a mistake: inputs
    /// are texts.
    pub(super) fn is_equal(&mut self, left: &Value, right: &Value) -> Result<bool, Fault> {
        self.spend(1)?;
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.spend_bytes(left.len().min(right.len()))?;
                Ok(left == right)
            }
            (Value::Text(_), Value::Int(_) | Value::Float(_))
            | (Value::Int(_) | Value::Float(_), Value::Text(_)) => Err(operands("==", left, right)),
            (Value::Nil, Value::Nil) => Ok(true),
            (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
            (Value::Int(left), Value::Int(right)) => Ok(left == right),
            (Value::Time(left), Value::Time(right)) => Ok(left == right),
            (Value::Duration(left), Value::Duration(right)) => Ok(left == right),
            (Value::Zone(left), Value::Zone(right)) => Ok(left == right),
            (Value::List(_) | Value::Range(..), Value::List(_) | Value::Range(..)) => {
                let (left, right) = (self.elements_of("==", left)?, self.elements_of("==", right)?);
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right.iter()) {
                    if !self.is_equal(left, right)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(left), Value::Map(right)) => {
                if left.entries.len() != right.entries.len() {
                    return Ok(false);
                }
                for ((key, value), (other_key, other)) in left.entries.iter().zip(&right.entries) {
                    if key != other_key || !self.is_equal(value, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(match (number::as_float(left), number::as_float(right)) {
                (Some(left), Some(right)) => number::is_same(left, right),
                _ => false,
            }),
        }
    }

    /// Which of two values is less; `None` where they are numbers without an order.
    pub(super) fn order(
        &mut self,
        operator: &'static str,
        left: &Value,
        right: &Value,
    ) -> Result<Option<Ordering>, Fault> {
        match (left, right) {
            (Value::Int(left), Value::Int(right)) => Ok(Some(left.cmp(right))),
            (Value::Text(left), Value::Text(right)) => {
                self.spend_bytes(left.len().min(right.len()))?;
                Ok(Some(left.cmp(right)))
            }
            (Value::Time(left), Value::Time(right)) => Ok(Some(left.cmp(right))),
            (Value::Duration(left), Value::Duration(right)) => Ok(Some(left.cmp(right))),
            _ => match (number::as_float(left), number::as_float(right)) {
                (Some(left), Some(right)) => Ok(left.partial_cmp(&right)),
                _ => Err(operands(operator, left, right)),
            },
        }
    }

    fn is_in(&mut self, left: &Value, right: &Value) -> Result<bool, Fault> {
        match (left, right) {
            (Value::Int(number), Value::Range(from, to)) => Ok((from..=to).contains(&number)),
            (Value::Text(key), Value::Map(map)) => {
                self.spend_bytes(key.len())?;
                Ok(map.entries.contains_key(&**key))
            }
            (_, Value::Nil) => Ok(false),
            (_, Value::List(_) | Value::Range(..)) => {
                for item in self.elements_of("in", right)?.iter() {
                    if is_comparable(left, item) && self.is_equal(left, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => Err(operands("in", left, right)),
        }
    }

    fn text_test(&mut self, test: TextTest, left: &Value, right: &Value) -> Result<bool, Fault> {
        let (Value::Text(text), Value::Text(part)) = (left, right) else {
            return Err(operands(test.name(), left, right));
        };
        self.spend_bytes(text.len() + part.len())?;
        match test {
            TextTest::Contains => Ok(text.contains(&**part)),
            TextTest::StartsWith => Ok(text.starts_with(&**part)),
            TextTest::EndsWith => Ok(text.ends_with(&**part)),
            TextTest::Matches => self.matches(text, part),
        }
    }

    /// Whether a pattern is found in a text. The time is linear in the text, with a factor that
    /// the size of the pattern bounds.
    fn matches(&mut self, text: &str, pattern: &str) -> Result<bool, Fault> {
        if pattern.len() > PATTERN_TEXT_MAX {
            return Err(Fault::Pattern(format!("it is longer than {PATTERN_TEXT_MAX} bytes")));
        }
        for (bytes_max, work) in PATTERN_SIZES {
            self.spend(PATTERN_WORK)?;
            match RegexBuilder::new(pattern).size_limit(bytes_max).nest_limit(50).build() {
                Ok(regex) => {
                    self.spend(text.len().saturating_mul(work))?;
                    return Ok(regex.is_match(text));
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => {
                    let why = error.to_string();
                    let last = why.lines().next_back().unwrap_or_default().trim();
                    return Err(Fault::Pattern(last.to_owned()));
                }
            }
        }
        Err(Fault::Pattern("it is too large".to_owned()))
    }
}

fn operands(operator: &'static str, left: &Value, right: &Value) -> Fault {
    Fault::Operands { operator, left: left.kind(), right: right.kind() }
}

fn is_comparable(left: &Value, right: &Value) -> bool {
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    is_text(left) == is_text(right)
}

const fn holds(order: Order, found: Ordering) -> bool {
    match order {
        Order::Less => found.is_lt(),
        Order::LessOrEqual => found.is_le(),
        Order::Greater => found.is_gt(),
        Order::GreaterOrEqual => found.is_ge(),
    }
}

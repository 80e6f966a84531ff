//! The functions of expressions.

mod convert;
mod elements;
mod numbers;
mod predicates;
mod texts;
mod times;

use super::Fault;
use super::evaluator::{Elements, Evaluation};
use super::number;
use super::syntax::Node;
use super::value::Value;

/// A function, which takes so many arguments.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub least: u8,
    pub most: u8,
    pub predicate: Predicate,
    pub run: fn(&mut Evaluation<'_>, &Call<'_>) -> Result<Value, Fault>,
}

/// Whether the second argument is applied to each element of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predicate {
    Never,
    Optional,
    Always,
}

impl Predicate {
    pub fn is_possible(self) -> bool {
        self != Self::Never
    }

    pub fn is_needed(self) -> bool {
        self == Self::Always
    }
}

type Run = fn(&mut Evaluation<'_>, &Call<'_>) -> Result<Value, Fault>;

/// A function of values.
const fn of_values(name: &'static str, least: u8, most: u8, run: Run) -> Function {
    Function { name, least, most, predicate: Predicate::Never, run }
}

const GROUPS: [&[Function]; 6] = [
    convert::FUNCTIONS,
    elements::FUNCTIONS,
    numbers::FUNCTIONS,
    predicates::FUNCTIONS,
    texts::FUNCTIONS,
    times::FUNCTIONS,
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    GROUPS.into_iter().flatten().find(|function| function.name == name)
}

/// What a function is called with.
pub(super) struct Call<'a> {
    pub function: &'static str,
    pub arguments: Vec<Value>,
    pub predicate: Option<&'a Node>,
}

impl Call<'_> {
    /// An argument that the parser has counted, or that a function with fewer has left out.
    fn get(&self, place: usize) -> &Value {
        self.arguments.get(place).unwrap_or(&Value::Nil)
    }

    fn has(&self, place: usize) -> bool {
        place < self.arguments.len()
    }

    fn wrong(&self, place: usize, expected: &'static str) -> Fault {
        let (function, found) = (self.function, self.get(place).kind());
        Fault::Argument { function, place: place + 1, found, expected }
    }

    fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault::Function { function: self.function, problem: problem.into() }
    }

    fn text(&self, place: usize) -> Result<&str, Fault> {
        if let Value::Text(text) = self.get(place) {
            Ok(text)
        } else {
            Err(self.wrong(place, "text"))
        }
    }

    fn whole(&self, place: usize) -> Result<i64, Fault> {
        if let Value::Int(number) = self.get(place) {
            Ok(*number)
        } else {
            Err(self.wrong(place, "a whole number"))
        }
    }

    fn number(&self, place: usize) -> Result<f64, Fault> {
        number::as_float(self.get(place)).ok_or_else(|| self.wrong(place, "a number"))
    }

    /// The elements of an argument that is a list. Each is paid for.
    fn list(&self, evaluation: &mut Evaluation<'_>, place: usize) -> Result<Elements, Fault> {
        let (Value::List(_) | Value::Range(..)) = self.get(place) else {
            return Err(self.wrong(place, "a list"));
        };
        let elements = evaluation.elements_of(self.function, self.get(place))?;
        evaluation.spend(elements.len())?;
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_of_expressions_names_every_function() {
        let page = pages::read("expressions.md");
        let names = || GROUPS.into_iter().flatten().map(|function| function.name);

        let missing: Vec<&str> =
            names().filter(|name| !page.contains(&format!("`{name}("))).collect();

        assert!(missing.is_empty(), "docs/reference/expressions.md does not name {missing:?}");
        for name in names() {
            assert_eq!(names().filter(|other| *other == name).count(), 1, "{name}");
        }
    }
}

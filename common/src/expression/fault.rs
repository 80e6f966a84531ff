use super::{DEPTH_MAX, ITEMS_MAX, RESULT_BYTES_MAX};

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("there is no value {0}")]
    UnknownName(String),
    #[error("{operator} does not take {left} and {right}")]
    Operands { operator: &'static str, left: &'static str, right: &'static str },
    #[error("{operator} does not take {operand}")]
    Operand { operator: &'static str, operand: &'static str },
    #[error("{function}: argument {place} is {found}, not {expected}")]
    Argument { function: &'static str, place: usize, found: &'static str, expected: &'static str },
    #[error("{function}: {problem}")]
    Function { function: &'static str, problem: String },
    #[error("{0} has no members")]
    NoMembers(&'static str),
    #[error("{of} has no method {method}")]
    NoMethod { of: &'static str, method: String },
    #[error("{of} is not read by {key}")]
    Key { of: &'static str, key: &'static str },
    #[error("there is no element {index} in a list of {len}")]
    NoElement { index: i64, len: usize },
    #[error("a number is too large")]
    Overflow,
    #[error("division by zero")]
    DivisionByZero,
    #[error("the pattern is invalid: {0}")]
    Pattern(String),
    #[error("the expression takes too much work")]
    TooMuchWork,
    #[error("a text is longer than {RESULT_BYTES_MAX} bytes")]
    TooLong,
    #[error("lists and maps lie more than {DEPTH_MAX} deep in one another")]
    TooDeep,
    #[error("the expression gives {0}, not a list")]
    NoList(&'static str),
    #[error("the list has more than {ITEMS_MAX} elements")]
    TooManyItems,
    #[error("{0} is no number of JSON")]
    NotJson(String),
}

//! The parts of an expression, and why a text has none.

use super::functions::Function;
use super::value::Value;
use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, TEMPLATE_BYTES_MAX};

/// Why a text holds no expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct SyntaxError {
    pub line: usize,
    pub column: usize,
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("a text with expressions has at most {TEMPLATE_BYTES_MAX} bytes")]
    LongTemplate,
    #[error("an expression has at most {EXPRESSION_BYTES_MAX} bytes")]
    LongExpression,
    #[error("{{{{ without }}}}")]
    NotClosed,
    #[error("an expression is missing")]
    Empty,
    #[error("unexpected {found}: expected {expected}")]
    Unexpected { found: String, expected: &'static str },
    #[error("unknown character {0:?}")]
    Character(char),
    #[error("{0} is no number, or is too large")]
    Number(String),
    #[error("a text without its closing quote")]
    Quote,
    #[error("unknown escape sequence in a text")]
    Escape,
    #[error("there is no function {0}")]
    NoFunction(String),
    #[error("{name} takes {} arguments", count(*least, *most))]
    Arguments { name: &'static str, least: u8, most: u8 },
    #[error("# stands outside of a predicate")]
    Element,
    #[error("brackets and operators lie more than {DEPTH_MAX} deep in one another")]
    TooDeep,
}

fn count(least: u8, most: u8) -> String {
    match (least, most) {
        (least, most) if least == most => least.to_string(),
        (least, u8::MAX) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    }
}

impl SyntaxError {
    /// A problem at this byte of a text.
    pub(super) fn at(source: &str, byte: usize, problem: Problem) -> Self {
        let before = source.get(..byte).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line, column, problem }
    }
}

/// An expression, or a part of one.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value),
    /// A value of the scope.
    Root(String),
    /// A name that `let` has given; the innermost is the first.
    Variable(usize),
    /// What a predicate is applied to.
    Element(Element),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Unary(Unary, Box<Self>),
    Binary(Binary, Box<Self>, Box<Self>),
    Choice {
        condition: Box<Self>,
        yes: Box<Self>,
        no: Box<Self>,
    },
    Member {
        of: Box<Self>,
        key: Box<Self>,
        is_optional: bool,
    },
    Slice {
        of: Box<Self>,
        from: Option<Box<Self>>,
        to: Option<Box<Self>>,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Self>,
        predicate: Option<Box<Self>>,
    },
    Method {
        of: Box<Self>,
        name: String,
        arguments: Vec<Self>,
    },
    Let {
        value: Box<Self>,
        then: Box<Self>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Value,
    Index,
    /// What `reduce` has so far.
    Accumulated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    /// The right side where the left one is nil.
    OrElse,
    Equal,
    Unequal,
    Order(Order),
    In,
    NotIn,
    Text(TextTest),
    NotText(TextTest),
    Range,
    Arithmetic(Arithmetic),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
    Matches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

impl Order {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl TextTest {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Matches => "matches",
        }
    }
}

impl Arithmetic {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}

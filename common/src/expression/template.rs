//! Text with expressions, parsed once.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::syntax::{Node, Problem, SyntaxError};
use super::value::Value;
use super::{TEMPLATE_BYTES_MAX, parser};

const OPEN: &str = "{{";

/// Text in which `{{ … }}` stands for the value of an expression. It reads and writes as its
/// source. Clones share what was parsed.
#[derive(Clone)]
pub struct Template(Arc<Parsed>);

struct Parsed {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
pub(super) enum Part {
    Plain(String),
    Expression(Node),
}

/// What expressions read of one value of the scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    Nothing,
    /// These members.
    Members(BTreeSet<String>),
    /// The value itself, or members that are computed.
    All,
}

impl Template {
    /// # Errors
    /// A brace is not closed, or what stands in braces is no expression.
    pub fn new(source: &str) -> Result<Self, SyntaxError> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = source[at..].find(OPEN) {
            if source.len() > TEMPLATE_BYTES_MAX {
                return Err(SyntaxError::at(source, 0, Problem::LongTemplate));
            }
            if open > 0 {
                parts.push(Part::Plain(source[at..at + open].to_owned()));
            }
            let from = at + open + OPEN.len();
            let (node, end) = parser::parse(source, from).map_err(|error| {
                // The place where a brace that is missing should close something is its begin.
                let is_open = error.problem == Problem::NotClosed;
                if is_open { SyntaxError::at(source, at + open, error.problem) } else { error }
            })?;
            parts.push(Part::Expression(node));
            at = end;
        }
        if at < source.len() {
            parts.push(Part::Plain(source[at..].to_owned()));
        }
        Ok(Self(Arc::new(Parsed { source: source.to_owned(), parts })))
    }

    /// Text that stands for itself, whatever it holds.
    pub fn plain(text: &str) -> Self {
        let source = text.replace(OPEN, "{{ \"{{\" }}");
        Self::new(&source).expect("every opening brace is in an expression of its own")
    }

    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it holds no expression, so that it is its own source.
    pub fn is_plain(&self) -> bool {
        self.expressions().next().is_none()
    }

    /// The values of the scope that it names.
    pub fn roots(&self) -> BTreeSet<&str> {
        let mut roots = BTreeSet::new();
        for node in self.expressions() {
            node.visit(&mut |node| {
                if let Node::Root(name) = node {
                    roots.insert(name.as_str());
                }
            });
        }
        roots
    }

    /// What it reads of a value of the scope.
    pub fn reads(&self, root: &str) -> Reads {
        let is_root = |node: &Node| matches!(node, Node::Root(name) if name == root);
        let (mut named, mut members, mut with_member) = (0, BTreeSet::new(), 0);
        for node in self.expressions() {
            node.visit(&mut |node| {
                named += usize::from(is_root(node));
                if let Node::Member { of, key, .. } = node
                    && is_root(of)
                    && let Node::Constant(Value::Text(key)) = &**key
                {
                    members.insert((**key).to_owned());
                    with_member += 1;
                }
            });
        }
        match named {
            0 => Reads::Nothing,
            named if named == with_member => Reads::Members(members),
            _ => Reads::All,
        }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0.parts
    }

    fn expressions(&self) -> impl Iterator<Item = &Node> {
        self.0.parts.iter().filter_map(|part| match part {
            Part::Plain(_) => None,
            Part::Expression(node) => Some(node),
        })
    }
}

impl Node {
    /// Shows this part of an expression and all parts in it.
    fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        match self {
            Self::Constant(_) | Self::Root(_) | Self::Variable(_) | Self::Element(_) => {}
            Self::List(nodes) => nodes.iter().for_each(|node| node.visit(see)),
            Self::Map(entries) => {
                for (key, value) in entries {
                    key.visit(see);
                    value.visit(see);
                }
            }
            Self::Unary(_, node) => node.visit(see),
            Self::Binary(_, left, right) => {
                left.visit(see);
                right.visit(see);
            }
            Self::Choice { condition, yes, no } => {
                [condition, yes, no].into_iter().for_each(|node| node.visit(see));
            }
            Self::Member { of, key, .. } => {
                of.visit(see);
                key.visit(see);
            }
            Self::Slice { of, from, to } => {
                [Some(of), from.as_ref(), to.as_ref()]
                    .into_iter()
                    .flatten()
                    .for_each(|node| node.visit(see));
            }
            Self::Call { arguments, predicate, .. } => {
                arguments.iter().for_each(|node| node.visit(see));
                if let Some(predicate) = predicate {
                    predicate.visit(see);
                }
            }
            Self::Method { of, arguments, .. } => {
                of.visit(see);
                arguments.iter().for_each(|node| node.visit(see));
            }
            Self::Let { value, then } => {
                value.visit(see);
                then.visit(see);
            }
        }
    }
}

impl FromStr for Template {
    type Err = SyntaxError;

    fn from_str(source: &str) -> Result<Self, SyntaxError> {
        Self::new(source)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source()).finish()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.source())
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        Self::new(&source).map_err(de::Error::custom)
    }
}

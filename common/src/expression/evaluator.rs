//! The evaluation of a template, which spends a fixed amount of work.

mod access;
mod json;

pub(super) use access::Elements;

use std::collections::BTreeMap;

use super::functions::{Call, Function};
use super::number;
use super::syntax::{Element, Node, Unary};
use super::template::{Part, Template};
use super::value::Value;
use super::{Fault, Fixed, RESULT_BYTES_MAX, Scope, time};

/// The work of one evaluation: about one for each part that is evaluated, each element that is
/// looked at and every few bytes that are made. So it bounds time and memory alike.
const WORK_MAX: u32 = 1_000_000;
/// The bytes of text that one unit of work makes or looks at.
const BYTES_PER_WORK: usize = 8;
/// The work of one element of a list that is made.
const ITEM_WORK: usize = 4;

pub(super) struct Evaluation<'a> {
    template: &'a Template,
    scope: &'a Scope,
    fixed: &'a Fixed,
    work: u32,
    /// How many random numbers were given.
    drawn: u32,
    variables: Vec<Value>,
    /// What the predicates around are applied to, outermost first.
    elements: Vec<Applied>,
}

/// What a predicate is applied to.
pub(super) struct Applied {
    pub value: Value,
    pub index: usize,
    pub accumulated: Value,
}

impl<'a> Evaluation<'a> {
    pub fn new(template: &'a Template, scope: &'a Scope, fixed: &'a Fixed) -> Self {
        let (variables, elements) = (Vec::new(), Vec::new());
        Self { template, scope, fixed, work: WORK_MAX, drawn: 0, variables, elements }
    }

    /// The text that the template gives.
    pub fn text(&mut self) -> Result<String, Fault> {
        let template = self.template;
        let mut text = String::new();
        for part in template.parts() {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Expression(node) => {
                    let value = self.evaluate(node)?;
                    text.push_str(&self.print(&value)?);
                }
            }
            // A text without expressions is as long as its definition may be.
            if text.len() > RESULT_BYTES_MAX && !template.is_plain() {
                return Err(Fault::TooLong);
            }
        }
        Ok(text)
    }

    /// The value of the template's expression where it is nothing else, and its text otherwise.
    pub fn value(&mut self) -> Result<Value, Fault> {
        match self.template.parts() {
            [Part::Expression(node)] => self.evaluate(node),
            _ => Ok(Value::text(&self.text()?)),
        }
    }

    pub const fn fixed(&self) -> &Fixed {
        self.fixed
    }

    pub fn random(&mut self) -> u64 {
        self.drawn += 1;
        self.fixed.number(self.template.source(), self.drawn)
    }

    pub fn spend(&mut self, work: usize) -> Result<(), Fault> {
        let left = u32::try_from(work).ok().and_then(|work| self.work.checked_sub(work));
        self.work = left.ok_or(Fault::TooMuchWork)?;
        Ok(())
    }

    pub fn spend_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spend(bytes / BYTES_PER_WORK + 1)
    }

    /// Pays for the elements of a list that is made.
    pub fn spend_items(&mut self, items: usize) -> Result<(), Fault> {
        self.spend(items.saturating_mul(ITEM_WORK))
    }

    /// A text that was made.
    pub fn made_text(&mut self, text: &str) -> Result<Value, Fault> {
        if text.len() > RESULT_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        self.spend_bytes(text.len())?;
        Ok(Value::text(text))
    }

    /// A list that was made.
    pub fn made_list(&mut self, items: Vec<Value>) -> Result<Value, Fault> {
        self.spend_items(items.len())?;
        Value::list(items)
    }

    pub fn evaluate(&mut self, node: &Node) -> Result<Value, Fault> {
        self.spend(1)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Root(name) => self.root(name),
            Node::Variable(place) => Ok(self.variables[*place].clone()),
            Node::Element(element) => Ok(self.element(*element)),
            Node::List(nodes) => {
                let items = self.all(nodes)?;
                self.made_list(items)
            }
            Node::Map(entries) => self.map(entries),
            Node::Unary(operator, node) => {
                let operand = self.evaluate(node)?;
                unary(*operator, &operand)
            }
            Node::Binary(operator, left, right) => self.binary(*operator, left, right),
            Node::Choice { condition, yes, no } => {
                let holds = self.condition(condition)?;
                self.evaluate(if holds { yes } else { no })
            }
            Node::Member { of, key, is_optional } => self.member(of, key, *is_optional),
            Node::Slice { of, from, to } => self.slice(of, from.as_deref(), to.as_deref()),
            Node::Call { function, arguments, predicate } => {
                self.call(function, arguments, predicate.as_deref())
            }
            Node::Method { of, name, arguments } => {
                let of = self.evaluate(of)?;
                let arguments = self.all(arguments)?;
                time::method(self, &of, name, &arguments)
            }
            Node::Let { value, then } => {
                let value = self.evaluate(value)?;
                self.variables.push(value);
                let value = self.evaluate(then);
                self.variables.pop();
                value
            }
        }
    }

    fn all(&mut self, nodes: &[Node]) -> Result<Vec<Value>, Fault> {
        nodes.iter().map(|node| self.evaluate(node)).collect()
    }

    fn map(&mut self, nodes: &[(Node, Node)]) -> Result<Value, Fault> {
        let mut entries = BTreeMap::new();
        for (key, value) in nodes {
            let key = self.evaluate(key)?;
            let key = self.print(&key)?;
            self.spend_items(1)?;
            entries.insert(key, self.evaluate(value)?);
        }
        Value::map(entries)
    }

    fn element(&self, element: Element) -> Value {
        let applied = self.elements.last().expect("the parser allows # in predicates only");
        match element {
            Element::Value => applied.value.clone(),
            Element::Index => number::of_len(applied.index),
            Element::Accumulated => applied.accumulated.clone(),
        }
    }

    fn call(
        &mut self,
        function: &Function,
        arguments: &[Node],
        predicate: Option<&Node>,
    ) -> Result<Value, Fault> {
        let arguments = self.all(arguments)?;
        // A function may look at all of a text.
        let len = |value: &Value| if let Value::Text(text) = value { text.len() } else { 0 };
        self.spend_bytes(arguments.iter().map(len).sum())?;
        (function.run)(self, &Call { function: function.name, arguments, predicate })
    }

    /// The value of a predicate for an element.
    pub fn apply(&mut self, predicate: &Node, applied: Applied) -> Result<Value, Fault> {
        self.elements.push(applied);
        let value = self.evaluate(predicate);
        self.elements.pop();
        value
    }

    /// Whether a part of an expression that is a condition holds.
    pub fn condition(&mut self, node: &Node) -> Result<bool, Fault> {
        let value = self.evaluate(node)?;
        truth("a condition", &value)
    }
}

/// The truth that an operator needs.
pub(super) fn truth(operator: &'static str, value: &Value) -> Result<bool, Fault> {
    if let Value::Bool(truth) = value {
        Ok(*truth)
    } else {
        Err(Fault::Operand { operator, operand: value.kind() })
    }
}

fn unary(operator: Unary, operand: &Value) -> Result<Value, Fault> {
    match operator {
        Unary::Not => truth("not", operand).map(|truth| Value::Bool(!truth)),
        Unary::Minus => number::minus(operand),
        Unary::Plus => number::plus(operand),
    }
}

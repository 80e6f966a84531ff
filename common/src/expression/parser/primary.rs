//! Values, names, calls, and what follows them directly.

use super::super::functions::{self, Function};
use super::super::lexer::Token;
use super::super::syntax::{Element, Node, Problem, SyntaxError};
use super::super::value::Value;
use super::{Parser, TERNARY, Tree, shown};

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Result<Tree, SyntaxError> {
        match self.peek().clone() {
            Token::Int(value) => self.constant(Value::Int(value)),
            Token::Float(value) => self.constant(Value::Float(value)),
            Token::Text(value) => self.constant(Value::text(&value)),
            Token::Name(name) => self.named(name),
            Token::Element(name) => {
                let element = self.element(&name)?;
                self.at += 1;
                self.tree(Node::Element(element), [])
            }
            Token::Sign("(") => {
                self.at += 1;
                let tree = self.sequence()?;
                self.expect(")")?;
                Ok(tree)
            }
            Token::Sign("[") => {
                self.at += 1;
                let (nodes, heights) = self.list("]")?;
                self.tree(Node::List(nodes), heights)
            }
            Token::Sign("{") => self.map(),
            // In a predicate `.size` is short for `#.size`.
            Token::Sign(".") if self.predicates > 0 => self.tree(Node::Element(Element::Value), []),
            Token::Sign(_) | Token::End => Err(self.unexpected("a value")),
        }
    }

    fn constant(&mut self, value: Value) -> Result<Tree, SyntaxError> {
        self.at += 1;
        self.tree(Node::Constant(value), [])
    }

    fn element(&self, name: &str) -> Result<Element, SyntaxError> {
        let element = match name {
            "" => Element::Value,
            "index" => Element::Index,
            "acc" => Element::Accumulated,
            _ => return Err(self.unexpected("#, #index or #acc")),
        };
        if self.predicates == 0 { Err(self.error(Problem::Element)) } else { Ok(element) }
    }

    fn named(&mut self, name: String) -> Result<Tree, SyntaxError> {
        match name.as_str() {
            "true" => return self.constant(Value::Bool(true)),
            "false" => return self.constant(Value::Bool(false)),
            "nil" => return self.constant(Value::Nil),
            "if" => return self.condition(),
            _ => {}
        }
        let variable = self.variables.iter().rposition(|variable| *variable == name);
        let is_call = matches!(self.tokens.get(self.at + 1), Some((Token::Sign("("), _)));
        if variable.is_none() && is_call {
            return self.call(None);
        }
        self.at += 1;
        self.tree(variable.map_or(Node::Root(name), Node::Variable), [])
    }

    /// `if condition { … } else { … }`
    fn condition(&mut self) -> Result<Tree, SyntaxError> {
        self.at += 1;
        let condition = self.expression(TERNARY)?;
        let yes = self.block()?;
        if !self.is_word("else") {
            return Err(self.unexpected("else"));
        }
        self.at += 1;
        let no = if self.is_word("if") { self.deeper(Self::condition)? } else { self.block()? };
        self.choose(condition, yes, no)
    }

    fn block(&mut self) -> Result<Tree, SyntaxError> {
        self.expect("{")?;
        let tree = self.sequence()?;
        self.expect("}")?;
        Ok(tree)
    }

    /// Expressions up to a closing sign, with commas between them.
    fn list(&mut self, close: &'static str) -> Result<(Vec<Node>, Vec<u8>), SyntaxError> {
        let (mut nodes, mut heights) = (Vec::new(), Vec::new());
        while !self.take(close) {
            let tree = self.expression(TERNARY)?;
            nodes.push(tree.node);
            heights.push(tree.height);
            if !self.take(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok((nodes, heights))
    }

    fn map(&mut self) -> Result<Tree, SyntaxError> {
        self.at += 1;
        let (mut entries, mut heights) = (Vec::new(), Vec::new());
        while !self.take("}") {
            let key = match self.next() {
                Token::Name(name) | Token::Text(name) => {
                    self.tree(Node::Constant(Value::text(&name)), [])?
                }
                Token::Int(number) => {
                    self.tree(Node::Constant(Value::text(&number.to_string())), [])?
                }
                Token::Sign("(") => {
                    let key = self.expression(TERNARY)?;
                    self.expect(")")?;
                    key
                }
                Token::Float(_) | Token::Element(_) | Token::Sign(_) | Token::End => {
                    self.at -= 1;
                    return Err(self.unexpected("a key"));
                }
            };
            self.expect(":")?;
            let value = self.expression(TERNARY)?;
            heights.extend([key.height, value.height]);
            entries.push((key.node, value.node));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        self.tree(Node::Map(entries), heights)
    }

    /// What `left | name(…)` stands for: a call with `left` as its first argument.
    pub(super) fn piped(&mut self, left: Tree) -> Result<Tree, SyntaxError> {
        if !matches!(self.peek(), Token::Name(_)) {
            return Err(self.unexpected("a function"));
        }
        let call = self.call(Some(left))?;
        self.postfixed(call)
    }

    /// A call; `first` is an argument that stood before it.
    fn call(&mut self, first: Option<Tree>) -> Result<Tree, SyntaxError> {
        let unknown = self.error(Problem::Empty);
        let name = self.expect_name()?;
        let Some(function) = functions::find(&name) else {
            return Err(SyntaxError { problem: Problem::NoFunction(shown(&name)), ..unknown });
        };
        self.expect("(")?;
        let (mut arguments, mut heights, mut predicate) = (Vec::new(), Vec::new(), None);
        if let Some(first) = first {
            arguments.push(first.node);
            heights.push(first.height);
        }
        while !self.take(")") {
            if function.predicate.is_possible() && arguments.len() == 1 && predicate.is_none() {
                let tree = self.predicate()?;
                heights.push(tree.height);
                predicate = Some(Box::new(tree.node));
            } else {
                let tree = self.expression(TERNARY)?;
                heights.push(tree.height);
                arguments.push(tree.node);
            }
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Self::check(function, arguments.len(), predicate.is_some())
            .map_err(|problem| SyntaxError { problem, ..unknown })?;
        self.tree(Node::Call { function, arguments, predicate }, heights)
    }

    fn check(function: &Function, arguments: usize, has_predicate: bool) -> Result<(), Problem> {
        let Function { name, least, most, .. } = function;
        let fits = (usize::from(*least)..=usize::from(*most)).contains(&arguments);
        if fits && (has_predicate || !function.predicate.is_needed()) {
            return Ok(());
        }
        let predicate = u8::from(function.predicate.is_needed());
        Err(Problem::Arguments { name, least: least + predicate, most: most + predicate })
    }

    fn predicate(&mut self) -> Result<Tree, SyntaxError> {
        self.predicates += 1;
        let tree = if self.is_sign("{") { self.block() } else { self.expression(TERNARY) };
        self.predicates -= 1;
        tree
    }

    /// Members, elements, slices and calls of methods.
    pub(super) fn postfixed(&mut self, mut tree: Tree) -> Result<Tree, SyntaxError> {
        // Once something may be missing, all that is read of it may be.
        let mut is_optional = false;
        loop {
            is_optional |= self.is_sign("?.");
            if self.is_sign("?.")
                && matches!(self.tokens.get(self.at + 1), Some((Token::Sign("["), _)))
            {
                self.at += 1;
            }
            tree = if self.take(".") || self.take("?.") {
                self.member(tree, is_optional)?
            } else if self.take("[") {
                self.index(tree, is_optional)?
            } else {
                return Ok(tree);
            };
        }
    }

    fn member(&mut self, of: Tree, is_optional: bool) -> Result<Tree, SyntaxError> {
        let name = self.expect_name()?;
        if self.take("(") {
            let (arguments, mut heights) = self.list(")")?;
            heights.push(of.height);
            let node = Node::Method { of: Box::new(of.node), name, arguments };
            return self.tree(node, heights);
        }
        let key = Box::new(Node::Constant(Value::text(&name)));
        self.tree(Node::Member { of: Box::new(of.node), key, is_optional }, [of.height])
    }

    fn index(&mut self, of: Tree, is_optional: bool) -> Result<Tree, SyntaxError> {
        let mut heights = vec![of.height];
        let mut bound = |tree: Tree| {
            heights.push(tree.height);
            Box::new(tree.node)
        };
        let from = if self.is_sign(":") { None } else { Some(bound(self.expression(TERNARY)?)) };
        if self.take(":") {
            let to = if self.is_sign("]") { None } else { Some(bound(self.expression(TERNARY)?)) };
            self.expect("]")?;
            return self.tree(Node::Slice { of: Box::new(of.node), from, to }, heights);
        }
        self.expect("]")?;
        let Some(key) = from else { return Err(self.unexpected("an index")) };
        self.tree(Node::Member { of: Box::new(of.node), key, is_optional }, heights)
    }
}

//! From tokens to an expression, by precedence climbing.

mod primary;

use super::lexer::{Placed, Token};
use super::syntax::{Arithmetic, Binary, Node, Order, Problem, SyntaxError, TextTest, Unary};
use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, lexer};

/// An expression, and how many levels it has.
pub(super) struct Tree {
    pub node: Node,
    height: u8,
}

/// The expression that begins at a byte of a text, and the byte after its `}}`.
pub(super) fn parse(source: &str, from: usize) -> Result<(Node, usize), SyntaxError> {
    let (tokens, end) = lexer::tokens(source, from)?;
    if end - from > EXPRESSION_BYTES_MAX {
        return Err(SyntaxError::at(source, from, Problem::LongExpression));
    }
    let mut parser =
        Parser { source, tokens, at: 0, level: 0, variables: Vec::new(), predicates: 0 };
    if matches!(parser.peek(), Token::End) {
        return Err(parser.error(Problem::Empty));
    }
    let tree = parser.sequence()?;
    if !matches!(parser.peek(), Token::End) {
        return Err(parser.unexpected("an operator or the end of the expression"));
    }
    Ok((tree.node, end))
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    /// How many expressions are being parsed that lie within one another.
    level: u8,
    /// The names that `let` has given, outermost first.
    variables: Vec<String>,
    /// How many predicates are around what is parsed.
    predicates: u8,
}

/// The begin of a name of a stranger, for messages.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

/// How tight an operator binds.
const TERNARY: u8 = 0;
const NOT: u8 = 50;
const SIGN: u8 = 90;

fn binary(token: &Token) -> Option<(Binary, u8)> {
    let sign = match token {
        Token::Sign(sign) => *sign,
        Token::Name(name) => name.as_str(),
        Token::Int(_) | Token::Float(_) | Token::Text(_) | Token::Element(_) | Token::End => {
            return None;
        }
    };
    Some(match sign {
        "||" | "or" => (Binary::Or, 10),
        "&&" | "and" => (Binary::And, 15),
        "==" => (Binary::Equal, 20),
        "!=" => (Binary::Unequal, 20),
        "<" => (Binary::Order(Order::Less), 20),
        "<=" => (Binary::Order(Order::LessOrEqual), 20),
        ">" => (Binary::Order(Order::Greater), 20),
        ">=" => (Binary::Order(Order::GreaterOrEqual), 20),
        "in" => (Binary::In, 20),
        "contains" => (Binary::Text(TextTest::Contains), 20),
        "startsWith" => (Binary::Text(TextTest::StartsWith), 20),
        "endsWith" => (Binary::Text(TextTest::EndsWith), 20),
        "matches" => (Binary::Text(TextTest::Matches), 20),
        ".." => (Binary::Range, 25),
        "+" => (Binary::Arithmetic(Arithmetic::Add), 30),
        "-" => (Binary::Arithmetic(Arithmetic::Subtract), 30),
        "*" => (Binary::Arithmetic(Arithmetic::Multiply), 60),
        "/" => (Binary::Arithmetic(Arithmetic::Divide), 60),
        "%" => (Binary::Arithmetic(Arithmetic::Remainder), 60),
        "**" | "^" => (Binary::Arithmetic(Arithmetic::Power), 100),
        "??" => (Binary::OrElse, 200),
        _ => return None,
    })
}

/// The operator after `not`.
const fn negated(operator: Binary) -> Option<Binary> {
    match operator {
        Binary::In => Some(Binary::NotIn),
        Binary::Text(test) => Some(Binary::NotText(test)),
        Binary::Or
        | Binary::And
        | Binary::OrElse
        | Binary::Equal
        | Binary::Unequal
        | Binary::Order(_)
        | Binary::NotIn
        | Binary::NotText(_)
        | Binary::Range
        | Binary::Arithmetic(_) => None,
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(found) if found == word)
    }

    /// Takes a sign, where it is the next token.
    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.is_sign(sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), SyntaxError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(sign)) }
    }

    fn expect_name(&mut self) -> Result<String, SyntaxError> {
        if let Token::Name(name) = self.peek() {
            let name = name.clone();
            self.at += 1;
            Ok(name)
        } else {
            Err(self.unexpected("a name"))
        }
    }

    fn error(&self, problem: Problem) -> SyntaxError {
        let place = self.tokens.get(self.at).map_or(self.source.len(), |(_, place)| *place);
        SyntaxError::at(self.source, place, problem)
    }

    fn unexpected(&self, expected: &'static str) -> SyntaxError {
        let found = match self.peek() {
            Token::Int(value) => value.to_string(),
            Token::Float(value) => value.to_string(),
            Token::Text(_) => "text".to_owned(),
            Token::Name(name) => shown(name),
            Token::Element(name) => format!("#{}", shown(name)),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::End => "end of the expression".to_owned(),
        };
        self.error(Problem::Unexpected { found, expected })
    }

    /// A part of an expression that is made of parts with these heights. Evaluation recurses, so
    /// the height is bounded.
    fn tree(&self, node: Node, heights: impl IntoIterator<Item = u8>) -> Result<Tree, SyntaxError> {
        let height = heights.into_iter().max().unwrap_or(0) + 1;
        if height > DEPTH_MAX {
            return Err(self.error(Problem::TooDeep));
        }
        Ok(Tree { node, height })
    }

    /// `let` statements and the expression that they are for.
    fn sequence(&mut self) -> Result<Tree, SyntaxError> {
        if !self.is_word("let") {
            return self.expression(TERNARY);
        }
        self.deeper(|parser| {
            parser.at += 1;
            let name = parser.expect_name()?;
            parser.expect("=")?;
            let value = parser.expression(TERNARY)?;
            parser.expect(";")?;
            parser.variables.push(name);
            let then = parser.sequence()?;
            parser.variables.pop();
            let heights = [value.height, then.height];
            let node = Node::Let { value: Box::new(value.node), then: Box::new(then.node) };
            parser.tree(node, heights)
        })
    }

    /// Parses one level deeper. Parsing recurses, so its levels are bounded.
    fn deeper(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Tree, SyntaxError>,
    ) -> Result<Tree, SyntaxError> {
        if self.level == DEPTH_MAX {
            return Err(self.error(Problem::TooDeep));
        }
        self.level += 1;
        let tree = parse(self)?;
        self.level -= 1;
        Ok(tree)
    }

    fn expression(&mut self, least: u8) -> Result<Tree, SyntaxError> {
        self.deeper(|parser| {
            let mut left = parser.prefixed()?;
            while let Some(tree) = parser.operation(&mut left, least)? {
                left = tree;
            }
            if least == TERNARY { parser.choice(left) } else { Ok(left) }
        })
    }

    /// What a binary operator makes of its left side; `None` where no operator follows that binds
    /// tight enough.
    fn operation(&mut self, left: &mut Tree, least: u8) -> Result<Option<Tree>, SyntaxError> {
        let left_side = |left: &mut Tree| {
            let node = std::mem::replace(&mut left.node, Node::List(Vec::new()));
            Tree { node, height: left.height }
        };
        if least == TERNARY && self.is_sign("|") {
            self.at += 1;
            let left = left_side(left);
            return self.piped(left).map(Some);
        }
        let is_negated = self.is_word("not");
        let token = self.tokens.get(self.at + usize::from(is_negated)).map(|(token, _)| token);
        let Some((mut operator, precedence)) = token.and_then(binary) else { return Ok(None) };
        if precedence < least {
            return Ok(None);
        }
        if is_negated {
            let Some(negated) = negated(operator) else { return Ok(None) };
            operator = negated;
        }
        self.at += 1 + usize::from(is_negated);
        let is_right = operator == Binary::Arithmetic(Arithmetic::Power);
        let right = self.expression(precedence + u8::from(!is_right))?;
        let left = left_side(left);
        let heights = [left.height, right.height];
        let node = Node::Binary(operator, Box::new(left.node), Box::new(right.node));
        self.tree(node, heights).map(Some)
    }

    fn choice(&mut self, condition: Tree) -> Result<Tree, SyntaxError> {
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.expression(TERNARY)?;
        self.expect(":")?;
        let no = self.expression(TERNARY)?;
        self.choose(condition, yes, no)
    }

    fn choose(&self, condition: Tree, yes: Tree, no: Tree) -> Result<Tree, SyntaxError> {
        let heights = [condition.height, yes.height, no.height];
        let [condition, yes, no] = [condition, yes, no].map(|tree| Box::new(tree.node));
        self.tree(Node::Choice { condition, yes, no }, heights)
    }

    fn prefixed(&mut self) -> Result<Tree, SyntaxError> {
        let (operator, precedence) = match self.peek() {
            Token::Sign("!") => (Unary::Not, NOT),
            Token::Name(name) if name == "not" => (Unary::Not, NOT),
            Token::Sign("-") => (Unary::Minus, SIGN),
            Token::Sign("+") => (Unary::Plus, SIGN),
            Token::Int(_)
            | Token::Float(_)
            | Token::Text(_)
            | Token::Name(_)
            | Token::Element(_)
            | Token::Sign(_)
            | Token::End => {
                let primary = self.primary()?;
                return self.postfixed(primary);
            }
        };
        self.at += 1;
        let operand = self.expression(precedence)?;
        let height = operand.height;
        self.tree(Node::Unary(operator, Box::new(operand.node)), [height])
    }
}

//! From the text of an expression to its tokens.

use super::syntax::{Problem, SyntaxError};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Float(f64),
    Text(String),
    Name(String),
    /// `#`, with the name that follows it directly.
    Element(String),
    Sign(&'static str),
    End,
}

/// A token, and the byte that it begins at.
pub(super) type Placed = (Token, usize);

/// Longer signs stand before those that they begin with.
const SIGNS: [&str; 32] = [
    "==", "!=", "<=", ">=", "&&", "||", "**", "..", "??", "?.", "(", ")", "[", "]", "{", "}", "+",
    "-", "*", "/", "%", "^", "<", ">", "!", "?", ":", ",", ".", ";", "|", "=",
];

/// The tokens from a byte of a text to the `}}` that ends the expression, and the byte after it.
pub(super) fn tokens(source: &str, from: usize) -> Result<(Vec<Placed>, usize), SyntaxError> {
    let mut lexer = Lexer { source, at: from, braces: 0, tokens: Vec::new() };
    while !lexer.is_at_end()? {
        let start = lexer.at;
        let token = lexer.token()?;
        lexer.tokens.push((token, start));
    }
    lexer.tokens.push((Token::End, lexer.at));
    Ok((lexer.tokens, lexer.at + "}}".len()))
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// How many braces of the expression itself are open.
    braces: usize,
    tokens: Vec<Placed>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn error(&self, problem: Problem) -> SyntaxError {
        SyntaxError::at(self.source, self.at, problem)
    }

    fn is_at_end(&mut self) -> Result<bool, SyntaxError> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let comment = if rest[blank..].starts_with("//") {
                rest[blank..].find('\n')
            } else if rest[blank..].starts_with("/*") {
                rest[blank..].find("*/").map(|at| at + 2)
            } else {
                self.at += blank;
                break;
            };
            self.at += blank;
            let Some(comment) = comment else { return Err(self.error(Problem::NotClosed)) };
            self.at += comment;
        }
        if self.rest().is_empty() {
            return Err(self.error(Problem::NotClosed));
        }
        Ok(self.braces == 0 && self.rest().starts_with("}}"))
    }

    fn token(&mut self) -> Result<Token, SyntaxError> {
        let rest = self.rest();
        let mut chars = rest.chars();
        let (first, second) = (chars.next().unwrap_or_default(), chars.next().unwrap_or_default());
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return self.number();
        }
        if matches!(first, '"' | '\'' | '`') {
            return self.text(first);
        }
        if first == '#' {
            self.at += 1;
            return Ok(Token::Element(self.name()));
        }
        if first.is_alphabetic() || matches!(first, '_' | '$') {
            return Ok(Token::Name(self.name()));
        }
        let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) else {
            return Err(self.error(Problem::Character(first)));
        };
        match sign {
            "{" => self.braces += 1,
            "}" => self.braces = self.braces.saturating_sub(1),
            _ => {}
        }
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn name(&mut self) -> String {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let name = rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].to_owned();
        self.at += name.len();
        name
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let bytes = self.rest().as_bytes();
        let is_prefixed = bytes[0] == b'0' && bytes.len() > 1 && bytes[1].is_ascii_alphabetic();
        let mut len = 0;
        while let Some(byte) = bytes.get(len) {
            let is_exponent_sign = matches!(byte, b'+' | b'-')
                && !is_prefixed
                && matches!(bytes[len - 1], b'e' | b'E');
            let is_point = *byte == b'.' && bytes.get(len + 1).is_none_or(|next| *next != b'.');
            if !(byte.is_ascii_alphanumeric() || *byte == b'_' || is_exponent_sign || is_point) {
                break;
            }
            len += 1;
        }
        let text = &self.rest()[..len];
        let digits = text.replace('_', "");
        let radix = match digits.get(..2) {
            Some("0x" | "0X") => Some(16),
            Some("0o" | "0O") => Some(8),
            Some("0b" | "0B") => Some(2),
            _ => None,
        };
        let token = match radix {
            Some(radix) => i64::from_str_radix(&digits[2..], radix).ok().map(Token::Int),
            None if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().map(Token::Int)
            }
            None if digits.bytes().any(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|value: &f64| value.is_finite()).map(Token::Float)
            }
            None => None,
        };
        let token =
            token.ok_or_else(|| self.error(Problem::Number(text.chars().take(40).collect())))?;
        self.at += len;
        Ok(token)
    }

    fn text(&mut self, quote: char) -> Result<Token, SyntaxError> {
        let rest = &self.source[self.at + 1..];
        let mut text = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += 1 + at + 1;
                return Ok(Token::Text(text));
            }
            if c != '\\' || quote == '`' {
                text.push(c);
                continue;
            }
            let escaped = match chars.next().map(|(_, c)| c) {
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('t') => Some('\t'),
                Some('b') => Some('\u{8}'),
                Some('f') => Some('\u{c}'),
                Some(c @ ('\\' | '/' | '"' | '\'' | '`')) => Some(c),
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                }
                Some(_) | None => None,
            };
            text.push(escaped.ok_or_else(|| self.error(Problem::Escape))?);
        }
        Err(self.error(Problem::Quote))
    }
}

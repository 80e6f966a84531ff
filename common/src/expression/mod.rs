//! Text with expressions: `{{ inputs.name }}`, in the expression language of workflow definitions.
//!
//! Only a definition holds expressions. What they read (inputs, secrets, what other blocks gave)
//! is data: a value with `{{` in it is text like any other, and is never evaluated.
//!
//! Definitions come from strangers. A text is parsed in time linear in its length and with bounded
//! nesting; an evaluation spends a fixed amount of work, which bounds its time and its memory, so
//! it can run in the process that asks. The same text over the same scope always gives the same:
//! the time and random numbers come from [`Fixed`].
//!
//! How values are printed: text as it is, numbers in decimal without an exponent, lists and maps
//! as compact JSON, what is not there as the empty text.
//!
//! ```
//! use common::expression::{Fixed, Scope, Template, evaluate_text};
//! use serde_json::json;
//!
//! let template = Template::new("part {{ int(item.index) + 1 }} of {{ inputs.name }}")?;
//! let mut scope = Scope::default();
//! scope.set("inputs", json!({"name": "{{ secrets.key }}"}));
//! scope.set("item", json!({"index": "4", "value": "x"}));
//!
//! let text = evaluate_text(&template, &scope, &Fixed::default())?;
//!
//! assert_eq!(text, "part 5 of {{ secrets.key }}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod evaluator;
mod fault;
mod functions;
mod items;
mod lexer;
mod number;
mod operators;
mod parser;
mod scope;
mod syntax;
mod template;
mod time;
mod value;

pub use fault::Fault;
pub use items::{ITEMS_MAX, Items};
pub use scope::{Fixed, Scope};
pub use syntax::{Problem, SyntaxError};
pub use template::{Reads, Template};

use evaluator::Evaluation;

/// The most bytes of one expression.
pub const EXPRESSION_BYTES_MAX: usize = 16 << 10;
/// The most bytes of a text that holds expressions.
pub const TEMPLATE_BYTES_MAX: usize = 256 << 10;
/// The most bytes of a text that an evaluation gives or makes on its way.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// The most levels of brackets in an expression, and of lists and maps in a value.
pub const DEPTH_MAX: u8 = 64;

/// The text that a template gives.
///
/// # Errors
/// An expression has no value, or takes too much work.
pub fn evaluate_text(template: &Template, scope: &Scope, fixed: &Fixed) -> Result<String, Fault> {
    Evaluation::new(template, scope, fixed).text()
}

/// The value that a template gives: that of its expression where it is nothing else, and its text
/// otherwise.
///
/// # Errors
/// An expression has no value, or takes too much work.
pub fn evaluate_value(
    template: &Template,
    scope: &Scope,
    fixed: &Fixed,
) -> Result<serde_json::Value, Fault> {
    let mut evaluation = Evaluation::new(template, scope, fixed);
    let value = evaluation.value()?;
    evaluation.json(&value)
}

/// The elements of the list that a template gives. A number stands for as many elements, counted
/// from 0; a text for the list that it is as JSON.
///
/// # Errors
/// An expression has no value or one that is no list, or takes too much work.
pub fn evaluate_items(template: &Template, scope: &Scope, fixed: &Fixed) -> Result<Items, Fault> {
    let mut evaluation = Evaluation::new(template, scope, fixed);
    let value = evaluation.value()?;
    items::items(&mut evaluation, &value)
}

/// Whether a condition that gave this text does not hold: only `false` says so.
pub fn is_false(text: &str) -> bool {
    text.trim() == "false"
}

#[cfg(test)]
mod tests;

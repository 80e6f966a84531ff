//! What callers call the fields of a list, and the values of those that are a choice.

use crate::listing::Field;

/// A list's field under the name that callers know it by.
pub trait Named: Field {
    /// As answers call it.
    fn name(self) -> &'static str;

    /// Of a field that is a choice: its values' names, in the order of their numbers.
    fn choices(self) -> &'static [&'static str];
}

//! Prices, holds, statements and what each movement leaves.

mod bills;
mod holds;
mod movements;
mod statements;
mod figures;

use super::*;

//! Prices, holds, statements and what each movement leaves.

mod bills;
mod figures;
mod holds;
mod movements;
mod statements;

use super::*;

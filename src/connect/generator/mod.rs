//! What the deterministic generators share: numbered rows that can each be made alone, in any order, again and again.
//!
//! A generator's rows are numbered 0, 1, 2, …; the number is the offset. A row's values come from (seed, number, column) through a mixing
//! function, so that a reader which starts anywhere, with batches of any size, delivers the same rows: that is what makes recovery exact.

mod draw;
mod options;
mod reader;
mod slots;

pub(super) use draw::Draw;
pub(super) use options::{OptionReader, nearest};
pub(super) use reader::{GeneratorReader, NumberedRows};
pub(super) use slots::Slots;

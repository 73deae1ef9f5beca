//! How much stack threads get that meet plans and expressions.

/// The stack of every thread that may walk, copy, compare or drop a statement's tree: those of connections, queries and workers, and the
/// coordinator's. All of them recurse once per level of the tree. DataFusion grows the stack in some of its walks, but not where a tree is
/// named, hashed, evaluated or dropped. Measured in a build without optimisation, planning takes about 45 KiB a level, and a statement has
/// no more than [`LEVELS_MAX`] of them: nearly three times the need. Only the part that is used costs memory.
pub const STACK_BYTES: usize = 512 << 20;

/// Levels of a statement's tree at the most: operators in a row, joins, set operations, parentheses and subqueries, each within the other.
/// Generated conditions of some thousand terms are real.
pub const LEVELS_MAX: usize = 4_000;

/// Columns of a row at the most, as in PostgreSQL: the protocol counts them in 16 bits.
pub const COLUMNS_MAX: usize = 1_664;

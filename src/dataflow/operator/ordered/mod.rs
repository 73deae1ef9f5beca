//! What operators share that keep the rows of every group in an order: top-n and window functions.
//!
//! A row is bytes whose order is the wanted one ([`row`]); rows next to each other are one string of bytes ([`piece`]), a group is a sorted
//! list of such pieces ([`sorted`], with a [`directory`] of many). Groups are found by their keys, filled from an epoch's changes
//! ([`gather`]), and written to checkpoints in one place ([`groups`]). Where the order is one of times, which groups have rows that event time
//! has passed is noted beside them ([`due`]).

mod counts;
mod directory;
mod due;
pub(super) mod gather;
pub(super) mod groups;
pub(super) mod piece;
pub(super) mod row;
pub(super) mod sorted;
#[cfg(test)]
mod tests;

pub(super) use counts::{Count, not_there};
pub(super) use due::Due;
pub(super) use gather::{Gathering, GroupChanges, Sieve};
pub(super) use groups::{Batch, Groups, Kept};
pub(super) use piece::{Column, Entry, Payload};
pub(super) use row::RowRef;
pub(super) use sorted::{Entries, Place, Sorted};

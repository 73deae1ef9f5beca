//! What operators share that keep the rows of every group in an order: top-n and window functions.
//!
//! A row is bytes whose order is the wanted one ([`row`]), a group is a sorted list of them in small pieces ([`sorted`]), and groups are
//! found by their keys, filled from an epoch's changes, and written to checkpoints in one place ([`groups`]).

pub(super) mod groups;
pub(super) mod row;
pub(super) mod sorted;

pub(super) use groups::{Batch, Change, Groups, Kept};
pub(super) use row::Row;
pub(super) use sorted::{Payload, Place, Sorted};

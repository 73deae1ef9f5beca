//! What the log holds of an epoch beside its rows: the time it was, views that were made, and how far sources were read. So a restart repeats
//! what followed from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::connect::Positions;
use crate::error::Result;
use crate::types::{ObjectId, Watermarks};

/// When an epoch was, as a note in the log. It stands before the epoch's own rows, or behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// By the clock on the wall, in microseconds since 1970.
    pub(crate) now_micros: i64,
    /// How far event time was before the epoch.
    pub(crate) watermarks: Watermarks,
    /// A view that was made then, from what was there before the epoch.
    pub(crate) built: Option<ObjectId>,
    /// Of a note behind the epoch: what it came to.
    #[serde(default)]
    pub(crate) behind: Option<Behind>,
}

/// What sources an epoch read, those whose rows have a time: for each partition the offset behind it.
pub(crate) type Portion = BTreeMap<ObjectId, Positions>;

/// What an epoch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behind {
    pub(crate) read: Portion,
    /// How far event time was then.
    pub(crate) watermarks: Watermarks,
}

impl Moment {
    /// For the log.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers become JSON")
    }

    /// From the log.
    pub(crate) fn decoded(note: &[u8]) -> Result<Self> {
        serde_json::from_slice(note).map_err(|cause| super::recover::undecodable("a note in the log", &cause))
    }
}

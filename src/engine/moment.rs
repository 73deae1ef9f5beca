//! What the log holds of an epoch beside its rows: the time it was, and views that were made. So a restart repeats what followed from them.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::types::{ObjectId, Watermarks};

/// When an epoch was, as a note in the log. It stands before the epoch's own rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// By the clock on the wall, in microseconds since 1970.
    pub(crate) now_micros: i64,
    /// How far event time was before the epoch.
    pub(crate) watermarks: Watermarks,
    /// A view that was made then, from what was there before the epoch.
    pub(crate) built: Option<ObjectId>,
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

//! Whether there are more and more rows of something as time goes on.

use serde::{Deserialize, Serialize};

/// How the number of rows of a table, view or step of a plan goes on when nobody deletes any but for changing what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Growth {
    /// There are as many as those who write the tables below keep there, or as the clock lets be there.
    #[default]
    Bounded,
    /// There are as many as there are different values of some columns that are no times: customers, devices.
    Values,
    /// There are more with every event.
    Endless,
}

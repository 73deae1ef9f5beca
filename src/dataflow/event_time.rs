//! Event time on one worker: the watermarks of each epoch, and what follows from them for the columns that operators look at.
//!
//! Watermarks come with ticks, the same ones to every worker: what is late, and what is over, depends on epochs alone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};

use crate::error::{Error, Result};
use crate::types::{Epoch, Low, Watermarks};

const DAY_US: i64 = 86_400_000_000;

/// The watermarks after recent epochs.
#[derive(Debug, Default)]
pub struct History {
    /// Where they changed, in the order of epochs.
    changes: VecDeque<(Epoch, Arc<Watermarks>)>,
}

/// A worker's history, as its operators see it.
pub type SharedHistory = Rc<RefCell<History>>;

impl History {
    /// Notes what they are after an epoch.
    pub fn note(&mut self, epoch: Epoch, watermarks: &Arc<Watermarks>) {
        let same = self.changes.back().is_some_and(|(_, last)| last == watermarks);
        if !same {
            self.changes.push_back((epoch, Arc::clone(watermarks)));
        }
    }

    /// Forgets what they were before an epoch.
    pub fn forget_before(&mut self, epoch: Epoch) {
        while self.changes.get(1).is_some_and(|(next, _)| *next <= epoch) {
            self.changes.pop_front();
        }
    }

    /// The epochs that changed them.
    pub fn changed(&self, epochs: Range<Epoch>) -> Vec<Epoch> {
        // Asked for at every turn of every operator, mostly about the last epochs of many.
        let first = self.changes.partition_point(|(epoch, _)| *epoch < epochs.start);
        self.changes.range(first..).map(|(epoch, _)| *epoch).take_while(|epoch| epochs.contains(epoch)).collect()
    }

    /// What they are after an epoch; `None` if that is before all that is known.
    fn at(&self, epoch: Epoch) -> Option<&Arc<Watermarks>> {
        let known = self.changes.partition_point(|(noted, _)| *noted <= epoch);
        known.checked_sub(1).map(|last| &self.changes[last].1)
    }
}

/// A time that rows are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// As it is.
    pub time: i64,
    /// It may fall at the end of a month, but never below this.
    pub never_below: i64,
}

/// Where the times of a column in one dataflow begin, epoch by epoch.
#[derive(Clone, Debug)]
pub struct LowAt {
    low: Low,
    /// The dataflow's last epoch of its own: in those it reads what was there before, of which nothing is late.
    last: Epoch,
    /// The watermarks after that epoch.
    at_last: Arc<Watermarks>,
    history: SharedHistory,
}

impl LowAt {
    /// For a dataflow whose own epochs end with `last`, after which the watermarks were `at_last`.
    pub fn new(low: Low, last: Epoch, at_last: Arc<Watermarks>, history: SharedHistory) -> Self {
        LowAt { low, last, at_last, history }
    }

    /// What is below this after an epoch will not change any more; `None`: everything may.
    pub fn after(&self, epoch: Epoch) -> Option<i64> {
        if epoch < self.last { None } else { self.with(epoch, Low::at) }
    }

    /// What it is in an epoch, for those who compare with the time itself, and below what it will not fall: while a dataflow reads what was there
    /// before, it stands.
    pub fn now(&self, epoch: Epoch) -> Option<Now> {
        let epoch = epoch.max(self.last);
        Some(Now { time: self.with(epoch, Low::now)?, never_below: self.with(epoch, Low::at)? })
    }

    fn with(&self, epoch: Epoch, of: fn(&Low, &Watermarks) -> Option<i64>) -> Option<i64> {
        let history = self.history.borrow();
        let watermarks = if epoch == self.last { &self.at_last } else { history.at(epoch).unwrap_or(&self.at_last) };
        of(&self.low, watermarks)
    }

    /// What is below this in an epoch is late.
    pub fn before(&self, epoch: Epoch) -> Option<i64> {
        epoch.checked_sub(1).and_then(|before| self.after(before))
    }
}

/// The values of a column of times or dates in microseconds since 1970; those of NULLs mean nothing.
pub fn times_of(column: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(column.as_primitive::<TimestampMicrosecondType>().values().clone()),
        DataType::Date32 => {
            Ok(column.as_primitive::<Date32Type>().values().iter().map(|day| i64::from(*day).saturating_mul(DAY_US)).collect())
        }
        other => Err(Error::internal(format!("a column of type {other} says when something was"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::{History, LowAt};
    use crate::types::{Epoch, Low, Watermarks};

    /// One whose watermarks after some epochs are given; the dataflow's own epochs end with 1.
    pub(crate) fn low_at(watermarks: &[(Epoch, i64)]) -> LowAt {
        following(Low::Of(7), watermarks)
    }

    /// The same of what follows from the watermark of object 7.
    pub(crate) fn following(low: Low, watermarks: &[(Epoch, i64)]) -> LowAt {
        let mut history = History::default();
        for (epoch, watermark) in watermarks {
            history.note(*epoch, &Arc::new(Watermarks::from([(7, *watermark)])));
        }
        LowAt::new(low, 1, Arc::default(), Rc::new(RefCell::new(history)))
    }

    #[test]
    fn nothing_of_what_was_there_before_is_late() {
        let low = low_at(&[(3, 100), (5, 200), (9, 300)]);
        assert_eq!(
            [1, 2, 3, 4, 5, 8, 9].map(|epoch| low.after(epoch)),
            [None, None, Some(100), Some(100), Some(200), Some(200), Some(300)]
        );
        assert_eq!((low.before(0), low.before(5), low.before(6)), (None, Some(100), Some(200)));
        let restored = LowAt { last: 8, at_last: Arc::new(Watermarks::from([(7, 150)])), ..low };
        assert_eq!((restored.after(7), restored.after(8), restored.before(9)), (None, Some(150), Some(150)));
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let mut history = History::default();
        for epoch in 1..=4 {
            history.note(epoch, &Arc::new(Watermarks::from([(7, epoch as i64 / 2)])));
        }
        assert_eq!(history.changed(0..10), [1, 2, 4]);
        history.forget_before(3);
        assert_eq!(history.changed(0..10), [2, 4]);
        assert_eq!(history.at(3).and_then(|watermarks| watermarks.get(&7).copied()), Some(1));
    }
}

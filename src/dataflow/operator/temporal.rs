//! A comparison with the time: rows leave by themselves when it has come, or enter then.
//!
//! With `due(row)` the first time at which the comparison has its other value, and `now` that of the epoch:
//!
//! ```text
//! leaves   ts > now - i    out: what comes before it is due, at once; its retraction when it is due. What comes later is nothing.
//! enters   ts <= now       out: what comes when it is due, at once; all else when it is due
//! ```
//!
//! `now - INTERVAL '1 month'` falls at the end of some months: what was due is not, and is again. So rows are kept until it cannot fall below them.
//!
//! A row whose time is NULL compares with nothing. Both are linear, so that a retraction may be on another worker than what it retracts: no
//! exchange is needed below. One is needed above, wherever rows that agree in a key are to be on one worker: those that wait do not move to
//! where their key belongs when there is another number of workers. Holds: rows that are not due
//! for good, by that time.

use arrow::array::{Array, BooleanArray};
use arrow::datatypes::SchemaRef;

use super::agenda::{Agenda, Turned};
use super::{Operator, StateSize};
use crate::dataflow::event_time::{LowAt, Now, times_of};
use crate::error::Result;
use crate::plan::Crossing;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// The filter.
pub struct Temporal {
    column: usize,
    crossing: Crossing,
    low: LowAt,
    agenda: Agenda,
}

impl Temporal {
    /// `column`: the position of the time that is compared with `low`. `worker`: the number of this one.
    pub fn new(schema: SchemaRef, column: usize, crossing: Crossing, low: LowAt, worker: usize) -> Result<Self> {
        Ok(Temporal { column, crossing, low, agenda: Agenda::new(schema, worker)? })
    }

    fn pass(&mut self, now: Now, changes: &Changes, output: &mut Vec<Changes>) -> Result<()> {
        let column = changes.column(self.column);
        let dues = dues(changes, self.column, self.crossing)?;
        let rows = |wanted: &dyn Fn(i64) -> bool| -> BooleanArray {
            dues.iter().enumerate().map(|(row, due)| Some(column.is_valid(row) && wanted(*due))).collect()
        };
        let pending = rows(&|due| due > now.never_below);
        let kept = changes.filter(&pending);
        if !kept.is_empty() {
            let dues: Vec<i64> = dues.iter().enumerate().filter(|(row, _)| pending.value(*row)).map(|(_, due)| *due).collect();
            self.agenda.add(&kept, &dues);
        }
        let through = match self.crossing {
            Crossing::Leaves { .. } if now.time == now.never_below => kept,
            Crossing::Leaves { .. } => changes.filter(&rows(&|due| due > now.time)),
            Crossing::Enters { .. } => changes.filter(&rows(&|due| due <= now.time)),
        };
        if !through.is_empty() {
            output.push(through);
        }
        Ok(())
    }
}

/// When each row is due; those of NULLs mean nothing.
fn dues(changes: &Changes, column: usize, crossing: Crossing) -> Result<Vec<i64>> {
    let times = times_of(changes.column(column))?;
    let (Crossing::Leaves { when_passed } | Crossing::Enters { when_passed }) = crossing;
    Ok(times.iter().map(|time| time.saturating_add(i64::from(when_passed))).collect())
}

impl Operator for Temporal {
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        let now = self.agenda.time(self.low.now(epoch));
        // What comes now is judged by now already.
        let Turned { given, taken_back } = self.agenda.turn(now);
        let (coming, going) = match self.crossing {
            Crossing::Leaves { .. } => (taken_back, given),
            Crossing::Enters { .. } => (given, taken_back),
        };
        output.extend(coming.into_iter().chain(going.iter().map(Changes::negate)));
        inputs.into_iter().flatten().filter(|changes| !changes.is_empty()).try_for_each(|changes| self.pass(now, &changes, output))
    }

    /// Each row by itself.
    fn takes_parts(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.agenda.checkpoint(changes)
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        let (column, crossing) = (self.column, self.crossing);
        self.agenda.restore(entries, |changes| dues(changes, column, crossing))
    }

    fn size(&self) -> StateSize {
        self.agenda.size()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Range;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    use chrono::{DateTime, Months, TimeDelta, Utc};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::Temporal;
    use crate::dataflow::event_time::LowAt;
    use crate::dataflow::event_time::tests::{following, low_at};
    use crate::dataflow::operator::Operator;
    use crate::plan::Crossing;
    use crate::state::{StateChanges, StoredState};
    use crate::types::{Changes, Low};

    fn rows(rows: &[(i64, Option<i64>, i64)]) -> Changes {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.1)));
        let weights = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
        Changes::new(RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("ts", times, true)]).unwrap(), Some(weights))
    }

    fn holds(crossing: Crossing, time: i64, now: i64) -> bool {
        match crossing {
            Crossing::Leaves { when_passed: false } => time > now,
            Crossing::Leaves { when_passed: true } => time >= now,
            Crossing::Enters { when_passed: false } => time <= now,
            Crossing::Enters { when_passed: true } => time < now,
        }
    }

    /// Rows in any order, of which some go again, over three restarts: after every epoch what has come out is what the comparison says. `now`: the
    /// time of each epoch, and what rows are compared with then. `times`: those of rows.
    fn try_out(seed: u64, make_low: &dyn Fn() -> LowAt, now: &dyn Fn(u64) -> i64, times: Range<i64>) {
        let mut random = StdRng::seed_from_u64(seed);
        let when_passed = random.random_bool(0.5);
        let crossing = if random.random_bool(0.5) { Crossing::Leaves { when_passed } } else { Crossing::Enters { when_passed } };
        let make = |worker| Temporal::new(rows(&[]).schema(), 1, crossing, make_low(), worker).unwrap();
        let mut workers = vec![make(0), make(1)];
        let mut stored = StoredState::default();
        let mut there: BTreeMap<(i64, Option<i64>), i64> = BTreeMap::new();
        let mut shown: BTreeMap<(i64, Option<i64>), i64> = BTreeMap::new();
        let step = (times.end - times.start) / 300;
        for epoch in 1..60 {
            let mut output = Vec::new();
            for worker in &mut workers {
                let mut changes = Vec::new();
                for _ in 0..random.random_range(0..30) {
                    let some = there.keys().nth(random.random_range(0..=there.len())).copied().filter(|_| random.random_bool(0.3));
                    let (row, weight) = match some {
                        Some(row) => (row, -1),
                        None => {
                            let time = random.random_bool(0.95).then(|| random.random_range(times.clone()) / step * step);
                            ((random.random_range(0..5), time), 1)
                        }
                    };
                    *there.entry(row).or_default() += weight;
                    changes.push((row.0, row.1, weight));
                }
                there.retain(|_, weight| *weight != 0);
                worker.step(epoch, vec![vec![rows(&changes)]], &mut output).unwrap();
            }
            for changes in &output {
                let ids = changes.column(0).as_primitive::<Int64Type>();
                let times = changes.column(1).as_primitive::<TimestampMicrosecondType>();
                for row in 0..changes.len() {
                    *shown.entry((ids.value(row), Some(times.value(row)))).or_default() += changes.weight(row);
                }
            }
            shown.retain(|_, weight| *weight != 0);
            let is_shown = |time: Option<i64>| time.is_some_and(|time| holds(crossing, time, now(epoch)));
            let expected: BTreeMap<_, _> = there.iter().filter(|((_, time), _)| is_shown(*time)).map(|(row, n)| (*row, *n)).collect();
            if epoch > 1 {
                assert!(shown == expected, "seed {seed}, epoch {epoch}, {crossing:?}");
            }
            if epoch % 7 == 0 {
                let mut changes = StateChanges::default();
                workers.iter_mut().for_each(|worker| worker.checkpoint(&mut changes).unwrap());
                stored.apply(changes);
            }
            if epoch % 14 == 0 {
                let count = random.random_range(1..=3);
                workers = (0..count).map(make).collect();
                for (number, worker) in workers.iter_mut().enumerate() {
                    worker.restore(&mut stored.entries(|bucket| usize::from(bucket) % count == number)).unwrap();
                }
            }
        }
        let held: usize = workers.iter().map(|worker| worker.size().rows).sum();
        assert!(held < 4_000, "{held}");
    }

    #[test]
    fn what_is_there_is_what_compares() {
        let now = |epoch: u64| epoch as i64 * 400_000;
        let watermarks: Vec<(u64, i64)> = (1..60).map(|epoch| (epoch, now(epoch))).collect();
        for seed in 0..60 {
            try_out(seed, &|| low_at(&watermarks), &now, 0..30_000_000);
        }
    }

    #[test]
    fn a_month_before_now_was_taken_to_rise() {
        let start = "2024-03-27T20:00:00Z".parse::<DateTime<Utc>>().unwrap();
        // Every three hours, until April.
        let clock = |epoch: u64| start + TimeDelta::hours(3 * epoch as i64);
        let month_before = |epoch: u64| clock(epoch).checked_sub_months(Months::new(1)).unwrap().timestamp_micros();
        assert!(month_before(18) < month_before(17), "it falls at the midnights of the 30th and the 31st");
        let watermarks: Vec<(u64, i64)> = (1..60).map(|epoch| (epoch, clock(epoch).timestamp_micros())).collect();
        let low = Low::Plus { low: Box::new(Low::Of(7)), months: -1, days: 0, micros: 0 };
        let february = (start - TimeDelta::days(31)).timestamp_micros();
        for seed in 0..60 {
            try_out(seed, &|| following(low.clone(), &watermarks), &month_before, february..february + 8 * 86_400_000_000);
        }
    }
}

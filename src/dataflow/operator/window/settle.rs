//! Partitions in the order of event time: what no change will reach any more, and what of it is still looked at.
//!
//! ```text
//!                     settled          │ open
//! . . . . . . . . a b c d e f g h i j k│l m n          the watermark
//! forgotten       │ └ looked at by l …
//!                 └ with it stands what a and all before it came to, if numbers or sums go on from there
//! ```
//!
//! Rows behind the watermark neither come nor go: before the operator stands a filter for what is late. So of a partition at rest those stay
//! that its functions may look at from the next row; with frames that are limited in time, in the end none.

use super::base::BaseFormat;
use super::{Emitted, Window, reach};
use crate::dataflow::event_time::LowAt;
use crate::dataflow::operator::ordered::{Due, GroupChanges};
use crate::error::Result;
use crate::plan::{Extent, WindowCall, WindowMethod};
use crate::types::Epoch;

/// How event time passes the rows of partitions.
pub(super) struct Settling {
    /// Changes are at this time and later, or so near before it as a frame reaches forward.
    low: LowAt,
    /// Rows come out when no change will reach them, and not before.
    emits: bool,
    due: Due,
    /// How numbers and sums are remembered of what was forgotten, if they go on from there.
    pub(super) bases: Option<BaseFormat>,
    /// How far a frame reaches back in time, if one does: a row is looked at for so long.
    back_us: Option<i64>,
}

impl Settling {
    fn new(low: LowAt, emits: bool, calls: &[WindowCall]) -> Result<Self> {
        let goes_on = |call: &WindowCall| matches!(call.method, WindowMethod::Place(_) | WindowMethod::Running { .. });
        let bases = calls.iter().any(goes_on).then(|| BaseFormat::new(calls)).transpose()?;
        let back = calls.iter().filter_map(|call| match call.method {
            WindowMethod::Near { before: Extent::Within(micros), .. } => Some(micros),
            _ => None,
        });
        Ok(Settling { low, emits, due: Due::new(|row| row.time()), bases, back_us: back.max() })
    }

    /// What changes in an epoch is not before this.
    pub(super) fn before(&self, epoch: Epoch) -> Option<i64> {
        self.low.before(epoch)
    }

    pub(super) fn bytes(&self) -> usize {
        self.due.bytes()
    }
}

impl Window {
    /// Says that the first column of the order is a time below which, after an epoch, no change reaches; `emits`: rows come out when that is
    /// so, once. Fails for states that cannot be held.
    pub fn settling(mut self, low: LowAt, emits: bool) -> Result<Self> {
        self.settling = Some(Settling::new(low, emits, &self.calls)?);
        Ok(self)
    }

    /// Whether rows wait until they are final.
    pub(super) fn waits(&self) -> bool {
        self.settling.as_ref().is_some_and(|settling| settling.emits)
    }

    /// Notes when event time passes the rows that come.
    pub(super) fn note(&mut self, slot: u32, changes: GroupChanges<'_>) {
        if let Some(settling) = &mut self.settling {
            changes.iter().filter(|(_, weight)| *weight > 0).for_each(|(row, _)| settling.due.note(slot, row));
        }
    }

    /// Notes it of all rows, if partitions have other slots than they had, or `anew`.
    pub(super) fn note_all(&mut self, anew: bool) {
        if let Some(settling) = &mut self.settling {
            settling.due.note_all(&self.groups, anew);
        }
    }

    /// Goes through the partitions with rows that event time has passed after `epoch`; gives their slots.
    pub(super) fn settle(&mut self, epoch: Epoch, emitted: &mut Emitted) -> Result<Vec<u32>> {
        let Some(settling) = &mut self.settling else { return Ok(Vec::new()) };
        let Some(low) = settling.low.after(epoch) else { return Ok(Vec::new()) };
        let passed = settling.due.passed(low, &self.groups);
        for slot in passed.iter().copied() {
            let settled = reach::settled(self.groups.rows(slot), &self.calls, low);
            if self.waits() {
                let rows = self.groups.rows(slot);
                let waiting = rows.back_from(rows.at(settled)).take_while(|entry| entry.payload.emitted.is_none()).count() as u64;
                if waiting > 0 {
                    self.compute(slot, &(settled - waiting..settled), emitted)?;
                }
            }
            self.forget(slot, settled, low)?;
            self.note_next(slot, low);
        }
        Ok(passed)
    }

    /// Forgets the rows that nobody looks at any more: all but the first ones that every result may need, and those from the first that a
    /// result behind the `settled` ones needs. If numbers or sums go on, the row before that stays with what they have come to.
    fn forget(&mut self, slot: u32, settled: u64, low: i64) -> Result<()> {
        let head = reach::head(&self.calls);
        let needed = reach::still_needed(self.groups.rows(slot), &self.calls, settled, low);
        let goes_on = self.settling.as_ref().is_some_and(|settling| settling.bases.is_some());
        let first = needed.saturating_sub(u64::from(goes_on));
        if first <= head {
            return Ok(());
        }
        let base = self.computation(slot).base_at(first)?;
        let mut group = self.groups.open(slot);
        // The last ones first: a piece gives up its end more easily.
        for position in (head..first).rev() {
            let place = group.rows().at(position);
            group.remove(place);
        }
        if let Some(base) = base {
            let place = group.rows().at(head);
            group.rows().update(place, |payload| payload.base = Some(Box::new(base)));
        }
        Ok(())
    }

    /// Notes when the first of the rows that are left may be forgotten though no other comes.
    fn note_next(&mut self, slot: u32, low: i64) {
        let Some(settling) = &mut self.settling else { return };
        let Some(back_us) = settling.back_us else { return };
        let rows = self.groups.rows(slot);
        // Those before it are there for other functions.
        let head = rows.at(reach::head(&self.calls));
        let first = rows.seek(head, |row| row.time().is_some_and(|time| time.saturating_add(back_us) < low));
        if let Some(time) = rows.get(first).and_then(|entry| entry.row.time()) {
            settling.due.note_at(slot, time.saturating_add(back_us));
        }
    }
}

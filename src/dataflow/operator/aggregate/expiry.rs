//! Groups go when event time has passed them: their state is dropped, and with EMIT ON WINDOW CLOSE their results come out.

use std::collections::BTreeSet;

use super::{Aggregate, GROUPS_PER_BATCH};
use crate::dataflow::event_time::LowAt;
use crate::dataflow::operator::expiry::Expiry;
use crate::error::Result;
use crate::types::{Changes, Epoch};

/// When groups go, and how.
pub(super) struct Closing {
    expiry: Expiry,
    /// Results come out then, and not before.
    pub(super) emits: bool,
}

impl Aggregate {
    /// Drops groups when what their key at `place` (among the keys) says is below `low`; `emits`: that is when their results come out.
    #[must_use]
    pub fn closing(mut self, place: usize, low: LowAt, emits: bool) -> Aggregate {
        self.closing = Some(Closing { expiry: Expiry::new(place, low), emits });
        self
    }

    /// Notes when groups that have just appeared will go.
    pub(super) fn watch(&mut self, slots: &[u32]) -> Result<()> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        let live: Vec<u32> = slots.iter().copied().filter(|slot| self.groups.rows[*slot] > 0).collect();
        live.chunks(GROUPS_PER_BATCH).try_for_each(|slots| closing.expiry.note(&self.groups.table.columns(slots)?, slots))
    }

    /// Drops the groups that event time has passed after `epoch`.
    pub(super) fn expire(&mut self, epoch: Epoch, output: &mut Vec<Changes>) -> Result<()> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        let (Some(mut passed), emits) = (closing.expiry.passed(epoch), closing.emits) else { return Ok(()) };
        passed.slots.retain(|slot| self.groups.rows[*slot] > 0);
        let mut gone = BTreeSet::new();
        for slots in passed.slots.chunks(GROUPS_PER_BATCH) {
            let mut over = passed.over(&self.groups.table.columns(slots)?, slots)?;
            over.retain(|slot| gone.insert(*slot));
            if emits {
                self.emit_fresh(&over, output)?;
            }
        }
        if !gone.is_empty() {
            self.layout.distincts.iter_mut().for_each(|distinct| distinct.values.forget(&|slot| gone.contains(&slot)));
            gone.into_iter().for_each(|slot| self.drop_group(slot));
        }
        Ok(())
    }

    fn drop_group(&mut self, slot: u32) {
        self.groups.rows[slot] = 0;
        self.groups.live -= 1;
        self.layout.accumulators.iter_mut().for_each(|accumulator| accumulator.state.reset(slot));
        if !self.groups.dirty.set(slot) {
            self.groups.dirty_slots.push(slot);
        }
        if !self.groups.stored.get(slot) {
            self.groups.table.remove(slot);
        }
    }
}

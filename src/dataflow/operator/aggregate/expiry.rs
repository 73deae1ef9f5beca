//! Groups go when event time has passed them: their state is dropped, and with EMIT ON WINDOW CLOSE their results come out.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;

use super::Aggregate;
use crate::dataflow::event_time::LowAt;
use crate::dataflow::operator::expiry::Expiry;
use crate::error::{Error, Result};
use crate::types::{Changes, Epoch};

/// When groups go, and how.
pub(super) struct Closing {
    expiry: Expiry,
    /// Results come out then, and not before.
    pub(super) emits: bool,
}

impl Aggregate {
    /// Drops groups when what their column at `place` (among the keys, or behind them among the results) says is below `low`; `emits`: that is
    /// when their results come out. A result that says it only rises as rows come.
    #[must_use]
    pub fn closing(mut self, place: usize, low: LowAt, emits: bool) -> Aggregate {
        self.closing = Some(Closing { expiry: Expiry::new(place, low), emits });
        self
    }

    /// Notes when groups that have just appeared will go, or are looked at again.
    pub(super) fn watch(&mut self, slots: &[u32]) -> Result<()> {
        let Some(closing) = &self.closing else { return Ok(()) };
        let place = closing.expiry.place();
        let live: Vec<u32> = slots.iter().copied().filter(|slot| self.layout.cells.rows(*slot) > 0).collect();
        for slots in self.groups.table.blocks(&live) {
            let columns = self.columns_until(place, slots)?;
            self.closing.iter_mut().try_for_each(|closing| closing.expiry.note(&columns, slots))?;
        }
        Ok(())
    }

    /// The keys of groups; if `place` is behind them, columns of which the last is the result there.
    fn columns_until(&self, place: usize, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let Some(result) = place.checked_sub(self.keys.len()) else { return self.groups.table.columns(slots) };
        let output = self.layout.outputs.get(result).and_then(|output| Some((output.state?, output.end)));
        let (state, end) = output.ok_or_else(|| Error::internal("groups go by a result that there is not"))?;
        let column = self.layout.accumulators[state].values(&self.layout.cells.take(slots), end)?;
        Ok(vec![column; place + 1])
    }

    /// Drops the groups that event time has passed after `epoch`.
    pub(super) fn expire(&mut self, epoch: Epoch, output: &mut Vec<Changes>) -> Result<()> {
        let Some(closing) = &mut self.closing else { return Ok(()) };
        let (Some(mut passed), emits) = (closing.expiry.passed(epoch), closing.emits) else { return Ok(()) };
        let place = closing.expiry.place();
        passed.slots.retain(|slot| self.layout.cells.rows(*slot) > 0);
        let (mut gone, mut risen) = (BTreeSet::new(), BTreeSet::new());
        for slots in self.groups.table.blocks(&passed.slots) {
            let mut over = passed.over(&self.columns_until(place, slots)?, slots)?;
            over.retain(|slot| gone.insert(*slot));
            risen.extend(slots.iter().copied().filter(|slot| !gone.contains(slot)));
            if emits {
                self.emit_fresh(&over, output)?;
            }
        }
        if !gone.is_empty() {
            self.layout.distincts.iter_mut().for_each(|distinct| distinct.values.forget(&|slot| gone.contains(&slot)));
            gone.into_iter().for_each(|slot| self.drop_group(slot));
        }
        // A slot with another group by now is in the list of that as well; what is said of a group that is there may be said twice.
        self.watch(&risen.into_iter().collect::<Vec<_>>())
    }

    fn drop_group(&mut self, slot: u32) {
        self.set_live(slot, false);
        self.layout.reset(slot);
        if !self.groups.dirty.set(slot) {
            self.groups.dirty_slots.push(slot);
        }
        if !self.groups.stored.get(slot) {
            self.groups.table.remove(slot);
        }
    }
}

//! Keeps the first rows of every group, in an order: ORDER BY … LIMIT, DISTINCT ON, `row_number() <= n`.
//!
//! In: changes, partitioned by the groups' keys. Out: the difference between the old first rows and the new, and with `numbered` each
//! row's place as a last column. Holds: every row of the group, since a retraction may promote row `n + 1`; of an append-only input only
//! the first rows, as no other will ever come out. With a watermark, and the newest first, those that may still go and the first of the others.
//! Always: what we have emitted equals the first rows of `groups`, at each closed epoch. Rows that the order leaves equal are told apart
//! by their other columns, so the answer depends on the rows alone: not on their arrival, on workers or on restarts.
//!
//! Nothing is kept of what was emitted. Before an epoch's changes go in, old and new list are walked side by side ([`walk`]), from the
//! first row that changed until both are past the last place wanted. OFFSET without LIMIT is everything but the first rows: it emits the
//! changes themselves, less what happened among the first.

#[cfg(test)]
mod tests;
mod walk;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt64Array};
use arrow::datatypes::SchemaRef;

use self::walk::{Emit, Walk};
use super::ordered::{Batch, Count, Due, Gathering, GroupChanges, Groups, Kept, Place, RowRef, Sieve, Sorted};
use super::output::OutputSchema;
use super::{Operator, StateSize};
use crate::dataflow::event_time::LowAt;
use crate::error::{Error, Result};
use crate::plan::{OrderColumn, Ranking};
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// Groups whose cache misses overlap: with some lines each they fit into the first-level cache.
const BLOCK_GROUPS: usize = 32;

/// What a top-n is made of.
#[derive(Clone, Debug)]
pub struct TopNSpec {
    /// The rows that come in.
    pub input: SchemaRef,
    /// No row is ever retracted.
    pub append_only: bool,
    /// Positions of the columns that make a group.
    pub keys: Vec<usize>,
    /// What comes first.
    pub order: Vec<OrderColumn>,
    /// What a row's place is.
    pub ranking: Ranking,
    /// Rows left out at the front.
    pub offset: u64,
    /// Rows wanted; `None`: all that follow.
    pub limit: Option<u64>,
    /// Whether the place comes out, as a last column.
    pub numbered: bool,
    /// Let everything through that may be among the first rows, and retract nothing; the input is append-only.
    pub candidates: bool,
    /// The input's columns, and the place.
    pub output: SchemaRef,
}

/// The first rows of every group.
pub struct TopN {
    groups: Groups<Count>,
    window: Window,
    append_only: bool,
    numbered: bool,
    candidates: bool,
    output: OutputSchema,
    /// What has come of an epoch that is not complete.
    gathering: Gathering,
    /// The watermark of the order's time, and when it passes the rows of groups.
    settling: Option<(LowAt, Due)>,
}

/// Which places are wanted.
#[derive(Clone, Copy, Debug)]
struct Window {
    ranking: Ranking,
    /// Rows left out at the front.
    offset: u64,
    /// The last place wanted; the walk goes no further.
    end: u64,
    /// The rows wanted are those that are not in the window: OFFSET without LIMIT.
    complement: bool,
}

impl TopN {
    /// No rows yet. Fails for columns whose types cannot be held.
    pub fn new(spec: TopNSpec) -> Result<Self> {
        let window = match spec.limit {
            Some(limit) => Window {
                ranking: spec.ranking,
                // Whoever reads the candidates leaves the first ones out.
                offset: if spec.candidates { 0 } else { spec.offset },
                end: spec.offset.saturating_add(limit),
                complement: false,
            },
            None => Window { ranking: spec.ranking, offset: 0, end: spec.offset, complement: true },
        };
        if window.complement && (spec.numbered || spec.ranking != Ranking::RowNumber) {
            return Err(Error::internal("places are given out for the first rows only"));
        }
        Ok(TopN {
            groups: Groups::new(&spec.input, &spec.keys, &spec.order)?,
            window,
            append_only: spec.append_only,
            numbered: spec.numbered,
            candidates: spec.candidates,
            output: OutputSchema::new(spec.output),
            gathering: Gathering::default(),
            settling: None,
        })
    }

    /// Says which of the keys (by their place among the keys) the input is exchanged by, if not by all.
    #[must_use]
    pub fn partitioned_by(mut self, places: Vec<usize>) -> Self {
        self.groups.partitioned_by(places);
        self
    }

    /// Forgets groups when what their key at `place` (among the keys) says is below `low`: their rows stay as they are.
    #[must_use]
    pub fn closing(mut self, place: usize, low: LowAt) -> Self {
        self.groups.closing(place, low);
        self
    }

    /// Says that the order begins with a time, the newest and rows without one first, and that nothing changes any more below `low`. Then of the
    /// rows that it has passed only so many are kept as are wanted: none of them goes, so none behind them moves up.
    #[must_use]
    pub fn settling(mut self, low: LowAt) -> Self {
        self.settling = Some((low, Due::new(|row| row.time_down())));
        self
    }

    /// Takes out what has been passed and will never come out.
    fn settle(&mut self, epoch: Epoch) {
        let Some((low, due)) = &mut self.settling else { return };
        let Some(low) = low.after(epoch) else { return };
        for slot in due.passed(low, &self.groups) {
            let rows = self.groups.rows(slot);
            let first = rows.seek(Place::default(), |row| row.time_down().is_none_or(|time| time >= low));
            let kept = self.window.behind(rows, first);
            if rows.total() > kept {
                truncate(&mut self.groups.open(slot), kept);
            }
        }
    }

    /// What rows need not be looked at, if no row that is not among the first will ever come out.
    fn sieve(&self) -> Option<Window> {
        (self.append_only && !self.window.complement).then_some(self.window)
    }

    fn emit(&self, emitted: Emitted, output: &mut Vec<Changes>) -> Result<()> {
        let Emitted { batch, weights, numbers, .. } = emitted;
        for range in self.groups.parts(&batch, |_| 0) {
            let mut columns = self.groups.columns(&batch, range.clone())?;
            if self.numbered {
                columns.push(Arc::new(UInt64Array::from(numbers[range.clone()].to_vec())) as ArrayRef);
            }
            let weights = &weights[range.clone()];
            let weights = weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(weights.to_vec()));
            output.push(self.output.changes(columns, range.len(), weights)?);
        }
        Ok(())
    }
}

impl Operator for TopN {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.take_part(epoch, inputs, output)?;
        let (window, sieve) = (self.window, self.sieve());
        let changes = self.groups.gathered(self.gathering.take())?;
        let mut emitted = Emitted { numbered: self.numbered, only_insertions: self.candidates, ..Emitted::default() };
        let mut emptied = Vec::new();
        let touched: Vec<(u32, GroupChanges<'_>)> = changes.groups().collect();
        for block in touched.chunks(BLOCK_GROUPS) {
            self.groups.touch(block.iter().map(|(slot, _)| *slot));
            for (slot, of_group) in block.iter().copied() {
                emitted.slot = slot;
                let of_group = if sieve.is_some() { window.first_changes(of_group) } else { of_group };
                if let Some((_, due)) = &mut self.settling {
                    of_group.iter().filter(|(_, weight)| *weight > 0).for_each(|(row, _)| due.note(slot, row));
                }
                Walk::new(window, self.groups.rows(slot), of_group).run(&mut emitted)?;
                let mut group = self.groups.open(slot);
                group.apply(of_group)?;
                if sieve.is_some() {
                    window.prune(&mut group);
                }
                if group.rows().is_empty() {
                    emptied.push(slot);
                }
            }
        }
        self.emit(emitted, output)?;
        self.settle(epoch);
        emptied.into_iter().for_each(|slot| self.groups.close(slot));
        self.groups.expire(epoch)
    }

    /// Where most rows need not be kept even for the epoch. Nothing of a group changes before it is complete.
    fn takes_parts(&self) -> bool {
        self.sieve().is_some()
    }

    fn take_part(&mut self, _epoch: Epoch, inputs: Vec<Vec<Changes>>, _output: &mut Vec<Changes>) -> Result<()> {
        let sieve = self.sieve();
        self.groups.gather_part(
            &mut self.gathering,
            inputs.into_iter().flatten(),
            sieve.as_ref().map(|window| window as &dyn Sieve<Count, ()>),
        )
    }

    /// Candidates are not kept: without them more rows come through, none too few, and which worker had them is nobody's business.
    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        if self.candidates {
            return Ok(());
        }
        self.groups.checkpoint(changes)?;
        if let Some((_, due)) = &mut self.settling {
            due.note_all(&self.groups, false);
        }
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            self.groups.restore(&entry?)?;
        }
        if let Some((_, due)) = &mut self.settling {
            due.note_all(&self.groups, true);
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        let size = self.groups.size();
        StateSize { bytes: size.bytes + self.settling.as_ref().map_or(0, |(_, due)| due.bytes()), ..size }
    }
}

/// Of an append-only group that holds its first rows.
impl Sieve<Count, ()> for Window {
    fn may_enter(&self, rows: &Sorted<Count>, order: &[u8]) -> bool {
        let Some(last) = rows.last() else { return self.end > 0 };
        // Peers of the last row may come before it, or with it. How many groups of peers there are is not known without counting.
        let behind = self.ranking != Ranking::DenseRank && order > last.row.order;
        self.end > 0 && (!behind || rows.total() < self.end)
    }

    /// Behind as many as are wanted no other comes out, whatever the group holds.
    fn first<'o>(&self, rows: usize, order: &dyn Fn(usize) -> &'o [u8]) -> usize {
        let end = usize::try_from(self.end).unwrap_or(usize::MAX);
        if rows <= end {
            return rows;
        }
        let peers_end = |from: usize| (from..rows).find(|number| order(*number) != order(from)).unwrap_or(rows);
        match self.ranking {
            Ranking::RowNumber | Ranking::Rank => end.checked_sub(1).map_or(0, peers_end),
            Ranking::DenseRank => (0..end).fold(0, |from, _| peers_end(from)),
        }
    }

    fn admits(&self, rows: &Sorted<Count>, row: RowRef<'_>) -> bool {
        let is_last_place_taken = self.ranking == Ranking::RowNumber && rows.total() >= self.end;
        self.may_enter(rows, row.order) && !rows.last().is_some_and(|last| is_last_place_taken && row >= last.row)
    }
}

impl Window {
    /// Those of an append-only group's new rows that may come out.
    fn first_changes(self, changes: GroupChanges<'_>) -> GroupChanges<'_> {
        let order = |number: usize| changes.get(number).map_or(&[][..], |(row, _)| row.order);
        let mut first = self.first(changes.len(), &order);
        if self.ranking == Ranking::RowNumber {
            // All is known of the rows: peers are told apart.
            first = first.min(usize::try_from(self.end).unwrap_or(usize::MAX));
        }
        changes.part(0..first)
    }

    /// How many rows there are up to the last one wanted, if places are counted from `first`.
    fn behind(self, rows: &Sorted<Count>, first: Place) -> u64 {
        if self.end == 0 {
            return rows.before(first);
        }
        let behind_peers = |place: Place| rows.get(place).map(|entry| rows.seek(place, |row| row.order <= entry.row.order));
        match self.ranking {
            Ranking::RowNumber => rows.before(first).saturating_add(self.end),
            Ranking::Rank => {
                let last = rows.at(rows.before(first).saturating_add(self.end - 1));
                behind_peers(last).map_or_else(|| rows.total(), |end| rows.before(end))
            }
            Ranking::DenseRank => {
                let groups = std::iter::successors(Some(first), |place| behind_peers(*place));
                rows.before(groups.take(usize::try_from(self.end).unwrap_or(usize::MAX).saturating_add(1)).last().unwrap_or(first))
            }
        }
    }

    /// Takes out rows behind the last place: of an append-only input they will never come out.
    fn prune(self, group: &mut Kept<'_, Count>) {
        match self.ranking {
            Ranking::RowNumber => {
                let mut excess = group.rows().total().saturating_sub(self.end);
                while let Some(last) = group.rows().last().map(|last| last.payload.0).filter(|last| *last <= excess && excess > 0) {
                    group.pop();
                    excess -= last;
                }
                if excess > 0 {
                    let last = group.rows().at(self.end - 1);
                    group.rows().update(last, |count| count.0 -= excess);
                }
            }
            Ranking::Rank => {
                let total = group.rows().total();
                if total > self.end {
                    let border = group.rows().at(self.end.saturating_sub(1));
                    prune_behind_peers(group, border);
                }
            }
            Ranking::DenseRank => {
                let mut beyond = Place::default();
                for _ in 0..self.end {
                    let rows = group.rows();
                    let Some(order) = rows.get(beyond).map(|entry| entry.row.order) else { return };
                    beyond = rows.seek(beyond, |row| row.order <= order);
                }
                let kept = group.rows().before(beyond);
                while group.rows().total() > kept {
                    group.pop();
                }
            }
        }
    }
}

/// Takes out what stands behind the first `kept` rows; of rows that are there several times all or none.
fn truncate(group: &mut Kept<'_, Count>, kept: u64) {
    let mut total = group.rows().total();
    while let Some(less) =
        group.rows().last().and_then(|last| total.checked_sub(last.payload.0)).filter(|less| total > kept && *less >= kept)
    {
        group.pop();
        total = less;
    }
}

/// Takes out the rows behind the peers of the one at `border`.
fn prune_behind_peers(group: &mut Kept<'_, Count>, border: Place) {
    let rows = group.rows();
    let Some(peers) = rows.get(border).map(|entry| entry.row.order) else { return };
    let kept = rows.before(rows.seek(border, |row| row.order <= peers));
    while group.rows().total() > kept {
        group.pop();
    }
}

/// What an epoch emits.
#[derive(Debug, Default)]
struct Emitted {
    slot: u32,
    numbered: bool,
    only_insertions: bool,
    batch: Batch,
    weights: Vec<i64>,
    numbers: Vec<u64>,
}

impl Emit for Emitted {
    fn numbered(&self) -> bool {
        self.numbered
    }

    fn emit(&mut self, row: RowRef<'_>, number: u64, weight: i64) {
        if weight == 0 || (self.only_insertions && weight < 0) {
            return;
        }
        self.batch.push(self.slot, row);
        self.weights.push(weight);
        if self.numbered {
            self.numbers.push(number);
        }
    }
}

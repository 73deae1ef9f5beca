//! Gives every row the session that it is in: SESSION.
//!
//! In: changes, partitioned by the keys. Out: the difference between the old rows with the starts and ends of their sessions, and the new.
//! Holds: the rows of every key in the order of their times, and the sessions that they make.
//! Always: what we have emitted equals the held rows with their sessions, and those of sessions that are over, at each closed epoch.
//!
//! The sessions of a key follow from the set of its times alone: they are its greatest runs in which each time is less than the gap behind the
//! one before. So nothing depends on the order in which rows come. With a gap of 5:
//!
//! ```text
//! times      1   4   8           13   14             [1, 13)  [13, 19)
//!            +11, +9                                 they merge: 8, 9, 11, 13          [1, 19)
//!            −4                                      what is left of 1 … 8 splits      [1, 6)  [8, 19)
//! ```
//!
//! A change touches the sessions that are less than the gap away from its time. The new ones are those with the times that came as sessions of
//! their own, merged where they are near enough; then, where a time has gone, split if its neighbours are too far apart. That looks at changes
//! and their neighbours only. The rows of a session whose start or end is another one come out again, all of them: they say it. So readers that
//! can do without ends (`plan/lower/session.rs`) get starts alone: a session that goes on has the same one.
//!
//! With a watermark a session is over when its end is not above it: its rows go, and with EMIT ON WINDOW CLOSE come out, then and not before.
//! A row is late if a session of its own, from its time to a gap later, would be over and no session that is kept takes it in. Hence, if rows
//! only come:
//!
//! - every kept session ends above the watermark, and merging moves ends up: no row comes out whose `window_end` is not above the watermark at
//!   the end of the epoch before. That is what readers may rely on, and what bounds them.
//! - starts have no such bound: a session that began long ago goes on as long as rows come.
//!
//! If rows may go, what is left of a session may have ended long ago; so nothing is promised then. It comes out, and goes, at the same epoch.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::hop::timestamps;
use super::late::LateCount;
use super::ordered::{Batch, Count, GroupChanges, Groups, Place, RowRef, Sorted, not_there};
use super::output::OutputSchema;
use super::{Operator, StateSize};
use crate::dataflow::event_time::LowAt;
use crate::error::{Error, Result};
use crate::plan::OrderColumn;
use crate::state::{StateChanges, StateEntry};
use crate::types::{Changes, Epoch, all_nullable};

/// Sessions over one partitioning.
pub struct Session {
    groups: Groups<Count>,
    gap_us: i64,
    /// Whether ends come out.
    ends: bool,
    /// For each group, by its slot.
    spans: Vec<Spans>,
    expiry: Option<Expiry>,
    input: SchemaRef,
    output: OutputSchema,
    /// Position of the column that is the time.
    time: usize,
    /// Of the columns at the end.
    time_type: DataType,
}

/// The sessions of one key: the time of the first row of each, and that of the last.
type Spans = BTreeMap<i64, i64>;

/// When sessions are over.
struct Expiry {
    low: LowAt,
    /// Rows come out then, and not before.
    emits: bool,
    /// When to look at which slots. Those that have been noted anew stand in it more than once.
    due: BTreeMap<i64, Vec<u32>>,
    /// For each slot where it stands in `due` for good.
    noted: HashMap<u32, i64>,
    late: LateCount,
    /// Rows that were late in this epoch, if they are of interest.
    late_rows: Batch,
}

/// One row that changes: how often it comes (below zero, goes).
#[derive(Clone, Copy)]
struct Change<'a> {
    row: RowRef<'a>,
    time: i64,
    weight: i64,
}

/// Rows with their sessions on their way out.
#[derive(Default)]
struct Emitted {
    rows: Batch,
    starts: Vec<i64>,
    ends: Vec<i64>,
    weights: Vec<i64>,
}

impl Emitted {
    fn push(&mut self, slot: u32, row: RowRef<'_>, (start, end): (i64, i64), weight: i64) {
        if weight != 0 {
            self.rows.push(slot, row);
            self.starts.push(start);
            self.ends.push(end);
            self.weights.push(weight);
        }
    }
}

impl Session {
    /// No rows yet. `time`: position of the column, which is no key. `output`: the input's columns, the start, and the end if that is wanted.
    /// Fails for columns whose types cannot be held.
    pub fn new(input: &SchemaRef, keys: &[usize], time: usize, gap_us: i64, output: SchemaRef) -> Result<Self> {
        let order = OrderColumn { column: time, descending: false, nulls_first: false };
        Ok(Session {
            groups: Groups::new(input, keys, &[order])?,
            gap_us,
            ends: output.fields().len() > input.fields().len() + 1,
            spans: Vec::new(),
            expiry: None,
            input: all_nullable(input),
            time,
            time_type: input.field(time).data_type().clone(),
            output: OutputSchema::new(output),
        })
    }

    /// Says which of the keys (by their place among the keys) the input is exchanged by, if not by all.
    #[must_use]
    pub fn partitioned_by(mut self, places: Vec<usize>) -> Self {
        self.groups.partitioned_by(places);
        self
    }

    /// Drops sessions that end at `low` or before; `emits`: that is when their rows come out. `late`: where rows are counted that come too late.
    #[must_use]
    pub fn closing(mut self, low: LowAt, emits: bool, late: LateCount) -> Self {
        self.expiry = Some(Expiry { low, emits, due: BTreeMap::new(), noted: HashMap::new(), late, late_rows: Batch::default() });
        self
    }

    /// Brings one key up to date. `over`: sessions that end there or before are over.
    fn update(&mut self, slot: u32, changes: GroupChanges<'_>, over: Option<i64>, emitted: &mut Emitted) -> Result<()> {
        if self.spans.len() <= slot as usize {
            self.spans.resize_with(slot as usize + 1, Spans::new);
        }
        let changes = self.admitted(slot, changes, over);
        let first = self.spans[slot as usize].first_key_value().map(|(start, last)| (*start, *last));
        for (touched, range) in touched(&self.spans[slot as usize], &changes, self.gap_us) {
            let changes = &changes[range];
            let old: Spans = self.spans[slot as usize].range(touched).map(|(start, last)| (*start, *last)).collect();
            let counts = self.apply(slot, changes)?;
            let new = self.respanned(slot, &old, changes);
            let spans = &mut self.spans[slot as usize];
            for start in old.keys() {
                spans.remove(start);
            }
            spans.extend(&new);
            if !self.expiry.as_ref().is_some_and(|expiry| expiry.emits) {
                self.tell(slot, (&old, &new), changes, &counts, emitted);
            }
        }
        if self.spans[slot as usize].first_key_value().map(|(start, last)| (*start, *last)) != first {
            self.note(slot);
        }
        Ok(())
    }

    /// The changes of a key that are in time, in the order of times.
    fn admitted<'a>(&mut self, slot: u32, changes: GroupChanges<'a>, over: Option<i64>) -> Vec<Change<'a>> {
        let timed = changes.iter().filter_map(|(row, weight)| Some(Change { row, time: time_of(row)?, weight }));
        let mut changes: Vec<Change<'a>> = timed.collect();
        let (Some(over), Some(expiry)) = (over, &mut self.expiry) else { return changes };
        let (gap_us, spans, rows) = (self.gap_us, &self.spans[slot as usize], self.groups.rows(slot));
        let is_old = |time: i64| time.saturating_add(gap_us) <= over;
        if !changes.first().is_some_and(|change| is_old(change.time)) {
            return changes;
        }
        // The earliest time so far that is sure to be in a session that goes on: what is near before it is in that as well.
        let (mut reached, mut late) = (None::<i64>, 0);
        for change in changes.iter_mut().rev() {
            let Change { row, time, weight } = *change;
            let kept = spans.range(..time.saturating_add(gap_us)).next_back().is_some_and(|(_, last)| time < last.saturating_add(gap_us));
            let near = reached.is_some_and(|reached| reached.saturating_sub(time) < gap_us);
            let passed = match weight {
                _ if !is_old(time) => weight,
                0.. => {
                    if kept || near {
                        weight
                    } else {
                        0
                    }
                }
                _ => -held(rows, row).min(weight.saturating_neg()),
            };
            if weight != passed && expiry.late.keeper().is_some() {
                expiry.late_rows.push(slot, row);
            }
            late += (weight - passed).unsigned_abs();
            change.weight = passed;
            if passed > 0 {
                reached = Some(time);
            }
        }
        if late > 0 {
            expiry.late.record(late);
            changes.retain(|change| change.weight != 0);
        }
        changes
    }

    /// Hands the late rows of the epoch over.
    fn keep_late_rows(&mut self) -> Result<()> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let late = std::mem::take(&mut expiry.late_rows);
        if let Some(keeper) = expiry.late.keeper().filter(|_| late.len() > 0) {
            let columns = self.groups.columns(&late, 0..late.len())?;
            keeper.keep(&RecordBatch::try_new(SchemaRef::clone(&self.input), columns)?);
        }
        Ok(())
    }

    /// Puts changes into the rows of a key; gives for each how often the row is there then.
    fn apply(&mut self, slot: u32, changes: &[Change<'_>]) -> Result<Vec<i64>> {
        let mut group = self.groups.open(slot);
        let mut from = Place::default();
        let mut counts = Vec::with_capacity(changes.len());
        for Change { row, weight, .. } in changes {
            from = group.rows().find(from, *row);
            let held = group.rows().get(from).filter(|entry| entry.row == *row).map_or(0, |entry| entry.payload.0);
            let count = held.checked_add_signed(*weight).ok_or_else(not_there)?;
            match count {
                0 => {
                    group.remove(from);
                    from = Place::default();
                }
                count if held > 0 => group.rows().update(from, |known| known.0 = count),
                count => from = group.rows().insert(from, *row, Count(count)),
            }
            counts.push(i64::try_from(count).map_err(|_| Error::internal("a row is there too often"))?);
        }
        Ok(counts)
    }

    /// The sessions that take the place of `old`, now that the rows have changed.
    fn respanned(&self, slot: u32, old: &Spans, changes: &[Change<'_>]) -> Spans {
        let (gap_us, rows) = (self.gap_us, self.groups.rows(slot));
        let came = changes.iter().filter(|change| change.weight > 0).map(|change| (change.time, change.time));
        let mut parts: Vec<(i64, i64)> = old.iter().map(|(start, last)| (*start, *last)).chain(came).collect();
        parts.sort_unstable();
        let mut spans = Spans::new();
        for (start, last) in parts {
            match spans.last_entry() {
                Some(mut before) if start.saturating_sub(*before.get()) < gap_us => *before.get_mut() = last.max(*before.get()),
                _ => {
                    spans.insert(start, last);
                }
            }
        }
        for Change { row, time, .. } in changes.iter().filter(|change| change.weight < 0) {
            let place = rows.seek(Place::default(), |other| other.order < row.order);
            let next = rows.get(place).and_then(|entry| time_of(entry.row));
            if next == Some(*time) {
                continue;
            }
            let Some((start, last)) =
                spans.range(..=*time).next_back().map(|(start, last)| (*start, *last)).filter(|(_, last)| time <= last)
            else {
                continue;
            };
            let previous = rows.back_from(place).next().and_then(|entry| time_of(entry.row)).filter(|previous| *previous >= start);
            let next = next.filter(|next| *next <= last);
            if previous.zip(next).is_some_and(|(previous, next)| next.saturating_sub(previous) < gap_us) {
                continue;
            }
            spans.remove(&start);
            spans.extend(previous.map(|previous| (start, previous)));
            spans.extend(next.map(|next| (next, last)));
        }
        spans
    }

    /// The start and the end of the session that a time is in, as they come out.
    fn session_of(&self, spans: &Spans, time: i64) -> Option<(i64, i64)> {
        let (start, last) = spans.range(..=time).next_back()?;
        (time <= *last).then(|| self.bounds(*start, *last))
    }

    fn bounds(&self, start: i64, last: i64) -> (i64, i64) {
        (start, if self.ends { last.saturating_add(self.gap_us) } else { 0 })
    }

    /// Emits what is different. `counts`: how often the rows that changed are there now.
    fn tell(&self, slot: u32, (old, new): (&Spans, &Spans), changes: &[Change<'_>], counts: &[i64], emitted: &mut Emitted) {
        // Rows whose session is what it was, and rows that are gone.
        for (change, count) in changes.iter().zip(counts) {
            let (before, now) = (self.session_of(old, change.time), self.session_of(new, change.time));
            match before {
                Some(before) if *count == 0 || now == Some(before) => emitted.push(slot, change.row, before, change.weight),
                _ => {}
            }
        }
        let mut changed = changes.iter().peekable();
        let rows = self.groups.rows(slot);
        let mut from = Place::default();
        for (start, last) in new {
            // The times up to here have the session that they had.
            let known = old.get(start).filter(|known| !self.ends || *known == last);
            if known.is_some_and(|known| known >= last) {
                continue;
            }
            from = rows.seek(from, |row| time_of(row).is_some_and(|time| known.map_or(time < *start, |known| time <= *known)));
            let session = self.bounds(*start, *last);
            for entry in rows.from(from) {
                let Some(time) = time_of(entry.row).filter(|time| time <= last) else { break };
                while changed.next_if(|change| change.row < entry.row).is_some() {}
                let came = changed.next_if(|change| change.row == entry.row).map_or(0, |change| change.weight);
                let count = entry.payload.0 as i64;
                if let Some(before) = self.session_of(old, time) {
                    emitted.push(slot, entry.row, before, came - count);
                }
                emitted.push(slot, entry.row, session, count);
            }
        }
    }

    /// Notes when to look whether the first session of a key is over: at its end, or before if it has been longer since.
    fn note(&mut self, slot: u32) {
        let Some(expiry) = &mut self.expiry else { return };
        let first = self.spans[slot as usize].first_key_value().map(|(_, last)| last.saturating_add(self.gap_us));
        match first {
            Some(end) if expiry.noted.get(&slot).is_none_or(|noted| end < *noted) => {
                expiry.noted.insert(slot, end);
                expiry.due.entry(end).or_default().push(slot);
            }
            Some(_) => {}
            None => {
                expiry.noted.remove(&slot);
            }
        }
    }

    /// Drops sessions that end at `over` or before; gives the slots whose keys have none any more.
    fn expire(&mut self, over: i64, emitted: &mut Emitted, output: &mut Vec<Changes>) -> Result<Vec<u32>> {
        let Some(expiry) = &mut self.expiry else { return Ok(Vec::new()) };
        let still = expiry.due.split_off(&over.saturating_add(1));
        let due = std::mem::replace(&mut expiry.due, still);
        let emits = expiry.emits;
        let mut slots: Vec<u32> = Vec::new();
        for (end, of_end) in due {
            slots.extend(of_end.into_iter().filter(|slot| expiry.noted.get(slot) == Some(&end) && expiry.noted.remove(slot).is_some()));
        }
        for slot in &slots {
            let mut group = self.groups.open(*slot);
            let spans = &mut self.spans[*slot as usize];
            while let Some(first) = spans.first_entry().filter(|first| first.get().saturating_add(self.gap_us) <= over) {
                let (start, last) = first.remove_entry();
                while let Some(entry) = group.rows().get(Place::default())
                    && time_of(entry.row).is_none_or(|time| time <= last)
                {
                    if emits {
                        let end = if self.ends { last.saturating_add(self.gap_us) } else { 0 };
                        emitted.push(*slot, entry.row, (start, end), entry.payload.0 as i64);
                    }
                    group.remove(Place::default());
                }
            }
            drop(group);
            self.note(*slot);
            if emitted.rows.is_full() {
                self.emit(&std::mem::take(emitted), output)?;
            }
        }
        Ok(slots)
    }

    fn emit(&self, emitted: &Emitted, output: &mut Vec<Changes>) -> Result<()> {
        for range in self.groups.parts(&emitted.rows, |_| 0) {
            let mut columns = self.groups.columns(&emitted.rows, range.clone())?;
            let bounds = [&emitted.starts, &emitted.ends].into_iter().take(1 + usize::from(self.ends));
            columns.extend(bounds.map(|times| timestamps(times[range.clone()].to_vec(), &self.time_type)));
            let weights = &emitted.weights[range.clone()];
            let weights = weights.iter().any(|weight| *weight != 1).then(|| Int64Array::from(weights.to_vec()));
            output.push(self.output.changes(columns, range.len(), weights)?);
        }
        Ok(())
    }

    /// Finds the sessions of all rows again.
    fn find_spans(&mut self) {
        self.spans.clear();
        if let Some(expiry) = &mut self.expiry {
            expiry.due.clear();
            expiry.noted.clear();
        }
        for slot in self.groups.used() {
            let mut spans = Spans::new();
            for time in self.groups.rows(slot).from(Place::default()).filter_map(|entry| time_of(entry.row)) {
                match spans.last_entry() {
                    Some(mut last) if time.saturating_sub(*last.get()) < self.gap_us => *last.get_mut() = time,
                    _ => {
                        spans.insert(time, time);
                    }
                }
            }
            if self.spans.len() <= slot as usize {
                self.spans.resize_with(slot as usize + 1, Spans::new);
            }
            self.spans[slot as usize] = spans;
            self.note(slot);
        }
    }
}

/// How often a row is there.
fn held(rows: &Sorted<Count>, row: RowRef<'_>) -> i64 {
    let entry = rows.get(rows.find(Place::default(), row)).filter(|entry| entry.row == row);
    entry.map_or(0, |entry| i64::try_from(entry.payload.0).unwrap_or(i64::MAX))
}

/// The time of a row: what it is sorted by, whose bytes are a one (a zero or another one for NULL) and the number with its sign turned over, the
/// greatest byte first.
fn time_of(row: RowRef<'_>) -> Option<i64> {
    let (1, time) = row.order.split_first()? else { return None };
    Some((u64::from_be_bytes(time.try_into().ok()?) ^ (1 << 63)) as i64)
}

/// Without the rows that have no time: they are in no session.
fn in_time(changes: Changes, time: usize) -> Changes {
    match changes.column(time).nulls().filter(|nulls| nulls.null_count() > 0) {
        Some(nulls) => changes.filter(&BooleanArray::new(nulls.inner().clone(), None)),
        None => changes,
    }
}

/// Stretches of time whose sessions the changes may change, none of them near another; each with its changes.
fn touched(spans: &Spans, changes: &[Change<'_>], gap_us: i64) -> Vec<(std::ops::RangeInclusive<i64>, Range<usize>)> {
    let mut found: Vec<(i64, i64, Range<usize>)> = Vec::new();
    for (number, Change { time, .. }) in changes.iter().enumerate() {
        let before = spans.range(..=*time).next_back().filter(|(_, last)| time.saturating_sub(**last) < gap_us);
        let behind = spans.range(time.saturating_add(1)..).next().filter(|(start, _)| start.saturating_sub(*time) < gap_us);
        let low = before.map_or(*time, |(start, _)| *start);
        let high = behind.or(before).map_or(*time, |(_, last)| *last).max(*time);
        match found.last_mut() {
            Some((_, last, range)) if low.saturating_sub(*last) < gap_us => {
                *last = high.max(*last);
                range.end = number + 1;
            }
            _ => found.push((low, high, number..number + 1)),
        }
    }
    found.into_iter().map(|(low, high, range)| (low..=high, range)).collect()
}

impl Operator for Session {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        let time = self.time;
        let changes = self.groups.gather(inputs.into_iter().flatten().map(|changes| in_time(changes, time)))?;
        let over = self.expiry.as_ref().and_then(|expiry| expiry.low.before(epoch));
        let mut emitted = Emitted::default();
        for (slot, of_group) in changes.groups() {
            self.update(slot, of_group, over, &mut emitted)?;
            if emitted.rows.is_full() {
                self.emit(&std::mem::take(&mut emitted), output)?;
            }
        }
        self.keep_late_rows()?;
        let now_over = self.expiry.as_ref().and_then(|expiry| expiry.low.after(epoch));
        let expired = match now_over {
            Some(over) => self.expire(over, &mut emitted, output)?,
            None => Vec::new(),
        };
        self.emit(&emitted, output)?;
        changes.groups().map(|(slot, _)| slot).chain(expired).for_each(|slot| self.groups.close(slot));
        Ok(())
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        let moves = self.groups.moves();
        self.groups.checkpoint(changes)?;
        if self.groups.moves() != moves {
            self.find_spans();
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.late.checkpoint(changes);
        }
        Ok(())
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            let entry = entry?;
            match &mut self.expiry {
                Some(expiry) if entry.key.is_empty() => expiry.late.restore(&entry)?,
                _ => self.groups.restore(&entry)?,
            }
        }
        self.find_spans();
        Ok(())
    }

    fn size(&self) -> StateSize {
        let size = self.groups.size();
        let spans: usize = self.spans.iter().map(|spans| size_of::<Spans>() + spans.len() * size_of::<(i64, i64)>()).sum();
        StateSize { bytes: size.bytes + spans, ..size }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};

    use super::Session;
    use crate::dataflow::event_time::tests::low_at;
    use crate::dataflow::late_rows::{LateLog, LateSink};
    use crate::dataflow::operator::Operator;
    use crate::dataflow::operator::late::LateCount;
    use crate::state::{StateChanges, StoredState};
    use crate::types::{Changes, OperatorId};

    const GAP: i64 = 5;

    /// Key, number, time.
    type Row = (i64, i64, i64);

    fn schema(bounds: &[&str]) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut fields =
            vec![Field::new("k", DataType::Int64, true), Field::new("id", DataType::Int64, true), Field::new("ts", time.clone(), true)];
        fields.extend(bounds.iter().map(|name| Field::new(*name, time.clone(), true)));
        Arc::new(Schema::new(fields))
    }

    fn session(ends: bool) -> Session {
        let bounds: &[&str] = if ends { &["window_start", "window_end"] } else { &["window_start"] };
        Session::new(&schema(&[]), &[0], 2, GAP, schema(bounds)).unwrap()
    }

    fn changes(rows: &[(Row, i64)]) -> Changes {
        let column = |value: fn(&Row) -> i64| rows.iter().map(move |(row, _)| value(row));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(column(|row| row.0))),
            Arc::new(Int64Array::from_iter_values(column(|row| row.1))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(column(|row| row.2))),
        ];
        Changes::new(RecordBatch::try_new(schema(&[]), columns).unwrap(), Some(rows.iter().map(|(_, weight)| *weight).collect()))
    }

    /// What an epoch adds to rows with the start of their session, and the end (0 where it does not come out).
    fn step(session: &mut Session, epoch: u64, rows: &[(Row, i64)], seen: &mut BTreeMap<(Row, i64, i64), i64>) {
        let mut output = Vec::new();
        session.step(epoch, vec![vec![changes(rows)]], &mut output).unwrap();
        for batch in &output {
            let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            let time = |column: usize, row: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row);
            for row in 0..batch.len() {
                let end = if batch.rows().num_columns() > 4 { time(4, row) } else { 0 };
                *seen.entry(((number(0, row), number(1, row), time(2, row)), time(3, row), end)).or_default() += batch.weight(row);
            }
        }
        seen.retain(|_, weight| *weight != 0);
    }

    /// By the definition.
    fn slowly(rows: &BTreeMap<Row, i64>, ends: bool) -> BTreeMap<(Row, i64, i64), i64> {
        let mut found = BTreeMap::new();
        for (row, count) in rows {
            let times: BTreeSet<i64> = rows.keys().filter(|other| other.0 == row.0).map(|other| other.2).collect();
            let (mut start, mut last) = (row.2, row.2);
            while let Some(before) = times.range(..start).next_back().filter(|time| start - **time < GAP) {
                start = *before;
            }
            while let Some(behind) = times.range(last + 1..).next().filter(|time| **time - last < GAP) {
                last = *behind;
            }
            found.insert((*row, start, if ends { last + GAP } else { 0 }), *count);
        }
        found
    }

    /// The same random numbers each time.
    fn random(state: &mut u64, below: u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    #[test]
    fn sessions_follow_from_the_rows_that_there_are() {
        for ends in [true, false] {
            let (mut state, mut rows, mut seen) = (7, BTreeMap::<Row, i64>::new(), BTreeMap::new());
            let (mut operator, mut stored) = (session(ends), StoredState::default());
            for epoch in 1..400 {
                let mut batch = Vec::new();
                for _ in 0..random(&mut state, 6) {
                    let known = rows.keys().nth(random(&mut state, rows.len().max(1) as u64) as usize).copied();
                    match known.filter(|_| random(&mut state, 9) < 4 + rows.len() as u64 / 20) {
                        Some(row) => {
                            batch.push((row, -1));
                            *rows.get_mut(&row).unwrap() -= 1;
                        }
                        None => {
                            let row = (random(&mut state, 2) as i64, random(&mut state, 3) as i64, random(&mut state, 90) as i64 - 45);
                            batch.push((row, 1));
                            *rows.entry(row).or_default() += 1;
                        }
                    }
                    rows.retain(|_, count| *count > 0);
                }
                step(&mut operator, epoch, &batch, &mut seen);
                assert_eq!(seen, slowly(&rows, ends), "epoch {epoch}, ends {ends}");
                if random(&mut state, 5) == 0 {
                    let mut changes = StateChanges::default();
                    operator.checkpoint(&mut changes).unwrap();
                    stored.apply(changes);
                    operator = session(ends);
                    operator.restore(&mut stored.entries(|_| true)).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_row_at_the_end_of_a_session_is_one_change_where_ends_do_not_come_out() {
        let mut operator = session(false);
        let mut output = Vec::new();
        let many: Vec<(Row, i64)> = (0..1_000).map(|id| ((1, id, id), 1)).collect();
        operator.step(1, vec![vec![changes(&many)]], &mut output).unwrap();
        output.clear();
        operator.step(2, vec![vec![changes(&[((1, 1_000, 1_001), 1)])]], &mut output).unwrap();
        assert_eq!(output.iter().map(Changes::len).sum::<usize>(), 1);
    }

    #[test]
    fn what_is_late_depends_on_the_sessions_that_go_on() {
        let log = Arc::new(LateLog::default());
        let closing = |emits: bool| {
            let sink = LateSink::new(&log, OperatorId { object: 5, node: 3 }, BTreeSet::from([7]), None);
            session(true).closing(low_at(&[(2, 10), (4, 30)]), emits, LateCount::new(0, sink).unwrap())
        };
        for emits in [false, true] {
            let late = |log: &LateLog| log.snapshot().iter().map(|(_, late)| late.rows).sum::<u64>();
            let (mut operator, mut seen, before) = (closing(emits), BTreeMap::new(), late(&log));
            // Over at 10 is the session of 3; that of 8 goes on to 13.
            step(&mut operator, 2, &[((1, 1, 3), 1), ((1, 2, 8), 1), ((2, 3, 12), 1)], &mut seen);
            assert_eq!(operator.size().rows, 2);
            // 4 is near 8, and 0 near 4, in whatever order they come; of key 2 nothing is near.
            step(&mut operator, 3, &[((1, 4, 0), 1), ((1, 5, 4), 1), ((2, 6, 4), 1), ((2, 7, 5), 1)], &mut seen);
            assert_eq!((operator.size().rows, late(&log) - before), (4, 2));
            // A row of a session that is over cannot be taken back.
            step(&mut operator, 4, &[((1, 1, 3), -1), ((1, 2, 8), -1)], &mut seen);
            assert_eq!((operator.size().rows, late(&log) - before), (0, 3));
            let expected = [((1, 1, 3), 3, 8), ((1, 4, 0), 0, 9), ((1, 5, 4), 0, 9), ((2, 3, 12), 12, 17)];
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected.map(|row| (row, 1)), "emits: {emits}");
        }
    }
}

//! Rows of a side go when event time has passed all that they could still meet.
//!
//! They are found by their times, in buckets: what is over is a few whole buckets, and part of one. A row that has gone is dead like one that
//! was retracted: the next probe takes it out of its chain, and compaction frees it. Why nobody misses it: `plan::lower::in_time`.

use std::collections::BTreeMap;
use std::mem::take;

use arrow::array::Array;

use super::side::Side;
use crate::dataflow::event_time::{LowAt, times_of};
use crate::dataflow::operator::rows::PART_ROWS;
use crate::error::Result;
use crate::types::{Epoch, hash_rows};

/// Microseconds of a bucket, as a power of two: some 65 ms. A bucket is looked through when event time stands in it, so it is to hold
/// few rows of a fast stream; a slow one has a bucket per row, which takes no more than the row.
const BUCKET_BITS: u32 = 16;

/// When rows of a side go.
pub struct Goes {
    /// Position of a time among its columns.
    pub column: usize,
    /// Below what.
    pub low: LowAt,
    /// Rows without a time go at once.
    pub nulls: bool,
}

/// The rows of a side by their times.
pub(super) struct Expiry {
    goes: Goes,
    /// Rows, some of them dead, by the bucket that their time is in.
    rows: BTreeMap<i64, Vec<u32>>,
    /// Rows that go whatever the time is.
    timeless: Vec<u32>,
    /// Nothing below this is in the bucket that it is in, but for what has come since.
    reached: i64,
    /// Of a side without a ledger: whether each row has gone; ends with the last one that has.
    gone: Vec<bool>,
    gone_count: usize,
    /// Of a side without a ledger: key hashes and numbers of rows that have gone and that the last checkpoint has.
    unsaid: Vec<(u64, u64)>,
}

impl Expiry {
    /// For a side whose rows have got other numbers.
    pub(super) fn emptied(self) -> Expiry {
        Expiry { unsaid: self.unsaid, ..Expiry::new(self.goes) }
    }

    fn new(goes: Goes) -> Expiry {
        Expiry { goes, rows: BTreeMap::new(), timeless: Vec::new(), reached: i64::MIN, gone: Vec::new(), gone_count: 0, unsaid: Vec::new() }
    }

    /// Whether a row of a side without a ledger has gone.
    pub(super) fn is_gone(&self, row: u32) -> bool {
        self.gone.get(row as usize).copied().unwrap_or(false)
    }

    /// How many rows of a side without a ledger have gone.
    pub(super) fn gone(&self) -> usize {
        self.gone_count
    }

    /// What the next checkpoint deletes.
    pub(super) fn unsaid(&mut self) -> impl Iterator<Item = (u64, u64)> {
        take(&mut self.unsaid).into_iter()
    }

    pub(super) fn bytes(&self) -> usize {
        let rows: usize = self.rows.values().map(|rows| size_of::<(i64, Vec<u32>)>() + rows.capacity() * size_of::<u32>()).sum();
        rows + self.timeless.capacity() * size_of::<u32>() + self.gone.capacity() + self.unsaid.capacity() * size_of::<(u64, u64)>()
    }

    fn drop_row(&mut self, row: u32) -> bool {
        let row = row as usize;
        if row >= self.gone.len() {
            self.gone.resize(row + 1, false);
        }
        let drops = !std::mem::replace(&mut self.gone[row], true);
        self.gone_count += usize::from(drops);
        drops
    }
}

impl Side {
    /// Rows go by their times.
    #[must_use]
    pub(super) fn expiring(mut self, goes: Option<Goes>) -> Side {
        self.expiry = goes.map(Expiry::new);
        self
    }

    /// Notes when the rows from this number on will go.
    pub(super) fn watch(&mut self, from: u32) -> Result<()> {
        let Some(expiry) = &self.expiry else { return Ok(()) };
        let column = expiry.goes.column;
        let fresh: Vec<u32> = (from..self.rows.len() as u32).filter(|row| self.weight(*row) != 0).collect();
        for rows in fresh.chunks(PART_ROWS) {
            let column = self.rows.gather(column, rows)?;
            let times = times_of(&column)?;
            let Some(expiry) = &mut self.expiry else { return Ok(()) };
            for (place, row) in rows.iter().enumerate() {
                if column.is_valid(place) {
                    expiry.rows.entry(times[place] >> BUCKET_BITS).or_default().push(*row);
                } else if expiry.goes.nulls {
                    expiry.timeless.push(*row);
                }
            }
        }
        Ok(())
    }

    /// The rows that have met all that they ever will after an epoch; they are not listed again.
    pub(super) fn over(&mut self, epoch: Epoch) -> Result<Vec<u32>> {
        let Some(expiry) = &mut self.expiry else { return Ok(Vec::new()) };
        let mut over = take(&mut expiry.timeless);
        let Some(low) = expiry.goes.low.after(epoch) else { return Ok(over) };
        let edge = low >> BUCKET_BITS;
        if expiry.rows.first_key_value().is_some_and(|(first, _)| *first < edge) {
            let later = expiry.rows.split_off(&edge);
            over.extend(std::mem::replace(&mut expiry.rows, later).into_values().flatten());
        }
        if low > expiry.reached {
            expiry.reached = low;
            if let Some(rows) = expiry.rows.remove(&edge) {
                self.cut(edge, low, rows, &mut over)?;
            }
        }
        Ok(over)
    }

    /// Of the rows of one bucket, those below `low` are over.
    fn cut(&mut self, bucket: i64, low: i64, rows: Vec<u32>, over: &mut Vec<u32>) -> Result<()> {
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        let mut stay = Vec::new();
        for rows in rows.chunks(PART_ROWS) {
            let column = self.rows.gather(expiry.goes.column, rows)?;
            let times = times_of(&column)?;
            rows.iter().enumerate().for_each(|(place, row)| if times[place] < low { over.push(*row) } else { stay.push(*row) });
        }
        if !stay.is_empty() {
            expiry.rows.insert(bucket, stay);
        }
        Ok(())
    }

    /// Drops rows, of which some may be dead already.
    pub(super) fn drop_rows(&mut self, rows: &[u32]) -> Result<()> {
        if self.ledger.is_some() {
            let columns = self.rows.gather_all(rows)?;
            for (row, row_hash) in rows.iter().zip(hash_rows(&columns, rows.len())) {
                if self.weight(*row) != 0 {
                    self.weigh(*row, 0, row_hash);
                }
            }
            return Ok(());
        }
        let Some(expiry) = &mut self.expiry else { return Ok(()) };
        for row in rows {
            let saved = (*row as usize) < self.unsaved;
            if expiry.drop_row(*row) && saved {
                expiry.unsaid.push((self.chains.hash(&self.rows, *row), self.numbers[*row as usize]));
            }
        }
        Ok(())
    }
}

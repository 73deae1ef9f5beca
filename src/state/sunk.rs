//! What a sink's changes do to the table that it writes: looks up what is there and says what goes and what comes. Applies nothing.
//!
//! - A row that a sink takes back goes if it is there as the sink put it: with a key, the row under its key, if the columns that the sink fills are
//!   the same; without one, one row that is equal. Where it is not there any more, nothing happens.
//! - A row that a sink brings is inserted by the table's rule for conflicts, behind all that is taken back.
//!
//! Always: the same for the same changes in whatever order they stand.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::consolidate::net;
use super::relation::Relation;
use super::resolve::Replaced;
use super::segment::Segment;
use super::shard::chosen;
use crate::error::Result;
use crate::types::{Changes, OnConflict, hash_rows, rows_equal};

/// What a sink's changes do.
#[derive(Clone, Debug)]
pub struct Sunk {
    /// Retractions of rows that are there, and insertions.
    pub changes: Changes,
    /// Rows that could not go in beside one with their key, under `OnConflict::Error`.
    pub refused: RecordBatch,
}

impl Relation {
    /// What `changes` of a sink do in the newest state, epochs that are not complete included. `fills`: the columns whose values are the sink's. Only
    /// for relations of one shard: tables.
    pub fn resolve_sunk(&self, changes: &Changes, fills: &[usize], conflict: OnConflict) -> Result<Sunk> {
        self.check(changes.rows().columns())?;
        let columns = changes.rows().columns();
        let hashes = hash_rows(&chosen(columns, self.index_columns()), changes.len());
        let net = net(columns, changes.weights(), &hashes);
        let insert = net.insert.unwrap_or_else(|| (0..changes.len() as u32).collect());
        match self.key() {
            Some(key) => self.sink_by_key(changes.rows(), key, &hashes, &net.retract, insert, fills, conflict),
            None => self.sink_rows(changes.rows(), &hashes, &net.retract, insert),
        }
    }

    fn sink_rows(&self, rows: &RecordBatch, hashes: &[u64], retract: &[(u32, u64)], insert: Vec<u32>) -> Result<Sunk> {
        let (mut taken, mut weights) = (Vec::with_capacity(retract.len() + insert.len()), Vec::new());
        {
            let shard = self.shards[0].read();
            for (row, count) in retract {
                let at = *row as usize;
                let missing = shard.find_equal(rows.columns(), at, hashes[at], *count, &mut BTreeSet::new());
                if *count > missing {
                    taken.push(*row);
                    weights.push(-i64::try_from(*count - missing).unwrap_or(i64::MAX));
                }
            }
        }
        weights.resize(taken.len() + insert.len(), 1);
        taken.extend(insert);
        let rows = take_record_batch(rows, &UInt32Array::from(taken))?;
        let refused = RecordBatch::new_empty(rows.schema());
        let rows = RecordBatch::try_new(Arc::clone(self.schema()), rows.columns().to_vec())?;
        Ok(Sunk { changes: Changes::new(rows, Some(Int64Array::from(weights))), refused })
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `resolve_sunk`")]
    fn sink_by_key(
        &self,
        rows: &RecordBatch,
        key: &[usize],
        hashes: &[u64],
        retract: &[(u32, u64)],
        insert: Vec<u32>,
        fills: &[usize],
        conflict: OnConflict,
    ) -> Result<Sunk> {
        let keys = chosen(rows.columns(), key);
        let filled = chosen(rows.columns(), fills);
        let winners = by_key(rows, &keys, hashes, insert, conflict)?;
        let shard = self.shards[0].read();
        let mut old = Replaced::default();
        let mut gone: BTreeSet<(*const Segment, usize)> = BTreeSet::new();
        for (row, _) in retract {
            let at = *row as usize;
            if let Some((segment, place)) = shard.find_live(&keys, at, hashes[at])
                && rows_equal(&chosen(segment.columns(), fills), place, &filled, at)
                && gone.insert((Arc::as_ptr(segment), place))
            {
                old.push(segment, place);
            }
        }
        let (mut come, mut refused) = (Vec::with_capacity(winners.first.len()), winners.refused);
        for row in winners.first {
            let at = row as usize;
            let there = shard.find_live(&keys, at, hashes[at]).filter(|(segment, place)| !gone.contains(&(Arc::as_ptr(segment), *place)));
            match (there, conflict) {
                (None, _) => come.push(row),
                (Some(_), OnConflict::DoNothing) => {}
                (Some((segment, place)), OnConflict::Error) => {
                    // What is there already is no conflict.
                    if !rows_equal(segment.columns(), place, rows.columns(), at) {
                        refused.push(row);
                    }
                }
                (Some((segment, place)), OnConflict::Overwrite) => {
                    if !rows_equal(segment.columns(), place, rows.columns(), at) {
                        old.push(segment, place);
                        come.push(row);
                    }
                }
            }
        }
        drop(shard);
        Ok(Sunk { changes: self.replacement(rows, &old, come)?, refused: take_record_batch(rows, &UInt32Array::from(refused))? })
    }
}

/// Of rows with one key, the one that goes in.
struct Winners {
    first: Vec<u32>,
    /// Those that are an error beside it.
    refused: Vec<u32>,
}

/// Picks one row for each key. As rows of one epoch have no order, it is the greatest where the last one would win, else the least.
fn by_key(rows: &RecordBatch, keys: &[ArrayRef], hashes: &[u64], insert: Vec<u32>, conflict: OnConflict) -> Result<Winners> {
    let mut first: Vec<u32> = Vec::with_capacity(insert.len());
    let mut repeated: Vec<(u32, u32)> = Vec::new();
    let mut table: HashTable<u32> = HashTable::with_capacity(insert.len());
    for row in insert {
        let at = row as usize;
        let same = |slot: &u32| {
            let other = first[*slot as usize] as usize;
            hashes[other] == hashes[at] && rows_equal(keys, other, keys, at)
        };
        match table.entry(hashes[at], same, |slot| hashes[first[*slot as usize] as usize]) {
            Entry::Occupied(entry) => repeated.push((*entry.get(), row)),
            Entry::Vacant(entry) => {
                entry.insert(first.len() as u32);
                first.push(row);
            }
        }
    }
    let mut refused = Vec::new();
    if !repeated.is_empty() {
        let order = Order::of(rows)?;
        for (slot, row) in repeated {
            let winner = first[slot as usize];
            let (wins, loses) = match (order.compare(row, winner), conflict) {
                (Ordering::Equal, _) => continue,
                (Ordering::Greater, OnConflict::Overwrite) | (Ordering::Less, OnConflict::DoNothing | OnConflict::Error) => (row, winner),
                _ => (winner, row),
            };
            first[slot as usize] = wins;
            if conflict == OnConflict::Error {
                refused.push(loses);
            }
        }
    }
    Ok(Winners { first, refused })
}

/// An order of whole rows, the same whichever rows there are.
struct Order(Option<arrow::row::Rows>);

impl Order {
    fn of(rows: &RecordBatch) -> Result<Self> {
        let fields: Vec<SortField> = rows.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        if !RowConverter::supports_fields(&fields) {
            // Nobody can tell which one wins.
            return Ok(Order(None));
        }
        Ok(Order(Some(RowConverter::new(fields)?.convert_columns(rows.columns())?)))
    }

    fn compare(&self, left: u32, right: u32) -> Ordering {
        match &self.0 {
            Some(rows) => rows.row(left as usize).cmp(&rows.row(right as usize)),
            None => left.cmp(&right),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::{Relation, Sunk};
    use crate::state::NEWEST;
    use crate::types::{Changes, OnConflict};

    /// Rows (id, a, b), each with its weight.
    fn changes(rows: &[(i64, i64, i64, i64)]) -> Changes {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int64, true),
        ]);
        let column =
            |value: fn(&(i64, i64, i64, i64)) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(value))) };
        let batch = RecordBatch::try_new(Arc::new(schema), vec![column(|row| row.0), column(|row| row.1), column(|row| row.2)]).unwrap();
        Changes::new(batch, Some(Int64Array::from_iter_values(rows.iter().map(|row| row.3))))
    }

    fn table(key: Option<Vec<usize>>, rows: &[(i64, i64, i64, i64)]) -> Relation {
        let rows = changes(rows);
        let table = Relation::new(rows.schema(), key, false, 1);
        table.apply(0, 1, &rows).unwrap();
        table
    }

    fn shown(table: &Relation, sunk: &Sunk) -> Vec<(i64, i64, i64)> {
        table.apply(0, 2, &sunk.changes).unwrap();
        let snapshot = table.snapshot(NEWEST);
        let mut rows: Vec<(i64, i64, i64)> = Vec::new();
        for chunk in 0..snapshot.chunks() {
            let batch = snapshot.batch(chunk, None);
            let value = |column: usize, row: usize| batch.column(column).as_any().downcast_ref::<Int64Array>().unwrap().value(row);
            rows.extend((0..batch.num_rows()).map(|row| (value(0, row), value(1, row), value(2, row))));
        }
        rows.sort_unstable();
        rows
    }

    #[test]
    fn only_what_the_sink_put_there_is_taken_back() {
        // The sink fills id and a; in row 2 somebody has changed b, in row 3 a.
        let there = table(Some(vec![0]), &[(1, 10, 0, 1), (2, 20, 7, 1), (3, 31, 0, 1)]);
        let taken_back = changes(&[(1, 10, 0, -1), (2, 20, 0, -1), (3, 30, 0, -1), (4, 40, 0, -1)]);
        let sunk = there.resolve_sunk(&taken_back, &[0, 1], OnConflict::Overwrite).unwrap();
        assert_eq!(shown(&there, &sunk), [(3, 31, 0)]);
    }

    #[test]
    fn what_goes_makes_room_for_what_comes() {
        for conflict in [OnConflict::Overwrite, OnConflict::DoNothing, OnConflict::Error] {
            let there = table(Some(vec![0]), &[(1, 10, 0, 1), (2, 99, 0, 1)]);
            let both = changes(&[(1, 11, 0, 1), (1, 10, 0, -1), (2, 20, 0, 1)]);
            let sunk = there.resolve_sunk(&both, &[0, 1, 2], conflict).unwrap();
            let (second, refused) = match conflict {
                OnConflict::Overwrite => (20, 0),
                OnConflict::DoNothing => (99, 0),
                OnConflict::Error => (99, 1),
            };
            assert_eq!((shown(&there, &sunk), sunk.refused.num_rows()), (vec![(1, 11, 0), (2, second, 0)], refused));
        }
    }

    #[test]
    fn the_order_of_rows_with_one_key_decided_which_stays() {
        for rows in [[(1, 5, 0, 1), (1, 6, 0, 1), (1, 4, 0, 1)], [(1, 6, 0, 1), (1, 4, 0, 1), (1, 5, 0, 1)]] {
            let sink = |conflict| {
                let empty = table(Some(vec![0]), &[]);
                let sunk = empty.resolve_sunk(&changes(&rows), &[0, 1, 2], conflict).unwrap();
                (shown(&empty, &sunk), sunk.refused.num_rows())
            };
            assert_eq!(sink(OnConflict::Overwrite), (vec![(1, 6, 0)], 0));
            assert_eq!(sink(OnConflict::DoNothing), (vec![(1, 4, 0)], 0));
            assert_eq!(sink(OnConflict::Error), (vec![(1, 4, 0)], 2));
        }
    }

    #[test]
    fn without_a_key_as_many_rows_go_as_are_there() {
        let there = table(None, &[(1, 0, 0, 2), (2, 0, 0, 1)]);
        let sunk = there
            .resolve_sunk(&changes(&[(1, 0, 0, -3), (2, 0, 0, -1), (2, 0, 0, 2), (3, 0, 0, -1)]), &[0], OnConflict::Overwrite)
            .unwrap();
        assert_eq!(shown(&there, &sunk), [(2, 0, 0), (2, 0, 0)]);
    }
}

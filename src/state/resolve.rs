//! What writing rows changes in a table with a key: looks up what is there and says what goes and what comes. Applies nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::util::display::array_value_to_string;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::relation::Relation;
use super::segment::{Segment, gather};
use super::shard::chosen;
use super::snapshot::batch_of;
use crate::error::{Error, Kind, Result};
use crate::types::{Changes, OnConflict, Running, hash_rows, rows_equal};

/// Rows that are looked up between two looks at whether somebody still waits, and under one lock: some milliseconds.
pub(super) const PIECE_ROWS: usize = 4_096;

/// What writing rows changes.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Retractions of rows that are replaced, and insertions.
    pub changes: Changes,
    /// Rows that the statement wrote, as its command tag counts them.
    pub affected: usize,
}

impl Relation {
    /// What writing `rows` changes in the newest state, epochs that are not complete included. Without a key every row is simply inserted. With
    /// one (NULL in it does not occur), for a key that is there, or twice in `rows`:
    ///
    /// - `Overwrite`: the old row goes and the (last) new one comes; nothing changes if they are equal. Every row counts as affected.
    /// - `DoNothing`: the old (or first) row stays. Only rows inserted count.
    /// - `Error`: `23505`.
    ///
    /// Only for relations of one shard: tables.
    pub fn resolve(&self, rows: &RecordBatch, conflict: OnConflict, table_name: &str) -> Result<Resolved> {
        self.resolve_while(&Running::default(), rows, conflict, table_name)
    }

    /// As `resolve`, in pieces: it ends soon after nobody waits for it any more, and holds up neither writers nor other readers for long. Nobody
    /// writes meanwhile.
    pub fn resolve_while(&self, running: &Running, rows: &RecordBatch, conflict: OnConflict, table_name: &str) -> Result<Resolved> {
        self.check(rows.columns())?;
        let Some(key) = self.key() else {
            return Ok(Resolved { changes: Changes::insertions(rows.clone()), affected: rows.num_rows() });
        };
        let keys = chosen(rows.columns(), key);
        let hashes = hash_rows(&keys, rows.num_rows());
        let duplicate = |row: usize| Err(self.violation(table_name, rows, &keys, row));
        let incoming = match distinct(&keys, &hashes, conflict == OnConflict::Overwrite, running)? {
            Distinct { repeated: Some(row), .. } if conflict == OnConflict::Error => return duplicate(row),
            Distinct { rows, .. } => rows,
        };
        let mut old = Replaced::default();
        let mut insert: Vec<u32> = Vec::with_capacity(incoming.len());
        for piece in incoming.chunks(PIECE_ROWS) {
            running.check()?;
            let shard = self.shards[0].read();
            for row in piece {
                let at = *row as usize;
                match (shard.find_live(&keys, at, hashes[at]), conflict) {
                    (None, _) => insert.push(*row),
                    (Some(_), OnConflict::DoNothing) => {}
                    (Some(_), OnConflict::Error) => return duplicate(at),
                    (Some((segment, place)), OnConflict::Overwrite) => {
                        if !rows_equal(segment.columns(), place, rows.columns(), at) {
                            old.push(segment, place);
                            insert.push(*row);
                        }
                    }
                }
            }
        }
        let affected = if conflict == OnConflict::DoNothing { insert.len() } else { rows.num_rows() };
        Ok(Resolved { changes: self.replacement(rows, &old, insert)?, affected })
    }

    /// The old rows as retractions, then the new ones.
    pub(super) fn replacement(&self, rows: &RecordBatch, old: &Replaced, insert: Vec<u32>) -> Result<Changes> {
        let inserted = if insert.len() == rows.num_rows() && insert.is_sorted() {
            rows.columns().to_vec()
        } else {
            let indices = UInt32Array::from_iter_values(insert.iter().copied());
            rows.columns().iter().map(|column| Ok(take(column.as_ref(), &indices, None)?)).collect::<Result<Vec<ArrayRef>>>()?
        };
        if old.picks.is_empty() {
            return Ok(Changes::insertions(batch_of(self.schema(), inserted, insert.len())));
        }
        let columns = gather(&old.segments, &old.picks)?
            .iter()
            .zip(&inserted)
            .map(|(old, new)| {
                let parts: [&dyn Array; 2] = [old.as_ref(), new.as_ref()];
                Ok(concat(&parts)?)
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let retracted = old.picks.len();
        let weights = Int64Array::from_iter_values((0..retracted + insert.len()).map(|row| if row < retracted { -1 } else { 1 }));
        Ok(Changes::new(batch_of(self.schema(), columns, retracted + insert.len()), Some(weights)))
    }

    fn violation(&self, table_name: &str, rows: &RecordBatch, keys: &[ArrayRef], row: usize) -> Error {
        // The rows know how the columns are called by now.
        let schema = rows.schema();
        let names: Vec<&str> = self.key().unwrap_or_default().iter().map(|column| schema.field(*column).name().as_str()).collect();
        let values: Vec<String> = keys.iter().map(|keys| array_value_to_string(keys.as_ref(), row).unwrap_or_default()).collect();
        Error::new(Kind::UniqueViolation, format!("duplicate key value violates unique constraint \"{table_name}_pkey\"")).detail(format!(
            "Key ({})=({}) already exists.",
            names.join(", "),
            values.join(", ")
        ))
    }
}

/// Stored rows that are to go.
#[derive(Default)]
pub(super) struct Replaced {
    segments: Vec<Arc<Segment>>,
    picks: Vec<(usize, usize)>,
}

impl Replaced {
    pub(super) fn push(&mut self, segment: &Arc<Segment>, place: usize) {
        let known = self.segments.iter().rposition(|known| Arc::ptr_eq(known, segment));
        let at = known.unwrap_or_else(|| {
            self.segments.push(Arc::clone(segment));
            self.segments.len() - 1
        });
        self.picks.push((at, place));
    }
}

/// One row per key of a batch.
struct Distinct {
    /// In the order in which the keys first stand in the batch.
    rows: Vec<u32>,
    /// The first row whose key stood in the batch before.
    repeated: Option<usize>,
}

/// Takes of rows with the same key the last or the first.
fn distinct(keys: &[ArrayRef], hashes: &[u64], last: bool, running: &Running) -> Result<Distinct> {
    let mut rows: Vec<u32> = Vec::with_capacity(hashes.len());
    let mut repeated = None;
    let mut table: HashTable<u32> = HashTable::with_capacity(hashes.len());
    for (row, hash) in hashes.iter().enumerate() {
        if row % PIECE_ROWS == 0 {
            running.check()?;
        }
        let same = |slot: &u32| {
            let other = rows[*slot as usize] as usize;
            hashes[other] == *hash && rows_equal(keys, other, keys, row)
        };
        match table.entry(*hash, same, |slot| hashes[rows[*slot as usize] as usize]) {
            Entry::Occupied(entry) => {
                repeated.get_or_insert(row);
                if last {
                    rows[*entry.get() as usize] = row as u32;
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(rows.len() as u32);
                rows.push(row as u32);
            }
        }
    }
    Ok(Distinct { rows, repeated })
}

#[cfg(test)]
mod tests {
    use super::Relation;
    use crate::error::Kind;
    use crate::types::OnConflict;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn rows(ids: &[i64], values: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("v", DataType::Int64, true)]);
        let column = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
        RecordBatch::try_new(Arc::new(schema), vec![column(ids), column(values)]).unwrap()
    }

    #[test]
    fn a_conflict_is_resolved_as_asked() {
        let table = Relation::new(rows(&[], &[]).schema(), Some(vec![0]), false, 1);
        let first = table.resolve(&rows(&[1, 2, 1], &[10, 20, 11]), OnConflict::Overwrite, "t").unwrap();
        assert_eq!((first.changes.len(), first.affected), (2, 3));
        table.apply(0, 1, &first.changes).unwrap();

        let again = table.resolve(&rows(&[1, 2], &[11, 21]), OnConflict::Overwrite, "t").unwrap();
        assert_eq!(again.changes.dense_weights().values(), &[-1, 1], "an equal row changes nothing");
        assert_eq!(again.changes.rows(), &rows(&[2, 2], &[20, 21]));

        let new = table.resolve(&rows(&[2, 3, 3], &[0, 30, 31]), OnConflict::DoNothing, "t").unwrap();
        assert_eq!((new.changes.rows(), new.affected), (&rows(&[3], &[30]), 1));

        let error = table.resolve(&rows(&[3, 2], &[0, 0]), OnConflict::Error, "t").unwrap_err();
        assert_eq!(error.kind(), Kind::UniqueViolation);
        assert_eq!(error.message(), "duplicate key value violates unique constraint \"t_pkey\"");
        assert_eq!(error.detail_text(), Some("Key (id)=(2) already exists."));
    }
}

//! Gives every row once for each time window it falls into.
//!
//! In: any changes, with a column of times in microseconds. Out: the same weights; all columns, then `window_start` and `window_end`.
//! Holds: of a batch how far it has been given out, since a row may be in thousands of windows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::is_not_null;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};

use super::output::OutputSchema;
use super::rows::{PART_BYTES, PART_ROWS};
use super::{Stateless, Work};
use crate::error::{Error, Result};
use crate::types::{Changes, TimeWindows, WindowsOf};

/// TUMBLE, HOP and CUMULATE.
pub struct Hop {
    time: usize,
    windows: TimeWindows,
    output: OutputSchema,
    given: Option<Given>,
}

/// A batch that is being given out.
struct Given {
    changes: Changes,
    times: ScalarBuffer<i64>,
    /// The next row, and those of its windows that are still to come.
    row: usize,
    windows: WindowsOf,
    /// Rows that go out at once.
    batch_rows: usize,
}

impl Hop {
    /// `time`: position of the column.
    pub fn new(time: usize, windows: TimeWindows, output: SchemaRef) -> Self {
        Hop { time, windows, output: OutputSchema::new(output), given: None }
    }

    /// One window per row: no row is copied.
    fn tumble(&self, changes: Changes, size_us: i64, output: &mut Vec<Changes>) -> Result<()> {
        let times = micros(changes.column(self.time))?;
        let starts = times.iter().map(|time| self.windows.start(*time)).collect::<Vec<_>>();
        let ends = starts.iter().map(|start| start.saturating_add(size_us)).collect();
        output.push(self.windowed(changes, starts, ends)?);
        Ok(())
    }

    /// Begins to give out a batch.
    fn hop(&mut self, changes: Changes) -> Result<()> {
        let times = micros(changes.column(self.time))?;
        let row_bytes = changes.payload_bytes() / changes.len();
        let batch_rows = PART_ROWS.min(PART_BYTES / row_bytes.max(1)).max(1);
        let windows = self.windows.of(times[0]);
        self.given = Some(Given { changes, times, row: 0, windows, batch_rows });
        Ok(())
    }

    /// The next rows of the batch that is being given out, with their starts and ends; none at its end.
    fn next_rows(&self, given: &mut Given) -> (Vec<u32>, Vec<i64>, Vec<i64>) {
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        while given.row < given.times.len() && rows.len() < given.batch_rows {
            if let Some((start, end)) = given.windows.next() {
                rows.push(given.row as u32);
                starts.push(start);
                ends.push(end);
            } else {
                given.row += 1;
                given.windows = given.times.get(given.row).map_or(WindowsOf::NONE, |time| self.windows.of(*time));
            }
        }
        (rows, starts, ends)
    }

    /// `changes` with the two columns at the end.
    fn windowed(&self, changes: Changes, starts: Vec<i64>, ends: Vec<i64>) -> Result<Changes> {
        let (rows, weights) = changes.into_parts();
        let mut columns = rows.columns().to_vec();
        for (values, position) in [(starts, columns.len()), (ends, columns.len() + 1)] {
            let column_type = self.output.promised().field(position).data_type();
            columns.push(timestamps(values, column_type));
        }
        self.output.changes(columns, rows.num_rows(), weights)
    }
}

impl Stateless for Hop {
    fn apply(&mut self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let times = changes.column(self.time);
        let timed = if times.null_count() == 0 { changes } else { changes.filter(&is_not_null(times)?) };
        if timed.is_empty() {
            return Ok(());
        }
        match self.windows {
            TimeWindows::Hop { slide_us, size_us, .. } if slide_us == size_us => self.tumble(timed, size_us, output),
            _ => self.hop(timed),
        }
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        let Some(mut given) = self.given.take() else { return Ok(Work::Done) };
        let (rows, starts, ends) = self.next_rows(&mut given);
        if !rows.is_empty() {
            output.push(self.windowed(given.changes.take(&UInt32Array::from(rows)), starts, ends)?);
        }
        if given.row == given.times.len() {
            return Ok(Work::Done);
        }
        self.given = Some(given);
        Ok(Work::Left)
    }
}

/// The microseconds of a column of times without NULLs.
fn micros(times: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    let times = times
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal(format!("the time column of a window is {}", times.data_type())))?;
    Ok(times.values().clone())
}

/// Times as a column of a type.
pub(super) fn timestamps(values: Vec<i64>, column_type: &DataType) -> ArrayRef {
    let values = TimestampMicrosecondArray::from(values);
    match column_type {
        DataType::Timestamp(_, zone) => Arc::new(values.with_timezone_opt(zone.clone())),
        _ => Arc::new(values),
    }
}

#[cfg(test)]
mod tests {
    use super::{Hop, PART_ROWS};
    use crate::dataflow::operator::{Stateless, Work};
    use crate::types::{Changes, TimeWindows};
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
    use std::sync::Arc;

    /// (row, window_start, window_end, weight), sorted.
    fn windows(times: Vec<Option<i64>>, windows: TimeWindows) -> Vec<(i64, i64, i64, i64)> {
        let time_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let time = |name: &str| Field::new(name, time_type.clone(), true);
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), time("t"), time("window_start"), time("window_end")]);
        let ids = Int64Array::from_iter_values(0..times.len() as i64);
        let weights = Int64Array::from_iter_values((0..times.len() as i64).map(|id| id + 1));
        let columns: Vec<(&str, ArrayRef)> =
            vec![("id", Arc::new(ids)), ("t", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")))];
        let mut output = Vec::new();
        let changes = Changes::new(RecordBatch::try_from_iter(columns).unwrap(), Some(weights));
        let mut hop = Hop::new(1, windows, Arc::new(schema));
        hop.apply(changes, &mut output).unwrap();
        while hop.resume(&mut output).unwrap() == Work::Left {}
        assert!(output.iter().all(|batch| !batch.is_empty() && batch.len() <= PART_ROWS));
        let mut found = Vec::new();
        for batch in &output {
            for row in 0..batch.len() {
                let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row);
                found.push((batch.column(0).as_primitive::<Int64Type>().value(row), time(2), time(3), batch.weight(row)));
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn tumbling_windows_floor_negative_times() {
        let expected = [(0, -10, 0, 1), (1, -10, 0, 2), (3, 0, 10, 4), (4, 10, 20, 5)];
        assert_eq!(windows(vec![Some(-1), Some(-10), None, Some(0), Some(10)], TimeWindows::hop(10, 10, 0)), expected);
    }

    #[test]
    fn a_row_is_in_every_window_that_covers_it() {
        let expected = [(0, -5, 5, 1), (0, 0, 10, 1), (1, 0, 10, 2), (1, 5, 15, 2), (2, -15, -5, 3), (2, -10, 0, 3)];
        assert_eq!(windows(vec![Some(3), Some(5), Some(-6)], TimeWindows::hop(5, 10, 0)), expected);
    }

    #[test]
    fn a_slide_longer_than_the_size_leaves_gaps() {
        assert_eq!(windows(vec![Some(1), Some(7), Some(-9)], TimeWindows::hop(10, 5, 0)), [(0, 0, 5, 1), (2, -10, -5, 3)]);
    }

    #[test]
    fn many_windows_come_in_several_batches() {
        assert_eq!(windows(vec![Some(0), Some(5)], TimeWindows::hop(1, 40_000, 0)).len(), 80_000);
    }

    #[test]
    fn cumulating_windows_end_one_after_the_other() {
        let expected = [(0, 0, 10, 1), (1, 0, 5, 2), (1, 0, 10, 2), (2, -10, 0, 3)];
        assert_eq!(windows(vec![Some(5), Some(4), Some(-1)], TimeWindows::cumulate(5, 10, 0)), expected);
    }
}

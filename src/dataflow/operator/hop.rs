//! Gives every row once for each time window it falls into.
//!
//! In: any changes, with a column of times in microseconds. Out: the same weights; all columns, then `window_start` and `window_end`.
//! Holds: of a batch how far it has been given out, since a row may be in thousands of windows. Windows start at multiples of the slide, counted from the Unix epoch: as `date_bin` with that origin.
//!
//! ```text
//! size 10, slide 5:      [-5 ........ 5)
//!                              [0 ........ 10)        time 3 is in two windows,
//!                                    [5 ........ 15)  time 7 in two others
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::is_not_null;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};

use super::output::OutputSchema;
use super::rows::{PART_BYTES, PART_ROWS};
use super::{Stateless, Work};
use crate::error::{Error, Kind, Result};
use crate::types::Changes;

/// HOP, and TUMBLE if the slide is the size.
pub struct Hop {
    time: usize,
    slide_us: i64,
    size_us: i64,
    output: OutputSchema,
    given: Option<Given>,
}

/// A batch that is being given out.
struct Given {
    changes: Changes,
    times: ScalarBuffer<i64>,
    /// The next row, and the start of its next window.
    row: usize,
    start: i64,
    /// Rows that go out at once.
    batch_rows: usize,
}

impl Hop {
    /// `time`: position of the column. `slide_us` and `size_us` are positive microseconds.
    pub fn new(time: usize, slide_us: i64, size_us: i64, output: SchemaRef) -> Result<Self> {
        if slide_us <= 0 || size_us <= 0 {
            return Err(Error::new(Kind::InvalidParameter, "the slide and the size of a window must be positive"));
        }
        Ok(Hop { time, slide_us, size_us, output: OutputSchema::new(output), given: None })
    }

    /// One window per row: no row is copied.
    fn tumble(&self, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let times = micros(changes.column(self.time))?;
        let starts = times.iter().map(|time| self.last_start(*time)).collect::<Vec<_>>();
        output.push(self.windowed(changes, starts)?);
        Ok(())
    }

    /// Begins to give out a batch.
    fn hop(&mut self, changes: Changes) -> Result<()> {
        let times = micros(changes.column(self.time))?;
        let row_bytes = changes.payload_bytes() / changes.len();
        let batch_rows = PART_ROWS.min(PART_BYTES / row_bytes.max(1)).max(1);
        let start = self.last_start(times[0]);
        self.given = Some(Given { changes, times, row: 0, start, batch_rows });
        Ok(())
    }

    /// The next rows of the batch that is being given out; none at its end.
    fn next_rows(&self, given: &mut Given) -> (Vec<u32>, Vec<i64>) {
        let (mut rows, mut starts) = (Vec::new(), Vec::new());
        while given.row < given.times.len() && rows.len() < given.batch_rows {
            let time = given.times[given.row];
            let inside = time.saturating_sub(given.start) < self.size_us;
            if inside {
                rows.push(given.row as u32);
                starts.push(given.start);
            }
            match given.start.checked_sub(self.slide_us).filter(|_| inside) {
                Some(earlier) => given.start = earlier,
                None => {
                    given.row += 1;
                    given.start = given.times.get(given.row).map_or(0, |time| self.last_start(*time));
                }
            }
        }
        (rows, starts)
    }

    /// The greatest multiple of the slide that is not after `time`.
    fn last_start(&self, time: i64) -> i64 {
        time.saturating_sub(time.rem_euclid(self.slide_us))
    }

    /// `changes` with the two columns at the end.
    fn windowed(&self, changes: Changes, starts: Vec<i64>) -> Result<Changes> {
        let (rows, weights) = changes.into_parts();
        let ends = starts.iter().map(|start| start.saturating_add(self.size_us)).collect::<Vec<_>>();
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
        if self.slide_us == self.size_us { self.tumble(timed, output) } else { self.hop(timed) }
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        let Some(mut given) = self.given.take() else { return Ok(Work::Done) };
        let (rows, starts) = self.next_rows(&mut given);
        if !rows.is_empty() {
            output.push(self.windowed(given.changes.take(&UInt32Array::from(rows)), starts)?);
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

fn timestamps(values: Vec<i64>, column_type: &DataType) -> ArrayRef {
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
    use crate::types::Changes;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
    use std::sync::Arc;

    /// (row, window_start, window_end, weight), sorted.
    fn windows(times: Vec<Option<i64>>, slide_us: i64, size_us: i64) -> Vec<(i64, i64, i64, i64)> {
        let time_type = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let time = |name: &str| Field::new(name, time_type.clone(), true);
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), time("t"), time("window_start"), time("window_end")]);
        let ids = Int64Array::from_iter_values(0..times.len() as i64);
        let weights = Int64Array::from_iter_values((0..times.len() as i64).map(|id| id + 1));
        let columns: Vec<(&str, ArrayRef)> =
            vec![("id", Arc::new(ids)), ("t", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")))];
        let mut output = Vec::new();
        let changes = Changes::new(RecordBatch::try_from_iter(columns).unwrap(), Some(weights));
        let mut hop = Hop::new(1, slide_us, size_us, Arc::new(schema)).unwrap();
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
        assert_eq!(windows(vec![Some(-1), Some(-10), None, Some(0), Some(10)], 10, 10), expected);
    }

    #[test]
    fn a_row_is_in_every_window_that_covers_it() {
        let expected = [(0, -5, 5, 1), (0, 0, 10, 1), (1, 0, 10, 2), (1, 5, 15, 2), (2, -15, -5, 3), (2, -10, 0, 3)];
        assert_eq!(windows(vec![Some(3), Some(5), Some(-6)], 5, 10), expected);
    }

    #[test]
    fn a_slide_longer_than_the_size_leaves_gaps() {
        assert_eq!(windows(vec![Some(1), Some(7), Some(-9)], 10, 5), [(0, 0, 5, 1), (2, -10, -5, 3)]);
    }

    #[test]
    fn many_windows_come_in_several_batches() {
        assert_eq!(windows(vec![Some(0), Some(5)], 1, 40_000).len(), 80_000);
    }
}

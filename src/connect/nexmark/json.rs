//! Nexmark events as lines of JSON, for files and topics that other systems read as well.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use chrono::DateTime;

use super::column::Field;
use super::event::{ROUND, Sequence};
use super::{BASE_TIME_MILLIS, GAP_NANOS, Table};

/// Events that are rendered together: enough to amortise the column buffers, few enough to stay in cache.
const EVENTS_PER_PASS: u64 = 5_000;

/// Which lines: a table and the sequence's parameters, with the source's defaults.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Only this table's events; `None`: all, each line with an `event_type`.
    pub table: Option<Table>,
    /// As `nexmark.event.seed`.
    pub seed: u64,
    /// As `nexmark.base.time.ms`.
    pub base_time_millis: i64,
    /// As `nexmark.event.gap.ns`.
    pub gap_nanos: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Lines { table: None, seed: 0, base_time_millis: BASE_TIME_MILLIS, gap_nanos: GAP_NANOS }
    }
}

/// Appends one line to `out` for each event in `events` that `lines` asks for, in the sequence's order; the same values that the sources
/// deliver. Callers go through a long sequence in ranges, writing `out` to its destination in between.
pub fn json_lines(lines: &Lines, events: Range<u64>, out: &mut Vec<u8>) {
    let sequence = Sequence::new(lines.seed, lines.base_time_millis.saturating_mul(1_000), lines.gap_nanos);
    let mut clock = ClockText::default();
    let mut start = events.start;
    while start < events.end {
        let end = events.end.min(start.saturating_add(EVENTS_PER_PASS));
        let parts = Table::ALL.map(|table| TablePart::new(&sequence, table, start..end, lines.table));
        let mut rows = [0_usize; 3];
        for event in start..end {
            let table = Table::of_slot(event % ROUND) as usize;
            if let Some(part) = &parts[table] {
                part.line(rows[table], lines.table.is_none(), &mut clock, out);
                rows[table] += 1;
            }
        }
        start = end;
    }
}

/// The columns of one table's events in a range.
struct TablePart {
    table: Table,
    columns: Vec<(&'static str, ArrayRef)>,
}

impl TablePart {
    /// `None` if only another table is `wanted`.
    fn new(sequence: &Sequence, table: Table, events: Range<u64>, wanted: Option<Table>) -> Option<Self> {
        if wanted.is_some_and(|wanted| wanted != table) {
            return None;
        }
        let own: Vec<u64> = events.filter(|event| Table::of_slot(event % ROUND) == table).collect();
        let values = |&(name, field): &(&'static str, Field)| (name, field.values(sequence, &own));
        Some(TablePart { table, columns: table.fields().iter().map(values).collect() })
    }

    fn line(&self, row: usize, with_type: bool, clock: &mut ClockText, out: &mut Vec<u8>) {
        let mut separator = b'{';
        if with_type {
            out.extend_from_slice(b"{\"event_type\":\"");
            out.extend_from_slice(self.table.name().as_bytes());
            out.push(b'"');
            separator = b',';
        }
        for (name, values) in &self.columns {
            out.push(separator);
            separator = b',';
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            value(values, row, clock, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// One value. The generator's texts hold nothing that JSON escapes.
fn value(values: &ArrayRef, row: usize, clock: &mut ClockText, out: &mut Vec<u8>) {
    match values.data_type() {
        DataType::Int64 => out.extend_from_slice(values.as_primitive::<Int64Type>().value(row).to_string().as_bytes()),
        DataType::Utf8 => {
            out.push(b'"');
            out.extend_from_slice(values.as_string::<i32>().value(row).as_bytes());
            out.push(b'"');
        }
        _ => {
            out.push(b'"');
            clock.write(values.as_primitive::<TimestampMicrosecondType>().value(row), out);
            out.push(b'"');
        }
    }
}

/// Timestamps as text; the part up to the second is kept, since thousands of events share it.
#[derive(Default)]
struct ClockText {
    second: Option<i64>,
    text: String,
}

impl ClockText {
    fn write(&mut self, micros: i64, out: &mut Vec<u8>) {
        let second = micros.div_euclid(1_000_000);
        if self.second != Some(second) {
            self.second = Some(second);
            let time = DateTime::from_timestamp(second, 0).unwrap_or_default();
            self.text = time.format("%Y-%m-%d %H:%M:%S").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut digits = *b".000000";
        let mut fraction = micros.rem_euclid(1_000_000);
        for digit in digits[1..].iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

//! Rows as JSON, a line each: how a row is shown to a person who has lost it.

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;

/// Each row as a JSON object, cut to `bytes_max` bytes. None at all if a type has no form in JSON.
pub fn json_lines(rows: &RecordBatch, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    let written = writer.write(rows).and_then(|()| writer.finish());
    drop(writer);
    if written.is_err() {
        return Vec::new();
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| line[..line.len().min(bytes_max)].to_vec()).collect()
}

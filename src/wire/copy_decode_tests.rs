//! COPY data in all its forms, cut in all places.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Schema};

use super::CopyDecoder;
use crate::error::{Error, Kind};
use crate::types::{CopyFormat, CopyKind, SqlType};

fn text_format() -> CopyFormat {
    CopyFormat { kind: CopyKind::Text, delimiter: b'\t', null: "\\N".into(), header: false, quote: b'"', escape: b'"' }
}

fn csv_format() -> CopyFormat {
    CopyFormat { kind: CopyKind::Csv, delimiter: b',', null: String::new(), ..text_format() }
}

/// What a line of the tests holds.
type Line = (Option<i32>, Option<String>);

fn decode(format: &CopyFormat, data: &[u8], piece: usize) -> Result<Vec<Line>, Error> {
    let schema = Arc::new(Schema::new(vec![SqlType::Int4.field("n", false), SqlType::Text.field("t", true)]));
    let mut decoder = CopyDecoder::new(&schema, format.clone(), chrono_tz::Tz::UTC);
    let mut ready = Vec::new();
    for piece in data.chunks(piece) {
        decoder.feed(piece, &mut ready)?;
    }
    decoder.finish(&mut ready)?;
    Ok(ready.iter().flat_map(rows).collect())
}

fn rows(batch: &RecordBatch) -> Vec<(Option<i32>, Option<String>)> {
    let (numbers, texts) = (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_string::<i32>());
    let number = |row| (!numbers.is_null(row)).then(|| numbers.value(row));
    let text = |row| (!texts.is_null(row)).then(|| texts.value(row).to_owned());
    (0..batch.num_rows()).map(|row| (number(row), text(row))).collect()
}

#[test]
fn text_lines_may_be_cut_anywhere() {
    let data = b"1\ta\\tb\\\\\n\\N\t\\N\r\n3\t\n4\t\\x41\\102\\\nz\n\\.\nignored";
    for piece in 1..data.len() {
        let rows = decode(&text_format(), data, piece).unwrap();
        let expected = [(Some(1), Some("a\tb\\")), (None, None), (Some(3), Some("")), (Some(4), Some("AB\nz"))];
        assert_eq!(rows, expected.map(|(number, text)| (number, text.map(str::to_owned))), "in pieces of {piece}");
    }
}

#[test]
fn csv_records_may_be_cut_anywhere() {
    let data = b"n,t\r\n1,\"a,\"\"b\"\"\nc\"\r\n,\n3,\"\"\n4,x";
    let format = CopyFormat { header: true, ..csv_format() };
    for piece in 1..data.len() {
        let rows = decode(&format, data, piece).unwrap();
        let expected = [(Some(1), Some("a,\"b\"\nc")), (None, None), (Some(3), Some("")), (Some(4), Some("x"))];
        assert_eq!(rows, expected.map(|(number, text)| (number, text.map(str::to_owned))), "in pieces of {piece}");
    }
    let escaped = CopyFormat { escape: b'\\', ..csv_format() };
    for piece in 1..12 {
        assert_eq!(decode(&escaped, b"1,\"a\\\"\n\\\\\"\n", piece).unwrap(), [(Some(1), Some("a\"\n\\".to_owned()))]);
    }
}

#[test]
fn binary_tuples_may_be_cut_anywhere() {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    data.extend_from_slice(b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x02hi\0\x02\xff\xff\xff\xff\0\0\0\0\xff\xff");
    let format = CopyFormat { kind: CopyKind::Binary, ..text_format() };
    for piece in 1..data.len() {
        assert_eq!(decode(&format, &data, piece).unwrap(), [(Some(7), Some("hi".to_owned())), (None, Some(String::new()))]);
    }
    assert_eq!(decode(&format, &data[..data.len() - 2], 8).unwrap().len(), 2, "without its trailer");
    assert_eq!(decode(&format, &data[..40], 8).unwrap_err().kind(), Kind::BadCopyFormat);
    assert_eq!(decode(&format, b"PGCOPX", 8).unwrap_err().kind(), Kind::BadCopyFormat);
}

#[test]
fn an_error_names_its_line() {
    let error = decode(&text_format(), b"1\ta\n2\n", 100).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::BadCopyFormat, "missing data for column \"t\""));
    assert_eq!(error.detail_text(), Some("COPY line 2"));
    let error = decode(&csv_format(), b"1,a\n\n", 100).unwrap_err();
    assert_eq!(error.message(), "missing data for column \"t\"");
    let error = decode(&csv_format(), b"1,a,b\n", 100).unwrap_err();
    assert_eq!(error.message(), "extra data after last expected column");
    let error = decode(&csv_format(), b"1,\"a\n", 100).unwrap_err();
    assert_eq!(error.message(), "unterminated CSV quoted field");
    let error = decode(&text_format(), b"1\ta\nx\tb\n", 100).unwrap_err();
    assert_eq!(error.detail_text(), Some("COPY line 2, column \"n\": \"x\""));
    let error = decode(&text_format(), b"1\t\xff\n", 100).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidEncoding);
}

#[test]
fn many_rows_come_in_several_batches() {
    let data = "1\ta\n".repeat(20_000);
    assert_eq!(decode(&text_format(), data.as_bytes(), 1_000).unwrap().len(), 20_000);
}

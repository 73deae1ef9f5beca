//! Rows of every type, sequences and their end, and the same rows whatever the batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::connect;
use crate::connect::{Connector, Fingerprints, Poll, Positions, SourceColumn, SourceSpec};
use crate::error::{Kind, Result};
use crate::types::SqlType;

fn source(columns: &[(&str, SqlType)], options: &[(&str, &str)]) -> Result<Arc<dyn Connector>> {
    let columns = columns.iter().map(|(name, sql_type)| SourceColumn {
        name: (*name).to_owned(),
        sql_type: sql_type.clone(),
        not_null: false,
        default: None,
        include: None,
    });
    connect(SourceSpec {
        columns: columns.collect(),
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        format: "PLAIN".into(),
        encode: "JSON".into(),
        encode_options: BTreeMap::new(),
    })
}

fn read(connector: &dyn Connector, from: &Positions, until: Option<&Positions>) -> RecordBatch {
    let mut reader = connector.start(from, until).expect("positions that exist");
    let mut batches = Vec::new();
    loop {
        match reader.poll(Duration::from_millis(10)) {
            Poll::Batch(batch) => batches.push(batch.changes.rows().clone()),
            Poll::End => break,
            Poll::Pending => {}
            Poll::Degraded(why) | Poll::Failed(why) => panic!("{why}"),
            Poll::Started(_) => panic!("it begins at 0"),
        }
    }
    concat_batches(&batches[0].schema(), &batches).expect("one schema")
}

fn every_type() -> Vec<(&'static str, SqlType)> {
    vec![
        ("a", SqlType::Bool),
        ("b", SqlType::Int2),
        ("c", SqlType::Int4),
        ("d", SqlType::Int8),
        ("e", SqlType::Float4),
        ("f", SqlType::Float8),
        ("g", SqlType::Numeric(12, 2)),
        ("h", SqlType::Numeric(50, 4)),
        ("i", SqlType::Text),
        ("j", SqlType::Varchar(Some(4))),
        ("k", SqlType::Char(3)),
        ("l", SqlType::Bytea),
        ("m", SqlType::Date),
        ("n", SqlType::Time),
        ("o", SqlType::Timestamp),
        ("p", SqlType::Timestamptz),
        ("q", SqlType::Interval),
        ("r", SqlType::Uuid),
        ("s", SqlType::Jsonb),
        ("t", SqlType::Array(Box::new(SqlType::Int8))),
        ("u", SqlType::Struct(vec![("x".into(), SqlType::Int4), ("y".into(), SqlType::Text)])),
    ]
}

#[test]
fn every_type_has_values_and_they_do_not_depend_on_the_batches() {
    let connector = source(&every_type(), &[("datagen.rows", "100000")]).expect("every type");
    let until = Positions::from([(0, 40_000)]);
    let whole = read(connector.as_ref(), &Positions::new(), Some(&until));
    assert_eq!(whole.num_rows(), 40_000);
    assert!(whole.columns().iter().all(|column| column.null_count() == 0));
    let tail = read(connector.as_ref(), &Positions::from([(0, 12_345)]), Some(&until));
    assert_eq!(tail, whole.slice(12_345, 40_000 - 12_345));
}

#[test]
fn the_source_ends_with_its_shortest_sequence() {
    let columns = [("id", SqlType::Int8), ("at", SqlType::Timestamp)];
    let options = [
        ("datagen.rows.per.second", "1000000"),
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "5"),
        ("fields.id.end", "9"),
        ("fields.at.start", "2020-01-01 00:00:00"),
        ("fields.at.step", "10 seconds"),
    ];
    let connector = source(&columns, &options).expect("valid options");
    let rows = read(connector.as_ref(), &Positions::new(), None);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values().to_vec(), [5, 6, 7, 8, 9]);
    let times = rows.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(1) - times.value(0), 10_000_000);
    assert_eq!(times.value(0), 1_577_836_800_000_000);
}

#[test]
fn what_came_once_comes_again_without_waiting() {
    let connector = source(&[("id", SqlType::Int8)], &[("datagen.rows.per.second", "0.001")]).expect("valid options");
    let (from, read) = (Positions::from([(0, 3)]), Positions::from([(0, 20)]));
    let mut reader = connector.start_again(&from, &read, &Fingerprints::new()).expect("positions that exist");
    let mut next = 3;
    // The first one that is new is due at once; the one behind it in a quarter of an hour.
    while let Poll::Batch(batch) = reader.poll(Duration::from_millis(10)) {
        next = batch.next_offset;
    }
    assert_eq!(next, 21);
}

#[test]
fn mistakes_in_the_options_are_told() {
    let told = |option: (&str, &str)| source(&[("id", SqlType::Int2)], &[option]).err().map(|error| error.kind());
    assert_eq!(told(("fields.id.kind", "sequnce")), Some(Kind::InvalidParameter));
    assert_eq!(told(("fields.id.max", "40000")), Some(Kind::InvalidParameter));
    assert_eq!(told(("fields.ident.max", "4")), Some(Kind::InvalidParameter));
    assert_eq!(told(("fields.id.max", "4")), None);
    assert_eq!(source(&[], &[]).err().map(|error| error.kind()), Some(Kind::InvalidTableDefinition));
}

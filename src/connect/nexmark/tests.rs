//! What queries and recovery rely on: proportions, references that hold, and the same rows whatever the batches.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;

use super::event::{ID_LEAD, Sequence};
use super::{Lines, Table, connect, json_lines};
use crate::connect::{Connector, Poll, Positions, SourceColumn, SourceSpec};
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

/// Everything from `from` to `until` or the end, and the positions after it.
fn read(connector: &dyn Connector, from: &Positions, until: Option<&Positions>) -> (Option<RecordBatch>, Positions) {
    let mut reader = connector.start(from, until).expect("positions that exist");
    let (mut batches, mut positions) = (Vec::new(), from.clone());
    loop {
        match reader.poll(Duration::from_millis(10)) {
            Poll::Batch(batch) => {
                positions.insert(batch.partition, batch.next_offset);
                batches.push(batch.changes.rows().clone());
            }
            Poll::End => break,
            Poll::Pending => {}
            Poll::Degraded(why) | Poll::Failed(why) => panic!("{why}"),
            Poll::Started(_) => panic!("it begins at 0"),
        }
    }
    (batches.first().map(|first| concat_batches(&first.schema(), &batches).expect("one schema")), positions)
}

fn all(table: &str, events: &str, splits: &str) -> RecordBatch {
    let options = [("table", table), ("nexmark.event.num", events), ("nexmark.split.num", splits)];
    let connector = source(&[], &options).expect("valid options");
    read(connector.as_ref(), &Positions::new(), None).0.expect("some rows")
}

fn integers(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn of_fifty_events_one_is_a_person_three_are_auctions_the_rest_bids() {
    assert_eq!(all("person", "100000", "1").num_rows(), 2_000);
    assert_eq!(all("Auction", "100000", "1").num_rows(), 6_000);
    assert_eq!(all("BID", "100000", "3").num_rows(), 92_000);
}

#[test]
fn references_are_to_ids_that_exist() {
    let (people, auctions, bids) = (all("person", "100000", "1"), all("auction", "100000", "1"), all("bid", "100000", "1"));
    let set = |batch: &RecordBatch, name: &str| integers(batch, name).into_iter().collect::<HashSet<i64>>();
    let lead = ID_LEAD as i64;
    // References may be a few ids ahead of the newest, so the newest ids of all may be passed at the very end.
    let exists = |ids: &HashSet<i64>, id: i64| ids.contains(&id) || (1..=lead).any(|ahead| ids.contains(&(id - ahead)));
    let (people_ids, auction_ids) = (set(&people, "id"), set(&auctions, "id"));
    assert_eq!(people_ids.len(), people.num_rows());
    assert_eq!(auction_ids.len(), auctions.num_rows());
    assert!(integers(&auctions, "seller").into_iter().all(|seller| exists(&people_ids, seller)));
    assert!(integers(&bids, "bidder").into_iter().all(|bidder| exists(&people_ids, bidder)));
    assert!(integers(&bids, "auction").into_iter().all(|auction| exists(&auction_ids, auction)));
    let hot = integers(&bids, "auction").into_iter().filter(|auction| (auction - 1_000) % 100 == 0).count();
    assert!((45_000..49_000).contains(&hot), "half of the bids go to hot auctions: {hot}");
    assert!(integers(&bids, "price").into_iter().all(|price| (100..=100_000_000).contains(&price)));
}

#[test]
fn the_same_offsets_give_the_same_rows_whatever_the_batches() {
    let options = [("table", "bid"), ("nexmark.event.num", "60000")];
    let connector = source(&[], &options).expect("valid options");
    let whole = all("bid", "60000", "1");
    let until = Positions::from([(0, 23_457)]);
    let (first, middle) = read(connector.as_ref(), &Positions::new(), Some(&until));
    let (second, end) = read(connector.as_ref(), &until, None);
    let (first, second) = (first.expect("rows"), second.expect("rows"));
    assert_eq!(middle, until);
    assert_eq!(end, Positions::from([(0, 60_000)]));
    assert_eq!(concat_batches(&whole.schema(), [&first, &second]).expect("one schema"), whole);
}

#[test]
fn with_until_a_partition_that_is_not_in_it_delivers_nothing() {
    let options = [("table", "bid"), ("nexmark.split.num", "2"), ("nexmark.events.per.second", "1")];
    let connector = source(&[("auction", SqlType::Int8)], &options).expect("valid options");
    let (rows, positions) = read(connector.as_ref(), &Positions::new(), Some(&Positions::from([(1, 1_000)])));
    assert_eq!(rows.expect("rows").num_rows(), 460);
    assert_eq!(positions, Positions::from([(1, 1_000)]));
}

#[test]
fn columns_come_as_asked_for_and_do_not_depend_on_each_other() {
    let columns = [("price", SqlType::Numeric(38, 2)), ("dateTime", SqlType::Timestamptz), ("auction", SqlType::Int8)];
    let connector = source(&columns, &[("nexmark.table.type", "bid"), ("nexmark.event.num", "5000")]).expect("valid options");
    let some = read(connector.as_ref(), &Positions::new(), None).0.expect("rows");
    let whole = all("bid", "5000", "1");
    let auction: &ArrayRef = whole.column_by_name("auction").expect("a column");
    assert_eq!(some.column(2), auction);
    assert_eq!(some.num_columns(), 3);
}

#[test]
fn mistakes_in_the_statement_are_told() {
    let kind = |columns: &[(&str, SqlType)], options: &[(&str, &str)]| source(columns, options).err().map(|error| error.kind());
    assert_eq!(kind(&[], &[]), Some(Kind::InvalidParameter));
    assert_eq!(kind(&[], &[("table", "bids")]), Some(Kind::InvalidParameter));
    assert_eq!(kind(&[], &[("table", "bid"), ("nexmark.rate", "1")]), Some(Kind::InvalidParameter));
    assert_eq!(kind(&[("prize", SqlType::Int8)], &[("table", "bid")]), Some(Kind::UndefinedColumn));
    assert_eq!(kind(&[("price", SqlType::Text)], &[("table", "bid")]), Some(Kind::DatatypeMismatch));
}

#[test]
fn json_lines_hold_what_the_sources_deliver() {
    let mut out = Vec::new();
    json_lines(&Lines::default(), 0..100, &mut out);
    let lines: Vec<serde_json::Value> =
        out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 100);
    assert_eq!(lines[0]["event_type"], "person");
    assert_eq!(lines[0]["date_time"], "2015-07-15 00:00:00.000000");
    assert_eq!(lines[53]["event_type"], "auction");
    let sequence = Sequence::new(0, 0, 0);
    assert_eq!(lines[99]["price"], sequence.price(99));
    assert_eq!(lines[99]["url"], sequence.url(99));

    let mut bids = Vec::new();
    json_lines(&Lines { table: Some(Table::Bid), ..Lines::default() }, 0..100, &mut bids);
    assert_eq!(bids.iter().filter(|&&byte| byte == b'\n').count(), 92);
    assert!(bids.starts_with(b"{\"auction\":"));
}

//! The head of a loop whose term is played by a function.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::{Fixpoint, FixpointSpec};
use crate::dataflow::operator::Operator;
use crate::error::{Kind, Result};
use crate::state::{StateChanges, StoredState};
use crate::types::{Changes, Epoch};

/// Rows of one column, with the iteration they belong to.
type Working = BTreeMap<(i64, i64), i64>;

struct Loop {
    head: Fixpoint,
    /// Edges, with how often each is there.
    edges: BTreeMap<(i64, i64), i64>,
    working: Working,
}

fn head(distinct: bool, iterations_max: u32, begin: Epoch) -> Fixpoint {
    let fields = vec![Field::new("node", DataType::Int64, true), Field::new("iteration", DataType::Int64, true)];
    Fixpoint::new(FixpointSpec { name: "r".to_owned(), distinct, iterations_max, begin, output: Arc::new(Schema::new(fields)) }).unwrap()
}

fn changes(rows: &[(i64, i64, i64)]) -> Vec<Changes> {
    let column = |value: fn(&(i64, i64, i64)) -> i64| Int64Array::from(rows.iter().map(value).collect::<Vec<_>>());
    let columns: Vec<(&str, ArrayRef)> = vec![("node", Arc::new(column(|row| row.0))), ("iteration", Arc::new(column(|row| row.1)))];
    vec![Changes::new(RecordBatch::try_from_iter(columns).unwrap(), Some(column(|row| row.2)))]
}

impl Loop {
    fn new(distinct: bool) -> Self {
        Loop { head: head(distinct, 100, 0), edges: BTreeMap::new(), working: BTreeMap::new() }
    }

    /// One epoch: changes of the base (node, weight) and of the edges (from, to, weight).
    fn epoch(&mut self, epoch: Epoch, base: &[(i64, i64)], edges: &[(i64, i64, i64)]) -> Result<()> {
        let base: Vec<_> = base.iter().map(|(node, weight)| (*node, 0, *weight)).collect();
        // Changed edges meet all that is there, at once.
        let mut derived = Vec::new();
        for (from, to, weight) in edges {
            derived.extend(self.working.iter().filter(|((node, _), _)| node == from).map(|((_, at), times)| (*to, *at, times * weight)));
            *self.edges.entry((*from, *to)).or_default() += weight;
        }
        self.head.step(epoch, vec![changes(&base), changes(&derived)], &mut Vec::new())?;
        while let Some(iteration) = self.head.next_iteration(epoch) {
            let mut output = Vec::new();
            self.head.settle(epoch, iteration, &mut output)?;
            let mut derived = Vec::new();
            for batch in &output {
                for row in 0..batch.len() {
                    let value = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
                    assert_eq!(value(1), i64::from(iteration));
                    *self.working.entry((value(0), value(1))).or_default() += batch.weight(row);
                    let next = self.edges.iter().filter(|((from, _), _)| *from == value(0));
                    derived.extend(next.map(|((_, to), times)| (*to, value(1), times * batch.weight(row))));
                }
            }
            self.head.step(epoch, vec![Vec::new(), changes(&derived)], &mut Vec::new())?;
        }
        self.working.retain(|_, weight| *weight != 0);
        Ok(())
    }

    fn nodes(&self) -> Vec<i64> {
        assert!(!self.head.spec.distinct || self.working.values().all(|weight| *weight == 1));
        self.working.iter().flat_map(|((node, _), weight)| vec![*node; *weight as usize]).collect()
    }
}

#[test]
fn a_cycle_falls_when_the_way_into_it_is_gone() {
    let mut reach = Loop::new(true);
    reach.epoch(1, &[(1, 1)], &[(1, 2, 1), (2, 3, 1), (3, 2, 1), (3, 4, 1)]).unwrap();
    assert_eq!(reach.nodes(), [1, 2, 3, 4]);
    reach.epoch(2, &[], &[(1, 2, -1)]).unwrap();
    assert_eq!(reach.nodes(), [1], "2 and 3 support only each other");
    // A longer way in, and then the short one again.
    reach.epoch(3, &[], &[(1, 5, 1), (5, 3, 1)]).unwrap();
    reach.epoch(4, &[], &[(1, 2, 1)]).unwrap();
    assert_eq!(reach.nodes(), [1, 2, 3, 4, 5]);
    reach.epoch(5, &[(1, -1)], &[]).unwrap();
    assert!(reach.nodes().is_empty() && reach.head.size().rows == 0);
}

#[test]
fn every_way_counts_under_union_all() {
    let mut ways = Loop::new(false);
    ways.epoch(1, &[(1, 2)], &[(1, 2, 1), (1, 3, 1), (2, 4, 1), (3, 4, 3)]).unwrap();
    assert_eq!(ways.nodes(), [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4]);
    ways.epoch(2, &[(1, -1)], &[(3, 4, -3)]).unwrap();
    assert_eq!(ways.nodes(), [1, 2, 3, 4]);
}

#[test]
fn what_never_ends_is_an_error_with_a_name() {
    let mut ways = Loop::new(false);
    let error = ways.epoch(1, &[(1, 1)], &[(1, 1, 1)]).unwrap_err();
    assert_eq!(error.kind(), Kind::LimitExceeded);
    assert_eq!(error.message(), "recursive query \"r\" has not ended after 100 iterations");
    let mut reach = Loop::new(true);
    reach.epoch(1, &[(1, 1)], &[(1, 1, 1)]).unwrap();
    assert_eq!(reach.nodes(), [1]);
}

#[test]
fn nothing_goes_round_before_everything_is_there() {
    let mut waits = Loop { head: head(false, 100, 5), edges: BTreeMap::new(), working: BTreeMap::new() };
    waits.epoch(1, &[(1, 1)], &[(1, 1, 1), (1, 2, 1)]).unwrap();
    assert!(waits.nodes().is_empty(), "a cycle that is not there in the end");
    waits.epoch(5, &[], &[(1, 1, -1)]).unwrap();
    assert_eq!(waits.nodes(), [1, 2]);
}

#[test]
fn state_comes_back_by_bucket() {
    let mut reach = Loop::new(true);
    reach.epoch(1, &[(1, 1)], &[(1, 2, 1), (2, 3, 1), (3, 2, 1), (1, 3, 1)]).unwrap();
    let (mut stored, mut changes) = (StoredState::default(), StateChanges::default());
    reach.head.checkpoint(&mut changes).unwrap();
    assert_eq!(stored.apply(changes), (3, 0));
    let mut again = head(true, 100, 0);
    again.restore(&mut stored.entries(|_| true)).unwrap();
    reach.head = again;
    reach.epoch(2, &[], &[(1, 2, -1), (1, 3, -1)]).unwrap();
    assert_eq!(reach.nodes(), [1]);
    let mut changes = StateChanges::default();
    reach.head.checkpoint(&mut changes).unwrap();
    assert_eq!(stored.apply(changes), (0, 2));
}

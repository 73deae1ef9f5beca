//! The incremental plan: a tree of plain data that `dataflow` renders. Self-contained: nobody below looks into the catalog.
//!
//! Expressions are DataFusion's physical ones, over the columns of the node's input by position.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::window::WindowExpr;

use super::errors::from_datafusion;
use super::expressions::column_scalar;
use super::general::GeneralAggregate;
use crate::error::Result;
use crate::types::{Low, NOW, ObjectId, PackedRows, TimeWindows};

/// A materialised view's plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is maintained. Its schema is the view's columns.
    pub root: Node,
}

impl Plan {
    /// What gives no rows, and never will: stands where a plan cannot be made.
    pub fn nothing(schema: SchemaRef) -> Self {
        let rows = RecordBatch::new_empty(Arc::clone(&schema));
        Plan { root: Node { id: 0, kind: NodeKind::Constant { rows }, schema, properties: Properties::default() } }
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number within the plan: inputs have lower ones. Names the state of stateful nodes, so the same SQL must give the same numbers.
    pub id: u32,
    /// What it does.
    pub kind: NodeKind,
    /// The columns that come out.
    pub schema: SchemaRef,
    /// What is known of the rows that come out.
    pub properties: Properties,
}

/// What is known of a node's output without looking at rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// No retraction can occur.
    pub append_only: bool,
    /// Positions of columns that together are unique at every epoch; the smallest such set that is known.
    pub key: Option<Vec<usize>>,
    /// Rows that agree in these columns are on the same worker; `None`: nothing is known. An empty list: all rows are on one worker.
    pub partitioning: Option<Vec<usize>>,
}

/// The operators there are.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// The changes of a table, source or materialised view; `columns` says which of its columns are wanted.
    Import {
        /// What is read.
        object: ObjectId,
        /// Its name, for EXPLAIN.
        name: String,
        /// Positions in the object's columns.
        columns: Vec<usize>,
        /// How much less far event time is taken to be than it is, in microseconds.
        lateness_us: i64,
    },
    /// Rows that never change.
    Constant {
        /// The rows.
        rows: RecordBatch,
    },
    /// Keeps the rows for which `predicate` is true, then computes `projection` from them. Stateless.
    Map {
        /// Where rows come from.
        input: Box<Node>,
        /// Over the input's columns; `None` keeps all.
        predicate: Option<Scalar>,
        /// One per output column, over the input's columns.
        projection: Vec<Scalar>,
    },
    /// Gives every row once for each window that its time falls into, with two more columns at the end: `window_start` and `window_end`, of
    /// the time column's type. Rows whose time is NULL are in no window. Stateless.
    Hop {
        /// Where rows come from.
        input: Box<Node>,
        /// Position of the time column (timestamp or timestamptz, microseconds).
        time: usize,
        /// Which windows there are.
        windows: TimeWindows,
    },
    /// Gives every row the session that it is in, with more columns at the end: `window_start` and, if wanted, `window_end`, of the time
    /// column's type. Rows of one key are in one session if less than the gap lies between them, or rows between them lead from one to the other: it
    /// starts at its first row and ends a gap behind its last. The input is partitioned by the keys, of which the time is none.
    Session {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the key columns.
        keys: Vec<usize>,
        /// Position of the time column (timestamp or timestamptz, microseconds). Rows where it is NULL are in no session.
        time: usize,
        /// The gap, in microseconds.
        gap_us: i64,
        /// Whether `window_end` comes out: if it does, a row at the end of a session is a change of all its rows.
        ends: bool,
        /// Sessions go as event time passes their ends.
        closing: Option<SessionClosing>,
    },
    /// Gives every row once per grouping set: all columns, then the key columns again, NULL where the set is without them, then the
    /// set's id (of the last column's type). Stateless.
    Expand {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the key columns.
        keys: Vec<usize>,
        /// The sets.
        sets: Vec<GroupingSet>,
    },
    /// Gives every row once for each element of its lists: NULL behind the end of a list that is shorter than the longest. Stateless.
    Unnest {
        /// Where rows come from.
        input: Box<Node>,
        /// Over the input's columns: what makes the lists.
        lists: Vec<Scalar>,
        /// The lists' types, each a List.
        types: Vec<DataType>,
        /// One per output column.
        columns: Vec<UnnestColumn>,
        /// A row whose lists are all empty or NULL comes out once, with NULL elements.
        outer: bool,
    },
    /// Moves every row to the worker that owns the hash of these columns; to worker 0 if there are none.
    Exchange {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the columns.
        keys: Vec<usize>,
    },
    /// The first half of an aggregate that is split in two: combines the rows of each batch that agree in the key columns, before they
    /// move to another worker. Comes out, always as an insertion: the keys, how many rows the row stands for (retracted ones count
    /// negative), then the partial results of every call, as `AggregateCall::partial_types` lists them. Stateless.
    Combine {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the key columns.
        keys: Vec<usize>,
        /// What is computed for each group.
        aggregates: Vec<AggregateCall>,
        /// One more column, the last: how many rows came and went.
        counts_changes: bool,
    },
    /// One row per distinct value of the key columns: the keys, then the aggregates. Without aggregates this is DISTINCT.
    /// Without keys it is one row, there even when the input is empty. The input is partitioned by the keys.
    Aggregate {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the key columns.
        keys: Vec<usize>,
        /// What is computed for each group.
        aggregates: Vec<AggregateCall>,
        /// The input's rows are those that `Combine` makes: the calls' own positions mean nothing here.
        combined: bool,
        /// Groups go as event time passes them.
        closing: Option<Closing>,
    },
    /// Lets through what is not below `low` in the column at the end of the epoch before; counts the rest, which comes too late for what reads
    /// it: that has forgotten what the rows belong to.
    Late {
        /// Where rows come from.
        input: Box<Node>,
        /// Position of the column.
        column: usize,
        /// Below what values are late.
        low: Low,
        /// Position of a column that says how many rows a row stands for, if `Combine` made them.
        rows: Option<usize>,
        /// The newest of the rest are kept to be looked at: these of their columns.
        letter: Option<Vec<LetterColumn>>,
    },
    /// Every row with the time at which it comes, as a last column (PROCTIME): the clock of its epoch.
    Arrival {
        /// Where rows come from; they only come.
        input: Box<Node>,
    },
    /// Rows as long as a comparison with the time is true.
    Temporal {
        /// Where rows come from.
        input: Box<Node>,
        /// Position of the time that is compared.
        column: usize,
        /// What happens when what follows from the clock reaches that.
        crossing: Crossing,
        /// What follows from the clock.
        low: Low,
    },
    /// Keeps every row until its value in one of some columns is below that column's low, and gives it out then: EMIT ON WINDOW CLOSE. Nothing
    /// is retracted. The input is partitioned by these columns.
    Close {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the columns, and below what a row is final; several where one may be NULL in a row, as in a full join.
        columns: Vec<(usize, Low)>,
    },
    /// Rows whose keys are equal (never where one is NULL, unless `null_equals_null`) and for which `condition` is true; `join` says what
    /// comes out for them. Both inputs are partitioned by their keys; without keys, and for NOT IN, all is on one worker.
    Join {
        /// The kind of join.
        join: JoinKind,
        /// Left rows.
        left: Box<Node>,
        /// Right rows.
        right: Box<Node>,
        /// Positions in the left columns.
        left_keys: Vec<usize>,
        /// Positions in the right columns; as many, of the same types.
        right_keys: Vec<usize>,
        /// Whether NULL keys match each other (IS NOT DISTINCT FROM, INTERSECT).
        null_equals_null: bool,
        /// Over the left columns followed by the right ones.
        condition: Option<Scalar>,
        /// When rows of the left and the right side go, if they ever do.
        expiry: [Option<SideExpiry>; 2],
    },
    /// An inner join of tables and views, whose rows are found by their own keys and indexes: pairs, triples … of rows, the columns of the
    /// first input first. What changes in one input meets the rows of the others as they were before the epoch where these inputs stand
    /// behind it, and as they are after it where they stand before it. Keeps nothing (a delta join).
    DeltaJoin {
        /// Each an `Import`, or a `Map` over one, of an object that keeps rows.
        inputs: Vec<Node>,
        /// Columns that are equal, by their positions in the columns of all inputs. NULL is equal to nothing.
        equal: Vec<(usize, usize)>,
        /// What else is true of the rows, over the columns of all inputs.
        conditions: Vec<Scalar>,
        /// For each input, how its changes find rows of all others.
        paths: Vec<Vec<Lookup>>,
        /// The indexes without which it would be another join: those of its paths, and of the paths of smaller joins that it was made of.
        needs: Vec<ObjectId>,
    },
    /// Every left row with the row of a table or view as it is when the left row comes, found by its key. Retracted only with the left row. If
    /// left rows go, the left side is partitioned by some of its columns.
    LookupJoin {
        /// Left rows.
        left: Box<Node>,
        /// An `Import`, or a `Map` over one, of an object that keeps rows under a key.
        right: Box<Node>,
        /// For each column of that key where its value stands in the left columns.
        keys: Vec<usize>,
        /// What the key is called.
        name: String,
        /// Over the left columns followed by the right ones; a right row for which it is not true is none.
        condition: Option<Scalar>,
        /// A left row without a right row comes out with NULLs.
        outer: bool,
    },
    /// The versions that the rows of a table have had: its columns, and whether the row was there from then on. The input is partitioned by the keys.
    Versions {
        /// Where rows come from; a key has one at the most.
        input: Box<Node>,
        /// Positions of the table's primary key.
        keys: Vec<usize>,
        /// Position of the time from which on a version is one.
        time: usize,
        /// Below what nobody asks for other versions than the last.
        low: Option<Low>,
    },
    /// Every left row with the last right row of its key that is not later than it (ASOF). The input holds the rows of both sides: the keys,
    /// whether it is a right row, the time, the left columns, the right ones (NULL in rows of the other side); it is partitioned by the keys.
    /// Comes out: the left columns, then the right ones.
    AsOf {
        /// Where rows come from.
        input: Box<Node>,
        /// How many keys there are.
        keys: usize,
        /// How many left columns.
        left: usize,
        /// Which of them is the time, if one is.
        left_time: Option<usize>,
        /// A right row of the same time counts.
        inclusive: bool,
        /// The first right row that is not earlier, instead.
        forward: bool,
        /// A left row without a right row comes out with NULLs.
        outer: bool,
        /// Below what rows of both sides are over.
        low: Option<Low>,
    },
    /// The first rows of every group, in an order: those whose place by `ranking` is at most `offset + limit`, without the first `offset`
    /// rows. Rows that the order leaves equal stand in the order of their other columns. The input is partitioned by the keys.
    TopN {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the columns that make a group; none: all rows are one group.
        keys: Vec<usize>,
        /// What comes first.
        order: Vec<OrderColumn>,
        /// What a row's place is.
        ranking: Ranking,
        /// Rows left out at the front.
        offset: u64,
        /// Rows wanted; `None`: all that follow.
        limit: Option<u64>,
        /// Whether the place comes out, as a last column (UInt64).
        numbered: bool,
        /// Over an append-only input that is not partitioned: drops what cannot be among the first rows, and retracts nothing that it has
        /// let through. What comes out is a superset of the answer, and append-only.
        candidates: bool,
        /// Groups are forgotten as event time passes them.
        closing: Option<Closing>,
        /// Or, the newest rows first, those of a group: below this nothing changes any more.
        settled: Option<Low>,
    },
    /// Every row with the values of window functions behind its columns. The input is partitioned by the keys.
    Window {
        /// Where rows come from.
        input: Box<Node>,
        /// Positions of the columns that make a partition; none: all rows are one partition.
        keys: Vec<usize>,
        /// The order within a partition; rows that it leaves equal stand in the order of their other columns.
        order: Vec<OrderColumn>,
        /// What is computed for each row.
        calls: Vec<WindowCall>,
        /// Partitions are forgotten as event time passes them.
        closing: Option<Closing>,
        /// Or the rows of partitions, which are in its order.
        settling: Option<Settling>,
    },
    /// All rows of all inputs. Their schemas have the same types.
    Union {
        /// Where rows come from.
        inputs: Vec<Node>,
    },
    /// WITH RECURSIVE: the rows of `base`, then those that `term` makes of them, those that it makes of these, and so on until no more come.
    /// Under UNION both inputs are partitioned by all columns.
    Recursion {
        /// The recursive query's name.
        name: String,
        /// Which one it is in the plan: its `Recurrence` has the same number.
        number: u32,
        /// The non-recursive term.
        base: Box<Node>,
        /// The recursive term: the columns of `base`, then the number of the iteration whose rows were read. Reads them from a `Recurrence`.
        term: Box<Node>,
        /// UNION: a row that was there in an earlier iteration, or in this one, does not come again.
        distinct: bool,
        /// Iterations at the most; a row that belongs to a later one is an error.
        iterations_max: u32,
    },
    /// The working table of the recursion that it stands in: all its rows, each with the number of its iteration (Int64) at the end.
    Recurrence {
        /// The recursive query's name.
        name: String,
        /// Which recursion.
        number: u32,
    },
}

/// What a comparison with the time does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// The row is there until the time is its own; `when_passed`: until it is later than that.
    Leaves {
        /// See above.
        when_passed: bool,
    },
    /// The row is there from then on.
    Enters {
        /// See above.
        when_passed: bool,
    },
}

/// When the groups of an aggregate are over.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// Which of the columns that come out (keys first) says it: a key, or of sessions an aggregate.
    pub place: usize,
    /// A group whose value is below this will not change any more: its state goes.
    pub low: Low,
    /// Its row comes out then, and not before.
    pub emits: bool,
}

/// When the rows of a partition are final, whose order begins with a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Settling {
    /// No change reaches rows whose time is below this, but for the last ones of a partition if they look at the rows behind them.
    pub low: Low,
    /// They come out then, and not before.
    pub emits: bool,
}

/// When sessions are over.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionClosing {
    /// Below what no times are expected: a session that ends there or before will not change any more, and its rows go.
    pub low: Low,
    /// Its rows come out then, and not before.
    pub emits: bool,
    /// The newest of the rows that come too late are kept to be looked at: these of their columns.
    pub letter: Option<Vec<LetterColumn>>,
}

/// A column of a row that is kept because it came too late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterColumn {
    /// Its position.
    pub column: usize,
    /// What it is called where the row comes from.
    pub name: String,
}

/// When the rows of one side of a join have met all that they ever will.
#[derive(Clone, Debug, PartialEq)]
pub struct SideExpiry {
    /// Position of a time among the side's columns.
    pub column: usize,
    /// A row whose time is below this meets nothing that is still to come: it goes.
    pub low: Low,
    /// A row without a time meets nothing at all.
    pub nulls_go: bool,
}

/// One step on the path of a delta join.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The input whose rows are found.
    pub input: usize,
    /// By which index, and `None` by the primary key.
    pub index: Option<ObjectId>,
    /// What the index is called.
    pub name: String,
    /// For each column of the index where its value stands in the columns of all inputs: in one that the path has passed.
    pub keys: Vec<usize>,
    /// What of the join's equalities and conditions can be checked from here on, over the columns of all inputs.
    pub condition: Option<Scalar>,
}

/// What comes out of a join. A right semi, anti or mark join is a left one with its inputs the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs: the left columns, then the right ones.
    Inner,
    /// Pairs, and left rows without a partner, padded with NULLs.
    Left,
    /// Pairs, and right rows without a partner, padded with NULLs.
    Right,
    /// Pairs, and rows of both sides without a partner, padded with NULLs.
    Full,
    /// Left rows with a partner: IN, EXISTS, INTERSECT.
    Semi,
    /// Left rows without a partner: NOT EXISTS, EXCEPT.
    Anti,
    /// As `Anti`, by the rule of NOT IN: no row if the right side has a NULL key; no row with a NULL key, unless the right side is empty.
    NotIn,
    /// Every left row, with a boolean column at the end: whether it has a partner.
    Mark,
}

impl JoinKind {
    /// Whether pairs of rows come out; else left rows alone, for which right rows are witnesses.
    pub fn gives_pairs(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
    }

    /// For the left and the right columns: whether they may be NULLs that stand for no row.
    pub fn pads(self) -> [bool; 2] {
        [matches!(self, JoinKind::Right | JoinKind::Full), matches!(self, JoinKind::Left | JoinKind::Full)]
    }

    /// For the left and the right side: whether its rows come out by themselves, for having partners or none.
    pub fn counts_partners(self) -> [bool; 2] {
        match self {
            JoinKind::Inner => [false, false],
            JoinKind::Right => [false, true],
            JoinKind::Full => [true, true],
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn | JoinKind::Mark => [true, false],
        }
    }

    /// Whether inputs that only grow give an output that only grows.
    pub fn only_grows(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Semi)
    }
}

/// A column of an ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderColumn {
    /// Its position.
    pub column: usize,
    /// Greater values come first.
    pub descending: bool,
    /// NULLs come first.
    pub nulls_first: bool,
}

/// One window function.
#[derive(Clone, Debug)]
pub struct WindowCall {
    /// How DataFusion computes it; arguments, partition and order are columns of the input or constants.
    pub expression: Arc<dyn WindowExpr>,
    /// Which rows a row's value depends on.
    pub method: WindowMethod,
    /// The type of the result.
    pub result: DataType,
    /// As EXPLAIN shows it.
    pub text: String,
}

/// The first column of an order that tells rows of a group apart: in those of its key they are the same.
pub(super) fn first_within(order: &[OrderColumn], keys: &[usize]) -> Option<OrderColumn> {
    order.iter().find(|column| !keys.contains(&column.column)).copied()
}

/// How a window function is recomputed after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowMethod {
    /// From the place alone: from the change on.
    Place(Ranking),
    /// An aggregate over everything up to the row, or (`peers`) up to the last row that is equal to it in the order: from the change on.
    Running {
        /// Whether equal rows count.
        peers: bool,
        /// Position of a boolean column; only rows where it is true count.
        filter: Option<usize>,
    },
    /// From the first `head` rows of the partition and the rows near by.
    Near {
        /// Rows at the front of the partition.
        head: u64,
        /// Rows before.
        before: Extent,
        /// Rows behind.
        after: Extent,
    },
}

/// How far a window function looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So many rows.
    Rows(u64),
    /// To the end of the row's own peers, and so many groups of peers further.
    Peers(u64),
    /// To the last row whose time is so many microseconds away. The order is a timestamp alone, and goes up.
    Within(i64),
    /// To the end of the partition.
    All,
}

impl WindowMethod {
    /// Recomputes the whole partition.
    pub const WHOLE: WindowMethod = WindowMethod::Near { head: 0, before: Extent::All, after: Extent::All };

    /// Whether a row's result depends on rows behind its peers.
    pub fn looks_ahead(self) -> bool {
        self.waits_for_rows() || matches!(self, WindowMethod::Near { after: Extent::Within(_), .. })
    }

    /// Whether a row's result is not final before so many rows are behind it, however late.
    pub fn waits_for_rows(self) -> bool {
        let WindowMethod::Near { after, .. } = self else { return false };
        !matches!(after, Extent::Rows(0) | Extent::Peers(0) | Extent::Within(_))
    }

    /// Whether something is kept of every partition, though time has passed all of its rows.
    pub fn goes_on(self) -> bool {
        let none = |extent: Extent| matches!(extent, Extent::Rows(0) | Extent::Peers(0) | Extent::Within(_));
        !matches!(self, WindowMethod::Near { head: 0, before, after } if none(before) && none(after))
    }

    /// Whether a row's result depends on no rows before it but those near by, the first ones, and what the others came to.
    pub fn forgets(self) -> bool {
        !matches!(self, WindowMethod::Near { before: Extent::All, .. })
    }
}

/// The place of a row among those of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// 1, 2, 3, 4: every row has its own.
    RowNumber,
    /// 1, 2, 2, 4: rows that are equal in the order share one.
    Rank,
    /// 1, 2, 2, 3: as `Rank`, without gaps.
    DenseRank,
}

impl Ranking {
    /// The window function of this name.
    pub fn of(function: &str) -> Option<Self> {
        match function {
            "row_number" => Some(Ranking::RowNumber),
            "rank" => Some(Ranking::Rank),
            "dense_rank" => Some(Ranking::DenseRank),
            _ => None,
        }
    }

    /// The window function's name.
    pub fn name(self) -> &'static str {
        match self {
            Ranking::RowNumber => "row_number",
            Ranking::Rank => "rank",
            Ranking::DenseRank => "dense_rank",
        }
    }
}

/// Where a column of an unnest comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnestColumn {
    /// This column of the input, repeated.
    Kept(usize),
    /// The elements of this list.
    Element(usize),
    /// The place of the element in its list, from 1 (Int64); NULL in a row that stands for no element.
    Ordinal,
}

/// One of several ways in which the same rows are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingSet {
    /// For each key whether the set has it.
    pub keys: Vec<bool>,
    /// As DataFusion's `Aggregate::INTERNAL_GROUPING_ID`: a bit per key, the last key's the lowest, set where the key is missing; above
    /// them which occurrence of the same set it is.
    pub id: u64,
}

/// One aggregate function over one column of the input.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// Which one.
    pub function: AggregateFunction,
    /// Position of its argument in the input's columns; `None` for `count(*)`. Several arguments come as one column.
    pub argument: Option<usize>,
    /// Each different value counts once.
    pub distinct: bool,
    /// Position of a boolean column; only rows where it is true count.
    pub filter: Option<usize>,
    /// The type of the result.
    pub result: DataType,
    /// As EXPLAIN shows it.
    pub text: String,
}

impl AggregateCall {
    /// The types of the columns in which `Combine` hands on what it knows of a group, in this order; no column holds a NULL, except that of
    /// MIN and MAX. `None`: the call cannot be split.
    ///
    /// | call | columns |
    /// |---|---|
    /// | `count(*)` | none: the number of rows says it |
    /// | `count` | the number of values |
    /// | `sum` | the sum, the number of values |
    /// | `min`, `max` of what is never retracted | the value |
    /// | `bool_and`, `bool_or` | the number of true ones, the number of values |
    ///
    /// Not split are float sums and averages: their sums are exact only as long as they stay in the form that the operator keeps.
    pub fn partial_types(&self, append_only: bool) -> Option<Vec<DataType>> {
        if self.distinct {
            return None;
        }
        match &self.function {
            AggregateFunction::Count if self.argument.is_none() && self.filter.is_none() => Some(Vec::new()),
            AggregateFunction::Count => Some(vec![DataType::Int64]),
            AggregateFunction::Sum => match &self.result {
                // Sums of part of the rows may be larger than that of all.
                DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale) => {
                    Some(vec![DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale), DataType::Int64])
                }
                exact @ (DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                    Some(vec![exact.clone(), DataType::Int64])
                }
                _ => None,
            },
            AggregateFunction::Min | AggregateFunction::Max => append_only.then(|| vec![self.result.clone()]),
            AggregateFunction::BoolAnd | AggregateFunction::BoolOr => Some(vec![DataType::Int64, DataType::Int64]),
            _ => None,
        }
    }
}

/// The aggregates there are, by what it takes to maintain them. What `docs/sql.md` calls linear: a number per group, to which every
/// change is added; ordered: the first or last of a set, kept in place where rows only come, else with the whole set; general: the
/// group's rows, from which DataFusion computes the result anew whenever they change.
#[derive(Clone, Debug, PartialEq)]
pub enum AggregateFunction {
    /// Linear: rows, or rows where the argument is not NULL.
    Count,
    /// Linear: Int64, Float64 or Decimal arguments (coerced by the plan); NULL when no value.
    Sum,
    /// Linear: Float64 or Decimal arguments; NULL when no value.
    Avg,
    /// Ordered: the least value.
    Min,
    /// Ordered: the greatest value.
    Max,
    /// Linear: whether all are true.
    BoolAnd,
    /// Linear: whether any is true.
    BoolOr,
    /// Linear: the exclusive or of integers; NULL when no value.
    BitXor,
    /// Linear: variances, covariances, correlations and regressions. The argument is Float64, or a struct of two Float64 that is NULL
    /// where one of them is.
    Moment(Moment),
    /// Ordered: a column of the least packed row.
    First(PackedColumn),
    /// Ordered: a column of the greatest packed row.
    Last(PackedColumn),
    /// General: the argument is a column of packed rows.
    General(Arc<GeneralAggregate>),
}

/// What is computed from the sums of values, of their squares and of their products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// `var_pop`.
    VariancePopulation,
    /// `var_samp`.
    VarianceSample,
    /// `stddev_pop`.
    DeviationPopulation,
    /// `stddev_samp`.
    DeviationSample,
    /// `covar_pop`.
    CovariancePopulation,
    /// `covar_samp`.
    CovarianceSample,
    /// `corr`.
    Correlation,
    /// `regr_slope`; y is the first argument, x the second, here and below.
    Slope,
    /// `regr_intercept`.
    Intercept,
    /// `regr_count`.
    Pairs,
    /// `regr_r2`.
    Determination,
    /// `regr_avgx`.
    MeanX,
    /// `regr_avgy`.
    MeanY,
    /// `regr_sxx`.
    SquaresX,
    /// `regr_syy`.
    SquaresY,
    /// `regr_sxy`.
    Products,
}

/// One column of packed rows.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedColumn {
    /// How they are packed.
    pub rows: Arc<PackedRows>,
    /// Which column.
    pub column: usize,
}

/// An expression over a batch's columns.
#[derive(Clone)]
pub struct Scalar {
    /// How it is computed.
    pub expression: Arc<dyn PhysicalExpr>,
    /// As EXPLAIN shows it.
    pub text: String,
}

impl Scalar {
    /// Its value for every row of `batch`. An error in one row is an error of all: for statements, not for views.
    pub fn array(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let value = self.expression.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        value.map_err(|error| from_datafusion(error, ""))
    }

    /// Positions of the columns that it is computed from.
    pub fn columns_read(&self) -> BTreeSet<usize> {
        collect_columns(&self.expression).iter().map(PhysicalColumn::index).collect()
    }
}

/// The column at `index`, as an expression.
pub fn column(name: &str, index: usize) -> Scalar {
    column_scalar(name, index)
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Node {
    /// The columns of the rows that are kept when they come too late for it, if they are kept.
    pub fn letter(&self) -> Option<&[LetterColumn]> {
        match &self.kind {
            NodeKind::Late { letter, .. } | NodeKind::Session { closing: Some(SessionClosing { letter, .. }), .. } => letter.as_deref(),
            _ => None,
        }
    }

    /// The nodes whose output this one reads.
    pub fn inputs(&self) -> Vec<&Node> {
        match &self.kind {
            NodeKind::Import { .. } | NodeKind::Constant { .. } | NodeKind::Recurrence { .. } => Vec::new(),
            NodeKind::Map { input, .. }
            | NodeKind::Hop { input, .. }
            | NodeKind::Session { input, .. }
            | NodeKind::Expand { input, .. }
            | NodeKind::Unnest { input, .. }
            | NodeKind::Exchange { input, .. }
            | NodeKind::Combine { input, .. }
            | NodeKind::Aggregate { input, .. }
            | NodeKind::Late { input, .. }
            | NodeKind::Close { input, .. }
            | NodeKind::AsOf { input, .. }
            | NodeKind::Arrival { input }
            | NodeKind::Versions { input, .. }
            | NodeKind::Temporal { input, .. }
            | NodeKind::TopN { input, .. }
            | NodeKind::Window { input, .. } => {
                vec![input]
            }
            NodeKind::Join { left, right, .. } | NodeKind::LookupJoin { left, right, .. } => vec![left, right],
            NodeKind::Union { inputs } | NodeKind::DeltaJoin { inputs, .. } => inputs.iter().collect(),
            NodeKind::Recursion { base, term, .. } => vec![base, term],
        }
    }

    /// The numbers of the nodes in it that read the working table of a recursion.
    pub fn recurrences(&self, number: u32) -> Vec<u32> {
        match &self.kind {
            NodeKind::Recurrence { number: other, .. } if *other == number => vec![self.id],
            _ => self.inputs().into_iter().flat_map(|input| input.recurrences(number)).collect(),
        }
    }

    /// The same, to be changed.
    pub(super) fn inputs_mut(&mut self) -> Vec<&mut Node> {
        match &mut self.kind {
            NodeKind::Import { .. } | NodeKind::Constant { .. } | NodeKind::Recurrence { .. } => Vec::new(),
            NodeKind::Map { input, .. }
            | NodeKind::Hop { input, .. }
            | NodeKind::Session { input, .. }
            | NodeKind::Expand { input, .. }
            | NodeKind::Unnest { input, .. }
            | NodeKind::Exchange { input, .. }
            | NodeKind::Combine { input, .. }
            | NodeKind::Aggregate { input, .. }
            | NodeKind::Late { input, .. }
            | NodeKind::Close { input, .. }
            | NodeKind::AsOf { input, .. }
            | NodeKind::Arrival { input }
            | NodeKind::Versions { input, .. }
            | NodeKind::Temporal { input, .. }
            | NodeKind::TopN { input, .. }
            | NodeKind::Window { input, .. } => vec![input],
            NodeKind::Join { left, right, .. } | NodeKind::LookupJoin { left, right, .. } => vec![left, right],
            NodeKind::Union { inputs } | NodeKind::DeltaJoin { inputs, .. } => inputs.iter_mut().collect(),
            NodeKind::Recursion { base, term, .. } => vec![base, term],
        }
    }

    /// The `Import` nodes below: their numbers and what they read. An object that is joined with itself stands in it twice.
    pub fn import_nodes(&self) -> Vec<(u32, ObjectId)> {
        match &self.kind {
            NodeKind::Import { object, .. } => vec![(self.id, *object)],
            _ => self.inputs().into_iter().flat_map(Node::import_nodes).collect(),
        }
    }

    /// `Import` nodes that do not read what was there before, each with the one that does so for it: the inputs of a delta join but the first,
    /// which finds the rows of all others.
    pub fn followers(&self) -> BTreeMap<u32, u32> {
        let mut found: BTreeMap<u32, u32> = self.inputs().into_iter().flat_map(Node::followers).collect();
        if let NodeKind::DeltaJoin { inputs, .. } = &self.kind {
            let imports: Vec<u32> = inputs.iter().flat_map(|input| input.import_nodes()).map(|(node, _)| node).collect();
            found.extend(imports[1..].iter().map(|follower| (*follower, imports[0])));
        }
        if let NodeKind::LookupJoin { left, right, .. } = &self.kind
            && let Some((leader, _)) = left.import_nodes().first()
        {
            let leader = found.get(leader).copied().unwrap_or(*leader);
            found.extend(right.import_nodes().into_iter().map(|(follower, _)| (follower, leader)));
        }
        found
    }

    /// The tables and views into whose rows joins of the plan below look.
    pub fn looked_into(&self) -> BTreeSet<ObjectId> {
        let mut found: BTreeSet<ObjectId> = self.inputs().into_iter().flat_map(Node::looked_into).collect();
        if let NodeKind::DeltaJoin { .. } = &self.kind {
            found.extend(self.imports());
        }
        if let NodeKind::LookupJoin { right, .. } = &self.kind {
            found.extend(right.imports());
        }
        found
    }

    /// The indexes without which the plan below would be another one, each once.
    pub fn indexes(&self) -> Vec<ObjectId> {
        let mut found: Vec<ObjectId> = self.inputs().into_iter().flat_map(Node::indexes).collect();
        if let NodeKind::DeltaJoin { needs, .. } = &self.kind {
            found.extend(needs);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether the plan below goes by the clock: compares rows with it, stamps them, or has it say what is over.
    pub fn reads_clock(&self) -> bool {
        let stamps = matches!(self.kind, NodeKind::Arrival { .. });
        stamps || self.lows().iter().any(|low| low.objects().contains(&NOW)) || self.inputs().into_iter().any(Node::reads_clock)
    }

    /// Whether what the plan below shows depends on which epochs changes are in, and so on when it was made.
    pub fn follows_epochs(&self) -> bool {
        self.by_epoch() || self.inputs().into_iter().any(Node::follows_epochs)
    }

    /// Whether time alone, or an epoch without rows, may change what the plan below shows or holds.
    pub fn follows_time(&self) -> bool {
        self.by_epoch() || !self.lows().is_empty() || self.inputs().into_iter().any(Node::follows_time)
    }

    /// Whether what this node does depends on which epochs changes are in.
    fn by_epoch(&self) -> bool {
        matches!(self.kind, NodeKind::LookupJoin { .. } | NodeKind::Versions { .. } | NodeKind::Arrival { .. })
    }

    /// Whether it takes event time to be less far than it is.
    pub(super) fn is_patient(&self) -> bool {
        matches!(self.kind, NodeKind::Import { lateness_us: 1.., .. }) || self.inputs().into_iter().any(Node::is_patient)
    }

    /// Whether watermarks say of anything below that it is over.
    pub(super) fn goes_by_watermarks(&self) -> bool {
        let own = self.lows().iter().any(|low| low.objects().iter().any(|object| *object != NOW));
        own || self.inputs().into_iter().any(Node::goes_by_watermarks)
    }

    /// By what this node knows how far time is.
    fn lows(&self) -> Vec<&Low> {
        match &self.kind {
            NodeKind::Late { low, .. } | NodeKind::Temporal { low, .. } => vec![low],
            NodeKind::Close { columns, .. } => columns.iter().map(|(_, low)| low).collect(),
            NodeKind::Aggregate { closing, .. } => closing.iter().map(|closing| &closing.low).collect(),
            NodeKind::TopN { closing, settled, .. } => closing.iter().map(|closing| &closing.low).chain(settled).collect(),
            NodeKind::Window { closing, settling, .. } => {
                closing.iter().map(|closing| &closing.low).chain(settling.iter().map(|settling| &settling.low)).collect()
            }
            NodeKind::Session { closing, .. } => closing.iter().map(|closing| &closing.low).collect(),
            NodeKind::Join { expiry, .. } => expiry.iter().flatten().map(|expiry| &expiry.low).collect(),
            NodeKind::AsOf { low, .. } | NodeKind::Versions { low, .. } => low.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The columns of a table, source or view that the plan below reads.
    pub fn columns_read(&self, read: ObjectId) -> BTreeSet<usize> {
        match &self.kind {
            NodeKind::Import { object, columns, .. } if *object == read => columns.iter().copied().collect(),
            _ => self.inputs().into_iter().flat_map(|input| input.columns_read(read)).collect(),
        }
    }

    /// The tables, sources and views that the plan below reads, each once.
    pub fn imports(&self) -> Vec<ObjectId> {
        let mut found = match &self.kind {
            NodeKind::Import { object, .. } => vec![*object],
            _ => self.inputs().into_iter().flat_map(Node::imports).collect(),
        };
        found.sort_unstable();
        found.dedup();
        found
    }
}

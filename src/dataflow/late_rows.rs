//! Rows that came too late for what they belong to: counted, per view and per table or source whose watermark had passed them; the newest ones
//! kept, of views that ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::{LetterColumn, Plan};
use crate::state::{ReportChanges, Tail};
use crate::types::{ObjectId, OperatorId, json_lines};

/// Rows kept for each operator, as many as of a source.
const KEPT_MAX: usize = 1_000;

/// Bytes of a row that are kept.
const ROW_BYTES_MAX: usize = 4_096;

/// What one operator has left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateRows {
    /// Since the view was made; a row counts once for each window that it is too late for.
    pub rows: u64,
    /// The tables and sources that say how far event time is.
    pub sources: BTreeSet<ObjectId>,
    /// The newest of them, the oldest first, if the view keeps them.
    pub newest: Vec<LateRow>,
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateRow {
    /// When, in microseconds since 1970.
    pub time_micros: i64,
    /// The row as it came from the table or source (or from the join or grouping below the operator), as JSON.
    pub row: String,
}

/// Of all views; shared by the workers and by whoever reads `tidemill.late_rows`.
#[derive(Debug, Default)]
pub struct LateLog {
    operators: Mutex<BTreeMap<OperatorId, LateRows>>,
    newest: Mutex<BTreeMap<OperatorId, Tail<LateRow, KEPT_MAX>>>,
    /// The columns of the rows that operators keep, by the names that they have now.
    letters: Mutex<BTreeMap<OperatorId, Arc<[LetterColumn]>>>,
}

impl LateLog {
    /// Everything, by view and operator.
    pub fn snapshot(&self) -> Vec<(OperatorId, LateRows)> {
        let (operators, newest) = (self.operators.lock(), self.newest.lock());
        let kept = |operator| newest.get(operator).map_or_else(Vec::new, |tail| tail.iter().cloned().collect());
        operators.iter().map(|(operator, late)| (*operator, LateRows { newest: kept(operator), ..late.clone() })).collect()
    }

    /// Which rows are kept that the store does not know yet, by view; the keys begin with `prefix`. From now on they count as stored.
    pub fn take_changes(&self, prefix: u8, of: impl Fn(ObjectId) -> bool) -> Vec<(ObjectId, ReportChanges)> {
        let changes = |(operator, tail): (&OperatorId, &mut Tail<LateRow, KEPT_MAX>)| {
            let mut changes = ReportChanges::default();
            tail.take_changes(&[&[prefix], &operator.node.to_be_bytes()[..]].concat(), &mut changes);
            (operator.object, changes)
        };
        self.newest.lock().iter_mut().filter(|(operator, _)| of(operator.object)).map(changes).collect()
    }

    /// Takes back a row of a view that was stored: `key` is what stood behind the prefix.
    pub fn restore(&self, view: ObjectId, key: &[u8], value: &[u8]) -> Result<()> {
        let (node, number) =
            key.split_at_checked(4).ok_or_else(|| Error::internal("the data directory is damaged: the key of a late row is too short"))?;
        let operator = OperatorId { object: view, node: u32::from_be_bytes(node.try_into().expect("4 bytes")) };
        self.newest.lock().entry(operator).or_default().restore(number, value)
    }

    /// Drops what is known of a view: it is gone.
    pub fn forget(&self, view: ObjectId) {
        self.operators.lock().retain(|operator, _| operator.object != view);
        self.newest.lock().retain(|operator, _| operator.object != view);
        self.letters.lock().retain(|operator, _| operator.object != view);
    }

    /// Calls the columns of rows that a view keeps from now on what its plan, of the same nodes, calls them.
    pub fn rename(&self, view: ObjectId, plan: &Plan) {
        let mut letters = self.letters.lock();
        let mut nodes = vec![&plan.root];
        while let Some(node) = nodes.pop() {
            if let Some(letter) = node.letter() {
                letters.insert(OperatorId { object: view, node: node.id }, Arc::from(letter));
            }
            nodes.extend(node.inputs());
        }
    }
}

/// A handle on the log for one operator.
#[derive(Clone, Debug)]
pub struct LateSink {
    log: Arc<LateLog>,
    operator: OperatorId,
    sources: BTreeSet<ObjectId>,
    keeps: bool,
}

impl LateSink {
    /// For an operator that goes by the watermarks of `sources`. `letter`: the columns to be kept of the rows, if they are of interest.
    pub fn new(log: &Arc<LateLog>, operator: OperatorId, sources: BTreeSet<ObjectId>, letter: Option<&[LetterColumn]>) -> Self {
        if let Some(letter) = letter {
            log.letters.lock().insert(operator, Arc::from(letter));
        }
        LateSink { log: Arc::clone(log), operator, sources, keeps: letter.is_some() }
    }

    /// Whether the rows themselves are of interest.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// Adds a number of rows that were left out.
    pub fn count(&self, rows: u64) {
        let mut operators = self.log.operators.lock();
        let late = operators.entry(self.operator).or_insert_with(|| LateRows { sources: self.sources.clone(), ..LateRows::default() });
        late.rows += rows;
    }

    /// Keeps rows that were left out, and counted, as they came to the operator.
    pub fn keep(&self, rows: &RecordBatch) {
        let letter = self.log.letters.lock().get(&self.operator).cloned();
        let Some(rows) = letter.and_then(|letter| as_they_came(rows, &letter)) else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        let newest = rows.slice(rows.num_rows().saturating_sub(KEPT_MAX), rows.num_rows().min(KEPT_MAX));
        // Before the lock, which all workers share.
        let lines = json_lines(&newest, ROW_BYTES_MAX);
        let texts = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned());
        // Nobody asks for those of a view that has gone.
        let operators = self.log.operators.lock();
        if !operators.contains_key(&self.operator) {
            return;
        }
        let mut newest = self.log.newest.lock();
        let tail = newest.entry(self.operator).or_default();
        texts.for_each(|row| tail.push(LateRow { time_micros: now, row }));
    }
}

/// The columns of a letter, by their names.
fn as_they_came(rows: &RecordBatch, letter: &[LetterColumn]) -> Option<RecordBatch> {
    let schema = rows.schema();
    let field = |known: &LetterColumn| schema.field(known.column).clone().with_name(known.name.as_str());
    let fields: Vec<_> = letter.iter().map(field).collect();
    let columns = letter.iter().map(|known| Arc::clone(rows.column(known.column))).collect();
    // Every letter has a column: the time that is late comes from one.
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).ok()
}

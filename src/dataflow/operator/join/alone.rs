//! Rows that come out by themselves: of an outer join those without a partner, padded with NULLs; of a semi, anti or mark join the left ones.
//!
//! At the end of an epoch, for each row that was touched, with weight `w` and `n` partners before and now:
//!
//! ```text
//! semi         w if n > 0, else nothing             outer, anti    w if n = 0, else nothing
//! mark         w, with the mark n > 0
//! NOT IN       w if the right side is empty; nothing if it has a NULL; else w if n = 0 and the row's key is not NULL
//! ```
//!
//! What comes out is the difference. A row with a NULL in its key (where NULLs match nothing) has no partner, ever: it goes straight
//! through and is not kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, new_null_array};
use arrow::buffer::NullBuffer;

use super::Join;
use super::partners::Touch;
use super::side::Side;
use super::work::Task;
use crate::error::Result;
use crate::plan::JoinKind;
use crate::types::{Changes, Epoch};

/// What a NOT IN knows of its right side.
#[derive(Default)]
pub(super) struct NullRule {
    /// Different rows.
    rows: i64,
    /// Those of them with a NULL key.
    nulls: i64,
    /// As the last epoch left it.
    shown: Verdict,
}

/// Which left rows of a NOT IN can come out.
#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Verdict {
    /// Any: there is no right row.
    #[default]
    Every,
    /// None: the right side has a NULL.
    No,
    /// Those with a key that has no partner.
    Unmatched,
}

/// Rows of a side with how often they appear or go away.
#[derive(Default)]
struct Difference {
    rows: Vec<u32>,
    weights: Vec<i64>,
    marks: Vec<bool>,
}

impl NullRule {
    /// A right row appeared (1) or went away (-1).
    pub(super) fn note(&mut self, presence: i64, null: bool) {
        self.rows += presence;
        self.nulls += if null { presence } else { 0 };
    }

    fn verdict(&self) -> Verdict {
        match (self.rows, self.nulls) {
            (0, _) => Verdict::Every,
            (_, 0) => Verdict::Unmatched,
            _ => Verdict::No,
        }
    }

    /// What held at the last epoch and what holds now.
    fn turn(&mut self) -> [Verdict; 2] {
        let now = self.verdict();
        [std::mem::replace(&mut self.shown, now), now]
    }

    /// After a restart: what holds now has been shown.
    pub(super) fn restored(&mut self) {
        self.shown = self.verdict();
    }
}

impl Verdict {
    fn shows(self, null: bool, matched: bool) -> bool {
        match self {
            Verdict::Every => true,
            Verdict::No => false,
            Verdict::Unmatched => !null && !matched,
        }
    }
}

impl Difference {
    fn push(&mut self, row: u32, weight: i64, mark: bool) {
        if weight != 0 {
            self.rows.push(row);
            self.weights.push(weight);
            self.marks.push(mark);
        }
    }
}

impl Join {
    /// Lets rows through that match nothing, ever. (Not for semi joins: there they are gone.)
    pub(super) fn pass(&self, side: usize, changes: Changes, output: &mut Vec<Changes>) -> Result<()> {
        let weights = changes.dense_weights();
        let marks = vec![false; weights.len()];
        output.push(self.by_itself(side, changes.into_parts().0.columns().to_vec(), marks, weights)?);
        Ok(())
    }

    /// The end of an epoch: what it touched comes out next, then goes what event time has passed.
    pub(super) fn settle(&mut self, epoch: Epoch) -> Result<()> {
        let verdicts = self.null_rule.as_mut().map(NullRule::turn);
        for side in 0..2 {
            let Some(partners) = &mut self.partners[side] else { continue };
            if verdicts.is_some_and(|[before, now]| before != now) {
                partners.touch_all();
            }
            let touched = partners.settle();
            touched.iter().filter(|touch| touch.partners != 0).for_each(|touch| self.sides[side].touch(touch.row));
            let parts = self.sides[side].rows.parts(&touched, |touch| touch.row);
            self.tasks.extend(parts.into_iter().map(|part| Task::Show(side, part.to_vec(), verdicts)));
        }
        for side in 0..2 {
            let over = self.sides[side].over(epoch)?;
            let parts = self.sides[side].rows.parts(&over, |row| *row);
            self.tasks.extend(parts.into_iter().map(|part| Task::Drop(side, part.to_vec())));
        }
        self.tasks.push_back(Task::Compact);
        Ok(())
    }

    /// What changed in rows that come out by themselves.
    pub(super) fn show(&self, side: usize, touched: &[Touch], verdicts: Option<[Verdict; 2]>, output: &mut Vec<Changes>) -> Result<()> {
        let difference = self.difference(side, touched, verdicts)?;
        if !difference.rows.is_empty() {
            let columns = self.sides[side].rows.gather_all(&difference.rows)?;
            output.push(self.by_itself(side, columns, difference.marks, difference.weights.into())?);
        }
        Ok(())
    }

    fn difference(&self, side: usize, touched: &[Touch], verdicts: Option<[Verdict; 2]>) -> Result<Difference> {
        let (held, partners) = (&self.sides[side], self.partners[side].as_ref().expect("the caller took its changes"));
        let nulls = if verdicts.is_some() { null_keys(held, touched)? } else { None };
        let mut difference = Difference::default();
        for (index, touch) in touched.iter().enumerate() {
            let now = held.weight(touch.row);
            let before = now - touch.weight;
            let partners = partners.count(touch.row);
            let matched = [partners - touch.partners > 0, partners > 0];
            if self.kind == JoinKind::Mark {
                if matched[0] == matched[1] {
                    difference.push(touch.row, now - before, matched[1]);
                } else {
                    difference.push(touch.row, -before, matched[0]);
                    difference.push(touch.row, now, matched[1]);
                }
                continue;
            }
            let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(index));
            let shows = |at: usize| match verdicts {
                Some(verdicts) => verdicts[at].shows(null, matched[at]),
                None => matched[at] == (self.kind == JoinKind::Semi),
            };
            difference.push(touch.row, now * i64::from(shows(1)) - before * i64::from(shows(0)), false);
        }
        Ok(difference)
    }

    /// Rows of one side as they come out.
    fn by_itself(&self, side: usize, columns: Vec<ArrayRef>, marks: Vec<bool>, weights: Int64Array) -> Result<Changes> {
        let rows = weights.len();
        let columns = if self.kind.gives_pairs() {
            let fields = self.sides[1 - side].schema.fields().iter();
            let padding = fields.map(|field| new_null_array(field.data_type(), rows)).collect();
            let [left, right] = if side == 0 { [columns, padding] } else { [padding, columns] };
            left.into_iter().chain(right).collect()
        } else if self.kind == JoinKind::Mark {
            columns.into_iter().chain([Arc::new(BooleanArray::from(marks)) as ArrayRef]).collect()
        } else {
            columns
        };
        debug_assert!(!self.append_only || weights.values().iter().all(|weight| *weight == 1), "rows only ever appear, each by itself");
        self.output.changes(columns, rows, (!self.append_only).then_some(weights))
    }
}

/// Which of these rows have a NULL key; `None`: no row has.
fn null_keys(side: &Side, touched: &[Touch]) -> Result<Option<NullBuffer>> {
    let rows: Vec<u32> = touched.iter().map(|touch| touch.row).collect();
    let keys = side.keys.iter().map(|key| side.rows.gather(*key, &rows)).collect::<Result<Vec<_>>>()?;
    Ok(union_of_nulls(&keys))
}

/// Which rows have a NULL in one of these columns; `None`: no row has.
pub(super) fn union_of_nulls(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls = columns.iter().map(|column| column.logical_nulls());
    nulls.fold(None, |all, column| NullBuffer::union(all.as_ref(), column.as_ref())).filter(|nulls| nulls.null_count() > 0)
}

//! Conditions that are looked at where they still matter. What costs little and cannot fail comes first, over all rows; each other part sees only
//! the rows that those before it leave open.
//!
//! ```text
//! regexp_match(url, …) IS NOT NULL OR channel = 'x'   ─▶   channel = 'x', then the pattern for the rows of other channels
//! ```
//!
//! Only truth counts: a row for which a condition is NULL is out like one for which it is false. So parts of an AND and of an OR may be looked at in
//! any order, and a part that fails on a row that another has decided does no harm.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::compute::{filter_record_batch, not, prep_null_mask_filter};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::narrow;
use crate::error::Result;
use crate::plan::Scalar;

/// Functions that cost about as much as reading their argument, and have a result for every one.
const EASY_FUNCTIONS: [&str; 2] = ["lower", "upper"];

/// A condition, taken apart where that helps.
pub(super) enum Predicate {
    /// As DataFusion computes it.
    Whole(Arc<dyn PhysicalExpr>),
    /// Its parts, in the order in which they are looked at: all of them are to be true, or one.
    Parts { all: bool, parts: Vec<Part> },
}

/// A part of a condition, over those columns that it reads.
pub(super) struct Part {
    columns: Vec<usize>,
    predicate: Predicate,
}

impl Predicate {
    /// Of a boolean expression.
    pub(super) fn new(expression: &Arc<dyn PhysicalExpr>) -> Result<Predicate> {
        let whole = || Ok(Predicate::Whole(Arc::clone(expression)));
        let Some(op) = junction(expression) else { return whole() };
        let mut operands = Vec::new();
        flatten(expression, op, &mut operands);
        let (easy, dear): (Vec<_>, Vec<_>) = operands.into_iter().partition(is_easy);
        let easy = easy.into_iter().reduce(|left, right| Arc::new(BinaryExpr::new(left, op, right)));
        if dear.len() + usize::from(easy.is_some()) < 2 {
            return whole();
        }
        let parts = easy.into_iter().chain(dear).map(Part::new).collect::<Result<_>>()?;
        Ok(Predicate::Parts { all: op == Operator::And, parts })
    }

    /// For which rows it is true; without NULLs.
    pub(super) fn truth(&self, rows: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        let (all, parts) = match self {
            Predicate::Whole(expression) => {
                let values = expression.evaluate(rows)?.into_array(rows.num_rows())?;
                let mask = values.as_boolean_opt().ok_or_else(|| DataFusionError::Internal("a condition is no boolean".to_owned()))?;
                return Ok(if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) });
            }
            Predicate::Parts { all, parts } => (*all, parts),
        };
        let mut known = BooleanArray::from(vec![all; rows.num_rows()]);
        for part in parts {
            let open = if all { known.clone() } else { not(&known)? };
            let count = open.true_count();
            if count == 0 {
                break;
            }
            let columns = rows.project(&part.columns)?;
            known = if count == rows.num_rows() {
                part.predicate.truth(&columns)?
            } else {
                let true_of_open = part.predicate.truth(&filter_record_batch(&columns, &open)?)?;
                filled_in(if all { None } else { Some(&known) }, &open, &true_of_open)
            };
        }
        Ok(known)
    }
}

impl Part {
    fn new(expression: Arc<dyn PhysicalExpr>) -> Result<Part> {
        let (columns, scalars) = narrow(&[Scalar { expression, text: String::new() }])?;
        Ok(Part { columns, predicate: Predicate::new(&scalars[0].expression)? })
    }
}

/// AND or OR, if that is what stands at the top.
fn junction(expression: &Arc<dyn PhysicalExpr>) -> Option<Operator> {
    let op = *expression.downcast_ref::<BinaryExpr>()?.op();
    matches!(op, Operator::And | Operator::Or).then_some(op)
}

/// What `op` joins.
fn flatten(expression: &Arc<dyn PhysicalExpr>, op: Operator, into: &mut Vec<Arc<dyn PhysicalExpr>>) {
    match expression.downcast_ref::<BinaryExpr>() {
        Some(binary) if *binary.op() == op => [binary.left(), binary.right()].into_iter().for_each(|side| flatten(side, op, into)),
        _ => into.push(Arc::clone(expression)),
    }
}

/// Whether an expression costs little and has a value for every row.
fn is_easy(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let own = if let Some(binary) = expression.downcast_ref::<BinaryExpr>() {
        use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
        matches!(binary.op(), And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
    } else if let Some(call) = expression.downcast_ref::<ScalarFunctionExpr>() {
        EASY_FUNCTIONS.contains(&call.name())
    } else if let Some(like) = expression.downcast_ref::<LikeExpr>() {
        // A pattern that is not known may be too large for the library.
        like.pattern().is::<Literal>()
    } else {
        expression.is::<Column>()
            || expression.is::<Literal>()
            || expression.is::<InListExpr>()
            || expression.is::<IsNullExpr>()
            || expression.is::<IsNotNullExpr>()
            || expression.is::<NotExpr>()
    };
    own && expression.children().into_iter().all(is_easy)
}

/// Rows that are true already, and of the `open` ones those that have turned out to be.
fn filled_in(known: Option<&BooleanArray>, open: &BooleanArray, true_of_open: &BooleanArray) -> BooleanArray {
    let mut bits = BooleanBufferBuilder::new(open.len());
    match known {
        Some(known) => bits.append_buffer(known.values()),
        None => bits.append_n(open.len(), false),
    }
    let rows = open.values().set_indices().enumerate();
    rows.filter(|(place, _)| true_of_open.value(*place)).for_each(|(_, row)| bits.set_bit(row, true));
    BooleanArray::new(bits.finish(), None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

    use super::Predicate;

    type Expression = Arc<dyn PhysicalExpr>;

    fn binary(left: Expression, op: Operator, right: Expression) -> Expression {
        Arc::new(BinaryExpr::new(left, op, right))
    }

    fn column(name: &str, at: usize) -> Expression {
        Arc::new(Column::new(name, at))
    }

    /// `12 / column > 3`: fails where the column is 0.
    fn dear(at: usize) -> Expression {
        binary(binary(lit(12_i64), Operator::Divide, column("c", at)), Operator::Gt, lit(3_i64))
    }

    fn easy(at: usize, above: i64) -> Expression {
        binary(column("c", at), Operator::Gt, lit(above))
    }

    fn rows(seed: i64) -> RecordBatch {
        let values = |column: i64| -> ArrayRef {
            let value = |row: i64| {
                let value = (row * 7 + seed * 13 + column * 5 + row * row) % 11;
                (value % 5 != 4).then_some(if value == 0 { 6 } else { value })
            };
            Arc::new((0..100).map(value).collect::<Int64Array>())
        };
        RecordBatch::try_from_iter([("c", values(1)), ("d", values(2)), ("e", values(3))]).unwrap()
    }

    fn parts(predicate: &Predicate) -> usize {
        match predicate {
            Predicate::Whole(_) => 1,
            Predicate::Parts { parts, .. } => parts.len(),
        }
    }

    #[test]
    fn parts_say_what_the_whole_says() {
        use Operator::{And, Or};
        let conditions = [
            (binary(dear(0), And, easy(1, 3)), 2),
            (binary(dear(0), Or, easy(1, 3)), 2),
            (binary(binary(dear(0), Or, easy(1, 3)), And, binary(easy(2, 1), And, dear(2))), 3),
            (binary(binary(easy(0, 2), Or, dear(1)), Or, binary(dear(2), And, easy(2, 5))), 3),
            (binary(easy(0, 2), Or, easy(1, 2)), 1),
            (binary(dear(0), And, dear(1)), 2),
            (dear(1), 1),
        ];
        for (condition, count) in conditions {
            let predicate = Predicate::new(&condition).unwrap();
            assert_eq!(parts(&predicate), count, "{condition}");
            for seed in 0..20 {
                let rows = rows(seed);
                let whole = condition.evaluate(&rows).unwrap().into_array(rows.num_rows()).unwrap();
                let expected: BooleanArray = whole.as_boolean().iter().map(|value| Some(value == Some(true))).collect();
                assert_eq!(predicate.truth(&rows).unwrap(), expected, "{condition}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_decided_does_not_fail() {
        let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0, 4, 0, 1]));
        let marks: ArrayRef = Arc::new(Int64Array::from(vec![1, 0, 1, 0]));
        let rows = RecordBatch::try_from_iter([("c", zeros), ("d", marks)]).unwrap();
        let any = Predicate::new(&binary(dear(0), Operator::Or, easy(1, 0))).unwrap();
        assert_eq!(any.truth(&rows).unwrap(), BooleanArray::from(vec![true, false, true, true]));
        let fails = Predicate::new(&binary(dear(0), Operator::Or, easy(1, 1))).unwrap();
        assert!(fails.truth(&rows).is_err());
    }
}

//! Joins in time: what the condition of a join says of how far apart the times of a pair are, and so when rows have met all that they will.
//!
//! Let `a` and `b` be columns of the left and the right side, `L` and `R` below what no new values of them come, and
//! `lower <= b - a <= upper` for every pair. What comes later has `a >= L` or `b >= R`:
//!
//! ```text
//! a left row   meets b <= a + upper: when that is below R, nothing more      goes when a < R - upper
//! a right row  meets a <= b - lower: when that is below L, nothing more      goes when b < L + lower
//! ```
//!
//! What goes may still be retracted, if its own side is not that far. It need not be there for that: a row that comes finds all rows that it
//! can match, since those that went are beyond its reach, so its retraction finds the same ones and takes back what it gave. But it must not
//! come later than that: where a side's rows go, those of the other side are left out if they are late by their own watermark. Witnesses
//! (of semi and anti joins) are a set, and whether one goes is seen only by those who know how often it came: they stay until they are
//! late themselves, and are left out from then on.
//!
//! Equal keys are times that are not apart at all. There both sides keep a row until both watermarks have passed it, so that of the faster one
//! nothing is late before the slower one is there: windows close for both together.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::Lowering;
use super::late::TooLate;
use super::low::{in_utc, literal, low_of};
use super::moment::coarseness;
use crate::plan::expressions::column_index;
use crate::plan::node::{JoinKind, Node, Scalar, SideExpiry};
use crate::types::Low;

const DAY_US: i64 = 86_400_000_000;

/// What follows from event time for both sides of a join.
#[derive(Default)]
pub(super) struct InTime {
    /// Below what, in which columns, rows of a side are late.
    pub(super) late: [Vec<(usize, Low)>; 2],
    /// When they go.
    pub(super) expiry: [Option<SideExpiry>; 2],
}

/// A join as far as it says something about times.
pub(super) struct Meeting<'a> {
    pub(super) kind: JoinKind,
    pub(super) sides: [&'a Node; 2],
    pub(super) keys: [&'a [usize]; 2],
    pub(super) condition: Option<&'a Scalar>,
}

/// `lower <= right - left <= upper`, in microseconds, for a pair of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Apart {
    left: usize,
    right: usize,
    lower: Option<i64>,
    upper: Option<i64>,
}

/// One side of a comparison.
enum Term {
    /// A column, moved by so many microseconds.
    Time(usize, i64),
    /// How much later the first column is than the second.
    Span(usize, usize),
    /// A number of microseconds.
    Micros(i64),
}

impl Lowering<'_> {
    /// When rows of both sides go.
    pub(super) fn in_time_of(&self, meeting: &Meeting<'_>) -> InTime {
        // A NULL or a row that has gone would concern every row of a NOT IN.
        if meeting.kind == JoinKind::NotIn {
            return InTime::default();
        }
        self.by_keys(meeting).or_else(|| self.by_condition(meeting)).unwrap_or_default()
    }

    /// Of the keys that event time passes on both sides those that it passes first.
    fn by_keys(&self, meeting: &Meeting<'_>) -> Option<InTime> {
        let [left, right] = meeting.sides;
        let keys = meeting.keys[0].iter().copied().zip(meeting.keys[1].iter().copied());
        let timed = keys.filter_map(|(left_key, right_key)| {
            let lows = [low_of(self.catalog, left, left_key)?, low_of(self.catalog, right, right_key)?];
            Some((left_key, right_key, least(lows)))
        });
        let first = |(left_key, right_key, _): &(usize, usize, Low)| coarseness(left, *left_key) + coarseness(right, *right_key);
        let (left_key, right_key, low) = timed.min_by_key(first)?;
        let expiry = |column: usize| Some(SideExpiry { column, low: low.clone(), nulls_go: false });
        Some(InTime {
            late: [vec![(left_key, low.clone())], vec![(right_key, low.clone())]],
            expiry: [expiry(left_key), expiry(right_key)],
        })
    }

    /// Columns that event time passes, of which the condition says how far they are apart. Each side goes by the first pair that bounds it.
    fn by_condition(&self, meeting: &Meeting<'_>) -> Option<InTime> {
        let [left, right] = meeting.sides;
        let apart = all_apart(&meeting.condition?.expression, left.schema.fields().len());
        let timed = apart.into_iter().filter_map(|apart| {
            let lows = [low_of(self.catalog, left, apart.left)?, low_of(self.catalog, right, apart.right)?];
            Some((apart, lows))
        });
        let timed: Vec<(Apart, [Low; 2])> = timed.collect();
        let mut found = InTime::default();
        if let Some((apart, [_, right_low], by)) = timed.iter().find_map(|(apart, lows)| Some((apart, lows, apart.upper?.checked_neg()?))) {
            found.expiry[0] = Some(SideExpiry { column: apart.left, low: later(right_low, by), nulls_go: true });
            note_late(&mut found.late[1], apart.right, right_low);
        }
        if let Some((apart, [left_low, right_low], by)) = timed.iter().find_map(|(apart, lows)| Some((apart, lows, apart.lower?))) {
            let low = later(left_low, by);
            let low = if meeting.kind.gives_pairs() { low } else { least([low, right_low.clone()]) };
            found.expiry[1] = Some(SideExpiry { column: apart.right, low, nulls_go: true });
            note_late(&mut found.late[0], apart.left, left_low);
            if !meeting.kind.gives_pairs() {
                note_late(&mut found.late[1], apart.right, right_low);
            }
        }
        found.expiry.iter().any(Option::is_some).then_some(found)
    }

    /// The rows of a side that are in time.
    pub(super) fn unless_late(&mut self, input: Node, late: impl IntoIterator<Item = (usize, Low)>) -> Node {
        late.into_iter().fold(input, |input, (column, low)| self.unless_below(input, TooLate { column, low, rows: None }))
    }
}

/// Once each.
fn note_late(late: &mut Vec<(usize, Low)>, column: usize, low: &Low) {
    if !late.iter().any(|(known, _)| *known == column) {
        late.push((column, low.clone()));
    }
}

/// The least of two.
pub(super) fn least([one, other]: [Low; 2]) -> Low {
    if one == other { one } else { Low::Least(vec![one, other]) }
}

fn later(low: &Low, micros: i64) -> Low {
    match micros {
        0 => low.clone(),
        _ => Low::Plus { low: Box::new(low.clone()), months: 0, days: 0, micros },
    }
}

/// What a condition says of all pairs of columns, of which the first `width` are the left ones.
fn all_apart(condition: &Arc<dyn PhysicalExpr>, width: usize) -> Vec<Apart> {
    let mut found: Vec<Apart> = Vec::new();
    let mut rest = vec![condition];
    while let Some(expression) = rest.pop() {
        let Some(binary) = expression.as_ref().downcast_ref::<BinaryExpr>() else { continue };
        if *binary.op() == Operator::And {
            rest.extend([binary.right(), binary.left()]);
        } else if let Some(apart) = apart(binary, width) {
            match found.iter_mut().find(|known| (known.left, known.right) == (apart.left, apart.right)) {
                Some(known) => {
                    known.lower = known.lower.max(apart.lower);
                    known.upper = [known.upper, apart.upper].into_iter().flatten().min();
                }
                None => found.push(apart),
            }
        }
    }
    found
}

/// What one comparison says.
fn apart(comparison: &BinaryExpr, width: usize) -> Option<Apart> {
    // `one - other`, compared with `micros`.
    let (one, other, op, micros) = match (term(comparison.left())?, *comparison.op(), term(comparison.right())?) {
        (Term::Time(one, by), op, Term::Time(other, other_by)) => (one, other, op, other_by.checked_sub(by)?),
        (Term::Span(one, other), op, Term::Micros(micros)) => (one, other, op, micros),
        (Term::Micros(micros), op, Term::Span(one, other)) => (one, other, op.swap()?, micros),
        _ => return None,
    };
    let (left, right, op, micros) = match (one < width, other < width) {
        (false, true) => (other, one, op, micros),
        (true, false) => (one, other, op.swap()?, micros.checked_neg()?),
        _ => return None,
    };
    let (lower, upper) = match op {
        Operator::Eq => (Some(micros), Some(micros)),
        Operator::Lt => (None, Some(micros.checked_sub(1)?)),
        Operator::LtEq => (None, Some(micros)),
        Operator::Gt => (Some(micros.checked_add(1)?), None),
        Operator::GtEq => (Some(micros), None),
        _ => return None,
    };
    Some(Apart { left, right: right - width, lower, upper })
}

fn term(expression: &Arc<dyn PhysicalExpr>) -> Option<Term> {
    if let Some(column) = column_index(expression) {
        return Some(Term::Time(column, 0));
    }
    if let Some(value) = literal(expression) {
        return match value {
            // Lengths of intervals are compared, not intervals.
            ScalarValue::Decimal128(Some(length), _, 0) => i64::try_from(*length).ok().map(Term::Micros),
            interval => micros(interval, true).map(Term::Micros),
        };
    }
    if let Some(cast) = expression.as_ref().downcast_ref::<CastExpr>() {
        // Times are microseconds in UTC in all of these types. (What is no time has no lower bound.)
        return match (cast.cast_type(), term(cast.expr())?) {
            (DataType::Timestamp(TimeUnit::Microsecond, _), Term::Time(column, by)) => Some(Term::Time(column, by)),
            _ => None,
        };
    }
    let call = expression.as_ref().downcast_ref::<ScalarFunctionExpr>()?;
    match (call.name(), call.args()) {
        ("timestamp_add", [time, interval, zone @ ..]) => moved_by(term(time)?, micros(literal(interval)?, in_utc(zone))?),
        ("timestamp_minus", [time, interval, zone @ ..]) => moved_by(term(time)?, micros(literal(interval)?, in_utc(zone))?.checked_neg()?),
        ("date_plus", [day, days]) => moved_by(term(day)?, days_of(literal(days)?)?),
        ("date_minus", [day, days]) => moved_by(term(day)?, days_of(literal(days)?)?.checked_neg()?),
        ("timezone", [zone, time]) if in_utc(std::slice::from_ref(zone)) => term(time),
        ("interval_length", [span]) => term(span).filter(|span| matches!(span, Term::Span(..))),
        ("timestamp_subtract", [one, other]) => match (term(one)?, term(other)?) {
            (Term::Time(one, 0), Term::Time(other, 0)) => Some(Term::Span(one, other)),
            _ => None,
        },
        _ => None,
    }
}

fn moved_by(term: Term, micros: i64) -> Option<Term> {
    match term {
        Term::Time(column, by) => Some(Term::Time(column, by.checked_add(micros)?)),
        _ => None,
    }
}

fn days_of(days: &ScalarValue) -> Option<i64> {
    let days = match days {
        ScalarValue::Int16(days) => i64::from((*days)?),
        ScalarValue::Int32(days) => i64::from((*days)?),
        ScalarValue::Int64(days) => (*days)?,
        _ => return None,
    };
    days.checked_mul(DAY_US)
}

/// How long an interval is, if it is always as long. `days_are_even`: all days have 24 hours.
pub(super) fn micros(value: &ScalarValue, days_are_even: bool) -> Option<i64> {
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = value else { return None };
    if interval.months != 0 || interval.days != 0 && !days_are_even || interval.nanoseconds % 1_000 != 0 {
        return None;
    }
    i64::from(interval.days).checked_mul(DAY_US)?.checked_add(interval.nanoseconds / 1_000)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, TimeUnit};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, lit};

    use super::{Apart, all_apart};

    fn binary(left: &Arc<dyn PhysicalExpr>, op: Operator, right: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(Arc::clone(left), op, Arc::clone(right)))
    }

    fn column(place: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("t", place))
    }

    #[test]
    fn a_comparison_bounds_the_right_time_from_the_left_one() {
        let (a, b) = (column(0), column(2));
        let known = |lower, upper| vec![Apart { left: 0, right: 0, lower, upper }];
        let said = |left, op, right| all_apart(&binary(left, op, right), 2);
        // b - a, in microseconds: a strict bound is one of them nearer.
        assert_eq!(said(&b, Operator::GtEq, &a), known(Some(0), None));
        assert_eq!(said(&b, Operator::Gt, &a), known(Some(1), None));
        assert_eq!(said(&a, Operator::Lt, &b), known(Some(1), None));
        assert_eq!(said(&a, Operator::GtEq, &b), known(None, Some(0)));
        assert_eq!(said(&b, Operator::Lt, &a), known(None, Some(-1)));
        assert_eq!(said(&a, Operator::Eq, &b), known(Some(0), Some(0)));
        assert_eq!(said(&a, Operator::NotEq, &b), []);
        assert_eq!(said(&a, Operator::Lt, &column(1)), [], "both are of the left side");
    }

    #[test]
    fn bounds_of_one_pair_meet() {
        let (a, b, other) = (column(0), column(2), column(3));
        let both = binary(&binary(&b, Operator::GtEq, &a), Operator::And, &binary(&a, Operator::GtEq, &b));
        let more = binary(&both, Operator::And, &binary(&other, Operator::Gt, &a));
        assert_eq!(
            all_apart(&more, 2),
            [Apart { left: 0, right: 0, lower: Some(0), upper: Some(0) }, Apart { left: 0, right: 1, lower: Some(1), upper: None }]
        );
        let either = binary(&both, Operator::Or, &binary(&other, Operator::Gt, &a));
        assert_eq!(all_apart(&either, 2), [], "one of two conditions bounds nothing");
    }

    #[test]
    fn a_cast_between_times_keeps_them_and_a_constant_is_no_time() {
        let (a, b) = (column(0), column(2));
        let zoned: Arc<dyn PhysicalExpr> =
            Arc::new(CastExpr::new(Arc::clone(&b), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), None));
        assert_eq!(all_apart(&binary(&zoned, Operator::GtEq, &a), 2), [Apart { left: 0, right: 0, lower: Some(0), upper: None }]);
        let noon = lit(ScalarValue::TimestampMicrosecond(Some(0), None));
        assert_eq!(all_apart(&binary(&noon, Operator::GtEq, &a), 2), []);
    }
}

//! Below what the values of a node's columns stay as event time goes on: a column of times, or what is computed from one by a function that
//! never falls as its argument rises.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit as ArrowUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::moment::passed_no_earlier;
use crate::catalog::Catalog;
use crate::plan::expressions::column_index;
use crate::plan::functions::fixed_micros;
use crate::plan::node::{Closing, Node, NodeKind, Settling, UnnestColumn, first_within};
use crate::plan::scalar::{BUCKET_ORIGIN_US, Zone};
use crate::plan::time_windows::{LAST_MOMENT_US, TUMBLE_START, WINDOW_END, WINDOW_TIME, windows_of};
use crate::types::{Low, NOW, TimeUnit};

/// What is known of one column of a node.
pub(in crate::plan) fn low_of(catalog: &Catalog, node: &Node, column: usize) -> Option<Low> {
    let of = |input: &Node, column: usize| low_of(catalog, input, column);
    match &node.kind {
        NodeKind::Import { object, columns, lateness_us, .. } => {
            let low = catalog.get(*object)?.low(*columns.get(column)?)?;
            Some(match lateness_us {
                0 => low,
                lateness => Low::Plus { low: Box::new(low), months: 0, days: 0, micros: -lateness },
            })
        }
        NodeKind::Constant { .. } | NodeKind::Recursion { .. } | NodeKind::Recurrence { .. } => None,
        NodeKind::Arrival { input } if column == input.schema.fields().len() => Some(Low::Of(NOW)),
        NodeKind::Arrival { input } => of(input, column),
        // Rows leave, and enter, long after the time that they name.
        NodeKind::Temporal { .. } => None,
        NodeKind::Map { input, projection, .. } => through(&projection.get(column)?.expression, &|column| of(input, column)),
        NodeKind::Hop { input, time, windows } => match column.checked_sub(input.schema.fields().len()) {
            None => of(input, column),
            Some(place) => of(input, *time)?.of_windows(*windows).into_iter().nth(place),
        },
        // A session may have begun long ago. It is kept while its end is not below the watermark; when rows only come, it never ends earlier
        // than before.
        NodeKind::Session { input, time, closing, .. } => {
            let known = closing.is_some() && bounded_sessions(node) && column == input.schema.fields().len() + 1;
            known.then(|| Some(of(input, *time)?.later(1))).flatten()
        }
        NodeKind::Expand { input, keys, sets } => match column.checked_sub(input.schema.fields().len()) {
            None => of(input, column),
            Some(place) if place < keys.len() && sets.iter().all(|set| set.keys[place]) => of(input, keys[place]),
            Some(_) => None,
        },
        NodeKind::Unnest { input, columns, .. } => match columns.get(column)? {
            UnnestColumn::Kept(column) => of(input, *column),
            UnnestColumn::Element(_) | UnnestColumn::Ordinal => None,
        },
        NodeKind::Exchange { input, .. } | NodeKind::Late { input, .. } => of(input, column),
        NodeKind::Close { input, columns } => {
            let in_time = columns.iter().any(|(closing, _)| passed_no_earlier(input, column, *closing));
            in_time.then(|| of(input, column)).flatten()
        }
        // The latest time of a session: what the session's end follows from.
        NodeKind::Aggregate { input, keys, closing: Some(Closing { place, low, .. }), .. } if *place >= keys.len() && column == *place => {
            bounded_sessions(input).then(|| low.clone())
        }
        NodeKind::Aggregate { input, keys, closing: Some(Closing { place, emits: true, .. }), .. } => {
            let in_time = passed_no_earlier(input, *keys.get(column)?, *keys.get(*place)?);
            in_time.then(|| of(input, keys[column])).flatten()
        }
        NodeKind::Combine { input, keys, .. } | NodeKind::Aggregate { input, keys, .. } => of(input, *keys.get(column)?),
        NodeKind::Window { settling: Some(settling), .. } => low_of_settled(catalog, node, settling, column),
        // A change of one row may bring back any other of its group, or of its key: only what they all have in common stays bounded.
        NodeKind::TopN { input, keys, .. } | NodeKind::Window { input, keys, .. } => {
            keys.contains(&column).then(|| of(input, column)).flatten()
        }
        NodeKind::Join { .. } => low_of_join(catalog, node, column),
        NodeKind::AsOf { left_time, low, .. } if *left_time == Some(column) => low.clone(),
        NodeKind::AsOf { .. } | NodeKind::Versions { .. } => None,
        NodeKind::LookupJoin { left, .. } => (column < left.schema.fields().len()).then(|| of(left, column)).flatten(),
        NodeKind::DeltaJoin { inputs, equal, .. } => {
            let same = equal_to(column, equal);
            let mut start = 0;
            let lows = inputs.iter().map(|input| {
                let range = start..start + input.schema.fields().len();
                start = range.end;
                same.iter().filter(|column| range.contains(column)).find_map(|column| of(input, column - range.start))
            });
            lows.collect::<Option<_>>().map(Low::Least)
        }
        NodeKind::Union { inputs } => inputs.iter().map(|input| of(input, column)).collect::<Option<_>>().map(Low::Least),
    }
}

/// What is known of one column of window functions in the order of event time: unless one looks at rows behind, a row whose time has been passed stays
/// as it is.
fn low_of_settled(catalog: &Catalog, node: &Node, settling: &Settling, column: usize) -> Option<Low> {
    let NodeKind::Window { input, keys, order, calls, .. } = &node.kind else { return None };
    let time = first_within(order, keys)?.column;
    if calls.iter().any(|call| call.method.waits_for_rows()) {
        return None;
    }
    if column == time {
        return Some(settling.low.clone());
    }
    let of = |column: usize| low_of(catalog, input, column);
    let in_time = column < input.schema.fields().len() && settling.low == of(time)? && passed_no_earlier(input, column, time);
    in_time.then(|| of(column)).flatten()
}

/// What is known of one column of a join.
fn low_of_join(catalog: &Catalog, node: &Node, column: usize) -> Option<Low> {
    let NodeKind::Join { join, left, right, left_keys, right_keys, expiry, .. } = &node.kind else { return None };
    let of = |input: &Node, column: usize| low_of(catalog, input, column);
    let (side, input, keys, column) = match column.checked_sub(left.schema.fields().len()) {
        Some(_) if !join.gives_pairs() => return None,
        Some(column) => (1, right, right_keys, column),
        None => (0, left, left_keys, column),
    };
    // What comes is as late as its own side, or as the row of the other side that meets it.
    if let Some(expiry) = expiry[side].as_ref().filter(|expiry| expiry.column == column) {
        return Some(Low::Least(vec![of(input, column)?, expiry.low.clone()]));
    }
    let place = keys.iter().position(|key| *key == column)?;
    Some(Low::Least(vec![of(left, left_keys[place])?, of(right, right_keys[place])?]))
}

/// Whether sessions never end earlier than before: their rows only come.
fn bounded_sessions(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Session { input, .. } => input.properties.append_only,
        NodeKind::Map { input, .. } => bounded_sessions(input),
        _ => false,
    }
}

/// The columns that are equal to one, itself among them.
fn equal_to(column: usize, equal: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut same = BTreeSet::from([column]);
    loop {
        let known = same.len();
        let touched = equal.iter().filter(|(one, other)| same.contains(one) || same.contains(other));
        let more: Vec<usize> = touched.flat_map(|(one, other)| [*one, *other]).collect();
        same.extend(more);
        if same.len() == known {
            return same;
        }
    }
}

/// What is known of an expression: of a column, or of a function of one column that never falls.
pub(in crate::plan) fn through(expression: &Arc<dyn PhysicalExpr>, of: &dyn Fn(usize) -> Option<Low>) -> Option<Low> {
    if let Some(column) = column_index(expression) {
        return of(column);
    }
    if let Some(cast) = expression.as_ref().downcast_ref::<CastExpr>() {
        let low = through(cast.expr(), of)?;
        return match cast.cast_type() {
            DataType::Timestamp(ArrowUnit::Microsecond | ArrowUnit::Nanosecond, _) => Some(low),
            DataType::Date32 => Some(Low::Truncated { low: Box::new(low), unit: TimeUnit::Day }),
            _ => None,
        };
    }
    if let Some(sum) = expression.as_ref().downcast_ref::<BinaryExpr>() {
        return match sum.op() {
            Operator::Plus => later(through(sum.left(), of)?, literal(sum.right())?, 1),
            Operator::Minus => later(through(sum.left(), of)?, literal(sum.right())?, -1),
            _ => None,
        };
    }
    let call = expression.as_ref().downcast_ref::<ScalarFunctionExpr>()?;
    match (call.name(), call.args()) {
        ("timestamp_add", [time, interval, zone @ ..]) if in_utc(zone) => later(through(time, of)?, literal(interval)?, 1),
        ("timestamp_minus", [time, interval, zone @ ..]) if in_utc(zone) => later(through(time, of)?, literal(interval)?, -1),
        ("date_plus", [day, days]) => days_later(through(day, of)?, literal(days)?, 1),
        ("date_minus", [day, days]) => days_later(through(day, of)?, literal(days)?, -1),
        ("timezone", [zone, time]) if in_utc(std::slice::from_ref(zone)) => through(time, of),
        // The instant of a time that clocks show is another question: where it is skipped or repeated, it jumps.
        ("timezone", [zone, time]) if matches!(call.return_type(), DataType::Timestamp(_, None)) => shown_in(zone, through(time, of)?),
        ("date_trunc", [unit, time, zone @ ..]) if in_utc(zone) => {
            let unit = literal(unit)?.try_as_str()??;
            Some(Low::Truncated { low: Box::new(through(time, of)?), unit: TimeUnit::named(unit)? })
        }
        ("date_trunc", [unit, time, zone]) => truncated_in(unit, through(time, of)?, zone),
        ("round_time", [time, digits]) => {
            let digits = match literal(digits)? {
                ScalarValue::Int64(digits) => u8::try_from((*digits)?.clamp(0, 6)).ok()?,
                _ => return None,
            };
            Some(Low::Rounded { low: Box::new(through(time, of)?), digits })
        }
        (TUMBLE_START, [time, intervals @ ..]) => {
            let intervals = intervals.iter().map(literal).collect::<Option<Vec<_>>>()?;
            let [starts, _] = through(time, of)?.of_windows(windows_of(TUMBLE_START, &intervals).ok()?);
            Some(starts)
        }
        (WINDOW_END, [start, size]) => Some(through(start, of)?.later(fixed_micros(literal(size)?, "the size").ok()?)),
        (WINDOW_TIME, [end]) => Some(through(end, of)?.later(-LAST_MOMENT_US)),
        ("date_bin", [stride, time, origin @ ..]) => {
            let stride_us = fixed_micros(literal(stride)?, "the stride").ok()?;
            let origin_us = match origin {
                [] => 0,
                [origin] => micros(literal(origin)?)?,
                _ => return None,
            };
            Some(Low::Binned { low: Box::new(through(time, of)?), stride_us, origin_us })
        }
        ("time_bucket", [width, time]) => bucket(literal(width)?, through(time, of)?, BUCKET_ORIGIN_US),
        ("time_bucket", [width, time, last]) => match literal(last)? {
            offset @ ScalarValue::IntervalMonthDayNano(_) => {
                later(bucket(literal(width)?, later(through(time, of)?, offset, -1)?, BUCKET_ORIGIN_US)?, offset, 1)
            }
            zone if zone.try_as_str().is_some() => {
                in_utc(std::slice::from_ref(last)).then(|| bucket(literal(width)?, through(time, of)?, BUCKET_ORIGIN_US)).flatten()
            }
            origin => bucket(literal(width)?, through(time, of)?, micros(origin)?),
        },
        _ => None,
    }
}

/// What clocks in a zone show.
fn shown_in(zone: &Arc<dyn PhysicalExpr>, low: Low) -> Option<Low> {
    Some(match Zone::named(literal(zone)?.try_as_str()??).ok()? {
        Zone::Fixed(offset_us) => low.later(offset_us),
        Zone::Named(zone) => Low::Local { low: Box::new(low), zone: zone.name().to_owned() },
    })
}

/// The beginning of days and more in a zone. (Hours there that are skipped or repeated may begin later than the next one.)
fn truncated_in(unit: &Arc<dyn PhysicalExpr>, low: Low, zone: &Arc<dyn PhysicalExpr>) -> Option<Low> {
    let unit = TimeUnit::named(literal(unit)?.try_as_str()??).filter(|unit| unit.is_of_days())?;
    let Zone::Named(zone) = Zone::named(literal(zone)?.try_as_str()??).ok()? else { return None };
    Some(Low::TruncatedIn { low: Box::new(low), unit, zone: zone.name().to_owned() })
}

/// As `time_bucket` does it.
fn bucket(width: &ScalarValue, low: Low, origin_us: i64) -> Option<Low> {
    let low = Box::new(low);
    match width {
        ScalarValue::IntervalMonthDayNano(Some(width)) if width.months > 0 => {
            (width.days == 0 && width.nanoseconds == 0).then_some(Low::BinnedMonths { low, months: width.months, origin_us })
        }
        width => Some(Low::Binned { low, stride_us: fixed_micros(width, "the width").ok()?, origin_us }),
    }
}

pub(super) fn literal(expression: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expression.as_ref().downcast_ref::<Literal>().map(Literal::value)
}

/// Days and months are as long as in UTC.
pub(super) fn in_utc(zone: &[Arc<dyn PhysicalExpr>]) -> bool {
    match zone {
        [] => true,
        [zone] => literal(zone).and_then(|zone| zone.try_as_str().flatten()).is_some_and(|zone| zone.eq_ignore_ascii_case("utc")),
        _ => false,
    }
}

fn later(low: Low, interval: &ScalarValue, sign: i32) -> Option<Low> {
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else { return None };
    let micros = interval.nanoseconds.div_euclid(1_000).checked_mul(i64::from(sign))?;
    Some(Low::Plus { low: Box::new(low), months: interval.months.checked_mul(sign)?, days: interval.days.checked_mul(sign)?, micros })
}

fn days_later(low: Low, days: &ScalarValue, sign: i64) -> Option<Low> {
    let days = match days {
        ScalarValue::Int16(days) => i64::from((*days)?),
        ScalarValue::Int32(days) => i64::from((*days)?),
        ScalarValue::Int64(days) => (*days)?,
        _ => return None,
    };
    Some(Low::Plus { low: Box::new(low), months: 0, days: i32::try_from(days.checked_mul(sign)?).ok()?, micros: 0 })
}

fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampMicrosecond(micros, _) => *micros,
        _ => None,
    }
}

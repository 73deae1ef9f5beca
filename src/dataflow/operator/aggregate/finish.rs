//! From partial results to result columns: what a sum and a count say about an average, and when the answer is NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int64Type, i256};

use super::moments;
use super::unpack::unpack;
use super::value::primitive;
use crate::error::{Error, Result};
use crate::plan::{GeneralAggregate, Moment, PackedColumn};

/// How a call's result comes from a partial result and the number of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finish {
    /// The number itself.
    Count,
    /// The partial result; NULL if there was no value.
    Value,
    /// The partial result, which knows itself when it is NULL.
    Extreme,
    /// A Float64 sum divided by the number.
    FloatAverage,
    /// A decimal sum, of the type of the result.
    DecimalSum(DataType),
    /// A decimal sum times 10^`digits`, divided by the number, rounded half away from zero.
    DecimalAverage { digits: u32, result: DataType },
    /// Whether as many are true as there are.
    And,
    /// Whether some are true.
    Or,
    /// From exact sums.
    Moment(Moment),
    /// A column of the partial result's packed row.
    Unpack(PackedColumn),
    /// From the rows that the accumulator keeps.
    Recompute(Arc<GeneralAggregate>, DataType),
}

impl Finish {
    /// Which results are NULL because the result's type does not hold them.
    pub(super) fn overflowed(&self, results: &ArrayRef, counts: &Int64Array) -> Vec<usize> {
        match (self, results.nulls()) {
            (Finish::DecimalSum(_) | Finish::DecimalAverage { .. }, Some(nulls)) => {
                let counted = nulls.iter().zip(counts.values()).enumerate();
                counted.filter(|(_, (valid, count))| !valid && **count != 0).map(|(place, _)| place).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `partial`: of the same groups as `counts`; only `Count` has none.
    pub(super) fn apply(&self, partial: Option<ArrayRef>, counts: &Int64Array) -> Result<ArrayRef> {
        let Some(partial) = partial else { return Ok(Arc::new(counts.clone())) };
        Ok(match self {
            Finish::Count => Arc::new(counts.clone()),
            Finish::Extreme => partial,
            Finish::Value => null_without_values(partial, counts)?,
            Finish::FloatAverage => {
                let sums = partial.as_primitive::<Float64Type>().values();
                let average = |(sum, count): (&f64, &i64)| (*count != 0).then(|| sum / *count as f64);
                Arc::new(sums.iter().zip(counts.values()).map(average).collect::<Float64Array>())
            }
            Finish::DecimalSum(result) => decimal_sum(&partial, counts, result)?,
            Finish::DecimalAverage { digits, result } => decimal_average(&partial, counts, *digits, result)?,
            Finish::And => truth(&partial, counts, |trues, all| trues == all),
            Finish::Or => truth(&partial, counts, |trues, _| trues > 0),
            Finish::Moment(moment) => moments::finish(*moment, &partial),
            Finish::Unpack(column) => unpack(column, &partial)?,
            Finish::Recompute(..) => return Err(Error::internal("a general aggregate is computed from rows")),
        })
    }
}

fn truth(partial: &ArrayRef, counts: &Int64Array, test: impl Fn(i64, i64) -> bool) -> ArrayRef {
    let trues = partial.as_primitive::<Int64Type>().values();
    Arc::new(trues.iter().zip(counts.values()).map(|(trues, all)| (*all != 0).then(|| test(*trues, *all))).collect::<BooleanArray>())
}

fn null_without_values(partial: ArrayRef, counts: &Int64Array) -> Result<ArrayRef> {
    if counts.values().iter().all(|count| *count != 0) {
        return Ok(partial);
    }
    let nulls = counts.values().iter().map(|count| *count != 0).collect::<NullBuffer>();
    Ok(make_array(partial.into_data().into_builder().nulls(Some(nulls)).build()?))
}

/// Where the sum does not fit into its type a view has NULL.
fn decimal_sum(sums: &ArrayRef, counts: &Int64Array, result: &DataType) -> Result<ArrayRef> {
    let (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) = *result else { return Ok(Arc::clone(sums)) };
    let fitting = |(sum, count): (&i256, &i64)| {
        let sum = sum.to_i128().filter(|_| *count != 0)?;
        Decimal128Type::validate_decimal_precision(sum, precision, scale).is_ok().then_some(sum)
    };
    let sums = sums.as_primitive::<Decimal256Type>().values();
    primitive::<Decimal128Type>(sums.iter().zip(counts.values()).map(fitting), result)
}

/// Rounded half away from zero, as the `avg` of queries; where that overflows a view has NULL.
fn decimal_average(sums: &ArrayRef, counts: &Int64Array, digits: u32, result: &DataType) -> Result<ArrayRef> {
    let (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) = *result else {
        return null_without_values(Arc::clone(sums), counts);
    };
    if let Some(sums) = sums.as_primitive_opt::<Decimal128Type>() {
        let factor = 10_i128.wrapping_pow(digits);
        let average = |(sum, count): (&i128, &i64)| {
            let count = i128::from(*count);
            let average = match sum.checked_mul(factor) {
                Some(scaled) => {
                    let rest = scaled.checked_rem(count)?;
                    let away = rest.unsigned_abs() >= count.unsigned_abs() - rest.unsigned_abs();
                    scaled / count + if away { scaled.signum() * count.signum() } else { 0 }
                }
                // Sums of many large numbers.
                None => wide_average(i256::from_i128(*sum), digits, count)?.to_i128()?,
            };
            Decimal128Type::validate_decimal_precision(average, precision, scale).is_ok().then_some(average)
        };
        return primitive::<Decimal128Type>(sums.values().iter().zip(counts.values()).map(average), result);
    }
    let sums = sums.as_primitive::<Decimal256Type>();
    let average = |(sum, count): (&i256, &i64)| {
        let average = wide_average(*sum, digits, i128::from(*count))?;
        Decimal256Type::validate_decimal_precision(average, precision, scale).is_ok().then_some(average)
    };
    let averages = sums.values().iter().zip(counts.values()).map(average);
    match result {
        DataType::Decimal128(..) => primitive::<Decimal128Type>(averages.map(|average| average?.to_i128()), result),
        _ => primitive::<Decimal256Type>(averages, result),
    }
}

/// `sum * 10^digits / count`, rounded half away from zero.
fn wide_average(sum: i256, digits: u32, count: i128) -> Option<i256> {
    let count = i256::from_i128(count);
    let scaled = sum.checked_mul(i256::from_i128(10).checked_pow(digits)?)?;
    let (quotient, rest) = (scaled.checked_div(count)?, scaled.checked_rem(count)?);
    let (rest, distance) = (rest.wrapping_abs(), count.wrapping_abs());
    let away = rest >= distance.wrapping_sub(rest);
    if away { quotient.checked_add(scaled.signum().wrapping_mul(count.signum())) } else { Some(quotient) }
}

//! Functions whose result may be far larger than their arguments: a bound on it, known before it is made.
//!
//! Of constants the result would be made while a statement is planned, and kept in its plan: such a call is folded only if what comes out
//! is small. Else it is computed when the statement runs, where its bytes count against the memory of queries.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Int32Type};

use crate::error::{Error, Kind};
use crate::plan::errors::external;

/// Bytes of one value at the most, as in PostgreSQL; all values of a batch are in one array, to which the same holds.
const VALUE_BYTES_MAX: u128 = 1 << 30;

/// Bytes of a constant that is computed while a statement is planned: nobody waits for it, and a plan that keeps it stays small.
const FOLDED_BYTES_MAX: u128 = 64 << 10;

/// Bytes of a row's result that need no closer look when they are known for all rows: then even a large batch is far from the bound.
const HARMLESS_BYTES: u128 = 4 << 10;

/// Bytes of a batch's results that need no closer look.
const HARMLESS_BATCH_BYTES: u128 = 64 << 20;

/// Bytes that an element's text has at the most, beside those that it is kept in.
const ELEMENT_TEXT_BYTES: u128 = 64;

/// The functions, by their names, and how many bytes a call gives at the most.
const SIZED: &[(&str, Estimate)] = &[
    ("repeat", repeated),
    ("lpad", padded),
    ("rpad", padded),
    ("replace", replaced),
    ("range", series),
    ("array_repeat", array_repeated),
    ("array_resize", array_resized),
    ("array_fill", array_filled),
    ("array_to_string", array_joined),
];

type Estimate = fn(&[ScalarValue]) -> u128;

/// Says, among a planner's options, that constants are being folded.
#[derive(Clone, Debug)]
struct Folding;

/// Options with which constants are folded that are small.
pub(super) fn folding(options: &ConfigOptions) -> Arc<ConfigOptions> {
    let mut options = options.clone();
    options.extensions.insert(Folding);
    Arc::new(options)
}

/// What takes the place of these functions. `known`: one of them by its name.
pub(super) fn all(known: impl Fn(&str) -> Option<Arc<ScalarUDF>>, memory: &Arc<dyn MemoryPool>) -> Vec<Arc<ScalarUDF>> {
    let sized = SIZED.iter().filter_map(|(name, estimate)| {
        let inner = known(name)?;
        Some(Arc::new(ScalarUDF::from(Bounded { inner, estimate: *estimate, memory: Arc::clone(memory) })))
    });
    sized.collect()
}

/// A function that looks at its arguments first.
#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    estimate: Estimate,
    memory: Arc<dyn MemoryPool>,
}

impl Bounded {
    /// Refuses what would be too large.
    fn check(&self, args: &ScalarFunctionArgs) -> DataFusionResult<()> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        if !constant && self.is_harmless(&args.args) {
            return Ok(());
        }
        let mut bytes = 0_u128;
        for row in 0..rows {
            let values = args.args.iter().map(|arg| match arg {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(values) => ScalarValue::try_from_array(values, row),
            });
            let values = values.collect::<DataFusionResult<Vec<_>>>()?;
            if !values.iter().any(ScalarValue::is_null) {
                bytes = bytes.saturating_add((self.estimate)(&values));
            }
        }
        if bytes > VALUE_BYTES_MAX {
            let error = Error::new(Kind::LimitExceeded, "requested length too large");
            let error = error.detail(format!("{}() would give more than {} MiB at once.", self.inner.name(), VALUE_BYTES_MAX >> 20));
            return Err(external(error.hint("Split it into several.")));
        }
        if bytes > FOLDED_BYTES_MAX && args.config_options.extensions.get::<Folding>().is_some() {
            return Err(DataFusionError::Execution("too large a constant".to_owned()));
        }
        // Not held beyond the call: a look at whether there is room.
        MemoryConsumer::new(self.inner.name()).register(&self.memory).try_grow(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Whether the constants among the arguments bound the result, whatever the others are.
    fn is_harmless(&self, args: &[ColumnarValue]) -> bool {
        let constant = |index: usize| match args.get(index) {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        };
        match self.inner.name() {
            "lpad" | "rpad" => constant(1).is_some_and(|length| count(length).saturating_mul(4) <= HARMLESS_BYTES),
            "repeat" => constant(1).is_some_and(|times| count(times) <= 1),
            "array_to_string" => {
                let Some(ColumnarValue::Array(arrays)) = args.first() else { return false };
                let constants = args[1..].iter().enumerate().map(|(place, _)| constant(place + 1).map(text_bytes)).sum::<Option<u128>>();
                constants.is_some_and(|bytes| joined_bytes(arrays, bytes) <= HARMLESS_BATCH_BYTES)
            }
            "replace" => constant(1).zip(constant(2)).is_some_and(|(from, to)| text_bytes(to) <= text_bytes(from).max(1)),
            _ => false,
        }
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

/// All that is asked of the function is told by the one inside.
impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> DataFusionResult<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.check(&args)?;
        self.inner.inner().invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        self.inner.inner().simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.inner().short_circuits()
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> DataFusionResult<Interval> {
        self.inner.inner().evaluate_bounds(input)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> DataFusionResult<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.inner.inner().coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }
}

impl ExtensionOptions for Folding {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> DataFusionResult<()> {
        Err(DataFusionError::Configuration(format!("there is no option {key}")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

impl ConfigExtension for Folding {
    const PREFIX: &'static str = "tidemill_folding";
}

fn text_bytes(value: &ScalarValue) -> u128 {
    value.try_as_str().flatten().map_or(0, |text| text.len() as u128)
}

/// A whole number; 0 for what is less, or none.
fn count(value: &ScalarValue) -> u128 {
    number(value).and_then(|number| u128::try_from(number).ok()).unwrap_or(0)
}

fn number(value: &ScalarValue) -> Option<i128> {
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(number))) => Some(i128::from(number)),
        _ => None,
    }
}

fn repeated(args: &[ScalarValue]) -> u128 {
    text_bytes(&args[0]).saturating_mul(count(&args[1]))
}

/// The length is one of characters, each of four bytes at the most.
fn padded(args: &[ScalarValue]) -> u128 {
    let ascii = args.get(2).is_none_or(|fill| fill.try_as_str().flatten().is_some_and(str::is_ascii));
    count(&args[1]).saturating_mul(if ascii { 1 } else { 4 }).max(text_bytes(&args[0]).min(count(&args[1]).saturating_mul(4)))
}

fn replaced(args: &[ScalarValue]) -> u128 {
    let (text, from, to) = (text_bytes(&args[0]), text_bytes(&args[1]).max(1), text_bytes(&args[2]));
    text.saturating_add((text / from + 1).saturating_mul(to))
}

fn array_repeated(args: &[ScalarValue]) -> u128 {
    (args[0].size() as u128).saturating_mul(count(&args[1]))
}

fn array_resized(args: &[ScalarValue]) -> u128 {
    let element = args.get(2).map_or(8, |fill| fill.size() as u128);
    element.saturating_mul(count(&args[1])).saturating_add(args[0].size() as u128)
}

fn array_filled(args: &[ScalarValue]) -> u128 {
    let length = match &args[1] {
        ScalarValue::List(sizes) => sizes.values().as_primitive_opt::<Int32Type>().and_then(|sizes| sizes.iter().flatten().next()),
        _ => None,
    };
    (args[0].size() as u128).saturating_mul(u128::try_from(length.unwrap_or(0)).unwrap_or(0))
}

fn array_joined(args: &[ScalarValue]) -> u128 {
    match args[0].to_array() {
        Ok(array) => joined_bytes(&array, args[1..].iter().map(text_bytes).sum()),
        Err(_) => 0,
    }
}

/// Bytes of all elements' texts, those of arrays within arrays too, each with so many bytes more.
fn joined_bytes(arrays: &ArrayRef, each: u128) -> u128 {
    let mut elements = Arc::clone(arrays);
    while let Some(lists) = elements.as_list_opt::<i32>() {
        elements = Arc::clone(lists.values());
    }
    let bytes = elements.to_data().get_slice_memory_size().unwrap_or(usize::MAX) as u128;
    (elements.len() as u128).saturating_mul(each.saturating_add(ELEMENT_TEXT_BYTES)).saturating_add(bytes.saturating_mul(2))
}

/// Numbers or times from one to another in steps: eight bytes each.
fn series(args: &[ScalarValue]) -> u128 {
    let (first, last, step) = match args {
        [last] => (Some(0), point(last), Some(1)),
        [first, last] => (point(first), point(last), Some(1)),
        [first, last, step, ..] => (point(first), point(last), length(step)),
        [] => return 0,
    };
    match (first, last, step) {
        (Some(first), Some(last), Some(step)) if step != 0 => ((last - first).unsigned_abs() / step.unsigned_abs() + 1).saturating_mul(8),
        _ => 0,
    }
}

/// A place on the line of numbers, or of nanoseconds.
fn point(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Date32(Some(days)) => Some(i128::from(*days) * 86_400_000_000_000),
        ScalarValue::TimestampSecond(Some(time), _) => Some(i128::from(*time) * 1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(time), _) => Some(i128::from(*time) * 1_000_000),
        ScalarValue::TimestampMicrosecond(Some(time), _) => Some(i128::from(*time) * 1_000),
        ScalarValue::TimestampNanosecond(Some(time), _) => Some(i128::from(*time)),
        other => number(other),
    }
}

/// A step: a number, or an interval in nanoseconds whose months are short ones.
fn length(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(step)) => {
            let days = i128::from(step.months) * 28 + i128::from(step.days);
            Some(days * 86_400_000_000_000 + i128::from(step.nanoseconds))
        }
        other => number(other),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::{padded, repeated, replaced, series};

    fn text(text: &str) -> ScalarValue {
        ScalarValue::from(text)
    }

    #[test]
    fn results_are_measured_before_they_are_made() {
        let number = |number: i64| ScalarValue::from(number);
        assert_eq!(repeated(&[text("ab"), number(3)]), 6);
        assert_eq!(repeated(&[text("ab"), number(-3)]), 0);
        assert_eq!(padded(&[text("abc"), number(300_000_000)]), 300_000_000);
        assert_eq!(padded(&[text("abc"), number(10), text("ä")]), 40);
        assert!(replaced(&[text("aaaa"), text("a"), text("bb")]) >= 8);
        assert_eq!(series(&[number(1), number(300_000_000)]), 2_400_000_000);
        assert_eq!(series(&[number(10), number(1), number(-3)]), 32);
    }
}

//! Loops over the rows of a call: the arguments' columns are looked at once, then a closure sees one row's values at a time.
//!
//! A row with a NULL among its arguments gives NULL and is not looked at; functions that want it otherwise loop for themselves.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, ListArray, ListBuilder, StringArray, StringBuilder, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType, i256,
};

use super::call::Call;
use crate::error::{Error, Kind, Result};

/// A type of argument.
pub(super) trait Input {
    /// All rows.
    type Column<'a>;
    /// One row.
    type Value<'a>;

    fn column(array: &ArrayRef) -> Self::Column<'_>;
    fn value<'a: 'a>(column: &Self::Column<'a>, row: usize) -> Self::Value<'a>;
}

macro_rules! inputs {
    ($($(#[$doc:meta])* $name:ident: $column:ty => $value:ty, $open:expr, $get:expr;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl Input for $name {
            type Column<'a> = &'a $column;
            type Value<'a> = $value;

            fn column(array: &ArrayRef) -> &$column {
                let open: for<'a> fn(&'a ArrayRef) -> &'a $column = $open;
                open(array)
            }

            fn value<'a: 'a>(column: &&'a $column, row: usize) -> $value {
                let get: for<'b> fn(&'b $column, usize) -> $value = $get;
                get(column, row)
            }
        }
    )* };
}

inputs! {
    /// An integer of any width.
    Integer: Int64Array => i64, |array| array.as_primitive::<Int64Type>(), |column, row| column.value(row);
    /// A double.
    Float: Float64Array => f64, |array| array.as_primitive::<Float64Type>(), |column, row| column.value(row);
    /// A truth value.
    Boolean: BooleanArray => bool, |array| array.as_boolean(), |column, row| column.value(row);
    /// Days since 1970-01-01.
    Date: Date32Array => i32, |array| array.as_primitive::<Date32Type>(), |column, row| column.value(row);
    /// Microseconds since midnight.
    Time: Time64MicrosecondArray => i64, |array| array.as_primitive::<Time64MicrosecondType>(), |column, row| column.value(row);
    /// Microseconds since 1970-01-01 00:00.
    Timestamp: TimestampMicrosecondArray => i64, |array| array.as_primitive::<TimestampMicrosecondType>(), |column, row| column.value(row);
    /// Months, days, nanoseconds.
    Interval: IntervalMonthDayNanoArray => IntervalMonthDayNano, |array| array.as_primitive::<IntervalMonthDayNanoType>(), |column, row| column.value(row);
}

/// Characters.
pub(super) struct Text;

impl Input for Text {
    type Column<'a> = &'a StringArray;
    type Value<'a> = &'a str;

    fn column(array: &ArrayRef) -> &StringArray {
        array.as_string()
    }

    fn value<'a: 'a>(column: &&'a StringArray, row: usize) -> &'a str {
        column.value(row)
    }
}

/// Bytes.
pub(super) struct Bytes;

impl Input for Bytes {
    type Column<'a> = &'a BinaryArray;
    type Value<'a> = &'a [u8];

    fn column(array: &ArrayRef) -> &BinaryArray {
        array.as_binary()
    }

    fn value<'a: 'a>(column: &&'a BinaryArray, row: usize) -> &'a [u8] {
        column.value(row)
    }
}

/// An array's elements.
pub(super) struct List;

impl Input for List {
    type Column<'a> = &'a ListArray;
    type Value<'a> = ArrayRef;

    fn column(array: &ArrayRef) -> &ListArray {
        array.as_list()
    }

    fn value<'a: 'a>(column: &&'a ListArray, row: usize) -> ArrayRef {
        column.value(row)
    }
}

/// An array of texts.
pub(super) struct Texts;

impl Input for Texts {
    type Column<'a> = &'a ListArray;
    type Value<'a> = Vec<Option<String>>;

    fn column(array: &ArrayRef) -> &ListArray {
        array.as_list()
    }

    fn value<'a: 'a>(column: &&'a ListArray, row: usize) -> Vec<Option<String>> {
        column.value(row).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }
}

/// A numeric of any precision.
pub(super) struct Numeric;

/// An exact number: `units` times 10^-`scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) units: i256,
    pub(super) scale: i8,
}

/// A column of numerics.
pub(super) enum Decimals<'a> {
    Narrow(&'a Decimal128Array, i8),
    Wide(&'a Decimal256Array, i8),
}

impl Input for Numeric {
    type Column<'a> = Decimals<'a>;
    type Value<'a> = Decimal;

    fn column(array: &ArrayRef) -> Decimals<'_> {
        match array.data_type() {
            DataType::Decimal256(_, scale) => Decimals::Wide(array.as_primitive::<Decimal256Type>(), *scale),
            DataType::Decimal128(_, scale) => Decimals::Narrow(array.as_primitive::<Decimal128Type>(), *scale),
            other => panic!("{other} is no numeric"),
        }
    }

    fn value<'a: 'a>(column: &Decimals<'a>, row: usize) -> Decimal {
        match column {
            Decimals::Narrow(array, scale) => Decimal { units: i256::from_i128(array.value(row)), scale: *scale },
            Decimals::Wide(array, scale) => Decimal { units: array.value(row), scale: *scale },
        }
    }
}

/// A type of result.
pub(super) trait Output: Sized {
    /// The column of `values`; its type is that of `result`, or casts to it.
    fn array(values: Vec<Option<Self>>, result: &Field) -> Result<ArrayRef>;
}

/// A function may give NULL for a row.
impl<T: Output> Output for Option<T> {
    fn array(values: Vec<Option<Self>>, result: &Field) -> Result<ArrayRef> {
        T::array(values.into_iter().map(Option::flatten).collect(), result)
    }
}

impl Output for String {
    fn array(values: Vec<Option<Self>>, _result: &Field) -> Result<ArrayRef> {
        check_bytes(values.iter().flatten().map(String::len))?;
        Ok(Arc::new(StringArray::from_iter(values)))
    }
}

/// All values of a batch are in one array, whose places are of 31 bits.
fn check_bytes(mut lengths: impl Iterator<Item = usize>) -> Result<()> {
    let fits = lengths.try_fold(0_usize, |sum, length| sum.checked_add(length).filter(|sum| *sum <= i32::MAX as usize));
    fits.map(|_| ()).ok_or_else(too_long)
}

/// `54000`: a text that is longer than texts can be, or texts of one batch that are together.
pub(super) fn too_long() -> Error {
    Error::new(Kind::LimitExceeded, "requested length too large")
}

impl Output for Vec<u8> {
    fn array(values: Vec<Option<Self>>, _result: &Field) -> Result<ArrayRef> {
        check_bytes(values.iter().flatten().map(Vec::len))?;
        Ok(Arc::new(BinaryArray::from_iter(values)))
    }
}

impl Output for bool {
    fn array(values: Vec<Option<Self>>, _result: &Field) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::from(values)))
    }
}

impl Output for f64 {
    fn array(values: Vec<Option<Self>>, _result: &Field) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(values)))
    }
}

impl Output for i32 {
    fn array(values: Vec<Option<Self>>, result: &Field) -> Result<ArrayRef> {
        Ok(match result.data_type() {
            DataType::Date32 => Arc::new(Date32Array::from(values)),
            _ => Arc::new(Int32Array::from(values)),
        })
    }
}

impl Output for i64 {
    fn array(values: Vec<Option<Self>>, result: &Field) -> Result<ArrayRef> {
        Ok(match result.data_type() {
            DataType::Timestamp(..) => Arc::new(TimestampMicrosecondArray::from(values).with_data_type(result.data_type().clone())),
            DataType::Time64(_) => Arc::new(Time64MicrosecondArray::from(values)),
            DataType::Int16 | DataType::Int32 => super::math::narrowed(values, result.data_type())?,
            _ => Arc::new(Int64Array::from(values)),
        })
    }
}

impl Output for IntervalMonthDayNano {
    fn array(values: Vec<Option<Self>>, _result: &Field) -> Result<ArrayRef> {
        Ok(Arc::new(IntervalMonthDayNanoArray::from(values)))
    }
}

impl Output for Decimal {
    fn array(values: Vec<Option<Self>>, result: &Field) -> Result<ArrayRef> {
        super::numeric::column(&values, result.data_type())
    }
}

impl Output for Vec<Option<String>> {
    fn array(values: Vec<Option<Self>>, result: &Field) -> Result<ArrayRef> {
        let mut builder = ListBuilder::new(StringBuilder::new());
        if let DataType::List(field) = result.data_type() {
            builder = builder.with_field(Arc::clone(field));
        }
        for value in values {
            match value {
                Some(elements) => builder.append_value(elements),
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }
}

/// Whether all arguments of a row are there.
fn present(call: &Call<'_>, row: usize) -> bool {
    call.arguments.iter().all(|array| array.is_valid(row))
}

macro_rules! loops {
    ($($name:ident($($input:ident $column:ident $place:tt),*);)*) => { $(
        /// One result for each row without NULLs.
        pub(super) fn $name<$($input: Input,)* R: Output>(
            call: &Call<'_>,
            mut compute: impl for<'a> FnMut($($input::Value<'a>),*) -> Result<R>,
        ) -> Result<ArrayRef> {
            $(let $column = $input::column(&call.arguments[$place]);)*
            let mut values = Vec::with_capacity(call.rows);
            for row in 0..call.rows {
                values.push(if present(call, row) { Some(compute($($input::value(&$column, row)),*)?) } else { None });
            }
            R::array(values, call.result)
        }
    )* };
}

loops! {
    map1(A a 0);
    map2(A a 0, B b 1);
    map3(A a 0, B b 1, C c 2);
    map4(A a 0, B b 1, C c 2, D d 3);
    map5(A a 0, B b 1, C c 2, D d 3, E e 4);
    map6(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);
    map7(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6);
}

macro_rules! parts {
    ($($name:ident($($input:ident $column:ident $place:tt),*);)*) => { $(
        /// For each row without NULLs a part of its first argument, a text: nothing is copied but into the result.
        pub(super) fn $name<$($input: Input,)*>(
            call: &Call<'_>,
            mut compute: impl for<'t, 'a> FnMut(&'t str, $($input::Value<'a>),*) -> Result<&'t str>,
        ) -> Result<ArrayRef> {
            let texts = Text::column(&call.arguments[0]);
            $(let $column = $input::column(&call.arguments[$place]);)*
            let mut parts = StringBuilder::with_capacity(call.rows, 0);
            for row in 0..call.rows {
                if present(call, row) {
                    parts.append_value(compute(Text::value(&texts, row), $($input::value(&$column, row)),*)?);
                } else {
                    parts.append_null();
                }
            }
            Ok(Arc::new(parts.finish()))
        }
    )* };
}

parts! {
    part1();
    part2(B b 1);
    part3(B b 1, C c 2);
}

//! Floats have one form: -0.0 becomes 0.0, and every NaN the one NaN, where they could come in, so that all that reads floats agrees with what takes
//! them for equal.
//!
//! Keys, joins and retractions know only one zero and one NaN. If another came past them, `1 / x` and `x::text` would tell rows apart that are one
//! row to the state below: what is retracted would not be what was inserted. And the NaN of `Infinity - Infinity`, whose sign is set on some machines, would
//! be less than all numbers to Arrow's order, where PostgreSQL's NaN is greater. An array in this form is looked through and not copied.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::Changes;

/// The array with one zero and one NaN, also within lists and structs.
pub fn canonical_floats(array: ArrayRef) -> ArrayRef {
    changed(&array).unwrap_or(array)
}

/// 0.0 for -0.0, and `f64::NAN` for each NaN.
#[inline]
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

#[inline]
fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

impl Changes {
    /// The same rows with one zero and one NaN.
    #[must_use]
    pub fn canonical_floats(self) -> Self {
        if !self.schema().fields().iter().any(|field| may_hold(field.data_type())) {
            return self;
        }
        let (rows, weights) = self.into_parts();
        let columns = rows.columns().iter().map(|column| canonical_floats(Arc::clone(column))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(rows.schema(), columns, &options).expect("types and lengths are as they were");
        Changes::new(rows, weights)
    }
}

/// Whether a type has floats in it.
fn may_hold(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float32 | DataType::Float64 => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => {
            may_hold(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| may_hold(field.data_type())),
        _ => false,
    }
}

/// The array in the one form; `None` if it is so already.
fn changed(array: &ArrayRef) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::Float64 => each::<Float64Type>(array, |value| value.to_bits() != canonical_f64(value).to_bits(), canonical_f64),
        DataType::Float32 => each::<Float32Type>(array, |value| value.to_bits() != canonical_f32(value).to_bits(), canonical_f32),
        nested if may_hold(nested) => {
            let data = array.to_data();
            let mut any = false;
            let children = data.child_data().iter().map(|child| match changed(&make_array(child.clone())) {
                Some(array) => {
                    any = true;
                    array.to_data()
                }
                None => child.clone(),
            });
            let children = children.collect();
            any.then(|| make_array(data.into_builder().child_data(children).build().expect("types and lengths are as they were")))
        }
        _ => None,
    }
}

fn each<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    is_other: impl Fn(T::Native) -> bool,
    canonical: impl Fn(T::Native) -> T::Native,
) -> Option<ArrayRef> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    // All of them, without a branch: that is done for many at a time.
    let any = array.values().iter().fold(false, |any, value| any | is_other(*value));
    any.then(|| Arc::new(array.unary::<_, T>(canonical)) as ArrayRef)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, ListArray, StructArray};
    use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};

    use super::canonical_floats;

    #[test]
    fn a_negative_zero_and_the_sign_of_a_nan_go_wherever_they_lie() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(-1.5), Some(-f64::NAN)]));
        let one = canonical_floats(Arc::clone(&floats));
        assert_eq!(one.as_primitive::<Float64Type>().value(0).to_bits(), 0);
        assert!(one.is_null(1));
        assert_eq!(one.as_primitive::<Float64Type>().value(3).to_bits(), f64::NAN.to_bits());
        assert_eq!(one.as_primitive::<Float64Type>().value(2), -1.5);

        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(-f32::NAN), Some(-0.0)]), None]));
        let row: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(Field::new("l", list.data_type().clone(), true)), list)]));
        // Behind its first row, as a piece of a batch is.
        let one = canonical_floats(row.slice(0, 1));
        let list = Arc::clone(one.as_struct().column(0));
        let list = list.as_list::<i32>().value(0);
        let bits: Vec<u32> = list.as_primitive::<Float32Type>().values().iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [f32::NAN.to_bits(), 0]);
        assert_eq!(one.data_type(), row.data_type());
    }

    #[test]
    fn nothing_is_copied_without_need() {
        for array in
            [Arc::new(Float32Array::from(vec![0.0, -1.0, f32::NAN])) as ArrayRef, Arc::new(arrow::array::Int64Array::from(vec![0]))]
        {
            let one = canonical_floats(Arc::clone(&array));
            assert!(Arc::ptr_eq(&array, &one), "{}", array.data_type());
        }
        assert_eq!(canonical_floats(arrow::array::new_null_array(&DataType::Float64, 2)).null_count(), 2);
    }
}

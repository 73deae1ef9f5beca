//! `x < ANY (array)` and `x < ALL (array)`: with every operator that compares, and PostgreSQL's rule for NULLs.
//!
//! ANY is true if the comparison is true for an element, else NULL if it is NULL for one, else false; ALL the other way round. So over no
//! elements ANY is false and ALL is true.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::compute::kernels::comparison::{ilike, like, nilike, nlike};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr_common::datum::apply_cmp;

use crate::error::{Error, Kind};
use crate::plan::arrow_kinds::is_text;
use crate::plan::errors::external;
use crate::plan::functions::type_name;
use crate::plan::table_functions::{element_of, list_array};
use crate::types::{has_order_key, order_key, sql_type_of};

/// The name of the function behind ANY.
pub(super) const ANY: &str = "compare_any";

/// The name of the function behind ALL.
pub(super) const ALL: &str = "compare_all";

/// `compare_any(value, operator, array)`, or `compare_all`.
pub(super) fn compare(all: bool) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Compare { all, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Compare {
    all: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Compare {
    fn name(&self) -> &'static str {
        if self.all { ALL } else { ANY }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What does not fit stays as it is: `return_type` says why.
    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let [left, operator, right] = arguments else { return Ok(arguments.to_vec()) };
        let list = |element: DataType| DataType::List(Arc::new(Field::new_list_field(element, true)));
        let common = match element_of(right).map(|element| element.data_type()) {
            // A quoted string is read as a value of the array's type.
            Some(element) if left.is_null() || (is_text(left) && !is_text(element)) => element.clone(),
            Some(element) if element.is_null() => left.clone(),
            Some(element) => match comparison_coercion(left, element) {
                Some(common) => common,
                None => return Ok(arguments.to_vec()),
            },
            // As is a quoted array.
            None if is_text(right) || right.is_null() => left.clone(),
            None => return Ok(arguments.to_vec()),
        };
        // What the elements are said to be stays with them.
        let list = match element_of(right) {
            Some(element) if *element.data_type() == common && matches!(right, DataType::List(_)) => right.clone(),
            _ => list(common.clone()),
        };
        Ok(vec![common, operator.clone(), list])
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        match element_of(&arguments[2]) {
            Some(element) if *element.data_type() == arguments[0] => Ok(DataType::Boolean),
            Some(element) => Err(no_operator(&arguments[0], element.data_type())),
            None => Err(not_an_array()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(operator))) = &args.args[1] else {
            return Err(DataFusionError::Internal("an operator is a constant".into()));
        };
        let lists = list_array(&args.args[2].to_array(rows)?)?;
        let elements = elements_of(&lists);
        let owners = UInt32Array::from_iter_values(elements.rows.iter().map(|row| *row as u32));
        let values = take(&args.args[0].to_array(rows)?, &owners, None)?;
        let found = match element_of(lists.data_type()).map(|element| sql_type_of(element)) {
            Some(element) if has_order_key(&element) => {
                let key = |values: &ArrayRef| order_key(values, &element).map_err(external);
                compared(operator, &key(&values)?, &key(&elements.values)?)?
            }
            _ => compared(operator, &values, &elements.values)?,
        };
        Ok(ColumnarValue::Array(Arc::new(self.decided(&lists, &elements, &found))))
    }
}

impl Compare {
    /// One answer for each list from those for its elements.
    fn decided(&self, lists: &ListArray, elements: &Elements, found: &BooleanArray) -> BooleanArray {
        let mut answers: Vec<Option<bool>> = (0..lists.len()).map(|row| lists.is_valid(row).then_some(self.all)).collect();
        for (at, row) in elements.rows.iter().enumerate() {
            let answer = &mut answers[*row];
            if *answer == Some(!self.all) {
                continue;
            }
            match found.is_valid(at).then(|| found.value(at)) {
                Some(value) if value != self.all => *answer = Some(value),
                None => *answer = None,
                Some(_) => {}
            }
        }
        answers.into()
    }
}

/// The elements of lists, those of lists within them too.
struct Elements {
    values: ArrayRef,
    /// Which list each is of.
    rows: Vec<usize>,
}

fn elements_of(lists: &ListArray) -> Elements {
    let lengths = (0..lists.len()).map(|row| if lists.is_null(row) { 0 } else { lists.value_length(row) as usize });
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for (row, length) in lengths.enumerate() {
        let first = lists.value_offsets()[row] as u32;
        rows.extend(std::iter::repeat_n(row, length));
        places.extend(first..first + length as u32);
    }
    let values = take(lists.values(), &UInt32Array::from(places), None).expect("places within the list");
    Elements { values, rows }
}

fn compared(operator: &str, values: &ArrayRef, elements: &ArrayRef) -> DataFusionResult<BooleanArray> {
    let comparison = match operator {
        "=" => Operator::Eq,
        "<>" | "!=" => Operator::NotEq,
        "<" => Operator::Lt,
        "<=" => Operator::LtEq,
        ">" => Operator::Gt,
        ">=" => Operator::GtEq,
        _ => return matched(operator, values, elements),
    };
    let (left, right) = (ColumnarValue::Array(Arc::clone(values)), ColumnarValue::Array(Arc::clone(elements)));
    Ok(apply_cmp(comparison, &left, &right)?.into_array(values.len())?.as_boolean().clone())
}

fn matched(operator: &str, values: &ArrayRef, patterns: &ArrayRef) -> DataFusionResult<BooleanArray> {
    let (values, patterns) = (cast(values, &DataType::Utf8)?, cast(patterns, &DataType::Utf8)?);
    let (values, patterns) = (values.as_string::<i32>(), patterns.as_string::<i32>());
    Ok(match operator {
        "~~" => like(values, patterns)?,
        "~~*" => ilike(values, patterns)?,
        "!~~" => nlike(values, patterns)?,
        "!~~*" => nilike(values, patterns)?,
        other => {
            let error = Error::not_supported(format!("operator {other} with ANY or ALL is not supported"));
            return Err(external(error));
        }
    })
}

fn not_an_array() -> DataFusionError {
    external(Error::new(Kind::WrongObjectType, "op ANY/ALL (array) requires array on right side"))
}

fn no_operator(left: &DataType, right: &DataType) -> DataFusionError {
    let message = format!("operator does not exist: {} = {}", type_name(left), type_name(right));
    let hint = "No operator matches the given argument types. You might need to add explicit type casts.";
    external(Error::new(Kind::UndefinedFunction, message).hint(hint))
}

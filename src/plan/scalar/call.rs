//! A function of the tables as DataFusion calls it: finds the form by the types of the arguments, and runs its kernel.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::Function;
use super::form::{Form, Kind};
use crate::error::Result;
use crate::plan::arrow_kinds::one_value;
use crate::plan::errors::external;
use crate::plan::functions::undefined_function;
use crate::types::{SqlType, canonical_jsonb, sql_type_of};

/// The arguments of one call.
pub(super) struct Call<'a> {
    /// One array of `rows` values for each argument, of the types that the form wants.
    pub(super) arguments: &'a [ArrayRef],
    /// What SQL calls the arguments' types.
    pub(super) fields: &'a [FieldRef],
    pub(super) rows: usize,
    /// What the result must be.
    pub(super) result: &'a Field,
}

/// A function as DataFusion knows it.
#[derive(Debug)]
pub(super) struct Scalar {
    function: &'static Function,
    aliases: Vec<String>,
    signature: Signature,
}

impl Scalar {
    pub(super) fn new(function: &'static Function) -> Self {
        let aliases = function.aliases.iter().map(|alias| (*alias).to_owned()).collect();
        Scalar { function, aliases, signature: Signature::user_defined(function.volatility) }
    }

    /// The operator that stands for it.
    pub(super) fn operator(&self) -> Option<&'static str> {
        self.function.operator
    }

    /// The form that is nearest to the types, and the types that it wants.
    fn choose(&self, types: &[DataType]) -> DataFusionResult<(&'static Form, Vec<DataType>)> {
        let mut best: Option<(u32, &Form, Vec<DataType>)> = None;
        for form in self.function.forms.iter().filter(|form| form.kernel.is_some()) {
            if let Some((cost, wanted)) = form.accept(types)
                && best.as_ref().is_none_or(|(least, ..)| cost < *least)
            {
                best = Some((cost, form, wanted));
            }
        }
        let found = best.map(|(_, form, wanted)| (form, wanted));
        found.ok_or_else(|| external(undefined_function(self.function.name, types)))
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl Scalar {
    /// So many rows after each other: a long text that is the same in all rows is repeated for each, and one array holds 2 GiB of text at the most.
    fn in_parts(&self, args: &ScalarFunctionArgs, at_once: usize) -> DataFusionResult<ColumnarValue> {
        let mut parts = Vec::new();
        for start in (0..args.number_rows).step_by(at_once) {
            let rows = at_once.min(args.number_rows - start);
            let part = args.args.iter().map(|value| match value {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
                scalar => scalar.clone(),
            });
            let part = ScalarFunctionArgs { args: part.collect(), number_rows: rows, ..args.clone() };
            parts.push(self.invoke_with_args(part)?.into_array(rows)?);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// How many rows the longest text that is the same in all of them may be repeated for.
fn rows_at_once(arguments: &[ColumnarValue]) -> usize {
    let length = |value: &ColumnarValue| match value {
        ColumnarValue::Scalar(scalar) => scalar.try_as_str().flatten().map_or(0, str::len),
        ColumnarValue::Array(_) => 0,
    };
    let longest = arguments.iter().map(length).max().unwrap_or(0);
    (i32::MAX as usize / 2).checked_div(longest).map_or(usize::MAX, |rows| rows.max(1))
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.function.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.choose(types).map(|(_, wanted)| wanted)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        let fields: Vec<FieldRef> = types.iter().map(|data_type| Arc::new(Field::new("", data_type.clone(), true))).collect();
        let (form, _) = self.choose(types)?;
        Ok(form.field(self.function.name, &fields, &vec![None; types.len()]).data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let (form, _) = self.choose(&types)?;
        Ok(Arc::new(form.field(self.function.name, args.arg_fields, args.scalar_arguments)))
    }

    /// A cast has the name of what is cast, as DataFusion's own.
    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        match args {
            [only] if self.function.operator == Some("::") => Ok(only.schema_name().to_string()),
            _ => Ok(format!("{}({})", self.name(), args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(","))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let (form, wanted) = self.choose(&types)?;
        let volatile = self.signature.volatility == Volatility::Volatile;
        let constant = !volatile && args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let at_once = rows_at_once(&args.args);
        if rows > at_once {
            return self.in_parts(&args, at_once);
        }
        let arrays = args.args.iter().zip(&wanted).map(|(value, wanted)| {
            let array = value.to_array(rows)?;
            Ok(if array.data_type() == wanted { array } else { cast(&array, wanted)? })
        });
        let mut arrays = arrays.collect::<DataFusionResult<Vec<_>>>()?;
        for (place, array) in arrays.iter_mut().enumerate() {
            let marked = args.arg_fields.get(place).is_some_and(|field| matches!(sql_type_of(field), SqlType::Json | SqlType::Jsonb));
            if form.kind(place) == Some(Kind::Jsonb) && !marked {
                *array = canonical(array).map_err(external)?;
            }
        }
        let call = Call { arguments: &arrays, fields: &args.arg_fields, rows, result: &args.return_field };
        let kernel = form.kernel.expect("only forms with a kernel are chosen");
        let result = if rows == 0 { new_null_array(args.return_field.data_type(), 0) } else { kernel(&call).map_err(external)? };
        let result =
            if result.data_type() == args.return_field.data_type() { result } else { cast(&result, args.return_field.data_type())? };
        Ok(if constant { ColumnarValue::Scalar(one_value(&result)?) } else { ColumnarValue::Array(result) })
    }
}

/// Texts that are to be read as jsonb.
fn canonical(texts: &ArrayRef) -> Result<ArrayRef> {
    let texts = texts.as_string::<i32>().iter().map(|text| text.map(canonical_jsonb).transpose());
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

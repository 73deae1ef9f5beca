//! Scalar functions of our own that have no family, and the stand-in for functions that do not exist.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};

use super::foreign_functions;
use super::now::Now;
use super::proctime::Proctime;
use super::with_ties::WithTies;
use crate::error::{Error, Kind, Result};
use crate::plan::errors::external;
use crate::types::{SqlType, sql_type_of};

/// The functions that we add to DataFusion's.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = super::table_functions::all();
    functions.extend(super::arrays::all());
    functions.extend(super::choosing::all());
    functions.extend(super::time_windows::all());
    let own = [ScalarUDF::from(WithTies::new()), ScalarUDF::from(Proctime::new()), ScalarUDF::from(Now::new())];
    functions.extend(own.into_iter().chain(super::join_mark::all()).map(Arc::new));
    functions
}

/// Microseconds of an interval that always lasts equally long and longer than nothing: no months.
pub(super) fn fixed_micros(interval: &ScalarValue, what: &str) -> Result<i64> {
    let (months, micros) = match interval {
        ScalarValue::IntervalMonthDayNano(Some(value)) => {
            (value.months, i64::from(value.days).checked_mul(86_400_000_000).and_then(|days| days.checked_add(value.nanoseconds / 1_000)))
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            (0, Some(i64::from(value.days) * 86_400_000_000 + i64::from(value.milliseconds) * 1_000))
        }
        ScalarValue::IntervalYearMonth(Some(months)) => (*months, Some(0)),
        ScalarValue::DurationMicrosecond(Some(value)) => (0, Some(*value)),
        ScalarValue::DurationNanosecond(Some(value)) => (0, Some(value / 1_000)),
        _ => return Err(Error::new(Kind::InvalidParameter, format!("{what} must be an interval constant"))),
    };
    if months != 0 {
        return Err(Error::new(Kind::InvalidParameter, format!("{what} must not contain months or years"))
            .hint("Months differ in length; use days, or group by date_trunc('month', …)."));
    }
    match micros {
        Some(micros) if micros > 0 => Ok(micros),
        _ => Err(Error::new(Kind::InvalidParameter, format!("{what} must be greater than zero"))),
    }
}

/// `text` as a value of `varchar(length)`, or without the blanks at its end as one of `char(length)`; too long is `22001`.
pub(super) fn fit_text(text: Expr, length: u32, trim: bool) -> Expr {
    let function = Arc::new(ScalarUDF::from(FitText { signature: fit_signature() }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![text, lit(i64::from(length)), lit(trim)]))
}

/// `function name(types) does not exist`.
pub(super) fn undefined_function(name: &str, arguments: &[DataType]) -> Error {
    let types: Vec<String> = arguments.iter().map(type_name).collect();
    Error::new(Kind::UndefinedFunction, format!("function {name}({}) does not exist", types.join(", ")))
}

/// As `undefined_function`, of types as SQL knows them.
pub(super) fn undefined_function_of(name: &str, arguments: &[SqlType]) -> Error {
    let types: Vec<String> = arguments.iter().map(SqlType::to_string).collect();
    Error::new(Kind::UndefinedFunction, format!("function {name}({}) does not exist", types.join(", ")))
}

/// What SQL calls an Arrow type; an argument without any type is `unknown`.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "unknown".to_owned(),
        other => match sql_type_of(&Field::new("", other.clone(), true)) {
            SqlType::Numeric(..) => "numeric".to_owned(),
            sql_type => sql_type.to_string(),
        },
    }
}

/// A UDF whose call is a type error: it knows the types of its arguments, which the message needs.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct UnknownFunction {
    name: String,
    nearest: Option<String>,
    /// There is such a function, whose value depends on the session: here nobody asks.
    of_session: bool,
    signature: Signature,
}

impl UnknownFunction {
    /// Stands in for `name`; `nearest` is what was probably meant.
    pub(super) fn new(name: &str, nearest: Option<String>) -> Self {
        let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Immutable);
        UnknownFunction { name: name.to_owned(), nearest, of_session: false, signature }
    }

    /// Stands in for a function of a session, where there is none.
    pub(super) fn of_session(name: &str) -> Self {
        UnknownFunction { of_session: true, ..UnknownFunction::new(name, None) }
    }
}

impl ScalarUDFImpl for UnknownFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        if self.of_session {
            let message = format!("function {}() depends on the session that calls it, and cannot be part of what is kept", self.name);
            let hint = "Views, generated columns and defaults are the same for everyone: call it in the query that reads them.";
            return Err(external(Error::not_supported(message).hint(hint)));
        }
        if self.name.starts_with("jsonb_path_") {
            let error = Error::not_supported(format!("function {}() is not supported: there is no jsonpath", self.name));
            return Err(external(error.hint("Use ->, #> and jsonb_array_elements().")));
        }
        let error = undefined_function(&self.name, arguments);
        let hint = match (foreign_functions::hint(&self.name), &self.nearest) {
            (Some(hint), _) => hint.to_owned(),
            (None, Some(near)) => format!("Did you mean \"{near}\"?"),
            (None, None) => "No function matches the given name and argument types. You might need to add explicit type casts.".to_owned(),
        };
        Err(external(error.hint(hint)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(external(undefined_function(&self.name, &[])))
    }
}

/// The function behind `fit_text`: text, length, whether to take blanks off.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FitText {
    signature: Signature,
}

fn fit_signature() -> Signature {
    Signature::exact(vec![DataType::Utf8, DataType::Int64, DataType::Boolean], Volatility::Immutable)
}

impl ScalarUDFImpl for FitText {
    fn name(&self) -> &'static str {
        "fit_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let texts = args.args[0].to_array(args.number_rows)?;
        let (ColumnarValue::Scalar(ScalarValue::Int64(Some(length))), ColumnarValue::Scalar(ScalarValue::Boolean(Some(trim)))) =
            (&args.args[1], &args.args[2])
        else {
            return Err(DataFusionError::Internal("fit_text wants constants".into()));
        };
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        let fitted = texts.as_string::<i32>().iter().map(|text| text.map(|text| fit(text, length, *trim)).transpose());
        let fitted = fitted.collect::<Result<StringArray>>().map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(fitted)))
    }
}

/// As PostgreSQL does it: blanks too many at the end are cut, anything else too many is an error.
fn fit(text: &str, length: usize, trim: bool) -> Result<String> {
    let text = if trim { text.trim_end_matches(' ') } else { text };
    let characters = text.chars().count();
    if characters > length {
        let cut: String = text.chars().take(length).collect();
        if text[cut.len()..].chars().all(|character| character == ' ') {
            return Ok(cut);
        }
        let type_name =
            if trim { SqlType::Char(u32::try_from(length).unwrap_or(u32::MAX)) } else { SqlType::Varchar(u32::try_from(length).ok()) };
        return Err(Error::new(Kind::StringTooLong, format!("value too long for type {type_name}")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::fit;
    use crate::error::Kind;

    #[test]
    fn a_text_that_is_too_long_may_lose_blanks_only() {
        assert_eq!(fit("ab  ", 2, false).unwrap(), "ab");
        assert_eq!(fit("ä   ", 3, true).unwrap(), "ä");
        assert_eq!(fit("abc", 2, false).unwrap_err().kind(), Kind::StringTooLong);
    }
}

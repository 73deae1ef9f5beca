//! Window functions that DataFusion does not compute: over frames that leave rows out, and with arguments of the current row.
//!
//! ```text
//! sum(x) OVER (… EXCLUDE TIES)                 computed for each row from the rows of its frame that are left
//! lag(x, k, d), nth_value(x, k), ntile(k)      k and d are those of the current row, as in PostgreSQL
//! ```
//!
//! Such a call becomes one of a window function of ours while the plan is made; all else is left to DataFusion. What EXCLUDE says stands as a
//! call at the front of PARTITION BY (`sql/exclude.rs`). Functions that do not look at their frame do not care for it.

mod check;
mod evaluate;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawWindowExpr};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::COUNT_STAR_EXPANSION;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Expr, PartitionEvaluator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};

pub(super) use self::check::check;
use self::evaluate::{Calls, Excluding, Ntile, Shifted};
use super::errors::external;
use super::functions::undefined_function;
use super::names::hidden;
use crate::error::Error;
use crate::sql::EXCLUDE;

/// Rows that a frame leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exclusion {
    Nothing,
    /// The row itself.
    CurrentRow,
    /// The row and those that the order leaves equal to it.
    Group,
    /// Those that the order leaves equal to it, but not the row itself.
    Ties,
}

/// What is computed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Function {
    /// The value so many rows before, by the row's own count.
    Lag,
    /// The value so many rows behind.
    Lead,
    Ntile,
    First,
    Last,
    Nth,
    Aggregate(Arc<AggregateUDF>),
}

/// One of the functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RowWise {
    name: String,
    function: Function,
    exclusion: Exclusion,
    /// The last argument says which rows count.
    filtered: bool,
    distinct: bool,
    signature: Signature,
}

/// Puts our functions in the place of DataFusion's.
#[derive(Debug)]
pub(super) struct Frames;

/// The function behind an exclusion, by its name.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        ["current", "group", "ties"].map(|what| {
            let signature = Signature::nullary(Volatility::Immutable);
            Arc::new(ScalarUDF::from(Mark { name: format!("{EXCLUDE}{what}"), signature }))
        })
    });
    FUNCTIONS.iter().find(|function| function.name() == name).cloned()
}

/// Whether a call is one of ours, and then whether it needs the rows of its frame and no others.
pub(super) fn looks_at_frame(call: &WindowFunction) -> Option<bool> {
    row_wise(call).map(|own| !matches!(own.function, Function::Lag | Function::Lead | Function::Ntile))
}

/// What the call of a window function says of EXCLUDE, as SQL has it.
pub(super) fn exclusion_text(call: &WindowFunction) -> &'static str {
    match row_wise(call).map_or(Exclusion::Nothing, |own| own.exclusion) {
        Exclusion::Nothing => "",
        Exclusion::CurrentRow => " EXCLUDE CURRENT ROW",
        Exclusion::Group => " EXCLUDE GROUP",
        Exclusion::Ties => " EXCLUDE TIES",
    }
}

fn row_wise(call: &WindowFunction) -> Option<&RowWise> {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => function.inner().downcast_ref::<RowWise>(),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}

impl ExprPlanner for Frames {
    fn plan_window(&self, mut raw: RawWindowExpr) -> DataFusionResult<PlannerResult<RawWindowExpr>> {
        let exclusion = take_exclusion(&mut raw.partition_by);
        let Some(function) = own(&raw, exclusion) else { return Ok(PlannerResult::Original(raw)) };
        let RawWindowExpr { func_def, mut args, partition_by, order_by, window_frame, filter, null_treatment, distinct } = raw;
        if func_def.name() == "count" && is_star(&args) {
            args = vec![Expr::Literal(COUNT_STAR_EXPANSION, None)];
        }
        let filtered = filter.is_some();
        args.extend(filter.map(|filter| *filter));
        let signature = Signature::user_defined(Volatility::Immutable);
        let name = if exclusion == Exclusion::Nothing { func_def.name().to_owned() } else { hidden(func_def.name(), exclusion as usize) };
        let function = WindowUDF::from(RowWise { name, function, exclusion, filtered, distinct, signature });
        let fun = WindowFunctionDefinition::WindowUDF(Arc::new(function));
        let params = WindowFunctionParams { args, partition_by, order_by, window_frame, filter: None, null_treatment, distinct: false };
        Ok(PlannerResult::Planned(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))))
    }
}

/// Whether the arguments are those of `count(*)`.
#[expect(deprecated, reason = "so it comes from the parser")]
fn is_star(args: &[Expr]) -> bool {
    matches!(args, [] | [Expr::Wildcard { .. }])
}

/// Takes the call that means EXCLUDE off the front.
fn take_exclusion(partition_by: &mut Vec<Expr>) -> Exclusion {
    let Some(Expr::ScalarFunction(call)) = partition_by.first() else { return Exclusion::Nothing };
    let exclusion = match call.func.name().strip_prefix(EXCLUDE) {
        Some("current") => Exclusion::CurrentRow,
        Some("group") => Exclusion::Group,
        Some("ties") => Exclusion::Ties,
        _ => return Exclusion::Nothing,
    };
    partition_by.remove(0);
    exclusion
}

/// Our function for a call, where DataFusion has none.
fn own(raw: &RawWindowExpr, exclusion: Exclusion) -> Option<Function> {
    let varies = |expr: &Expr| !expr.column_refs().is_empty();
    let positive = |expr: Option<&Expr>| match expr {
        Some(Expr::Literal(value, _)) => matches!(value.cast_to(&DataType::Int64), Ok(ScalarValue::Int64(Some(1..)))),
        _ => false,
    };
    let excludes = exclusion != Exclusion::Nothing;
    let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
    let unknown = raw.args.iter().skip(1).any(varies) || raw.args.get(1).is_some_and(is_null);
    let shifts = unknown && raw.null_treatment != Some(NullTreatment::IgnoreNulls);
    match raw.func_def.name() {
        "lag" if shifts => Some(Function::Lag),
        "lead" if shifts => Some(Function::Lead),
        "ntile" if !positive(raw.args.first()) => Some(Function::Ntile),
        "nth_value" if excludes || !positive(raw.args.get(1)) => Some(Function::Nth),
        "first_value" if excludes => Some(Function::First),
        "last_value" if excludes => Some(Function::Last),
        _ => match &raw.func_def {
            WindowFunctionDefinition::AggregateUDF(function) if excludes => Some(Function::Aggregate(Arc::clone(function))),
            _ => None,
        },
    }
}

impl RowWise {
    /// The fields of the arguments without the filter.
    fn values<'f>(&self, fields: &'f [FieldRef]) -> &'f [FieldRef] {
        &fields[..fields.len() - usize::from(self.filtered && !fields.is_empty())]
    }

    /// Of what types the arguments must be; `None` if that cannot be.
    fn coerced(&self, types: &[DataType]) -> DataFusionResult<Option<Vec<DataType>>> {
        Ok(match (&self.function, types) {
            (Function::Lag | Function::Lead, [value, _]) | (Function::Nth, [value, _]) => Some(vec![value.clone(), DataType::Int64]),
            (Function::Lag | Function::Lead, [value, _, default]) => {
                let both = [value.clone(), default.clone()];
                type_union_resolution(&both).map(|common| vec![common.clone(), DataType::Int64, common])
            }
            (Function::Ntile, [_]) => Some(vec![DataType::Int64]),
            (Function::First | Function::Last, [value]) => Some(vec![value.clone()]),
            (Function::Aggregate(function), types) => {
                let fields: Vec<FieldRef> = types.iter().map(|data_type| Arc::new(Field::new("", data_type.clone(), true))).collect();
                let fields = fields_with_udf(&fields, function.as_ref())?;
                Some(fields.iter().map(|field| field.data_type().clone()).collect())
            }
            _ => None,
        })
    }
}

impl WindowUDFImpl for RowWise {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let values = &types[..types.len() - usize::from(self.filtered)];
        let coerced = self.coerced(values)?;
        let mut coerced = coerced.ok_or_else(|| external(undefined_function(super::names::visible(&self.name), values)))?;
        coerced.extend(self.filtered.then_some(DataType::Boolean));
        Ok(coerced)
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        let fields = self.values(args.input_fields());
        let result = match &self.function {
            Function::Ntile => Arc::new(Field::new("", DataType::Int32, true)),
            Function::Aggregate(function) => function.return_field(fields)?,
            _ => Arc::clone(fields.first().ok_or_else(|| external(Error::internal("a window function without arguments")))?),
        };
        Ok(Arc::new(result.as_ref().clone().with_name(args.name()).with_nullable(true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        match &self.function {
            Function::Lag => return Ok(Box::new(Shifted { ahead: false })),
            Function::Lead => return Ok(Box::new(Shifted { ahead: true })),
            Function::Ntile => return Ok(Box::new(Ntile)),
            Function::First | Function::Last | Function::Nth | Function::Aggregate(_) => {}
        }
        let arguments = args.input_exprs().len();
        let picked = |place| Calls::Picked { place, ignores_nulls: args.ignore_nulls() };
        let calls = match &self.function {
            Function::First => picked(evaluate::Pick::First),
            Function::Last => picked(evaluate::Pick::Last),
            Function::Aggregate(function) => {
                let values = arguments - usize::from(self.filtered);
                Calls::aggregate(function, &args.input_exprs()[..values], &args.input_fields()[..values], self.distinct)?
            }
            _ => picked(evaluate::Pick::Nth),
        };
        Ok(Box::new(Excluding::new(calls, self.exclusion, arguments, self.filtered)))
    }
}

/// The call that stands for EXCLUDE. It is gone before anything is computed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }
}

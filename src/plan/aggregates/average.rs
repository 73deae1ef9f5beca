//! `avg`: of integers and numerics it is a numeric with at least 16 digits behind the point, rounded, as in PostgreSQL; of all else DataFusion's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility};

use super::exact::{self, Exact};
use super::intervals::{self, INTERVAL};
use super::sum::{BIGINT, is_interval};
use crate::plan::scalar::{QUOTIENT_SCALE, mean};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Average {
    inner: Arc<AggregateUDF>,
    aliases: Vec<String>,
    signature: Signature,
}

impl Average {
    pub(super) fn new() -> Self {
        Average { inner: avg_udaf(), aliases: vec!["mean".to_owned()], signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// A column of a type.
pub(super) fn field(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new("", data_type.clone(), true))
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &'static str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [only] if only.is_integer() => Ok(vec![BIGINT]),
            [DataType::Interval(_)] => Ok(vec![INTERVAL]),
            _ => {
                let fields: Vec<FieldRef> = types.iter().map(field).collect();
                Ok(fields_with_udf(&fields, self.inner.as_ref())?.iter().map(|field| field.data_type().clone()).collect())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Decimal128(_, scale)] => Ok(DataType::Decimal128(38, (*scale).max(QUOTIENT_SCALE))),
            [DataType::Decimal256(_, scale)] => Ok(DataType::Decimal256(76, (*scale).max(QUOTIENT_SCALE))),
            [DataType::Interval(_)] => Ok(INTERVAL),
            _ => self.inner.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if let Some(sums) = intervals::accumulator(&args, true) {
            return sums;
        }
        match exact(&args) {
            Some(exact) => Ok(exact.accumulator(args.is_distinct)),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if let Some(fields) = intervals::state_fields(&args) {
            return Ok(fields);
        }
        let input = args.input_fields[0].data_type();
        if !input.is_decimal() {
            return self.inner.state_fields(args);
        }
        Ok(exact::state_fields(&args))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        if exact(&args).is_some() { !args.is_distinct } else { !is_interval(&args) && self.inner.groups_accumulator_supported(args) }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match exact(&args) {
            Some(exact) => Ok(exact.groups_accumulator()),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match exact(&args) {
            Some(_) => self.accumulator(args),
            None if is_interval(&args) => self.accumulator(args),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// `None`: the argument is no decimal.
fn exact(args: &AccumulatorArgs<'_>) -> Option<Exact> {
    args.expr_fields.first()?.data_type().is_decimal().then(|| Exact::of(args, mean))?
}

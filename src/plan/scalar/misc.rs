//! Functions of values of any type, and how they become text.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::Field;
use chrono_tz::Tz;

use super::call::Call;
use super::{Function, function};
use crate::error::{Error, Kind, Result};
use crate::types::{SqlType, TextColumn, TextStyle, canonical, sql_type_of};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function("coalesce", "the first argument that is not NULL", "coalesce(NULL, 2, 3)", "2").known("any… -> any"),
        function("nullif", "NULL if both are equal, else the first", "nullif(5, 5)", "NULL").known("any, any -> any"),
        function("greatest", "the greatest argument; NULLs are left out", "greatest(1, NULL, 3)", "3").known("any… -> any"),
        function("least", "the least argument; NULLs are left out", "least(2, NULL, 1)", "1").known("any… -> any"),
        function("num_nulls", "how many arguments are NULL", "num_nulls(1, NULL, 2)", "1")
            .form("any… -> integer", |call| Ok(nulls(call, true))),
        function("num_nonnulls", "how many arguments are not NULL", "num_nonnulls(1, NULL, 2)", "2")
            .form("any… -> integer", |call| Ok(nulls(call, false))),
        function("text_output", "behind casts to text", "1e20::double precision::text", "1e+20")
            .operator("::text")
            .form("any -> text", |call| {
                let column = Printed::new(&call.arguments[0], &call.fields[0])?;
                let text = |row| (!column.is_null(row)).then(|| column.text(row));
                Ok(Arc::new((0..call.rows).map(text).collect::<StringArray>()))
            })
            .form("timestamptz, text -> text", output_in_zone),
        function("pg_typeof", "the name of an argument's type", "pg_typeof(1.5)", "numeric").form("any -> text", type_of),
        function("gen_random_uuid", "another UUID each time; not in a view", "length(gen_random_uuid()::text)", "36")
            .form("-> uuid", |call| Ok(Arc::new(StringArray::from_iter_values((0..call.rows).map(|_| uuid::Uuid::new_v4().to_string())))))
            .volatile(),
        function(
            "clock_timestamp",
            "the time of the moment in which it is asked for; not in a view",
            "clock_timestamp() > TIMESTAMPTZ '2020-01-01 00:00:00+00'",
            "t",
        )
        .form("-> timestamptz", |call| {
            let now = chrono::Utc::now().timestamp_micros();
            <i64 as super::column::Output>::array(vec![Some(now); call.rows], call.result)
        })
        .volatile(),
    ]
}

/// An instant's text in a zone, which is the same for all rows.
fn output_in_zone(call: &Call<'_>) -> Result<ArrayRef> {
    let zones = call.arguments[1].as_string::<i32>();
    let name = zones.iter().flatten().next().unwrap_or("UTC");
    let time_zone = Tz::from_str(name.trim_start_matches(':'))
        .map_err(|_| Error::new(Kind::InvalidParameter, format!("time zone \"{name}\" not recognized")))?;
    let style = TextStyle { time_zone, ..TextStyle::default() };
    let column = TextColumn::new(&call.arguments[0], &SqlType::Timestamptz)?;
    let text = |row| {
        let present = call.arguments[0].is_valid(row) && zones.is_valid(row);
        present.then(|| {
            let mut text = String::new();
            column.write(row, &style, &mut text);
            text
        })
    };
    Ok(Arc::new((0..call.rows).map(text).collect::<StringArray>()))
}

fn nulls(call: &Call<'_>, wanted: bool) -> ArrayRef {
    let counts = (0..call.rows).map(|row| super::text::count(call.arguments.iter().filter(|array| array.is_null(row) == wanted).count()));
    Arc::new(Int32Array::from_iter_values(counts))
}

fn type_of(call: &Call<'_>) -> Result<ArrayRef> {
    let name = match (call.fields[0].data_type().is_null(), sql_type_of(&call.fields[0])) {
        (true, _) => "unknown".to_owned(),
        (false, SqlType::Numeric(..)) => "numeric".to_owned(),
        (false, SqlType::Varchar(_)) => "character varying".to_owned(),
        (false, SqlType::Char(_)) => "character".to_owned(),
        (false, other) => other.to_string(),
    };
    Ok(Arc::new(StringArray::from(vec![name; call.rows])))
}

/// A column whose values are printed as clients see them.
pub(super) struct Printed {
    array: ArrayRef,
    sql_type: SqlType,
}

impl Printed {
    /// `field` says what SQL calls the values.
    pub(super) fn new(array: &ArrayRef, field: &Field) -> Result<Self> {
        // The array may have been cast since the field was made; its own type decides, the mark in the field helps.
        let field = field.clone().with_data_type(array.data_type().clone());
        let sql_type = sql_type_of(&field);
        let array = canonical(array, &sql_type)?;
        TextColumn::new(&array, &sql_type)?;
        Ok(Printed { array, sql_type })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Nothing for NULL.
    pub(super) fn text(&self, row: usize) -> String {
        let mut text = String::new();
        let column = TextColumn::new(&self.array, &self.sql_type).expect("checked when it was opened");
        column.write(row, &TextStyle::default(), &mut text);
        text
    }
}

//! Every example of the tables, the documentation made of them, and odd values for every function.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};

use super::form::Kind;
use super::{FUNCTIONS, Function, OURS, docs};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::plan::{NoSystemRelations, Planner, PlannerOptions, Scope, parse_query};
use crate::types::{SqlType, TextColumn, TextStyle, canonical, parse_column, sql_type_of};

fn planner() -> Planner {
    Planner::new(&PlannerOptions::default()).unwrap()
}

/// The only value of a query, printed.
async fn answer(planner: &Planner, sql: &str) -> Result<String> {
    let catalog = Catalog::new([]);
    let scope = Scope { catalog: &catalog, search_path: &[], relations: &NoSystemRelations, text: sql };
    let bound = planner.query(&parse_query(sql)?, &scope, &[])?;
    let plan = planner.physical(&planner.optimize(bound.plan.clone(), 1_700_000_000_000_000)?).await?;
    let mut rows = planner.execute(plan)?;
    let batch: RecordBatch =
        futures::StreamExt::next(&mut rows).await.expect("one row").map_err(|error| crate::plan::from_datafusion(error, sql))?;
    let sql_type = sql_type_of(bound.schema.field(0));
    Ok(printed(batch.column(0), &sql_type, 0))
}

fn printed(array: &ArrayRef, sql_type: &SqlType, row: usize) -> String {
    let array = canonical(array, sql_type).unwrap();
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    let mut text = String::new();
    TextColumn::new(&array, sql_type).unwrap().write(row, &TextStyle::default(), &mut text);
    text
}

#[tokio::test]
async fn every_example_is_true() {
    let planner = planner();
    let mut wrong = Vec::new();
    for function in FUNCTIONS.iter() {
        for (sql, expected) in &function.examples {
            let found = answer(&planner, &format!("SELECT {sql}")).await.unwrap_or_else(|error| format!("{error}"));
            if found != *expected {
                wrong.push(format!("{}: {sql}\n  expected {expected}\n  found    {found}", function.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_documentation_is_that_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/functions.md");
    let wanted = docs::markdown();
    if std::env::var_os("TIDEMILL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/functions.md is not that of the tables: run `make docs`");
}

#[test]
fn every_name_is_declared_once() {
    let mut names: Vec<&str> =
        FUNCTIONS.iter().flat_map(|function| std::iter::once(&function.name).chain(function.aliases)).copied().collect();
    names.sort_unstable();
    let twice: Vec<&[&str]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Texts of values that are easily forgotten.
#[expect(clippy::too_many_lines, reason = "a table")]
fn odd(kind: Kind) -> (SqlType, Vec<Option<&'static str>>) {
    let (sql_type, texts): (SqlType, &[&str]) = match kind {
        Kind::Boolean => (SqlType::Bool, &["t", "f"]),
        Kind::Integer => (SqlType::Int8, &["0", "1", "-1", "7", "2147483648", "-9223372036854775808", "9223372036854775807"]),
        Kind::SameInteger => (SqlType::Int4, &["0", "1", "-1", "2147483647", "-2147483648"]),
        Kind::Float => {
            (SqlType::Float8, &["0", "-0", "1", "-1.5", "0.5", "NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e-308", "1e16"])
        }
        Kind::Numeric => (
            SqlType::Numeric(38, 10),
            &["0", "1", "-1.5", "0.0000000001", "9999999999999999999999999999", "-9999999999999999999999999999.9999999999"],
        ),
        Kind::Text | Kind::Any => (
            SqlType::Text,
            &[
                "",
                "a",
                "äöü€😀",
                "%",
                "\\",
                "(",
                "[",
                "a{",
                "{a,b}",
                "1",
                "{\"a\": [1, {\"b\": null}]}",
                "[1, \"x\"]",
                "null",
                "Europe/Vienna",
                "month",
                "epoch",
                "hex",
                "base64",
                "YYYY-MM-DD HH24:MI:SS.US TZH",
                "FM999,990.00",
                "S9",
                "99PR",
                "RN",
                "9V9",
                "9.99EEEE",
                "%s %1$I %L",
                "%",
                "%5$s",
                "2024-02-29",
            ],
        ),
        Kind::Bytea => (SqlType::Bytea, &["", "\\x00", "\\xff00ff", "abc"]),
        Kind::Date => {
            (SqlType::Date, &["1970-01-01", "2024-02-29", "0001-01-01", "0001-12-31 BC", "9999-12-31", "4713-01-01 BC", "200000-01-01"])
        }
        Kind::Time => (SqlType::Time, &["00:00", "23:59:59.999999"]),
        Kind::Timestamp | Kind::Timestamptz => (
            if kind == Kind::Timestamp { SqlType::Timestamp } else { SqlType::Timestamptz },
            &["1970-01-01", "2024-02-29 23:59:59.999999", "0001-01-01", "4713-01-01 BC", "200000-12-31 23:59:59", "1969-12-31 23:59:59.5"],
        ),
        Kind::Interval => (
            SqlType::Interval,
            &["0", "1 mon", "-1 mon 1 day", "1 day -1 hour", "178000000 years", "-2147483648 days", "2500000 hours", "0.000001 s"],
        ),
        Kind::Jsonb => (
            SqlType::Text,
            &[
                "null",
                "1",
                "\"a\"",
                "[]",
                "{}",
                "[1, [2], {\"a\": null}]",
                "{\"a\": {\"b\": [1, 2]}, \"c\": \"x\"}",
                "nonsense",
                "",
                "1e999999",
            ],
        ),
        Kind::Uuid => (SqlType::Uuid, &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        Kind::Array | Kind::Texts => (SqlType::Array(Box::new(SqlType::Text)), &["{}", "{NULL}", "{a,b,NULL,a}", "{0,-1,5}", "{\"\"}"]),
        Kind::Floats => (SqlType::Array(Box::new(SqlType::Float8)), &["{}", "{1,2,3}", "{NaN,-Infinity}", "{NULL}"]),
        Kind::Integers => (SqlType::Array(Box::new(SqlType::Int4)), &["{}", "{3}", "{-1}", "{2147483647}", "{NULL}", "{1,2}"]),
    };
    (sql_type, std::iter::once(None).chain(texts.iter().map(|text| Some(*text))).collect())
}

/// Calls a function on one row; its failure is an answer too.
fn invoke(function: &'static Function, arguments: &[(ArrayRef, Arc<Field>)], rows: usize) {
    let udf = &OURS[function.name];
    let fields: Vec<Arc<Field>> = arguments.iter().map(|(_, field)| Arc::clone(field)).collect();
    let Ok(return_field) = udf.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &vec![None; fields.len()] })
    else {
        return;
    };
    let args = arguments.iter().map(|(array, _)| ColumnarValue::Array(Arc::clone(array))).collect();
    let args = ScalarFunctionArgs {
        args,
        arg_fields: fields,
        number_rows: rows,
        return_field: Arc::clone(&return_field),
        config_options: Arc::new(ConfigOptions::default()),
    };
    if let Ok(result) = udf.invoke_with_args(args) {
        let array = result.into_array(rows).unwrap();
        assert_eq!(array.len(), rows, "{}", function.name);
        // What comes out can be printed.
        for row in 0..rows {
            printed(&array, &sql_type_of(&return_field), row);
        }
    }
}

/// Combinations that are tried of one form: all of short forms, a share of long ones.
const COMBINATIONS_MAX: usize = 3_000;

#[test]
fn no_value_makes_a_function_panic() {
    for function in FUNCTIONS.iter().filter(|function| function.is_ours()) {
        for form in function.forms.iter().filter(|form| form.kernel.is_some()) {
            let columns: Vec<(SqlType, Vec<Option<&str>>)> = form.arguments.iter().map(|kind| odd(*kind)).collect();
            let all: usize = columns.iter().map(|(_, texts)| texts.len()).product();
            let step = (all / COMBINATIONS_MAX).max(1) | 1;
            for combination in (0..all).step_by(step) {
                let mut rest = combination;
                let arguments: Vec<(ArrayRef, Arc<Field>)> = columns
                    .iter()
                    .map(|(sql_type, texts)| {
                        let text = texts[rest % texts.len()];
                        rest /= texts.len();
                        (parse_column(sql_type, [text]).unwrap(), Arc::new(sql_type.field("x", true)))
                    })
                    .collect();
                invoke(function, &arguments, 1);
            }
            // Nothing but NULLs, of no type at all, and no rows.
            let nulls: Vec<_> =
                columns.iter().map(|_| (new_null_array(&DataType::Null, 2), Arc::new(Field::new("x", DataType::Null, true)))).collect();
            invoke(function, &nulls, 2);
            let none: Vec<_> =
                columns.iter().map(|(sql_type, _)| (parse_column(sql_type, []).unwrap(), Arc::new(sql_type.field("x", true)))).collect();
            invoke(function, &none, 0);
        }
    }
}

#[test]
fn a_view_computes_with_the_same_kernels() {
    let catalog = Catalog::new([]);
    let planner = planner();
    let sql = "SELECT to_char(x, 'FM000') FROM (VALUES (1), (2)) AS v (x)";
    let scope = Scope { catalog: &catalog, search_path: &[], relations: &NoSystemRelations, text: sql };
    let bound = planner.query(&parse_query(sql).unwrap(), &scope, &[]).unwrap();
    assert!(planner.view(&bound, &catalog).is_ok());
}

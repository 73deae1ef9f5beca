//! What a declaration of a system relation is, and how it becomes a batch.
//!
//! A declaration names the columns once, as `name type` separated by commas; `!` behind a type means that it is never NULL.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use super::facts::Facts;
use super::value::{Value, array_of};
use crate::error::Result;
use crate::types::{ObjectId, SqlType};

/// One system relation.
#[derive(Clone, Copy)]
pub struct Declared {
    /// `pg_catalog`, `information_schema` or `tidemill`.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its number: PostgreSQL's where it has one.
    pub oid: ObjectId,
    /// `r`: PostgreSQL has a table of this name; `v`: a view.
    pub kind: char,
    /// See the file's header.
    pub columns: &'static str,
    /// Adds the rows. `None`: the relation is there, with its columns, so that clients' queries run, but never has any rows.
    pub rows: Option<fn(&Facts, &mut Rows)>,
}

/// A column of a system relation.
#[derive(Clone, Debug)]
pub struct DeclaredColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub sql_type: SqlType,
    /// Never NULL.
    pub not_null: bool,
}

/// The rows of one system relation, as they are put together.
pub struct Rows {
    columns: Vec<DeclaredColumn>,
    /// One vector per column.
    values: Vec<Vec<Value>>,
    count: usize,
}

impl Declared {
    /// Its columns, in order.
    pub fn columns(&self) -> Vec<DeclaredColumn> {
        let columns = self.columns.split(',').map(|column| {
            let (name, sql_type) = column.trim().split_once(' ').expect("a declaration says name and type");
            let not_null = sql_type.ends_with('!');
            DeclaredColumn { name, sql_type: type_named(sql_type.trim_end_matches('!').trim()), not_null }
        });
        columns.collect()
    }

    /// Its columns as Arrow has them.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns().into_iter().map(|column| column.sql_type.field(column.name, !column.not_null));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Its rows.
    pub fn batch(&self, facts: &Facts) -> Result<RecordBatch> {
        let columns = self.columns();
        let values = vec![Vec::new(); columns.len()];
        let mut rows = Rows { columns, values, count: 0 };
        if let Some(add) = self.rows {
            add(facts, &mut rows);
        }
        let arrays = rows.columns.iter().zip(&rows.values).map(|(column, values)| array_of(&column.sql_type, values));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.count));
        Ok(RecordBatch::try_new_with_options(self.arrow_schema(), arrays.collect::<Result<Vec<_>>>()?, &options)?)
    }
}

impl Rows {
    /// Adds a row. Columns that are not named are NULL, or zero, false or empty where NULL is not allowed.
    pub(super) fn push<const N: usize>(&mut self, row: [(&str, Value); N]) {
        for (column, values) in self.columns.iter().zip(&mut self.values) {
            values.push(if column.not_null { Value::zero(&column.sql_type) } else { Value::Null });
        }
        self.count += 1;
        for (name, value) in row {
            let position = self.columns.iter().position(|column| column.name == name);
            debug_assert!(position.is_some(), "no column {name} is declared");
            if let Some(position) = position
                && let Some(place) = self.values[position].last_mut()
                && (value != Value::Null || !self.columns[position].not_null)
            {
                *place = value;
            }
        }
    }
}

/// The type that a declaration names.
fn type_named(name: &str) -> SqlType {
    if let Some(element) = name.strip_suffix("[]") {
        return SqlType::Array(Box::new(type_named(element)));
    }
    match name {
        "oid" => SqlType::Oid,
        "name" => SqlType::Name,
        "char" => SqlType::CatalogChar,
        "bool" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" => SqlType::Int8,
        "float4" => SqlType::Float4,
        "float8" => SqlType::Float8,
        "timestamptz" => SqlType::Timestamptz,
        "bytea" => SqlType::Bytea,
        _ => SqlType::Text,
    }
}

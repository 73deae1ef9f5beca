//! Values as JSON, as PostgreSQL's `to_json` and `to_jsonb` write them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Field, Float32Type, Float64Type};

use crate::error::Result;
use crate::types::{SqlType, TextColumn, TextStyle, canonical, canonical_jsonb, sql_type_of};

/// A column whose values are to be written.
pub(in crate::plan) struct Column {
    array: ArrayRef,
    sql_type: SqlType,
    /// As `jsonb` spaces it.
    binary: bool,
}

impl Column {
    /// `field` says what the array's values are called in SQL.
    pub(in crate::plan) fn new(array: &ArrayRef, field: &Field, binary: bool) -> Result<Self> {
        Column::of_type(array, sql_type_of(field), binary)
    }

    fn of_type(array: &ArrayRef, sql_type: SqlType, binary: bool) -> Result<Self> {
        Ok(Column { array: canonical(array, &sql_type)?, sql_type, binary })
    }

    /// Appends one value.
    pub(in crate::plan) fn write(&self, row: usize, text: &mut String) -> Result<()> {
        if self.array.is_null(row) {
            text.push_str("null");
            return Ok(());
        }
        if self.binary && matches!(self.sql_type, SqlType::Json | SqlType::Struct(_) | SqlType::Float4 | SqlType::Float8) {
            let plain = Column { array: Arc::clone(&self.array), sql_type: self.sql_type.clone(), binary: false };
            let mut written = String::new();
            plain.write(row, &mut written)?;
            text.push_str(&canonical_jsonb(&written)?);
            return Ok(());
        }
        match &self.sql_type {
            SqlType::Bool => text.push_str(if self.array.as_boolean().value(row) { "true" } else { "false" }),
            SqlType::Array(element) => return self.write_list(row, element, text),
            SqlType::Struct(fields) => return self.write_struct(row, fields, text),
            SqlType::Timestamp | SqlType::Timestamptz => {
                let mut written = self.text(row)?.replacen(' ', "T", 1);
                if self.sql_type == SqlType::Timestamptz {
                    // The text form is in UTC and says so in hours alone.
                    written.push_str(":00");
                }
                quote(&written, text);
            }
            _ if self.is_bare(row) => text.push_str(&self.text(row)?),
            _ => quote(&self.text(row)?, text),
        }
        Ok(())
    }

    /// Whether the text stands in JSON without quotes.
    fn is_bare(&self, row: usize) -> bool {
        match self.sql_type {
            SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(..) | SqlType::Oid | SqlType::Json | SqlType::Jsonb => true,
            SqlType::Float4 => self.array.as_primitive::<Float32Type>().value(row).is_finite(),
            SqlType::Float8 => self.array.as_primitive::<Float64Type>().value(row).is_finite(),
            _ => false,
        }
    }

    fn text(&self, row: usize) -> Result<String> {
        let mut text = String::new();
        TextColumn::new(&self.array, &self.sql_type)?.write(row, &TextStyle::default(), &mut text);
        Ok(text)
    }

    fn write_list(&self, row: usize, element: &SqlType, text: &mut String) -> Result<()> {
        let elements = Column::of_type(&self.array.as_list::<i32>().value(row), element.clone(), self.binary)?;
        text.push('[');
        for place in 0..elements.array.len() {
            text.push_str(self.separator(place));
            elements.write(place, text)?;
        }
        text.push(']');
        Ok(())
    }

    fn write_struct(&self, row: usize, fields: &[(String, SqlType)], text: &mut String) -> Result<()> {
        text.push('{');
        for (place, ((name, sql_type), column)) in fields.iter().zip(self.array.as_struct().columns()).enumerate() {
            text.push_str(self.separator(place));
            quote(name, text);
            text.push_str(if self.binary { ": " } else { ":" });
            Column::of_type(column, sql_type.clone(), self.binary)?.write(row, text)?;
        }
        text.push('}');
        Ok(())
    }

    fn separator(&self, place: usize) -> &'static str {
        match (place, self.binary) {
            (0, _) => "",
            (_, true) => ", ",
            (_, false) => ",",
        }
    }
}

/// Appends a JSON string.
pub(super) fn quote(value: &str, text: &mut String) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

/// Values as PostgreSQL prints them: the keys of objects.
pub(super) fn texts(array: &ArrayRef, field: &Field) -> Result<Vec<String>> {
    let sql_type = sql_type_of(field);
    let array = canonical(array, &sql_type)?;
    let column = TextColumn::new(&array, &sql_type)?;
    let text = |row| {
        let mut text = String::new();
        column.write(row, &TextStyle::default(), &mut text);
        text
    };
    Ok((0..array.len()).map(text).collect())
}

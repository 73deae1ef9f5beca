//! Arrays and rows as text, as PostgreSQL writes them: `{1,2}`, `(1,a)`; maps, which it has not, as `{a: 1}`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::Result;
use crate::types::{SqlType, TextColumn, TextStyle};

/// The texts of values of type `from`.
pub(super) fn write(values: &ArrayRef, from: &SqlType) -> Result<ArrayRef> {
    let mut texts = StringBuilder::new();
    if matches!(values.data_type(), DataType::Map(..)) {
        let options = FormatOptions::default().with_null("null");
        let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
        for row in 0..values.len() {
            let text = values.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose()?;
            texts.append_option(text);
        }
        return Ok(Arc::new(texts.finish()));
    }
    let column = TextColumn::new(values.as_ref(), from)?;
    let style = TextStyle::default();
    let mut text = String::new();
    for row in 0..values.len() {
        text.clear();
        if column.is_null(row) {
            texts.append_null();
        } else {
            column.write(row, &style, &mut text);
            texts.append_value(&text);
        }
    }
    Ok(Arc::new(texts.finish()))
}

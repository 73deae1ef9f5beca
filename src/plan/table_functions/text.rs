//! Lists from text: `string_to_table`, `regexp_split_to_table`, `regexp_matches`.

use std::sync::Arc;

use arrow::array::{Array, ArrayBuilder, ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility};

use super::lists::list_column;
use crate::plan::errors::external;
use crate::plan::scalar::{Room, each_match, split_by};

/// All of them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let texts = |most: usize| {
        let of = |count| TypeSignature::Exact(vec![DataType::Utf8; count]);
        Signature::one_of((2..=most).map(of).collect(), Volatility::Volatile)
    };
    [What::Pieces, What::Split, What::Matches].map(|what| Arc::new(ScalarUDF::from(TextList { what, signature: texts(3) }))).to_vec()
}

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    /// `string_to_table(text, delimiter [, null text])`.
    Pieces,
    /// `regexp_split_to_table(text, pattern [, flags])`.
    Split,
    /// `regexp_matches(text, pattern [, flags])`.
    Matches,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextList {
    what: What,
    signature: Signature,
}

impl ScalarUDFImpl for TextList {
    fn name(&self) -> &'static str {
        match self.what {
            What::Pieces => "string_to_table",
            What::Split => "regexp_split_to_table",
            What::Matches => "regexp_matches",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        let text = DataType::Utf8;
        Ok(DataType::new_list(if self.what == What::Matches { DataType::new_list(text, true) } else { text }, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.iter().map(|argument| Ok(cast(&argument.to_array(rows)?, &DataType::Utf8)?));
        let arrays = arrays.collect::<DataFusionResult<Vec<ArrayRef>>>()?;
        let columns: Vec<&StringArray> = arrays.iter().map(|array| array.as_string::<i32>()).collect();
        match self.what {
            What::Pieces => pieces(&columns),
            What::Split => split(&columns),
            What::Matches => matches(&columns),
        }
    }
}

/// The value in a row, `None` for NULL.
fn at(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn texts(values: StringArray, lengths: Vec<usize>) -> DataFusionResult<ColumnarValue> {
    list_column(lengths.into_iter(), Arc::new(Field::new_list_field(DataType::Utf8, true)), Arc::new(values))
}

fn pieces(columns: &[&StringArray]) -> DataFusionResult<ColumnarValue> {
    let (mut values, mut lengths) = (StringBuilder::new(), Vec::new());
    for row in 0..columns[0].len() {
        let before = values.len();
        let null = columns.get(2).and_then(|nulls| at(nulls, row));
        let mut push = |piece: &str| values.append_option((Some(piece) != null).then_some(piece));
        match (at(columns[0], row), at(columns[1], row)) {
            (None | Some(""), _) => {}
            (Some(text), None) => text.char_indices().for_each(|(start, c)| push(&text[start..start + c.len_utf8()])),
            (Some(text), Some("")) => push(text),
            (Some(text), Some(delimiter)) => text.split(delimiter).for_each(push),
        }
        lengths.push(values.len() - before);
    }
    texts(values.finish(), lengths)
}

fn split(columns: &[&StringArray]) -> DataFusionResult<ColumnarValue> {
    let (mut values, mut lengths) = (StringBuilder::new(), Vec::new());
    for row in 0..columns[0].len() {
        let pieces = match pattern_call(columns, row) {
            Some([text, pattern, flags]) => split_by("regexp_split_to_table", text, pattern, flags).map_err(external)?,
            None => Vec::new(),
        };
        pieces.iter().for_each(|piece| values.append_value(piece));
        lengths.push(pieces.len());
    }
    texts(values.finish(), lengths)
}

fn matches(columns: &[&StringArray]) -> DataFusionResult<ColumnarValue> {
    let (mut values, mut lengths, mut room) = (ListBuilder::new(StringBuilder::new()), Vec::new(), Room::default());
    for row in 0..columns[0].len() {
        let found = match pattern_call(columns, row) {
            Some([text, pattern, flags]) => each_match(text, pattern, flags).map_err(external)?,
            None => Vec::new(),
        };
        for groups in &found {
            room.take(groups.len(), groups.iter().flatten().map(|group| group.len()).sum()).map_err(external)?;
            groups.iter().for_each(|group| values.values().append_option(*group));
            values.append(true);
        }
        lengths.push(found.len());
    }
    let values = values.finish();
    let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    list_column(lengths.into_iter(), element, Arc::new(values))
}

/// A text, a pattern and flags, unless one of them is NULL.
fn pattern_call<'a>(columns: &[&'a StringArray], row: usize) -> Option<[&'a str; 3]> {
    let flags = columns.get(2).map_or(Some(""), |flags| at(flags, row))?;
    Some([at(columns[0], row)?, at(columns[1], row)?, flags])
}

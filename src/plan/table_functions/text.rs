//! Lists from text: `string_to_table`, `regexp_split_to_table`, `regexp_matches`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayBuilder, ArrayRef, AsArray, ListBuilder, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::functions::regex::compile_and_cache_regex;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility};

use super::lists::list_column;
use crate::error::{Error, Kind};
use crate::plan::errors::external;

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
    let (mut cache, flags) = (HashMap::new(), Flags::of(columns)?);
    for row in 0..columns[0].len() {
        let before = values.len();
        if let (Some(text), Some(pattern), Some(flags)) = (at(columns[0], row), at(columns[1], row), &flags[row]) {
            let pattern = compile_and_cache_regex(pattern, flags.others(), &mut cache).map_err(bad_pattern)?;
            let mut start = 0;
            for found in pattern.find_iter(text) {
                // As in PostgreSQL, a match of nothing splits only between characters.
                if found.is_empty() && (found.start() == start || found.end() >= text.len()) {
                    continue;
                }
                values.append_value(&text[start..found.start()]);
                start = found.end();
            }
            values.append_value(&text[start..]);
        }
        lengths.push(values.len() - before);
    }
    texts(values.finish(), lengths)
}

fn matches(columns: &[&StringArray]) -> DataFusionResult<ColumnarValue> {
    let (mut values, mut lengths) = (ListBuilder::new(StringBuilder::new()), Vec::new());
    let (mut cache, flags) = (HashMap::new(), Flags::of(columns)?);
    for row in 0..columns[0].len() {
        let mut count = 0;
        if let (Some(text), Some(pattern), Some(flags)) = (at(columns[0], row), at(columns[1], row), &flags[row]) {
            let pattern = compile_and_cache_regex(pattern, flags.others(), &mut cache).map_err(bad_pattern)?;
            let most = if flags.global { usize::MAX } else { 1 };
            for found in pattern.captures_iter(text).take(most) {
                // Without groups the whole match is the only element.
                let first = usize::from(found.len() > 1);
                (first..found.len()).for_each(|group| values.values().append_option(found.get(group).map(|group| group.as_str())));
                values.append(true);
                count += 1;
            }
        }
        lengths.push(count);
    }
    let values = values.finish();
    let element = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    list_column(lengths.into_iter(), element, Arc::new(values))
}

/// The flags of a pattern.
struct Flags {
    /// `g`: every match.
    global: bool,
    others: String,
}

impl Flags {
    /// For each row; `None` where they are NULL.
    fn of(columns: &[&StringArray]) -> DataFusionResult<Vec<Option<Flags>>> {
        let Some(texts) = columns.get(2) else { return (0..columns[0].len()).map(|_| Flags::parse("").map(Some)).collect() };
        texts.iter().map(|text| text.map(Flags::parse).transpose()).collect()
    }

    fn parse(text: &str) -> DataFusionResult<Flags> {
        let mut flags = Flags { global: false, others: String::new() };
        let mut lines = false;
        for flag in text.chars() {
            match flag {
                'g' => flags.global = true,
                'i' | 'x' => flags.others.push(flag),
                'n' | 'm' => lines = true,
                // The default: case matters, and a line's end is a character like others.
                'c' | 's' => {}
                _ => {
                    let error = Error::new(Kind::InvalidParameter, format!("invalid regular expression option: \"{flag}\""));
                    return Err(external(error));
                }
            }
        }
        flags.others.push(if lines { 'm' } else { 's' });
        Ok(flags)
    }

    fn others(&self) -> Option<&str> {
        (!self.others.is_empty()).then_some(self.others.as_str())
    }
}

fn bad_pattern(cause: arrow::error::ArrowError) -> DataFusionError {
    external(Error::new(Kind::InvalidParameter, "invalid regular expression").detail(cause.to_string()))
}

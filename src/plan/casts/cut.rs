//! `x::varchar(3)` and `x::char(3)`: a cast that the user writes cuts what is too long, where an assignment refuses it (`fit_text`).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::error::Result;
use crate::types::SqlType;

/// Texts as values of a type that has a length.
pub(super) fn cut(values: &ArrayRef, target: &SqlType) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let cut = texts.as_string::<i32>().iter().map(|text| text.map(|text| cut_one(text, target)));
    Ok(Arc::new(cut.collect::<StringArray>()))
}

fn cut_one(text: &str, target: &SqlType) -> String {
    match target {
        SqlType::Varchar(Some(length)) => text.chars().take(*length as usize).collect(),
        SqlType::Char(length) => {
            let kept: String = text.chars().take(*length as usize).collect();
            kept.trim_end_matches(' ').to_owned()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::cut_one;
    use crate::types::SqlType;

    #[test]
    fn characters_are_cut_not_bytes() {
        assert_eq!(cut_one("äöü", &SqlType::Varchar(Some(2))), "äö");
        assert_eq!(cut_one("ä", &SqlType::Varchar(Some(2))), "ä");
        assert_eq!(cut_one("äöü", &SqlType::Char(2)), "äö");
        assert_eq!(cut_one("ä ", &SqlType::Char(3)), "ä");
    }
}

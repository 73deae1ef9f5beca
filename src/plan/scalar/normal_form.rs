//! The normal forms of Unicode: texts that look alike become, or are known to be, the same characters.

use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfd, is_nfkc, is_nfkd};

use super::column::{Text, map1, map2};
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "normalize",
            "in a normal form of Unicode: NFC, if it does not say `NFD`, `NFKC` or `NFKD`",
            "normalize(U&'\\0061\\0308bc')",
            "äbc",
        )
        .form("text -> text", |call| map1::<Text, _>(call, |text| Ok(text.nfc().collect::<String>())))
        .form("text, text -> text", |call| map2::<Text, Text, _>(call, normalized))
        .example("length(normalize('äbc', NFD))", "4"),
        function(
            "is_normalized",
            "whether a text is in a normal form; written `IS [NOT] [NFC | NFD | NFKC | NFKD] NORMALIZED`",
            "'äbc' IS NFD NORMALIZED",
            "f",
        )
        .form("text, text -> boolean", |call| map2::<Text, Text, _>(call, is_normalized)),
    ]
}

fn normalized(text: &str, form: &str) -> Result<String> {
    Ok(match form.to_ascii_uppercase().as_str() {
        "NFC" => text.nfc().collect(),
        "NFD" => text.nfd().collect(),
        "NFKC" => text.nfkc().collect(),
        "NFKD" => text.nfkd().collect(),
        _ => return Err(no_form(form)),
    })
}

fn is_normalized(text: &str, form: &str) -> Result<bool> {
    Ok(match form.to_ascii_uppercase().as_str() {
        "NFC" => is_nfc(text),
        "NFD" => is_nfd(text),
        "NFKC" => is_nfkc(text),
        "NFKD" => is_nfkd(text),
        _ => return Err(no_form(form)),
    })
}

fn no_form(form: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("invalid normalization form: {form}"))
}

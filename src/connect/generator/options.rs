//! Reads a connector's WITH options: typed, with a default, and none unknown.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// The options of one statement.
#[derive(Clone, Copy, Debug)]
pub(in crate::connect) struct OptionReader<'a> {
    connector: &'a str,
    given: &'a BTreeMap<String, String>,
}

impl<'a> OptionReader<'a> {
    /// `given`: with keys in lower case.
    pub(in crate::connect) fn new(connector: &'a str, given: &'a BTreeMap<String, String>) -> Self {
        OptionReader { connector, given }
    }

    /// The text of the first of `keys` that was given.
    pub(in crate::connect) fn text(&self, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|key| self.given.get(*key)).map(|text| text.trim())
    }

    /// The first of `keys` that was given, as a `T` of at least `min`. `22023` if it is not one; `what` says what it should be.
    pub(in crate::connect) fn value<T: FromStr + PartialOrd>(&self, keys: &[&str], min: T, what: &str) -> Result<Option<T>> {
        let Some(key) = keys.iter().find(|key| self.given.contains_key(**key)) else { return Ok(None) };
        let text = self.given[*key].trim();
        // Underscores group digits, as in SQL literals.
        match text.replace('_', "").parse::<T>() {
            Ok(value) if value >= min => Ok(Some(value)),
            _ => Err(self.invalid(key, what)),
        }
    }

    /// The error for an option whose value is not `what`.
    pub(in crate::connect) fn invalid(&self, key: &str, what: &str) -> Error {
        let text = self.given.get(key).map_or("", String::as_str);
        Error::new(Kind::InvalidParameter, format!("invalid value \"{text}\" for option \"{key}\" of connector \"{}\"", self.connector))
            .hint(format!("It must be {what}."))
    }

    /// `22023` for the first option that is not in `known`.
    pub(in crate::connect) fn refuse_unknown<'k>(&self, known: impl Iterator<Item = &'k str> + Clone) -> Result<()> {
        for key in self.given.keys() {
            if key == "connector" || known.clone().any(|name| name == key) {
                continue;
            }
            let error = Error::new(Kind::InvalidParameter, format!("unknown option \"{key}\" of connector \"{}\"", self.connector));
            return Err(match nearest(key, known.clone()) {
                Some(name) => error.hint(format!("Did you mean \"{name}\"?")),
                None => error.hint(format!("It knows: {}.", known.collect::<Vec<_>>().join(", "))),
            });
        }
        Ok(())
    }
}

/// The name most like `text`, if one is near enough for a slip of the finger.
pub(in crate::connect) fn nearest<'k>(text: &str, names: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    names.map(|name| (distance(text, name), name)).filter(|(distance, _)| *distance <= 2 + text.len() / 4).min().map(|(_, name)| name)
}

/// How many characters to add, drop or replace (Levenshtein 1966).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, &to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{OptionReader, nearest};
    use std::collections::BTreeMap;

    #[test]
    fn a_typing_error_gets_the_name_that_was_meant() {
        let known = ["nexmark.event.num", "nexmark.split.num", "nexmark.table.type"];
        assert_eq!(nearest("nexmark.table.typ", known.iter().copied()), Some("nexmark.table.type"));
        let given = BTreeMap::from([("nexmark.evnt.num".to_owned(), "1".to_owned())]);
        let error = OptionReader::new("nexmark", &given).refuse_unknown(known.iter().copied()).expect_err("an unknown option");
        assert_eq!(error.hint_text(), Some("Did you mean \"nexmark.event.num\"?"));
    }

    #[test]
    fn a_value_may_group_its_digits_and_has_a_least_value() {
        let given = BTreeMap::from([("n".to_owned(), "1_000".to_owned()), ("m".to_owned(), "0".to_owned())]);
        let options = OptionReader::new("datagen", &given);
        assert_eq!(options.value::<u64>(&["x", "n"], 1, "a count").expect("a number"), Some(1_000));
        assert!(options.value::<u64>(&["m"], 1, "a count").is_err());
    }
}

//! Reads WITH options: what is unknown, missing or malformed is an error that names it, and what was probably meant.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};

/// The options of one connector or encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    owner: &'a str,
    given: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    /// `owner`: whose options they are, for messages, e.g. `connector "kafka"`. Keys are in lower case.
    pub(super) fn new(owner: &'a str, given: &'a BTreeMap<String, String>) -> Self {
        Options { owner, given }
    }

    /// `22023` for the first option that is none of `known` and starts with none of `prefixes`.
    pub(super) fn refuse_unknown(&self, known: &[&str], prefixes: &[&str]) -> Result<()> {
        let is_known = |key: &str| key == "connector" || known.contains(&key) || prefixes.iter().any(|prefix| key.starts_with(prefix));
        let Some(unknown) = self.given.keys().find(|key| !is_known(key)) else { return Ok(()) };
        let error = Error::new(Kind::InvalidParameter, format!("unknown option \"{unknown}\" of {}", self.owner));
        Err(match nearest(unknown, known.iter().copied()) {
            Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
            None if known.is_empty() => error.hint("It has no options."),
            None => error.hint(format!("It knows: {}.", known.join(", "))),
        })
    }

    /// The value of the first of `keys` that is there.
    pub(super) fn text(&self, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|key| self.given.get(*key)).map(|text| text.trim())
    }

    /// The same, as it stands, blanks and all: for delimiters.
    pub(super) fn verbatim(&self, key: &str) -> Option<&'a str> {
        self.given.get(key).map(String::as_str)
    }

    /// The same, or `22023` that names the first of `keys`.
    pub(super) fn required(&self, keys: &[&str]) -> Result<&'a str> {
        self.text(keys).filter(|text| !text.is_empty()).ok_or_else(|| {
            Error::new(Kind::InvalidParameter, format!("option \"{}\" of {} is missing", keys[0], self.owner))
                .hint(format!("Say it: WITH ({} = '…').", keys[0]))
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.text(&[key]).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "on" | "yes" | "1") => Ok(true),
            Some("false" | "off" | "no" | "0") => Ok(false),
            Some(_) => Err(self.invalid(key, "true or false")),
        }
    }

    /// A whole number, not negative.
    pub(super) fn number(&self, key: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(&[key]) else { return Ok(None) };
        let number = text.replace('_', "").parse::<i64>().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| self.invalid(key, "a whole number, not negative"))
    }

    /// The error for an option whose value is not `what`.
    pub(super) fn invalid(&self, key: &str, what: &str) -> Error {
        let text = self.given.get(key).map_or("", String::as_str);
        Error::new(Kind::InvalidParameter, format!("invalid value \"{text}\" for option \"{key}\" of {}", self.owner))
            .hint(format!("It must be {what}."))
    }
}

/// The candidate most like `text`, if one is near enough for a slip of the finger.
pub(super) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = candidates.map(|candidate| (edit_distance(text, candidate), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + text.len() / 5).then_some(candidate)
}

/// Insertions, deletions and substitutions from one to the other (Levenshtein; Wagner and Fischer, 1974), two neighbouring letters swapped
/// counting as one (restricted Damerau).
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, from_byte) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, to_byte) in to.iter().enumerate() {
            let replace = last[column] + usize::from(from_byte != to_byte);
            let mut best = replace.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && from_byte == &to[column - 1] && &from[row - 1] == to_byte {
                best = best.min(before_last[column - 1] + 1);
            }
            next.push(best);
        }
        before_last = std::mem::replace(&mut last, next);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{Options, nearest};
    use std::collections::BTreeMap;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["topic", "scan.startup.mode", "properties.bootstrap.server"];
        assert_eq!(nearest("tpoic", known.into_iter()), Some("topic"));
        assert_eq!(nearest("scan.startup_mode", known.into_iter()), Some("scan.startup.mode"));
        assert_eq!(nearest("color", known.into_iter()), None);
    }

    #[test]
    fn errors_name_the_option() {
        let given = BTreeMap::from([("follow".to_owned(), "maybe".to_owned())]);
        let options = Options::new("connector \"file\"", &given);
        assert_eq!(
            options.flag("follow", true).unwrap_err().message(),
            "invalid value \"maybe\" for option \"follow\" of connector \"file\""
        );
        assert_eq!(options.required(&["path"]).unwrap_err().message(), "option \"path\" of connector \"file\" is missing");
        let unknown = options.refuse_unknown(&["follows", "path"], &[]).unwrap_err();
        assert_eq!(
            (unknown.message(), unknown.hint_text()),
            ("unknown option \"follow\" of connector \"file\"", Some("Did you mean \"follows\"?"))
        );
    }
}

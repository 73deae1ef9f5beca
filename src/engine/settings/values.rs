//! The values that settings take, read and written as PostgreSQL does: switches by any beginning, numbers with units, words of a list.

use crate::error::{Error, Kind, Result};

/// Which values a setting takes.
pub(super) enum Values {
    /// Every text.
    Any,
    /// On or off.
    Switch,
    /// A whole number, both ends included, counted in `unit`.
    Whole { least: i64, most: i64, unit: Unit },
    /// A number from 0.
    Real,
    /// A word of a list; `also` stands for one of them without being in hints.
    One { listed: &'static [&'static str], also: &'static [(&'static str, &'static str)] },
    /// What a function of its own says.
    Own,
}

/// What whole numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    None,
    Milliseconds,
    Kilobytes,
    /// Blocks of 8 kB, of which the value is kept in kilobytes.
    Pages,
}

impl Unit {
    /// The words for it and its multiples, the largest first, with how many of the smallest unit one is.
    fn words(self) -> &'static [(&'static str, f64)] {
        match self {
            Unit::None => &[],
            Unit::Milliseconds => &[("d", 86_400_000.0), ("h", 3_600_000.0), ("min", 60_000.0), ("s", 1_000.0), ("ms", 1.0), ("us", 0.001)],
            Unit::Kilobytes | Unit::Pages => {
                &[("TB", 1_073_741_824.0), ("GB", 1_048_576.0), ("MB", 1_024.0), ("kB", 1.0), ("B", 0.000_976_562_5)]
            }
        }
    }

    /// How many of the smallest unit a number without a unit counts.
    fn plain(self) -> f64 {
        if self == Unit::Pages { 8.0 } else { 1.0 }
    }

    /// The words that a hint lists, the smallest first.
    fn listed(self) -> String {
        let mut words: Vec<String> = self.words().iter().rev().map(|(word, _)| format!("\"{word}\"")).collect();
        let last = words.pop().unwrap_or_default();
        format!("Valid units for this parameter are {}, and {last}.", words.join(", "))
    }
}

impl Values {
    /// The value as it is kept and shown, or why it is not taken. `name`: the setting's, as it is shown.
    pub(super) fn read(&self, name: &str, value: &str) -> Result<String> {
        match self {
            Values::Any | Values::Own => Ok(value.to_owned()),
            Values::Switch => switch(name, value).map(|on| if on { "on" } else { "off" }.to_owned()),
            Values::Whole { least, most, unit } => {
                let number = whole(name, value, *unit)?;
                if number < *least || number > *most {
                    let counted = match unit {
                        Unit::None => "",
                        Unit::Milliseconds => " ms",
                        Unit::Kilobytes | Unit::Pages => " kB",
                    };
                    return Err(outside(name, &format!("{number}{counted}"), &format!("{least} .. {most}")));
                }
                Ok(with_unit(number, *unit))
            }
            Values::Real => match value.trim().parse::<f64>() {
                Ok(number) if number.is_finite() && number >= 0.0 => Ok(number.to_string()),
                Ok(number) => Err(outside(name, &number.to_string(), "0 .. 1.79769e+308")),
                Err(_) => Err(invalid(name, value)),
            },
            Values::One { listed, also } => one_of(name, value, listed, also),
        }
    }
}

/// `22023`: the value is none of this setting.
pub(super) fn invalid(name: &str, value: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn outside(name: &str, number: &str, range: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("{number} is outside the valid range for parameter \"{name}\" ({range})"))
}

/// `parse_bool` of PostgreSQL: any beginning that says which it is, in any case.
pub(super) fn switch(name: &str, value: &str) -> Result<bool> {
    let word = value.to_ascii_lowercase();
    let begins = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        return Ok(true);
    }
    if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        return Ok(false);
    }
    Err(Error::new(Kind::InvalidParameter, format!("parameter \"{name}\" requires a Boolean value")))
}

/// The word of a list that `value` is, in any case.
pub(super) fn one_of(name: &str, value: &str, listed: &[&str], also: &[(&str, &str)]) -> Result<String> {
    let same = |word: &str| word.eq_ignore_ascii_case(value);
    let found = listed.iter().find(|word| same(word));
    let found = found.or_else(|| also.iter().find(|(word, _)| same(word)).map(|(_, meant)| meant));
    found.map(|word| (*word).to_owned()).ok_or_else(|| invalid(name, value).hint(format!("Available values: {}.", listed.join(", "))))
}

/// A number, rounded, of the smallest unit: with a unit, or of the plain one.
fn whole(name: &str, value: &str, unit: Unit) -> Result<i64> {
    let text = value.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, word) = (text[..digits].parse::<f64>().map_err(|_| invalid(name, value))?, text[digits..].trim());
    let factor = match unit.words().iter().find(|(known, _)| *known == word) {
        Some((_, factor)) => *factor,
        None if word.is_empty() => unit.plain(),
        None if unit == Unit::None => return Err(invalid(name, value)),
        None => return Err(invalid(name, value).hint(unit.listed())),
    };
    let counted = (number * factor).round_ties_even();
    if counted.abs() > f64::from(i32::MAX) {
        return Err(invalid(name, value).hint("Value exceeds integer range."));
    }
    Ok(counted as i64)
}

/// The number in the largest unit of which it is a whole multiple.
fn with_unit(number: i64, unit: Unit) -> String {
    let fits = |factor: f64| factor >= 1.0 && number != 0 && number % (factor as i64) == 0;
    match unit.words().iter().find(|(_, factor)| fits(*factor)) {
        Some((word, factor)) => format!("{}{word}", number / (*factor as i64)),
        None => number.to_string(),
    }
}

/// A duration that was read before, in milliseconds.
pub(super) fn milliseconds(value: &str) -> u64 {
    whole("", value, Unit::Milliseconds).ok().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

/// The names in a list as PostgreSQL writes it: separated by commas, in double quotes or else folded. `None` if it is no such list.
pub(super) fn names(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = list.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let end = rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if name.is_empty() && !rest.starts_with('"') {
            return None;
        }
        names.push(name);
        rest = behind.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// What stands before the closing quote, of which two are one, and what stands behind it.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"')?;
        name.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Unit, Values, milliseconds, names, switch};

    const DURATION: Values = Values::Whole { least: 0, most: i32::MAX as i64, unit: Unit::Milliseconds };

    #[test]
    fn any_beginning_of_a_switch_will_do_unless_it_could_be_both() {
        for on in ["t", "tru", "TRUE", "y", "on", "1"] {
            assert!(switch("jit", on).unwrap(), "{on}");
        }
        for off in ["f", "fal", "n", "of", "OFF", "0"] {
            assert!(!switch("jit", off).unwrap(), "{off}");
        }
        for neither in ["o", "", "maybe", "2", "truee"] {
            assert_eq!(switch("jit", neither).unwrap_err().message(), "parameter \"jit\" requires a Boolean value", "{neither}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_largest_unit_that_fits() {
        let cases = [("1.5s", "1500ms"), ("1.5", "2ms"), ("90s", "90s"), ("60min", "1h"), ("1 d", "1d"), ("0", "0"), ("1us", "0")];
        for (value, shown) in cases {
            assert_eq!(DURATION.read("x", value).unwrap(), shown, "{value}");
        }
        for (value, message) in [
            ("soon", "invalid value for parameter \"x\": \"soon\""),
            ("", "invalid value for parameter \"x\": \"\""),
            ("30d", "invalid value for parameter \"x\": \"30d\""),
            ("-1", "-1 ms is outside the valid range for parameter \"x\" (0 .. 2147483647)"),
        ] {
            assert_eq!(DURATION.read("x", value).unwrap_err().message(), message);
        }
        assert_eq!(milliseconds("1500ms"), 1_500);
    }

    #[test]
    fn pages_are_eight_kilobytes() {
        let pages = Values::Whole { least: 800, most: i32::MAX as i64, unit: Unit::Pages };
        assert_eq!(pages.read("temp_buffers", "1024").unwrap(), "8MB");
        assert_eq!(pages.read("temp_buffers", "10MB").unwrap(), "10MB");
    }

    #[test]
    fn lists_of_names_have_quotes_and_fold() {
        let list = |text: &str| names(text).map(|names| names.join("|"));
        assert_eq!(list("\"$user\", public").as_deref(), Some("$user|public"));
        assert_eq!(list("A,\"B,\"\" c\"").as_deref(), Some("a|B,\" c"));
        assert_eq!(list(" "), Some(String::new()));
        assert_eq!(list("a,,b"), None);
        assert_eq!(list("\"a"), None);
    }
}

//! A session's settings: what it was started with, what it has set since, and what of that holds.
//!
//! ```text
//!   default (table.rs)  ◄──  started with (the startup packet)  ◄──  set
//!                            RESET and DISCARD ALL go back to here
//! ```
//!
//! Always: every value in either has been read by `checked`, and is written as SHOW shows it.

mod table;
mod values;
mod zone;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

pub use table::SERVER_VERSION;

use crate::catalog::nearest;
use crate::error::{Error, Kind, Result};

use table::{DEFINITIONS, Definition, Use, shown_name};
use values::invalid;

/// The values that a session has set. Beside those of the table there are names of two parts, such as `app.user`, that mean nothing to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// What RESET goes back to, where it is not the default.
    started: Arc<BTreeMap<String, String>>,
}

impl Settings {
    /// Those of a new session, before what its client asks for. `connections_max`: shown, no more.
    pub(crate) fn of_session(user: &str, connections_max: usize) -> Self {
        let own = [("session_authorization", user.to_owned()), ("max_connections", connections_max.to_string())];
        let values: BTreeMap<String, String> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Settings { started: Arc::new(values.clone()), values }
    }

    /// What holds now is what the session was started with.
    pub(crate) fn start(&mut self) {
        self.started = Arc::new(self.values.clone());
    }

    /// The value of a setting; its name in lower case.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        let name = plain_name(name);
        match (self.values.get(name), find(name)) {
            (Some(value), _) => Ok(value),
            (None, Some(definition)) => Ok(definition.default),
            (None, None) => Err(unknown(name)),
        }
    }

    /// The value of a setting that is known to exist.
    pub(crate) fn known(&self, name: &'static str) -> &str {
        self.get(name).expect("named in the table")
    }

    /// The value that a transaction takes back at its end: of one that nobody has named before, nothing.
    pub(crate) fn before(&self, name: &str) -> Result<&str> {
        self.get(name).or_else(|error| match name {
            name if is_custom(name) => Ok(""),
            name if name.contains('.') => Err(invalid_name(name)),
            _ => Err(error),
        })
    }

    /// Whether a switch that is known to exist is on.
    pub(crate) fn is_on(&self, name: &'static str) -> bool {
        self.known(name) == "on"
    }

    /// Sets a value; `None` takes that of the session's start again. Returns name and value if the client is to be told.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<(String, String)>> {
        let name = plain_name(name);
        let definition = find(name);
        if definition.is_none() && !is_custom(name) {
            return Err(if name.contains('.') { invalid_name(name) } else { unknown(name) });
        }
        if definition.is_some_and(|definition| definition.usage == Use::ReadOnly) {
            return Err(Error::new(Kind::CannotChange, format!("parameter \"{name}\" cannot be changed")));
        }
        let value = match value {
            Some(value) => Some(self.checked(name, definition, value)?),
            None => self.started.get(name).cloned().or_else(|| definition.is_none().then(String::new)),
        };
        match value {
            Some(value) => drop(self.values.insert(name.to_owned(), value)),
            None => drop(self.values.remove(name)),
        }
        let told = definition.filter(|definition| definition.is_followed());
        Ok(told.map(|definition| (shown_name(name), self.known(definition.name).to_owned())))
    }

    /// The value as it is kept, or why it is not accepted.
    fn checked(&self, name: &str, definition: Option<&Definition>, value: &str) -> Result<String> {
        match (name, definition) {
            ("role", _) => self.checked_role(value, "none"),
            ("session_authorization", _) => self.checked_role(value, ""),
            (_, Some(definition)) => own(name, &definition.values.read(&shown_name(name), value)?),
            (_, None) => Ok(value.to_owned()),
        }
    }

    /// There are no roles to change to: only that of the session itself.
    fn checked_role(&self, value: &str, nobody: &str) -> Result<String> {
        let own = self.started.get("session_authorization").is_some_and(|user| user == value);
        if own || (!nobody.is_empty() && value == nobody) {
            return Ok(value.to_owned());
        }
        Err(Error::new(Kind::InvalidParameter, format!("role \"{value}\" does not exist")))
    }

    /// Takes all values of `before` again. Returns name and value of those of which the client is to be told.
    pub(crate) fn restore(&mut self, before: Settings) -> Vec<(String, String)> {
        let now = std::mem::replace(self, before);
        let followed = DEFINITIONS.iter().filter(|definition| definition.is_followed());
        let changed = followed.filter(|definition| now.known(definition.name) != self.known(definition.name));
        changed.map(|definition| (shown_name(definition.name), self.known(definition.name).to_owned())).collect()
    }

    /// Every setting back to what it was at the start; names of the client's own are nothing then, as they were nobody's before.
    pub(crate) fn reset_all(&mut self) {
        let before = std::mem::replace(&mut self.values, self.started.as_ref().clone());
        for (name, value) in before {
            match find(&name) {
                None => drop(self.values.entry(name).or_default()),
                Some(definition) if definition.outlives_reset() => drop(self.values.insert(name, value)),
                Some(_) => {}
            }
        }
    }

    /// What the connection has to know after all settings were reset.
    pub(crate) fn followed(&self) -> Vec<(String, String)> {
        self.listed(Definition::is_followed)
    }

    /// What the client is told at the start.
    pub(crate) fn reported(&self) -> Vec<(String, String)> {
        self.listed(|definition| definition.reported)
    }

    fn listed(&self, wanted: impl Fn(&Definition) -> bool) -> Vec<(String, String)> {
        let wanted = DEFINITIONS.iter().filter(|definition| wanted(definition));
        wanted.map(|definition| (shown_name(definition.name), self.known(definition.name).to_owned())).collect()
    }

    /// Name, value and description of every setting.
    pub(crate) fn all(&self) -> Vec<(String, String, String)> {
        DEFINITIONS
            .iter()
            .map(|definition| (shown_name(definition.name), self.known(definition.name).to_owned(), definition.about.to_owned()))
            .collect()
    }

    /// Name and value of those that only the client knows the meaning of.
    pub(crate) fn custom(&self) -> Vec<(String, String)> {
        let custom = self.values.iter().filter(|(name, _)| is_custom(name));
        custom.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The schemas in which unqualified names are looked up.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let path = values::names(self.known("search_path")).unwrap_or_default();
        path.into_iter().filter(|name| !name.is_empty() && name != "$user").collect()
    }

    /// The zone in which local time is meant.
    pub(crate) fn time_zone(&self) -> Tz {
        self.known("timezone").parse().unwrap_or(Tz::UTC)
    }

    /// A setting that is a duration, in milliseconds.
    pub(crate) fn duration_ms(&self, name: &'static str) -> u64 {
        values::milliseconds(self.known(name))
    }
}

fn plain_name(name: &str) -> &str {
    if name == "time zone" { "timezone" } else { name }
}

fn find(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

/// Whether a name is of two or more parts, each a plain identifier: PostgreSQL keeps a value for everyone who names one so.
fn is_custom(name: &str) -> bool {
    let is_part = |part: &str| {
        let starts = part.starts_with(|c: char| c.is_alphabetic() || c == '_');
        starts && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
    };
    name.contains('.') && name.split('.').all(is_part)
}

fn invalid_name(name: &str) -> Error {
    Error::new(Kind::InvalidName, format!("invalid configuration parameter name \"{name}\""))
        .detail("Custom parameter names must be two or more simple identifiers separated by dots.")
}

fn unknown(name: &str) -> Error {
    let error = Error::new(Kind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
    match nearest(name, DEFINITIONS.iter().map(|definition| definition.name)) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error,
    }
}

/// What the settings that are like no other make of a value.
fn own(name: &str, value: &str) -> Result<String> {
    let refuse = || invalid(&shown_name(name), value);
    match name {
        "client_encoding" => {
            let plain = value.trim_matches('\'').replace('-', "").to_ascii_uppercase();
            if matches!(plain.as_str(), "UTF8" | "UNICODE" | "SQL_ASCII") {
                Ok("UTF8".to_owned())
            } else {
                Err(refuse().hint("Only UTF8 is supported."))
            }
        }
        "timezone" => zone::read(value),
        "datestyle" => date_style(value, &refuse),
        "bytea_output" => only(name, value, "hex", &["escape", "hex"], "encode(value, 'escape') gives that form."),
        "transaction_isolation" | "default_transaction_isolation" => {
            let known = ["serializable", "repeatable read", "read committed", "read uncommitted"];
            // What a client asks for is accepted; what it is told is what it gets.
            values::one_of(name, value, &known, &[]).map(|_| "repeatable read".to_owned())
        }
        "standard_conforming_strings" => match values::switch(name, value)? {
            true => Ok("on".to_owned()),
            false => Err(Error::not_supported(refuse().message()).hint("Write E'…' for a string with backslash escapes.")),
        },
        "search_path" => match values::names(value) {
            Some(_) => Ok(value.to_owned()),
            None => Err(refuse().detail("List syntax is invalid.")),
        },
        "default_tablespace" if !["", "pg_default"].contains(&value) => {
            Err(refuse().detail(format!("Tablespace \"{value}\" does not exist.")))
        }
        _ => Ok(value.to_owned()),
    }
}

/// The one value that has an effect; the others of `listed` are PostgreSQL's, and refused rather than ignored.
fn only(name: &str, value: &str, known: &str, listed: &[&str], hint: &str) -> Result<String> {
    let name = shown_name(name);
    let found = values::one_of(&name, value, listed, &[])?;
    if found == known { Ok(found) } else { Err(Error::not_supported(invalid(&name, value).message()).hint(hint)) }
}

/// A style of printing and an order of reading, each of which may be left out.
fn date_style(value: &str, refuse: &impl Fn() -> Error) -> Result<String> {
    for word in value.split(',').map(|word| word.trim().to_ascii_uppercase()) {
        match word.as_str() {
            "ISO" | "MDY" | "US" | "DEFAULT" => {}
            word if word.starts_with("NONEURO") => {}
            word if matches!(word, "DMY" | "YMD" | "SQL" | "POSTGRES" | "GERMAN") || word.starts_with("EURO") => {
                let hint = "Only \"ISO, MDY\" is supported; dates like 2024-02-29 read the same in every style.";
                return Err(Error::not_supported(refuse().message()).hint(hint));
            }
            word => return Err(refuse().detail(format!("Unrecognized key word: \"{}\".", word.to_ascii_lowercase()))),
        }
    }
    Ok("ISO, MDY".to_owned())
}

#[cfg(test)]
mod tests {
    use super::table::DEFINITIONS;
    use super::{Settings, own};
    use crate::error::Kind;

    #[test]
    fn an_unknown_setting_is_an_error_with_a_guess() {
        let error = Settings::default().set("statement_timeoutt", Some("1")).expect_err("there is no such setting");
        assert_eq!(error.kind(), Kind::UndefinedObject);
        assert_eq!(error.hint_text(), Some("Did you mean \"statement_timeout\"?"));
    }

    /// psql takes backslashes for escapes, and psycopg doubles them, unless they are told that strings are what they look like.
    #[test]
    fn a_client_is_told_what_postgresql_15_tells() {
        let told = Settings::default().reported().into_iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>();
        let expected = [
            "application_name",
            "client_encoding",
            "DateStyle",
            "default_transaction_read_only",
            "in_hot_standby",
            "integer_datetimes",
            "IntervalStyle",
            "is_superuser",
            "server_encoding",
            "server_version",
            "session_authorization",
            "standard_conforming_strings",
            "TimeZone",
        ];
        assert_eq!(told, expected.map(str::to_owned).into());
    }

    #[test]
    fn a_default_is_a_value_that_its_setting_takes_and_shows_so() {
        for definition in DEFINITIONS {
            let read = definition.values.read(definition.name, definition.default).and_then(|value| own(definition.name, &value));
            assert_eq!(read.unwrap(), definition.default, "{}", definition.name);
        }
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        let mut settings = Settings::default();
        let mut set = |name: &str, value: &str| settings.set(name, Some(value)).map(drop).map_err(|error| error.kind().sqlstate());
        for (name, value) in [("datestyle", "ISO, DMY"), ("datestyle", "German"), ("bytea_output", "escape")] {
            assert_eq!(set(name, value), Err("0A000"), "{name} = {value}");
        }
        for (name, value) in [("datestyle", "yes"), ("bytea_output", "base64"), ("intervalstyle", "x"), ("role", "somebody")] {
            assert_eq!(set(name, value), Err("22023"), "{name} = {value}");
        }
        for (name, value) in [("datestyle", "iso"), ("datestyle", "ISO, MDY"), ("intervalstyle", "ISO_8601"), ("role", "none")] {
            assert_eq!(set(name, value), Ok(()), "{name} = {value}");
        }
    }

    #[test]
    fn reset_goes_back_to_the_start_of_the_session() {
        let mut settings = Settings::of_session("ann", 7);
        settings.set("timezone", Some("Europe/Berlin")).unwrap();
        settings.start();
        for (name, value) in [("timezone", "UTC"), ("jit", "on"), ("app.user", "x")] {
            settings.set(name, Some(value)).unwrap();
        }
        settings.set("timezone", None).unwrap();
        assert_eq!(settings.known("timezone"), "Europe/Berlin");
        settings.set("timezone", Some("UTC")).unwrap();
        settings.reset_all();
        let now = ["timezone", "jit", "app.user", "session_authorization", "max_connections"].map(|name| settings.get(name).unwrap());
        assert_eq!(now, ["Europe/Berlin", "off", "", "ann", "7"]);
    }
}

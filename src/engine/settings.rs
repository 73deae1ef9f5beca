//! A session's settings: one table says which there are, what they default to and what they accept.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use crate::catalog::nearest;
use crate::error::{Error, Kind, Result};

/// What happens with a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It has an effect, or clients read it back.
    Kept,
    /// Accepted so that clients and scripts of PostgreSQL and its kin run; without effect.
    Ignored,
    /// Only shown.
    ReadOnly,
}

/// One setting.
struct Definition {
    name: &'static str,
    default: &'static str,
    usage: Use,
    /// The client is told when it changes (`GUC_REPORT` in PostgreSQL).
    reported: bool,
    /// For SHOW ALL and `pg_settings`.
    about: &'static str,
}

impl Definition {
    /// The connection is told when it changes: to tell the client, or to print values otherwise.
    fn is_followed(&self) -> bool {
        self.reported || self.name == "extra_float_digits"
    }
}

const fn kept(name: &'static str, default: &'static str, about: &'static str) -> Definition {
    Definition { name, default, usage: Use::Kept, reported: false, about }
}

const fn told(name: &'static str, default: &'static str, about: &'static str) -> Definition {
    Definition { name, default, usage: Use::Kept, reported: true, about }
}

const fn ignored(name: &'static str, default: &'static str) -> Definition {
    Definition { name, default, usage: Use::Ignored, reported: false, about: "Accepted for compatibility, without effect." }
}

const fn fixed(name: &'static str, default: &'static str, reported: bool, about: &'static str) -> Definition {
    Definition { name, default, usage: Use::ReadOnly, reported, about }
}

/// The version of PostgreSQL whose behaviour clients may expect.
pub const SERVER_VERSION: &str = "15.18";

/// All settings, by name.
const DEFINITIONS: &[Definition] = &[
    told("application_name", "", "The name that the client gave itself."),
    kept("bytea_output", "hex", "How bytea is printed; only hex."),
    ignored("backfill_rate_limit", "default"),
    ignored("background_ddl", "off"),
    ignored("batch_enable_distributed_dml", "off"),
    ignored("batch_parallelism", "default"),
    ignored("check_function_bodies", "on"),
    told("client_encoding", "UTF8", "The client's character set; only UTF8."),
    kept("client_min_messages", "notice", "The least severity of messages sent to the client."),
    told("datestyle", "ISO, MDY", "How dates are printed, and 1/2/2024 is read; only ISO, MDY."),
    ignored("default_table_access_method", "heap"),
    ignored("default_transaction_deferrable", "off"),
    ignored("default_transaction_isolation", "repeatable read"),
    told("default_transaction_read_only", "off", "Whether transactions refuse to write unless they say READ WRITE."),
    ignored("dml_rate_limit", "default"),
    ignored("enable_hashjoin", "on"),
    ignored("enable_mergejoin", "on"),
    ignored("enable_nestloop", "on"),
    ignored("enable_seqscan", "on"),
    kept("extra_float_digits", "1", "Digits of floating-point numbers; above 0 they are exact."),
    ignored("geqo", "on"),
    kept(
        "idle_in_transaction_session_timeout",
        // Writers of one table take turns: a client that is forgotten in its transaction would stop all others for good.
        "5min",
        "How long a client may leave a transaction open without a word before it is cut off; 0 is for ever.",
    ),
    fixed("in_hot_standby", "off", true, "Always off."),
    fixed("integer_datetimes", "on", true, "Times are integers."),
    told("intervalstyle", "postgres", "How intervals are printed; only postgres."),
    fixed("is_superuser", "on", true, "Whether the user may do everything."),
    ignored("jit", "off"),
    ignored("lc_collate", "C"),
    ignored("lc_ctype", "C"),
    ignored("lc_messages", "C"),
    ignored("lc_monetary", "C"),
    ignored("lc_numeric", "C"),
    ignored("lc_time", "C"),
    kept("lock_timeout", "10s", "How long a statement waits for another transaction's table lock; 0 is for ever."),
    fixed("max_identifier_length", "63", false, "Shown for compatibility."),
    fixed("max_index_keys", "32", false, "Shown for compatibility."),
    ignored("maintenance_work_mem", "65536"),
    ignored("query_mode", "auto"),
    kept("role", "none", "The role that was set; none but one's own."),
    ignored("row_security", "on"),
    ignored("rw_batch_enable_lookup_join", "on"),
    ignored("rw_batch_enable_sort_agg", "on"),
    ignored("rw_enable_join_ordering", "on"),
    ignored("rw_enable_share_plan", "on"),
    ignored("rw_enable_two_phase_agg", "on"),
    ignored("rw_force_two_phase_agg", "off"),
    ignored("rw_implicit_flush", "on"),
    ignored("rw_streaming_allow_jsonb_in_stream_key", "off"),
    ignored("rw_streaming_enable_bushy_join", "on"),
    ignored("rw_streaming_enable_delta_join", "off"),
    kept("search_path", "\"$user\", public", "The schemas in which unqualified names are looked up."),
    fixed("server_encoding", "UTF8", true, "The server's character set."),
    fixed("server_version", SERVER_VERSION, true, "The PostgreSQL version that Tidemill answers like."),
    fixed("server_version_num", "150018", false, "The same as a number."),
    told("session_authorization", "", "The user."),
    told("standard_conforming_strings", "on", "Backslashes in strings are plain characters; always on."),
    ignored("sink_decouple", "default"),
    ignored("source_rate_limit", "default"),
    kept("statement_timeout", "0", "After how many milliseconds a statement is cancelled; 0 is never."),
    ignored("streaming_enable_arrangement_backfill", "on"),
    ignored("streaming_max_parallelism", "default"),
    ignored("streaming_parallelism", "default"),
    ignored("streaming_rate_limit", "default"),
    ignored("streaming_use_arrangement_backfill", "on"),
    ignored("streaming_use_snapshot_backfill", "off"),
    ignored("synchronize_seqscans", "on"),
    ignored("synchronous_commit", "on"),
    ignored("temp_buffers", "1024"),
    told("timezone", "UTC", "The time zone in which timestamptz is printed and read."),
    kept("transaction_isolation", "repeatable read", "Every transaction reads one epoch, whatever level it asks for."),
    kept("transaction_read_only", "off", "Whether this transaction refuses to write."),
    ignored("visibility_mode", "default"),
    ignored("wal_level", "logical"),
    ignored("work_mem", "4096"),
    ignored("xmloption", "content"),
];

/// The values that a session has set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    /// The value of a setting; its name in lower case.
    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        let definition = find(name)?;
        Ok(self.values.get(definition.name).map_or(definition.default, String::as_str))
    }

    /// The value of a setting that is known to exist.
    pub(crate) fn known(&self, name: &'static str) -> &str {
        self.get(name).expect("named in the table above")
    }

    /// Whether a switch that is known to exist is on.
    pub(crate) fn is_on(&self, name: &'static str) -> bool {
        matches!(self.known(name).to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1")
    }

    /// Sets a value; `None` takes the default again. Returns name and value if the client is to be told.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<(String, String)>> {
        let definition = find(name)?;
        if definition.usage == Use::ReadOnly {
            return Err(Error::new(Kind::InvalidParameter, format!("parameter \"{name}\" cannot be changed")));
        }
        match value {
            None => drop(self.values.remove(definition.name)),
            Some(value) => {
                let value = match definition.name {
                    "role" => self.checked_role(value)?,
                    name => checked(name, value)?,
                };
                self.values.insert(definition.name, value);
            }
        }
        let now = self.known(definition.name).to_owned();
        Ok(definition.is_followed().then(|| (shown_name(definition.name), now)))
    }

    /// There are no roles to change to: only that of the session itself.
    fn checked_role(&self, value: &str) -> Result<String> {
        if value == "none" || value == self.known("session_authorization") {
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

    /// Every setting back to its default.
    pub(crate) fn reset_all(&mut self) {
        let keep: Vec<_> =
            ["session_authorization", "application_name"].iter().filter_map(|name| self.values.remove_entry(*name)).collect();
        self.values.clear();
        self.values.extend(keep);
    }

    /// What the connection has to know after all settings were reset.
    pub(crate) fn followed(&self) -> Vec<(String, String)> {
        let followed = DEFINITIONS.iter().filter(|definition| definition.is_followed());
        followed.map(|definition| (shown_name(definition.name), self.known(definition.name).to_owned())).collect()
    }

    /// What the client is told at the start.
    pub(crate) fn reported(&self) -> Vec<(String, String)> {
        DEFINITIONS
            .iter()
            .filter(|definition| definition.reported)
            .map(|definition| (shown_name(definition.name), self.known(definition.name).to_owned()))
            .collect()
    }

    /// Name, value and description of every setting.
    pub(crate) fn all(&self) -> Vec<(String, String, String)> {
        DEFINITIONS
            .iter()
            .map(|definition| (shown_name(definition.name), self.known(definition.name).to_owned(), definition.about.to_owned()))
            .collect()
    }

    /// The schemas in which unqualified names are looked up.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let path = self.known("search_path").split(',').map(|name| name.trim().trim_matches('"').to_owned());
        path.filter(|name| !name.is_empty() && name != "$user").collect()
    }

    /// The zone in which local time is meant.
    pub(crate) fn time_zone(&self) -> Tz {
        self.known("timezone").parse().unwrap_or(Tz::UTC)
    }

    /// A setting that is a duration, in milliseconds: a number of them, or with a unit.
    pub(crate) fn duration_ms(&self, name: &'static str) -> u64 {
        parse_duration_ms(self.known(name)).unwrap_or(0)
    }
}

fn find(name: &str) -> Result<&'static Definition> {
    let name = if name == "time zone" { "timezone" } else { name };
    DEFINITIONS.iter().find(|definition| definition.name == name).ok_or_else(|| {
        let error = Error::new(Kind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
        match nearest(name, DEFINITIONS.iter().map(|definition| definition.name)) {
            Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
            None => error,
        }
    })
}

/// Some settings are written with capitals, as PostgreSQL does.
fn shown_name(name: &str) -> String {
    match name {
        "datestyle" => "DateStyle".to_owned(),
        "intervalstyle" => "IntervalStyle".to_owned(),
        "timezone" => "TimeZone".to_owned(),
        other => other.to_owned(),
    }
}

/// The value as it is kept, or why it is not accepted.
fn checked(name: &str, value: &str) -> Result<String> {
    let refuse = || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{value}\""));
    match name {
        "client_encoding" => {
            let plain = value.trim_matches('\'').replace('-', "").to_ascii_uppercase();
            if matches!(plain.as_str(), "UTF8" | "UNICODE" | "SQL_ASCII") {
                Ok("UTF8".to_owned())
            } else {
                Err(refuse().hint("Only UTF8 is supported."))
            }
        }
        "timezone" => {
            let zone = if value.eq_ignore_ascii_case("z") || value.eq_ignore_ascii_case("default") { "UTC" } else { value };
            let known = chrono_tz::TZ_VARIANTS.iter().find(|variant| variant.name().eq_ignore_ascii_case(zone));
            known
                .map(|variant| variant.name().to_owned())
                .or_else(|| fixed_zone(zone))
                .ok_or_else(|| refuse().hint("Use a name of the IANA time zone database, like \"Europe/Berlin\", or whole hours."))
        }
        "datestyle" => date_style(value, &refuse),
        "bytea_output" => only(value, "hex", &["escape"], "encode(value, 'escape') gives that form.", &refuse),
        "intervalstyle" => {
            only(value, "postgres", &["postgres_verbose", "sql_standard", "iso_8601"], "Only the postgres style is supported.", &refuse)
        }
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            parse_duration_ms(value).map(|_| value.to_owned()).ok_or_else(refuse)
        }
        "transaction_isolation" | "default_transaction_isolation" => {
            let known = ["serializable", "repeatable read", "read committed", "read uncommitted"];
            // What a client asks for is accepted; what it is told is what it gets.
            let level = value.trim().to_ascii_lowercase();
            if known.contains(&level.as_str()) { Ok("repeatable read".to_owned()) } else { Err(refuse()) }
        }
        "standard_conforming_strings" if !matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "1" | "yes") => Err(refuse()),
        _ => Ok(value.to_owned()),
    }
}

/// The zone that is always so many hours off: of a number (east is positive), or of hours and minutes or a name and a number, as POSIX has it
/// (west is positive).
fn fixed_zone(text: &str) -> Option<String> {
    let letters = text.find(|c: char| !c.is_ascii_alphabetic())?;
    let digits = text[letters..].trim();
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (hours, rest) = unsigned.split_once(':').unwrap_or((unsigned, "00"));
    let is_whole = rest.split(':').all(|part| part.parse::<u8>() == Ok(0)) || hours.parse::<f64>() == Ok(0.0);
    let hours = hours.strip_suffix(".0").unwrap_or(hours).parse::<i32>().ok().filter(|_| is_whole)? * sign;
    let east = if letters == 0 && !text.contains(':') { hours } else { -hours };
    // Their names have POSIX's sign.
    match east {
        0 => Some("UTC".to_owned()),
        1..=14 => Some(format!("Etc/GMT-{east}")),
        -12..=-1 => Some(format!("Etc/GMT+{}", -east)),
        _ => None,
    }
}

/// The one value that has an effect; `others` are PostgreSQL's, and refused rather than ignored.
fn only(value: &str, known: &str, others: &[&str], hint: &str, refuse: &impl Fn() -> Error) -> Result<String> {
    let value = value.trim().to_ascii_lowercase();
    if value == known {
        return Ok(value);
    }
    if others.contains(&value.as_str()) { Err(Error::not_supported(refuse().message()).hint(hint)) } else { Err(refuse()) }
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
            _ => return Err(refuse()),
        }
    }
    Ok("ISO, MDY".to_owned())
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{Settings, fixed_zone, parse_duration_ms};
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
    fn what_has_no_effect_is_refused() {
        let mut settings = Settings::default();
        let mut set = |name: &str, value: &str| settings.set(name, Some(value)).map(drop).map_err(|error| error.kind().sqlstate());
        for (name, value) in [("datestyle", "ISO, DMY"), ("datestyle", "German"), ("bytea_output", "escape"), ("intervalstyle", "iso_8601")]
        {
            assert_eq!(set(name, value), Err("0A000"), "{name} = {value}");
        }
        for (name, value) in [("datestyle", "yes"), ("bytea_output", "base64"), ("intervalstyle", "x"), ("role", "somebody")] {
            assert_eq!(set(name, value), Err("22023"), "{name} = {value}");
        }
        for (name, value) in [("datestyle", "iso"), ("datestyle", "ISO, MDY"), ("intervalstyle", "POSTGRES"), ("role", "none")] {
            assert_eq!(set(name, value), Ok(()), "{name} = {value}");
        }
    }

    #[test]
    fn hours_are_a_zone() {
        for (text, zone) in [("2", "Etc/GMT-2"), ("+02", "Etc/GMT-2"), ("-3:00", "Etc/GMT-3"), ("UTC+3", "Etc/GMT+3"), ("0", "UTC")] {
            assert_eq!(fixed_zone(text).as_deref(), Some(zone), "{text}");
        }
        for text in ["5:30", "20", "Mars", "UTC+", ""] {
            assert_eq!(fixed_zone(text), None, "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration_ms("250"), Some(250));
        assert_eq!(parse_duration_ms("10s"), Some(10_000));
        assert_eq!(parse_duration_ms("soon"), None);
    }
}

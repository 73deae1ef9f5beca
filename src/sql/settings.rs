//! SET, RESET and SHOW in all their forms, and DESCRIBE.

use sqlparser::tokenizer::Token;

use super::quote::quote_ident;
use super::reader::Reader;
use super::session::transaction_modes;
use super::statement::{Show, Statement};
use crate::error::Result;

/// Kinds of object that SHOW lists; their singular is not one of them.
const LISTS: &[&str] = &[
    "columns",
    "connections",
    "cursors",
    "databases",
    "functions",
    "indexes",
    "jobs",
    "roles",
    "schemas",
    "secrets",
    "sinks",
    "sources",
    "subscriptions",
    "tables",
    "users",
    "views",
];

/// Settings of several words, and the one word that PostgreSQL keeps them under.
const SPELLED_OUT: &[(&[&str], &str)] = &[
    (&["time", "zone"], "timezone"),
    (&["transaction", "isolation", "level"], "transaction_isolation"),
    (&["session", "authorization"], "session_authorization"),
];

/// SET …
pub(super) fn set(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["set"])?;
    let for_session = reader.accept(&["session", "characteristics", "as", "transaction"]);
    if for_session || reader.accept(&["transaction"]) {
        if reader.is(0, "snapshot") {
            return Err(reader.not_supported("SET TRANSACTION SNAPSHOT").hint("A transaction reads the newest epoch."));
        }
        if reader.at_end() {
            return Err(reader.unexpected());
        }
        let Some(read_only) = transaction_modes(reader)? else { return Ok(Statement::NoOperation("SET")) };
        let name = if for_session { "default_transaction_read_only" } else { "transaction_read_only" };
        let value = if read_only { "on" } else { "off" };
        return Ok(Statement::Set { name: name.to_owned(), value: Some(value.to_owned()), local: !for_session });
    }
    if reader.accept(&["constraints"]) {
        reader.comma_separated(|reader| if reader.accept(&["all"]) { Ok(()) } else { reader.name().map(|_| ()) })?;
        return match reader.accept_one(&["deferred", "immediate"]) {
            Some(_) => Ok(Statement::NoOperation("SET CONSTRAINTS")),
            None => Err(reader.unexpected()),
        };
    }
    // `SET local = 1` would be a setting named so.
    let is_scope = !matches!(reader.peek_nth(1), Token::Eq) && !reader.is(1, "to") && !reader.is(1, "authorization");
    let local = is_scope && reader.accept(&["local"]);
    if is_scope && !local {
        reader.accept(&["session"]);
    }
    let (name, value) = set_special(reader)?.map_or_else(|| set_plain(reader), Ok)?;
    Ok(Statement::Set { name, value, local })
}

/// The forms without `=` or TO.
fn set_special(reader: &mut Reader<'_>) -> Result<Option<(String, Option<String>)>> {
    if reader.accept(&["time", "zone"]) {
        let value = match reader.accept_one(&["local", "default"]) {
            Some(_) => None,
            None if reader.accept(&["interval"]) => Some(interval_hours(reader)?),
            None => Some(value(reader)?),
        };
        return Ok(Some(("timezone".to_owned(), value)));
    }
    if reader.accept(&["names"]) {
        let encoding = if reader.accept(&["default"]) || reader.at_end() { None } else { Some(value(reader)?) };
        return Ok(Some(("client_encoding".to_owned(), encoding)));
    }
    if reader.is(0, "schema") && matches!(reader.peek_nth(1), Token::SingleQuotedString(_)) {
        reader.advance();
        return Ok(Some(("search_path".to_owned(), Some(value(reader)?))));
    }
    let is_role = reader.is(0, "role") && !reader.is(1, "to") && *reader.peek_nth(1) != Token::Eq;
    if is_role {
        reader.advance();
        let role = if reader.accept(&["none"]) { None } else { Some(value(reader)?) };
        return Ok(Some(("role".to_owned(), role)));
    }
    if reader.accept(&["session", "authorization"]) || reader.accept(&["authorization"]) {
        let user = if reader.accept(&["default"]) { None } else { Some(value(reader)?) };
        return Ok(Some(("session_authorization".to_owned(), user)));
    }
    Ok(None)
}

/// name = value, …; name TO value, …; DEFAULT for the default.
fn set_plain(reader: &mut Reader<'_>) -> Result<(String, Option<String>)> {
    let name = setting(reader)?;
    if !reader.accept_token(&Token::Eq) && !reader.accept(&["to"]) {
        return Err(reader.unexpected().detail("Expected \"=\" or TO."));
    }
    if reader.accept(&["default"]) {
        return Ok((name, None));
    }
    let values = reader.comma_separated(value)?;
    if name == "search_path" {
        let names: Vec<String> = values.iter().map(|value| quote_ident(value)).collect();
        return Ok((name, Some(names.join(", "))));
    }
    Ok((name, Some(values.join(", "))))
}

/// The hours that an interval says, as a number: as text, hours and minutes are counted the other way round. INTERVAL is behind.
fn interval_hours(reader: &mut Reader<'_>) -> Result<String> {
    let unexpected = reader.unexpected();
    let text = reader.string()?;
    let unit = reader.accept_one(&["hour", "minute", "second"]);
    if reader.accept(&["to"]) {
        reader.accept_one(&["minute", "second"]);
    }
    let (sign, unsigned) = text.strip_prefix('-').map_or((1.0, text.as_str()), |unsigned| (-1.0, unsigned));
    // One number counts the unit behind it, which is seconds if there is none.
    let factors = match unit {
        _ if unsigned.contains(':') => [1.0, 60.0, 3_600.0],
        Some("hour") => [1.0, 60.0, 3_600.0],
        Some("minute") => [60.0, 3_600.0, 0.0],
        _ => [3_600.0, 0.0, 0.0],
    };
    let mut hours = 0.0;
    for (place, part) in unsigned.split(':').enumerate() {
        match (part.trim().parse::<f64>(), factors.get(place)) {
            (Ok(number), Some(factor)) if *factor > 0.0 => hours += number / factor,
            _ => return Err(unexpected.detail("Expected an interval of hours and minutes.")),
        }
    }
    Ok((sign * hours).to_string())
}

/// A string, a number, or a word (which folds to lower case, as in PostgreSQL).
fn value(reader: &mut Reader<'_>) -> Result<String> {
    match reader.accept_string().or_else(|| reader.accept_number()) {
        Some(value) => Ok(value),
        None if matches!(reader.peek(), Token::Word(_)) && !reader.is(0, "default") => reader.label(),
        None => Err(reader.unexpected().detail("Expected a value.")),
    }
}

/// A setting's name in lower case, dots included.
fn setting(reader: &mut Reader<'_>) -> Result<String> {
    for (words, name) in SPELLED_OUT {
        if reader.accept(words) {
            return Ok((*name).to_owned());
        }
    }
    let mut name = reader.identifier()?;
    while reader.accept_token(&Token::Period) {
        name.push('.');
        name.push_str(&reader.label()?);
    }
    Ok(name.to_ascii_lowercase())
}

/// RESET name | ALL
pub(super) fn reset(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["reset"])?;
    let name = if reader.accept(&["all"]) { None } else { Some(setting(reader)?) };
    Ok(Statement::Reset { name })
}

/// SHOW …
pub(super) fn show(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.expect(&["show"])?;
    if reader.accept(&["all"]) {
        return Ok(Statement::Show(Show::AllSettings));
    }
    if reader.is(0, "columns") && (reader.is(1, "from") || reader.is(1, "in")) {
        reader.advance();
        reader.advance();
        return Ok(Statement::Show(Show::Columns(reader.name()?)));
    }
    if reader.accept(&["create"]) {
        let is_known = reader.accept(&["materialized", "view"]) || reader.accept_one(&["table", "source", "view", "sink"]).is_some();
        if !is_known {
            return Err(reader.unexpected().detail("Expected TABLE, SOURCE, VIEW, MATERIALIZED VIEW or SINK."));
        }
        return Ok(Statement::Show(Show::Create(reader.name()?)));
    }
    let kind = if reader.accept(&["materialized", "views"]) { Some("materialized views") } else { reader.accept_one(LISTS) };
    let Some(kind) = kind else { return Ok(Statement::Show(Show::Setting(setting(reader)?))) };
    if reader.is(0, "from") || reader.is(0, "in") {
        return Err(reader.not_supported("SHOW … FROM schema").hint("Query information_schema or pg_catalog."));
    }
    let like = if reader.accept(&["like"]) { Some(reader.string()?) } else { None };
    Ok(Statement::Show(Show::Objects { kind: kind.to_owned(), like }))
}

/// DESCRIBE [kind] name
pub(super) fn describe(reader: &mut Reader<'_>) -> Result<Statement> {
    reader.advance();
    // A kind is read over; a relation called `source` is told by nothing following it.
    if !matches!(reader.peek_nth(1), Token::EOF | Token::Period) {
        let _ = reader.accept(&["materialized", "view"]) || reader.accept_one(&["table", "source", "view"]).is_some();
    }
    Ok(Statement::Show(Show::Columns(reader.name()?)))
}

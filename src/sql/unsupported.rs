//! Statements that are SQL but not ours (yet): each is refused by name, with a way out where there is one.

use super::reader::Reader;
use crate::error::Error;

/// First words of statements that are refused, and what to do instead.
const STATEMENTS: &[(&str, &str)] = &[
    ("alter", "Tables, sources, views and sinks can be altered."),
    ("call", "There are no procedures."),
    ("cluster", "Tables need no maintenance."),
    ("do", "There are no anonymous code blocks."),
    ("grant", "Every user that may connect may do everything so far."),
    ("import", "Create the sources one by one."),
    ("load", "There are no loadable modules."),
    ("lock", "A statement sees one consistent epoch and needs no locks."),
    ("merge", "Use INSERT … ON CONFLICT DO UPDATE."),
    ("reassign", "Objects have no owners yet."),
    ("refresh", "Materialized views are always up to date."),
    ("reindex", "There are no indexes to rebuild."),
    ("revoke", "Every user that may connect may do everything so far."),
    ("security", "There are no security labels."),
    ("subscribe", "Read the view with SELECT, or with a cursor."),
];

/// Kinds of object (in one or two words) that cannot be created or dropped, and what to do instead.
const OBJECTS: &[(&str, &str)] = &[
    ("access", "There is one way to store tables."),
    ("aggregate", "Use the built-in aggregates."),
    ("cast", "Use the built-in casts."),
    ("collation", "Text is compared by code point."),
    ("connection", "Write the options into each WITH (…)."),
    ("conversion", "Text is UTF-8."),
    ("database", "There is one database; use CREATE SCHEMA."),
    ("domain", "Use the underlying type."),
    ("event", "A materialized view reacts to every change."),
    ("extension", "There are no extensions; much of what they do is built in."),
    ("foreign", "Use CREATE SOURCE."),
    ("group", "Users are set in the server's configuration."),
    ("language", "There are no procedural languages."),
    ("operator", "Use the built-in operators."),
    ("owned", "Drop the objects by name."),
    ("policy", "There is no row-level security."),
    ("procedure", "There are no procedures."),
    ("publication", "Read changes from a materialized view."),
    ("role", "Users are set in the server's configuration."),
    ("routine", "There are no procedures."),
    ("rule", "Use a view."),
    ("secret", "Write the value into WITH (…)."),
    ("sequence", "Give the key's values with the rows."),
    ("server", "Use CREATE SOURCE."),
    ("statistics", "Plans do not depend on statistics."),
    ("subscription", "Use CREATE SOURCE."),
    ("tablespace", "All data lives in the data directory."),
    ("text", "There are no text search objects."),
    ("transform", "There are no procedural languages."),
    ("trigger", "A materialized view reacts to every change."),
    ("type", "Use the built-in types."),
    ("user", "Users are set in the server's configuration."),
];

/// The error for a statement whose first word nobody reads: an honest refusal, or a syntax error.
pub(super) fn statement(reader: &Reader<'_>) -> Error {
    let word = reader.peek_word().unwrap_or_default();
    let Some((name, hint)) = STATEMENTS.iter().find(|(name, _)| *name == word) else { return reader.unexpected() };
    let mut construct = name.to_ascii_uppercase();
    // "ALTER TABLE" says more than "ALTER"; an object's name behind the first word would say something wrong.
    let takes_kind = matches!(word.as_str(), "alter" | "refresh" | "reassign" | "security" | "import");
    if let sqlparser::tokenizer::Token::Word(kind) = reader.peek_nth(1)
        && takes_kind
        && kind.quote_style.is_none()
    {
        construct = format!("{construct} {}", kind.value.to_ascii_uppercase());
        if kind.value.eq_ignore_ascii_case("materialized") {
            construct.push_str(" VIEW");
        }
    }
    reader.not_supported(construct).hint(*hint)
}

/// The error for CREATE or DROP (`verb`) of a kind of object that we do not have; the kind is next.
pub(super) fn object(reader: &Reader<'_>, verb: &str) -> Error {
    // CREATE UNIQUE INDEX, CREATE TRUSTED LANGUAGE and the like put an adjective first.
    let skipped = usize::from(["unique", "constraint", "trusted", "recursive", "default"].iter().any(|word| reader.is(0, word)));
    let found = OBJECTS.iter().find(|(kind, _)| reader.is(skipped, kind));
    match found {
        Some((kind, hint)) => reader.not_supported(format!("{verb} {}", kind.to_ascii_uppercase())).hint(*hint),
        None => reader.unexpected(),
    }
}

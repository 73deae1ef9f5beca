//! Clauses that the parser knows from other databases, or from PostgreSQL, and the planner would pass over: each is refused by name.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query, Select, Spanned, TableFactor};

use super::position::locate;
use crate::error::{Error, Result};

/// Refuses what no plan is made of in a query's own clauses.
pub(super) fn check_query(query: &Query, text: &str) -> Result<()> {
    let found = [
        (query.for_clause.is_some(), "FOR"),
        (query.settings.is_some(), "SETTINGS"),
        (query.format_clause.is_some(), "FORMAT"),
        (!query.pipe_operators.is_empty(), "|>"),
    ];
    refuse(&found, query, text)
}

/// The same of a SELECT.
pub(super) fn check_select(select: &Select, text: &str) -> Result<()> {
    let found = [
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.value_table_mode.is_some(), "AS STRUCT"),
    ];
    refuse(&found, select, text)
}

/// The same of a table in FROM. `ONLY t` is `t`: no table inherits from another.
pub(super) fn check_table(factor: &mut TableFactor, text: &str) -> Result<()> {
    without_only(factor);
    let found = match factor {
        TableFactor::Table { sample, version, with_hints, partitions, index_hints, json_path, .. } => [
            (sample.is_some(), "TABLESAMPLE"),
            (version.is_some(), "FOR SYSTEM_TIME"),
            (!with_hints.is_empty(), "WITH"),
            (!partitions.is_empty(), "PARTITION"),
            (!index_hints.is_empty(), "INDEX"),
            (json_path.is_some(), "a path behind a table"),
        ],
        TableFactor::Derived { sample, .. } => {
            let mut found = [(false, ""); 6];
            found[0] = (sample.is_some(), "TABLESAMPLE");
            found
        }
        _ => return Ok(()),
    };
    refuse(&found, &*factor, text)
}

fn without_only(factor: &mut TableFactor) {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return };
    let is_only = |ident: &Ident| ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("only");
    if !matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if is_only(ident)) {
        return;
    }
    if let Some(table) = alias.take_if(|alias| !alias.explicit && alias.columns.is_empty()) {
        *name = ObjectName(vec![ObjectNamePart::Identifier(table.name)]);
    }
}

fn refuse(found: &[(bool, &str)], node: &impl Spanned, text: &str) -> Result<()> {
    let Some((_, clause)) = found.iter().find(|(is_there, _)| *is_there) else { return Ok(()) };
    let error = Error::not_supported(format!("{clause} is not supported yet"));
    let from = locate(text, node.span().start);
    // Trees tell where a table or query begins, not its clauses.
    let word = clause.split(' ').next().unwrap_or(clause).to_ascii_uppercase();
    let behind = text[from.byte..].to_ascii_uppercase();
    Err(match behind.find(&word) {
        Some(byte) => error.at(from.characters + behind[..byte].chars().count() + 1),
        None => error,
    })
}

//! Clauses of definitions that the parser, the catalog and the connectors all speak of.

use serde::{Deserialize, Serialize};

use super::SqlType;

/// What `INCLUDE …` adds to a source's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Include {
    /// The record's key: bytea.
    Key,
    /// Its partition: integer.
    Partition,
    /// Its offset: bigint.
    Offset,
    /// When the broker or producer stamped it: timestamptz.
    Timestamp,
    /// Its headers: text, a JSON object of strings.
    Headers,
}

impl Include {
    /// The type of the column that it fills.
    pub fn sql_type(self) -> SqlType {
        match self {
            Include::Key => SqlType::Bytea,
            Include::Partition => SqlType::Int4,
            Include::Offset => SqlType::Int8,
            Include::Timestamp => SqlType::Timestamptz,
            Include::Headers => SqlType::Text,
        }
    }
}

/// What happens when a row's key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// The new row replaces the old one: the default.
    Overwrite,
    /// The old row stays.
    DoNothing,
    /// `23505`: what PostgreSQL does.
    Error,
}

//! Savepoints: how far a transaction had come, so that it can be taken back to there.
//!
//! ```text
//!  SAVEPOINT a   INSERT …   SAVEPOINT b   UPDATE …   ROLLBACK TO a
//!      │                        │                        └─ drafts are cut back to what they held at `a`; `b` is forgotten, `a` stays
//!      └─ changes per table: 0  └─ changes per table: 1
//! ```
//!
//! Rows, settings and cursors go back. Definitions do not: they are no part of a transaction. A table that was first written behind the
//! savepoint is let go, as its lock is in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::outcome::Outcome;
use crate::engine::session::Session;
use crate::engine::settings::Settings;
use crate::engine::transaction::Transaction;
use crate::error::{Error, Kind, Result};
use crate::state::DraftMark;
use crate::types::ObjectId;

/// Savepoints that one transaction may have: each keeps a copy of the settings.
const SAVEPOINTS_MAX: usize = 10_000;

/// A point within a transaction.
pub(crate) struct Savepoint {
    name: String,
    /// Of each table that was held, what had been written.
    tables: BTreeMap<ObjectId, DraftMark>,
    settings: Settings,
    /// The settings that were to be taken back at the end.
    local_settings: Vec<(String, Option<String>)>,
    /// The numbers of those that were open.
    cursors: BTreeSet<u64>,
}

impl Session {
    /// SAVEPOINT: of two with one name, the later one is meant.
    pub(crate) fn savepoint(&mut self, name: &str) -> Result<Outcome> {
        let settings = self.settings.clone();
        let cursors = self.cursors.values().map(|cursor| cursor.number).collect();
        let transaction = self.in_block("SAVEPOINT")?;
        if transaction.savepoints.len() >= SAVEPOINTS_MAX {
            let error = Error::new(Kind::LimitExceeded, format!("more than {SAVEPOINTS_MAX} savepoints in one transaction"));
            return Err(error.hint("RELEASE those that are no longer needed."));
        }
        let (tables, local_settings) = (transaction.marks(), transaction.local_settings.clone());
        transaction.savepoints.push(Savepoint { name: name.to_owned(), tables, settings, local_settings, cursors });
        Ok(Outcome::Done("SAVEPOINT".to_owned()))
    }

    /// RELEASE: the savepoint and those behind it are forgotten; what has been written stays.
    pub(crate) fn release(&mut self, name: &str) -> Result<Outcome> {
        let transaction = self.in_block("RELEASE SAVEPOINT")?;
        let position = position(transaction, name)?;
        transaction.savepoints.truncate(position);
        Ok(Outcome::Done("RELEASE".to_owned()))
    }

    /// ROLLBACK TO: what was done behind the savepoint has not been; a transaction that failed there goes on.
    pub(crate) fn rollback_to(&mut self, name: &str) -> Result<Outcome> {
        let transaction = self.in_block("ROLLBACK TO SAVEPOINT")?;
        let position = position(transaction, name)?;
        transaction.savepoints.truncate(position + 1);
        let savepoint = &transaction.savepoints[position];
        let (tables, settings, cursors) = (savepoint.tables.clone(), savepoint.settings.clone(), savepoint.cursors.clone());
        transaction.local_settings.clone_from(&savepoint.local_settings);
        transaction.back_to(&tables);
        transaction.failed = false;
        self.cursors.retain(|_, cursor| cursors.contains(&cursor.number));
        self.restore_settings(settings);
        Ok(Outcome::Done("ROLLBACK".to_owned()))
    }

    fn in_block(&mut self, command: &str) -> Result<&mut Transaction> {
        let open = self.transaction.as_mut().filter(|transaction| transaction.explicit);
        open.ok_or_else(|| Error::new(Kind::NoActiveTransaction, format!("{command} can only be used in transaction blocks")))
    }
}

fn position(transaction: &Transaction, name: &str) -> Result<usize> {
    let found = transaction.savepoints.iter().rposition(|savepoint| savepoint.name == name);
    found.ok_or_else(|| Error::new(Kind::UndefinedSavepoint, format!("savepoint \"{name}\" does not exist")))
}

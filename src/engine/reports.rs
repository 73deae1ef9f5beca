//! What is told of objects beside their rows, and comes back after a restart: dead letters, rows that came too late, errors of rows.
//!
//! A checkpoint holds what was told up to its epoch by what it holds the state of; what is computed again behind it is told again. What a view
//! has told that is computed anew is forgotten with its state.

use crate::dataflow::{LateLog, RowErrorLog};
use crate::engine::Engine;
use crate::engine::recover::undecodable;
use crate::engine::source::SourceReport;
use crate::error::Result;
use crate::state::ReportChanges;
use crate::types::{ObjectId, RowErrors};

/// The first byte of an entry's key: a record that could not become a row; behind it its number.
const DEAD_LETTER: u8 = b'd';
/// The first byte of an entry's key: row errors, one entry for each object.
const ROW_ERRORS: u8 = b'e';
/// The first byte of an entry's key: a row that came too late; behind it the operator's number and its own.
const LATE_ROW: u8 = b'l';

/// What a source has told since the last checkpoint.
pub(crate) fn of_source(report: &mut SourceReport) -> ReportChanges {
    let mut changes = ReportChanges::default();
    report.dead_letters.take_changes(&[DEAD_LETTER], &mut changes);
    changes
}

/// What the objects that are `held` by a checkpoint have told since the last one.
pub(crate) fn of_objects(row_errors: &RowErrorLog, late_rows: &LateLog, held: impl Fn(ObjectId) -> bool) -> Vec<(ObjectId, ReportChanges)> {
    let whole = |errors: &RowErrors| {
        let value = serde_json::to_vec(errors).expect("numbers and texts always encode");
        ReportChanges { puts: vec![(vec![ROW_ERRORS], value)], deletes: Vec::new() }
    };
    let errors = row_errors.take_changes(&held).into_iter().map(|(object, errors)| (object, whole(&errors)));
    errors.chain(late_rows.take_changes(LATE_ROW, held)).collect()
}

impl Engine {
    /// Takes back what was told of an object up to the last checkpoint.
    pub(crate) fn restore_reports(&self, object: ObjectId) -> Result<()> {
        let source = self.sources.read().get(&object).map(|source| source.report.clone());
        for entry in self.store.reports(object) {
            let (key, value) = entry?;
            match (key.split_first(), &source) {
                (Some((&DEAD_LETTER, number)), Some(report)) => report.lock().dead_letters.restore(number, &value)?,
                (Some((&ROW_ERRORS, [])), _) => {
                    let errors = serde_json::from_slice(&value);
                    self.row_errors
                        .restore(object, errors.map_err(|cause| undecodable(&format!("the row errors of object {object}"), &cause))?);
                }
                (Some((&LATE_ROW, key)), _) => self.late_rows.restore(object, key, &value)?,
                _ => tracing::warn!(object, ?key, "what is told of an object is of an unknown kind"),
            }
        }
        Ok(())
    }
}

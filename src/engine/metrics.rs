//! What is measured of single objects, in Prometheus' text format.
//!
//! Written anew each time from what is there: a recorder would keep the series of an object for ever, also of one that was dropped.

use std::fmt::{Display, Write};

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::types::ObjectId;

/// Describes what the recorder collects. Once, before the first of it.
pub fn describe_metrics() {
    metrics::describe_gauge!("tidemill_connections", "Sessions that are open.");
    metrics::describe_gauge!("tidemill_epoch", "The newest epoch that every view reflects.");
    metrics::describe_histogram!("tidemill_checkpoint_seconds", "How long a checkpoint took to be written.");
}

impl Engine {
    /// Sets the gauges that are computed when somebody asks, of the server as a whole.
    pub fn record_metrics(&self) {
        let connections = u32::try_from(self.registry.connections()).unwrap_or(u32::MAX);
        metrics::gauge!("tidemill_connections").set(f64::from(connections));
        metrics::gauge!("tidemill_epoch").set(self.clock.complete() as f64);
    }

    /// The series of relations and sources.
    pub fn object_metrics(&self) -> String {
        let catalog = self.catalog();
        let mut rows = Family::new("tidemill_relation_rows", "gauge", "Rows that a table or view holds.");
        let mut bytes = Family::new("tidemill_relation_bytes", "gauge", "Bytes of memory that the rows of a table or view take.");
        for (id, relation) in self.relations.lock().iter() {
            rows.add(&catalog, "relation", *id, relation.live_rows());
            bytes.add(&catalog, "relation", *id, relation.memory_bytes());
        }
        let mut read = Family::new("tidemill_source_rows_total", "counter", "Rows read from a source since it was created.");
        let mut dead = Family::new("tidemill_dead_letters_total", "counter", "Records of a source that could not become rows.");
        let mut lag = Family::new("tidemill_source_lag", "gauge", "Records of a source that are still to be read; absent if unknown.");
        for (id, source) in self.sources.read().iter() {
            let report = source.report.lock();
            read.add(&catalog, "source", *id, report.position.rows);
            dead.add(&catalog, "source", *id, report.position.dead_letters);
            if let Some(behind) = report.lag {
                lag.add(&catalog, "source", *id, behind);
            }
        }
        [rows, bytes, read, dead, lag].map(|family| family.text).concat()
    }
}

/// One metric with all its series.
struct Family {
    name: &'static str,
    text: String,
}

impl Family {
    fn new(name: &'static str, kind: &str, help: &str) -> Self {
        Family { name, text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n") }
    }

    /// The value for an object; nothing of one that was dropped meanwhile.
    fn add(&mut self, catalog: &Catalog, label: &str, id: ObjectId, value: impl Display) {
        let Some(object) = catalog.get(id) else { return };
        let (schema, name) = (escaped(&object.schema), escaped(&object.name));
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}{{schema=\"{schema}\",{label}=\"{name}\"}} {value}", self.name);
    }
}

/// As a label's value is written.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_label_is_one_word() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}

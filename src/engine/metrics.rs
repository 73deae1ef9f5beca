//! What is measured of single objects, in Prometheus' text format.
//!
//! Written anew each time from what is there: a recorder would keep the series of an object for ever, also of one that was dropped.

use std::fmt::{Display, Write};

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::types::ObjectId;

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
        let (mut rows, mut bytes) = (Family::gauge("tidemill_relation_rows"), Family::gauge("tidemill_relation_bytes"));
        for (id, relation) in self.relations.lock().iter() {
            rows.add(&catalog, "relation", *id, relation.live_rows());
            bytes.add(&catalog, "relation", *id, relation.memory_bytes());
        }
        let mut read = Family::counter("tidemill_source_rows_total");
        let (mut dead, mut lag) = (Family::counter("tidemill_dead_letters_total"), Family::gauge("tidemill_source_lag"));
        for (id, source) in self.sources.read().iter() {
            let report = source.report.lock();
            read.add(&catalog, "source", *id, report.position.rows);
            dead.add(&catalog, "source", *id, report.position.dead_letters);
            lag.add(&catalog, "source", *id, report.lag.unwrap_or(0));
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
    fn gauge(name: &'static str) -> Self {
        Family { name, text: format!("# TYPE {name} gauge\n") }
    }

    fn counter(name: &'static str) -> Self {
        Family { name, text: format!("# TYPE {name} counter\n") }
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

//! What the client tells by itself: how far each partition's log reaches, and whether any broker answers.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// Statistics (they come every second) in which no broker is connected, until that is told: one may fall into a reconnection.
const SILENT_MAX: u32 = 2;

/// Listens to one client.
#[derive(Debug)]
pub(super) struct Watch {
    topic: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// For each partition the offset behind its last readable record.
    ends: BTreeMap<i32, i64>,
    down: bool,
    /// Statistics in a row in which no broker was connected.
    silent: u32,
    /// The client's last word about a connection.
    last_error: Option<String>,
}

impl Watch {
    pub(super) fn new(topic: &str) -> Self {
        Watch { topic: topic.to_owned(), seen: Mutex::default() }
    }

    /// The offset behind the last readable record of a partition, as of a second ago at best.
    pub(super) fn end(&self, partition: i32) -> Option<i64> {
        self.seen.lock().ends.get(&partition).copied()
    }

    /// The client's last word about a connection.
    pub(super) fn last_error(&self) -> Option<String> {
        self.seen.lock().last_error.clone()
    }

    /// Why no broker answers, if none does.
    pub(super) fn trouble(&self) -> Option<String> {
        let seen = self.seen.lock();
        seen.down.then(|| seen.last_error.clone().unwrap_or_else(|| "no broker answers".to_owned()))
    }

    /// A record has come: somebody answers.
    pub(super) fn answered(&self) {
        let mut seen = self.seen.lock();
        seen.connected();
    }
}

impl Seen {
    fn connected(&mut self) {
        self.down = false;
        self.silent = 0;
        self.last_error = None;
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(topic = self.topic, facility, "kafka client: {message}");
            }
            _ => tracing::debug!(topic = self.topic, facility, "kafka client: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut seen = self.seen.lock();
        if let Some(topic) = statistics.topics.get(&self.topic) {
            for (partition, numbers) in topic.partitions.iter().filter(|(partition, _)| **partition >= 0) {
                // Records of open transactions are behind the last stable offset, and not readable yet.
                let end = if numbers.ls_offset >= 0 { numbers.ls_offset } else { numbers.hi_offset };
                if end >= 0 {
                    seen.ends.insert(*partition, end);
                }
            }
        }
        // UPDATE is UP as well. The client says only once that all brokers are down, and that may come before a statistic from before it.
        if statistics.brokers.values().any(|broker| broker.state.starts_with("UP")) {
            seen.connected();
        } else {
            seen.silent += 1;
            seen.down |= seen.silent >= SILENT_MAX;
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut seen = self.seen.lock();
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            seen.down = true;
            seen.last_error.get_or_insert_with(|| reason.to_owned());
        } else {
            seen.last_error = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Watch {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rdkafka::client::ClientContext;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};
    use rdkafka::statistics::{Broker, Statistics};

    use super::Watch;

    #[test]
    fn a_late_statistic_hid_for_ever_that_all_brokers_are_down() {
        let watch = Watch::new("t");
        let told = |state: &str| {
            let broker = Broker { state: state.to_owned(), ..Broker::default() };
            watch.stats(Statistics { brokers: HashMap::from([("b".to_owned(), broker)]), ..Statistics::default() });
            watch.trouble()
        };
        assert_eq!(told("UP"), None);
        watch.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "connection refused");
        assert_eq!(watch.trouble().as_deref(), Some("connection refused"));
        assert_eq!(told("UP"), None);
        assert_eq!(told("TRY_CONNECT"), None);
        assert_eq!(told("CONNECT").as_deref(), Some("no broker answers"));
        assert_eq!(told("UPDATE"), None);
        assert_eq!(told("DOWN"), None);
    }
}

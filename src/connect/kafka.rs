//! Kafka, and every broker that speaks its protocol: a topic is a source, a record a row.
//!
//! Offsets are ours alone: we assign partitions to ourselves, join no group and commit nothing to the broker. So a restart, or a second view
//! over the same source, reads exactly from the positions it is given.

mod reader;
mod settings;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use self::reader::KafkaReader;
use self::settings::Settings;
use self::watch::Watch;
use super::format::Format;
use super::{Connector, Positions, Reader, SourceColumn, SourceSpec};
use crate::error::{Error, Kind, Result};

/// How long CREATE waits for a broker's answer.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the options; does not ask the broker.
pub(super) fn open(spec: SourceSpec) -> Result<Arc<dyn Connector>> {
    let settings = Settings::new(&spec.options)?;
    let format = Format::new(&spec)?;
    if format.has_header() {
        return Err(Error::new(Kind::InvalidParameter, "records of a topic have no header").hint("Leave out header = 'true'."));
    }
    Ok(Arc::new(KafkaConnector { settings: Arc::new(settings), format }))
}

/// A topic, and how its records are read.
struct KafkaConnector {
    settings: Arc<Settings>,
    format: Format,
}

impl Connector for KafkaConnector {
    fn columns(&self) -> &[SourceColumn] {
        self.format.columns()
    }

    fn only(&self, wanted: &[bool]) -> Option<Arc<dyn Connector>> {
        Some(Arc::new(KafkaConnector { settings: Arc::clone(&self.settings), format: self.format.only(wanted) }))
    }

    fn check(&self) -> Result<()> {
        let Settings { brokers, topic, .. } = &*self.settings;
        let consumer: BaseConsumer<Watch> = self.settings.consumer(false)?;
        let silent = |cause: &dyn std::fmt::Display, detail: Option<String>| {
            let error = Error::new(Kind::External, format!("kafka broker \"{brokers}\" does not answer: {cause}"));
            let error = error.hint("Is it running, and is properties.bootstrap.server right?");
            detail.map_or(error.clone(), |detail| error.detail(detail))
        };
        let metadata = consumer.fetch_metadata(Some(topic), CHECK_TIMEOUT).map_err(|cause| silent(&cause, last_error(&consumer)))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let missing = || {
            Error::new(Kind::External, format!("topic \"{topic}\" does not exist on \"{brokers}\""))
                .hint("Create it first, or correct the option \"topic\".")
        };
        match found.ok_or_else(missing)?.error().map(RDKafkaErrorCode::from) {
            None => Ok(()),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Err(missing()),
            Some(other) => Err(Error::external(&format!("cannot read topic \"{topic}\""), other)),
        }
    }

    fn start(&self, from: &Positions, until: Option<&Positions>) -> Result<Box<dyn Reader>> {
        Ok(Box::new(KafkaReader::new(Arc::clone(&self.settings), self.format.clone(), from, until)))
    }
}

/// The client's last word about a connection. Only for a client without an assignment: records that come meanwhile would be lost.
fn last_error(consumer: &BaseConsumer<Watch>) -> Option<String> {
    /// More events than a client makes while it waits for one answer.
    const EVENTS_MAX: usize = 20;
    // The client tells while it is polled.
    for _ in 0..EVENTS_MAX {
        if consumer.poll(Duration::ZERO).is_none() {
            break;
        }
    }
    consumer.context().last_error()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use rdkafka::mocking::MockCluster;

    use crate::connect::format::tests::{column, rows, spec};
    use crate::connect::{KafkaWriter, Poll, Positions, Reader, SourceColumn, SourceSpec, connect};
    use crate::types::{Include, SqlType, Value};

    fn source(brokers: &str, more: &[(&str, &str)]) -> SourceSpec {
        let include = |name: &str, sql_type, include| SourceColumn { include: Some(include), ..column(name, sql_type) };
        let columns =
            vec![column("n", SqlType::Int8), include("p", SqlType::Int4, Include::Partition), include("o", SqlType::Int8, Include::Offset)];
        let options = [("connector", "kafka"), ("topic", "t"), ("properties.bootstrap.server", brokers)];
        let mut spec = spec("JSON", columns, &[]);
        spec.options = options.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        spec
    }

    /// Reads until there are `count` rows, or the reader ends.
    fn read(reader: &mut dyn Reader, count: usize) -> (BTreeMap<(i64, i64), i64>, Positions, bool) {
        let (mut found, mut positions) = (BTreeMap::new(), Positions::new());
        let deadline = Instant::now() + Duration::from_secs(20);
        while found.len() < count {
            assert!(Instant::now() < deadline, "only {found:?}");
            match reader.poll(Duration::from_millis(100)) {
                Poll::Batch(batch) => {
                    positions.insert(batch.partition, batch.next_offset);
                    for row in rows(&batch) {
                        let [Value::Int(n), Value::Int(partition), Value::Int(offset)] = row[..] else { panic!("{row:?}") };
                        assert_eq!(found.insert((partition, offset), n), None, "a record came twice");
                    }
                }
                Poll::End => return (found, positions, true),
                Poll::Started(starts) => positions.extend(starts),
                Poll::Failed(why) => panic!("{why}"),
                Poll::Pending | Poll::Degraded(_) => {}
            }
        }
        (found, positions, false)
    }

    #[test]
    fn reads_a_topic_exactly_from_its_positions() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let writer = KafkaWriter::new(&brokers).unwrap();
        let payloads: Vec<String> = (0..100).map(|n| format!("{{\"n\":{n}}}")).collect();
        writer.send("t", Some(0), payloads[..60].iter().map(String::as_bytes)).unwrap();
        writer.send("t", Some(1), payloads[60..].iter().map(String::as_bytes)).unwrap();
        writer.flush().unwrap();

        let connector = connect(source(&brokers, &[])).unwrap();
        let (all, positions, _) = read(&mut *connector.start(&Positions::new(), None).unwrap(), 100);
        assert_eq!(positions, Positions::from([(0, 60), (1, 40)]));
        assert_eq!((all[&(0, 7)], all[&(1, 0)]), (7, 60));

        let from = Positions::from([(0, 50), (1, 40)]);
        let (rest, _, _) = read(&mut *connector.start(&from, None).unwrap(), 10);
        assert_eq!(rest.keys().copied().collect::<Vec<_>>(), (50..60).map(|offset| (0, offset)).collect::<Vec<_>>());

        let until = Positions::from([(0, 55)]);
        let (part, _, ended) = read(&mut *connector.start(&from, Some(&until)).unwrap(), usize::MAX);
        assert!(ended);
        assert_eq!(part.len(), 5);
    }

    #[test]
    fn positions_that_the_log_does_not_have_stop_or_are_skipped() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let writer = KafkaWriter::new(&brokers).unwrap();
        writer.send("t", Some(0), [&b"{\"n\":1}"[..]]).unwrap();
        writer.flush().unwrap();
        let beyond = Positions::from([(0, 1_000)]);

        let mut stops = connect(source(&brokers, &[])).unwrap().start(&beyond, None).unwrap();
        for _ in 0..2 {
            match stops.poll(Duration::from_millis(10)) {
                Poll::Failed(text) => assert!(text.contains("beyond the log's end at 1"), "{text}"),
                other => panic!("{other:?}"),
            }
        }
        let mut skips = connect(source(&brokers, &[("on_data_loss", "skip")])).unwrap().start(&beyond, None).unwrap();
        assert_eq!(read(&mut *skips, 1).0.len(), 1);
    }

    /// Polls until the reader says something else than that there is nothing.
    fn next(reader: &mut dyn Reader) -> Poll {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match reader.poll(Duration::from_millis(100)) {
                Poll::Pending if Instant::now() < deadline => {}
                other => return other,
            }
        }
    }

    #[test]
    fn latest_was_another_place_for_every_reader() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 2, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let writer = KafkaWriter::new(&brokers).unwrap();
        let write = |partition, n: i64| {
            writer.send("t", Some(partition), [format!("{{\"n\":{n}}}").as_bytes()]).unwrap();
            writer.flush().unwrap();
        };
        write(0, 1);
        write(0, 2);
        let connector = connect(source(&brokers, &[("scan.startup.mode", "latest")])).unwrap();
        let mut first = connector.start(&Positions::new(), None).unwrap();
        let starts = Positions::from([(0, 2), (1, 0)]);
        // Before the first record, and of all partitions together.
        assert!(matches!(next(&mut *first), Poll::Started(told) if told == starts));
        write(0, 3);
        write(1, 4);
        let (seen, positions, _) = read(&mut *first, 2);
        // Whoever begins where the first one began sees the same.
        let (again, _, ended) = read(&mut *connector.start(&starts, Some(&positions)).unwrap(), usize::MAX);
        assert!(ended);
        assert_eq!(again, seen);
        // A partition that was not there then begins at its beginning.
        let mut later = connector.start(&Positions::from([(0, 3)]), None).unwrap();
        assert!(matches!(next(&mut *later), Poll::Started(told) if told == Positions::from([(1, 0)])));
        assert_eq!(read(&mut *later, 1).0, BTreeMap::from([((1, 0), 4)]));
    }

    #[test]
    fn a_reader_goes_on_when_the_broker_is_back() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let writer = KafkaWriter::new(&brokers).unwrap();
        let write = |n: i64| {
            writer.send("t", Some(0), [format!("{{\"n\":{n}}}").as_bytes()]).unwrap();
            writer.flush().unwrap();
        };
        write(1);
        let mut reader = connect(source(&brokers, &[])).unwrap().start(&Positions::new(), None).unwrap();
        read(&mut *reader, 1);
        cluster.broker_down(1).unwrap();
        let Poll::Degraded(why) = next(&mut *reader) else { panic!("the broker is down") };
        assert!(!why.is_empty());
        cluster.broker_up(1).unwrap();
        // Without a new record too: else a quiet topic would look degraded for ever.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !matches!(reader.poll(Duration::from_millis(100)), Poll::Pending) {
            assert!(Instant::now() < deadline, "the broker is back");
        }
        write(2);
        assert_eq!(read(&mut *reader, 1).0, BTreeMap::from([((0, 1), 2)]));
    }

    #[test]
    fn a_missing_broker_is_an_error_at_create_only() {
        let error = connect(source("127.0.0.1:1", &[])).err().unwrap();
        assert_eq!(error.kind().sqlstate(), "58000");
        assert!(error.message().starts_with("kafka broker \"127.0.0.1:1\" does not answer"), "{error}");
        assert!(crate::connect::open(source("127.0.0.1:1", &[])).is_ok());
    }
}

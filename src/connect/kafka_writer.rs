//! Writes records to a topic: what `tidemill generate` fills Kafka with.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use crate::error::{Error, Kind, Result};

/// For a broker's answer about topics.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For everything that was sent to arrive.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// Sends records; what fails to arrive is told by the next `send` or `flush`.
pub struct KafkaWriter {
    brokers: String,
    producer: BaseProducer<Deliveries>,
}

impl KafkaWriter {
    /// `brokers`: `host:port`, several with commas. Does not connect yet.
    pub fn new(brokers: &str) -> Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "tidemill")
            // Retries must neither reorder nor repeat.
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.kbytes", "65536")
            .create_with_context(Deliveries::default())
            .map_err(|cause| Error::external("cannot make a kafka producer", cause))?;
        Ok(KafkaWriter { brokers: brokers.to_owned(), producer })
    }

    /// Creates a topic, unless it is there, and waits until it can be written to. `58000` if it is there with other partitions.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        let failed =
            |cause: &dyn std::fmt::Display| Error::external(&format!("cannot create topic \"{topic}\" on \"{}\"", self.brokers), cause);
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().map_err(|cause| failed(&cause))?;
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT));
        let results =
            futures::executor::block_on(admin.create_topics([&wanted], &options)).map_err(|cause| failed(&self.reason(&cause)))?;
        match results.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => return Err(failed(&code)),
            _ => {}
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let found = self.partitions(topic)?;
            if found == partitions {
                return Ok(());
            }
            if found > 0 {
                let error = Error::new(Kind::External, format!("topic \"{topic}\" has {found} partitions, not {partitions}"));
                return Err(error.hint("Delete it, or choose another name."));
            }
            if Instant::now() > deadline {
                return Err(failed(&"it does not become ready"));
            }
            self.producer.poll(Duration::from_millis(50));
        }
    }

    /// How many partitions the topic has; 0 if it is not there.
    fn partitions(&self, topic: &str) -> Result<i32> {
        let metadata = self.producer.client().fetch_metadata(Some(topic), ANSWER_TIMEOUT);
        let metadata = metadata
            .map_err(|cause| Error::external(&format!("kafka broker \"{}\" does not answer", self.brokers), self.reason(&cause)))?;
        let count = metadata.topics().first().map_or(0, |found| found.partitions().len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// The client's last word about a connection says more than a timeout.
    fn reason(&self, cause: &KafkaError) -> String {
        self.producer.context().0.lock().connection.clone().unwrap_or_else(|| cause.to_string())
    }

    /// Queues records; waits while the queue is full. Without a partition the client spreads them. `58000` if an earlier one did not arrive.
    pub fn send<'a>(&self, topic: &str, partition: Option<i32>, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        for payload in payloads {
            let mut record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).payload(payload);
            if let Some(partition) = partition {
                record = record.partition(partition);
            }
            while let Err((cause, returned)) = self.producer.send(record) {
                if cause.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(Error::external(&format!("cannot write to topic \"{topic}\""), cause));
                }
                self.producer.poll(Duration::from_millis(100));
                self.arrived(&format!("topic \"{topic}\""))?;
                record = returned;
            }
        }
        self.producer.poll(Duration::ZERO);
        self.arrived(&format!("topic \"{topic}\""))
    }

    /// Waits until everything sent has arrived.
    pub fn flush(&self) -> Result<()> {
        self.producer.flush(FLUSH_TIMEOUT).map_err(|cause| Error::external("cannot write to kafka", self.reason(&cause)))?;
        self.arrived("kafka")
    }

    fn arrived(&self, target: &str) -> Result<()> {
        match self.producer.context().0.lock().failed.take() {
            None => Ok(()),
            Some(cause) => Err(Error::external(&format!("records did not reach {target}"), cause)),
        }
    }
}

/// What became of the records.
#[derive(Default)]
struct Deliveries(Mutex<Outcome>);

#[derive(Default)]
struct Outcome {
    /// The first failure since it was last asked for.
    failed: Option<String>,
    /// The client's last word about a connection.
    connection: Option<String>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "kafka client: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.lock().connection = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((cause, _)) = result {
            self.0.lock().failed.get_or_insert_with(|| cause.to_string());
        }
    }
}

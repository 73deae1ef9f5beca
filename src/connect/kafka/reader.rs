//! Reads a topic's partitions: finds them, assigns them, sorts what comes into one batch per partition.
//!
//! Always: `next_offset` of a partition is one past the last record that went into a batch; a record below it (the client may repeat some
//! after a new assignment) is dropped. What the log no longer has stops the reader for good, unless told to skip it. Where a partition
//! begins is told before its first record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::last_error;
use super::settings::{Settings, Startup};
use super::watch::Watch;
use crate::connect::format::{Decoder, Envelope, Format};
use crate::connect::{Poll, Positions, Reader, SOURCE_BATCH_ROWS, SourceBatch};
use crate::types::Include;

/// How often new partitions are looked for.
const REFRESH_EVERY: Duration = Duration::from_secs(20);
/// After a failure, how long until the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// For a broker's answer. The thread that polls us can be stopped only in between.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Payload bytes of one burst: batches of large records have fewer rows.
const BURST_BYTES_MAX: usize = 16 << 20;

/// Reads one topic.
pub(super) struct KafkaReader {
    settings: Arc<Settings>,
    format: Format,
    from: Positions,
    until: Option<Positions>,
    consumer: Option<BaseConsumer<Watch>>,
    partitions: BTreeMap<i32, Partition>,
    /// Partitions found from now on were created while we read.
    attached: bool,
    /// The client's assignment is not what it should be.
    must_assign: bool,
    /// Where partitions begin that had no position, until it is told.
    started: Positions,
    ready: VecDeque<SourceBatch>,
    refresh_at: Instant,
    /// What the last attempt to reach the brokers failed with.
    trouble: Option<String>,
    /// Why there is no going on.
    lost: Option<String>,
}

/// One partition.
struct Partition {
    decoder: Decoder,
    next_offset: i64,
    until: Option<i64>,
    /// Where the log ended when we began.
    log_end: i64,
}

impl Partition {
    /// The client has read to the end of the log, which is no earlier than it was when we began. If `until` is not after that, then what
    /// it still misses are no records, but marks of transactions or records that were compacted away.
    fn reach_end(&mut self) {
        if let Some(until) = self.until.filter(|until| *until <= self.log_end) {
            self.next_offset = self.next_offset.max(until);
        }
    }

    fn done(&self) -> bool {
        self.until.is_some_and(|until| self.next_offset >= until)
    }
}

/// Why a step did not work out.
enum Failure {
    /// Will be tried again.
    World(String),
    /// The client says that a position is not in the log any more: which one, and why, has to be found out.
    OutOfLog(String),
    /// The client is of no use any more: a new one will be made.
    Client(String),
    /// Records that should be read next are not there.
    Lost(String),
}

impl KafkaReader {
    pub(super) fn new(settings: Arc<Settings>, format: Format, from: &Positions, until: Option<&Positions>) -> Self {
        KafkaReader {
            settings,
            format,
            from: from.clone(),
            until: until.cloned(),
            consumer: None,
            partitions: BTreeMap::new(),
            attached: false,
            must_assign: true,
            started: Positions::new(),
            ready: VecDeque::new(),
            refresh_at: Instant::now(),
            trouble: None,
            lost: None,
        }
    }

    /// Whether everything up to `until` has been delivered.
    fn ended(&self) -> bool {
        self.until.is_some() && self.attached && self.partitions.values().all(Partition::done)
    }

    /// Brings client, partitions and assignment up to date, if it is time.
    fn refresh(&mut self) {
        if Instant::now() < self.refresh_at {
            return;
        }
        match self.attach() {
            Ok(()) => {
                self.refresh_at = Instant::now() + REFRESH_EVERY;
                self.trouble = None;
            }
            Err(failure) => self.note(failure),
        }
    }

    /// Remembers what went wrong, and when to try again.
    fn note(&mut self, failure: Failure) {
        self.refresh_at = Instant::now() + RETRY_AFTER;
        match failure {
            Failure::World(text) => self.trouble = Some(text),
            Failure::Lost(text) => self.lost = Some(text),
            Failure::Client(text) => {
                self.consumer = None;
                self.trouble = Some(text);
            }
            Failure::OutOfLog(cause) => {
                if let Err(failure) = self.recover_positions(&cause) {
                    // Finding out failed too: the client repeats its error once it fetches again.
                    self.must_assign = true;
                    match failure {
                        Failure::Lost(text) => self.lost = Some(text),
                        Failure::World(text) | Failure::Client(text) => self.trouble = Some(text),
                        Failure::OutOfLog(_) => {}
                    }
                }
            }
        }
    }

    fn attach(&mut self) -> Result<(), Failure> {
        let topic = &self.settings.topic;
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => {
                self.must_assign = true;
                self.settings.consumer(self.until.is_some()).map_err(|error| Failure::World(error.message().to_owned()))?
            }
        };
        let consumer = self.consumer.insert(consumer);
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map_err(|cause| {
            let reason = if self.attached { consumer.context().last_error() } else { last_error(consumer) };
            world("no answer from the brokers", &reason.unwrap_or_else(|| cause.to_string()))
        })?;
        let found = metadata.topics().first().ok_or_else(|| Failure::World(format!("topic \"{topic}\" is unknown")))?;
        if let Some(cause) = found.error() {
            return Err(world(&format!("topic \"{topic}\""), &RDKafkaErrorCode::from(cause)));
        }
        let ids: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        let mut expected = self.partitions.keys().chain(self.from.keys()).chain(self.until.iter().flat_map(BTreeMap::keys));
        if let Some(gone) = expected.find(|id| !ids.contains(id)) {
            return Err(Failure::Lost(format!("partition {gone} of topic \"{topic}\" is gone: was the topic created anew?")));
        }
        let (mut new, mut started) = (BTreeMap::new(), Positions::new());
        for id in ids {
            let until = self.until.as_ref().map(|until| until.get(&id).copied());
            // With an end given, a partition that it does not name had nothing to read.
            if self.partitions.contains_key(&id) || until == Some(None) {
                continue;
            }
            let log = watermarks(consumer, topic, id)?;
            let next_offset = match self.from.get(&id) {
                Some(&position) => within_log(&self.settings, id, position, log)?,
                // Created since the others were found: begins at its first record, whatever the options say.
                None if self.attached || !self.from.is_empty() => log.0,
                None => first_offset(consumer, &self.settings, id, log)?,
            };
            if !self.from.contains_key(&id) {
                started.insert(id, next_offset);
            }
            new.insert(id, Partition { decoder: self.format.decoder(), next_offset, until: until.flatten(), log_end: log.1 });
        }
        // All together: a start that knew only some of them would take the others for younger ones.
        self.must_assign |= !new.is_empty();
        self.partitions.append(&mut new);
        self.started.append(&mut started);
        self.attached = true;
        self.assign_if_needed()
    }

    /// Tells the client what to fetch: every partition that is not done, from where we are.
    fn assign_if_needed(&mut self) -> Result<(), Failure> {
        let Some(consumer) = self.consumer.as_ref().filter(|_| self.must_assign) else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for (id, partition) in self.partitions.iter().filter(|(_, partition)| !partition.done()) {
            let added = list.add_partition_offset(&self.settings.topic, *id, Offset::Offset(partition.next_offset));
            added.map_err(|cause| world("cannot assign partitions", &cause))?;
        }
        consumer.assign(&list).map_err(|cause| world("cannot assign partitions", &cause))?;
        self.must_assign = false;
        Ok(())
    }

    /// Takes what the client has, waiting up to `wait` for the first record, and makes batches of it.
    fn fill(&mut self, wait: Duration) -> Result<(), Failure> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let (mut records, mut bytes, mut wait) = (0, 0, wait);
        let with_headers = self.format.includes(Include::Headers);
        let done_before = self.partitions.values().filter(|partition| partition.done()).count();
        let mut outcome = Ok(());
        while records < SOURCE_BATCH_ROWS && bytes < BURST_BYTES_MAX && outcome.is_ok() {
            match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    records += 1;
                    bytes += message.payload_len() + message.key_len();
                    wait = Duration::ZERO;
                    if let Some(partition) = self.partitions.get_mut(&message.partition()) {
                        take(partition, &message, with_headers);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(id))) => {
                    if let Some(partition) = self.partitions.get_mut(&id) {
                        partition.reach_end();
                    }
                }
                Some(Err(cause)) => outcome = heed(&cause),
            }
        }
        if records > 0 {
            consumer.context().answered();
            self.trouble = None;
        }
        for (id, partition) in self.partitions.iter_mut().filter(|(_, partition)| partition.decoder.len() > 0) {
            self.ready.push_back(partition.decoder.finish(*id, partition.next_offset));
        }
        // What is done needs no fetching.
        self.must_assign |= self.partitions.values().filter(|partition| partition.done()).count() > done_before;
        outcome.and_then(|()| self.assign_if_needed())
    }

    /// Some position is not in the log, as the client says for a `cause`: finds out which, and moves or stops.
    fn recover_positions(&mut self, cause: &str) -> Result<(), Failure> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let mut moved = false;
        for (id, partition) in self.partitions.iter_mut().filter(|(_, partition)| !partition.done()) {
            let log = watermarks(consumer, &self.settings.topic, *id)?;
            // Never back: what the log has before the position was read, or so were other records in its place.
            let position = within_log(&self.settings, *id, partition.next_offset, log)?.max(partition.next_offset.min(log.1));
            moved |= position != partition.next_offset;
            partition.next_offset = position;
        }
        if !moved {
            refilled(&self.settings, cause)?;
        }
        self.must_assign = true;
        self.assign_if_needed()
    }

    /// What has been found and not told yet.
    fn news(&mut self) -> Option<Poll> {
        if !self.started.is_empty() {
            return Some(Poll::Started(std::mem::take(&mut self.started)));
        }
        self.ready.pop_front().map(|batch| Poll::Batch(Box::new(batch)))
    }
}

/// At least so long. librdkafka counts milliseconds: what is left of one its wrapper would spend asking again and again.
fn whole_milliseconds(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}

impl Reader for KafkaReader {
    fn poll(&mut self, wait: Duration) -> Poll {
        let begun = Instant::now();
        if self.ready.is_empty() && self.lost.is_none() {
            self.refresh();
        }
        if let Some(news) = self.news() {
            return news;
        }
        let left = whole_milliseconds(wait.saturating_sub(begun.elapsed()));
        if !self.attached {
            std::thread::sleep(left);
        } else if self.lost.is_none()
            && !self.ended()
            && let Err(failure) = self.fill(left)
        {
            self.note(failure);
        }
        if let Some(news) = self.news() {
            return news;
        }
        if let Some(text) = &self.lost {
            return Poll::Failed(text.clone());
        }
        if self.ended() {
            return Poll::End;
        }
        let silent = || self.consumer.as_ref().and_then(|consumer| consumer.context().trouble());
        match self.trouble.clone().or_else(silent) {
            Some(text) => Poll::Degraded(text),
            None => Poll::Pending,
        }
    }

    /// By the ends of the logs: those that the client tells while it fetches, and until then those that were asked for at the start.
    fn lag(&self) -> Option<i64> {
        let consumer = self.consumer.as_ref().filter(|_| self.attached)?;
        let behind = self.partitions.iter().map(|(id, partition)| {
            let end = consumer.context().end(*id).unwrap_or(partition.log_end);
            (end - partition.next_offset).max(0)
        });
        Some(behind.sum())
    }
}

/// Decodes one record, unless it was read already or is not to be read.
fn take(partition: &mut Partition, message: &BorrowedMessage<'_>, with_headers: bool) {
    let offset = message.offset();
    if offset < partition.next_offset || partition.done() {
        return;
    }
    if let Some(until) = partition.until
        && offset >= until
    {
        partition.next_offset = until;
        return;
    }
    let headers = if with_headers { headers_json(message) } else { None };
    let envelope = Envelope {
        partition: message.partition(),
        offset,
        timestamp: message.timestamp().to_millis().and_then(|millis| millis.checked_mul(1_000)),
        key: message.key(),
        headers: headers.as_deref(),
    };
    partition.decoder.push(message.payload(), &envelope);
    partition.next_offset = offset + 1;
}

/// The headers as a JSON object of strings; of headers with one name the last.
fn headers_json(message: &BorrowedMessage<'_>) -> Option<String> {
    let mut object = serde_json::Map::new();
    for header in message.headers()?.iter() {
        let value = header.value.map(|value| String::from_utf8_lossy(value).into_owned());
        object.insert(header.key.to_owned(), value.into());
    }
    Some(serde_json::Value::Object(object).to_string())
}

/// What an error of the client means. Lost connections are the watch's to tell, and the client's to mend.
fn heed(cause: &KafkaError) -> Result<(), Failure> {
    match (cause, cause.rdkafka_error_code()) {
        (KafkaError::MessageConsumptionFatal(_), _) => Err(Failure::Client(format!("the kafka client failed: {cause}"))),
        (_, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => Err(Failure::OutOfLog(cause.to_string())),
        (_, Some(code)) if is_connection(code) => Ok(()),
        _ => Err(Failure::World(cause.to_string())),
    }
}

fn is_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    matches!(code, AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve)
}

/// Where a partition without a position begins, by the options. `log`: its low and high watermark.
fn first_offset(consumer: &BaseConsumer<Watch>, settings: &Settings, id: i32, log: (i64, i64)) -> Result<i64, Failure> {
    let millis = match settings.startup {
        Startup::Earliest => return Ok(log.0),
        Startup::Latest => return Ok(log.1),
        Startup::Timestamp(millis) => millis,
    };
    let mut list = TopicPartitionList::new();
    let asked = list.add_partition_offset(&settings.topic, id, Offset::Offset(millis));
    let found = asked.and_then(|()| consumer.offsets_for_times(list, ANSWER_TIMEOUT));
    let found = found.map_err(|cause| world("cannot look up the offset of a timestamp", &cause))?;
    match found.elements().first().map(|element| element.offset()) {
        Some(Offset::Offset(offset)) => Ok(offset),
        // No record is that young.
        _ => Ok(log.1),
    }
}

/// The position, if the log has it; else the log's start, if we may skip; else there is no going on.
fn within_log(settings: &Settings, id: i32, position: i64, (low, high): (i64, i64)) -> Result<i64, Failure> {
    let topic = &settings.topic;
    if (low..=high).contains(&position) {
        return Ok(position);
    }
    let text = if position < low {
        format!("topic \"{topic}\", partition {id}: records {position} to {low} were deleted before they were read (retention)")
    } else {
        beyond(topic, id, position, high)
    };
    if !settings.skip_lost {
        return Err(Failure::Lost(format!("{text}; on_data_loss = 'skip' would go on without them")));
    }
    tracing::warn!("{text}; going on without them");
    Ok(low)
}

/// Every position is in the log, though the client found one that was not, and said why: since then the log was cut, and has been written on.
/// Records were lost that had been read, and others stand in their place.
fn refilled(settings: &Settings, cause: &str) -> Result<(), Failure> {
    let text = format!("topic \"{}\" lost records that had been read, and has others in their place ({cause})", settings.topic);
    if !settings.skip_lost {
        return Err(Failure::Lost(format!("{text}; on_data_loss = 'skip' would go on without them")));
    }
    tracing::warn!("{text}; going on behind them");
    Ok(())
}

fn beyond(topic: &str, id: i32, position: i64, high: i64) -> String {
    format!("topic \"{topic}\", partition {id}: position {position} is beyond the log's end at {high}: was the topic created anew?")
}

fn watermarks(consumer: &BaseConsumer<Watch>, topic: &str, id: i32) -> Result<(i64, i64), Failure> {
    let answer = consumer.fetch_watermarks(topic, id, ANSWER_TIMEOUT);
    answer.map_err(|cause| world(&format!("no watermarks of topic \"{topic}\", partition {id}"), &cause))
}

fn world(what: &str, cause: &dyn std::fmt::Display) -> Failure {
    Failure::World(format!("{what}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Failure, Settings, refilled, whole_milliseconds, within_log};

    fn settings(on_data_loss: &str) -> Settings {
        let options = [("topic", "t"), ("properties.bootstrap.server", "127.0.0.1:1"), ("on_data_loss", on_data_loss)];
        Settings::new(&options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()).unwrap()
    }

    #[test]
    fn an_idle_reader_asked_again_and_again_for_what_was_left_of_a_millisecond() {
        let waits = [0, 1, 999, 1_000, 99_900].map(|micros| whole_milliseconds(Duration::from_micros(micros)).as_micros());
        assert_eq!(waits, [0, 1_000, 1_000, 1_000, 100_000]);
    }

    #[test]
    fn a_replay_after_retention_began_at_what_was_left() {
        let Err(Failure::Lost(text)) = within_log(&settings("fail"), 0, 0, (70, 100)) else { panic!("records 0 to 70 are gone") };
        assert!(text.contains("records 0 to 70 were deleted before they were read"), "{text}");
        assert!(matches!(within_log(&settings("skip"), 0, 0, (70, 100)), Ok(70)));
        assert!(matches!(within_log(&settings("fail"), 0, 70, (70, 100)), Ok(70)));
    }

    #[test]
    fn a_log_that_was_cut_and_written_on_was_read_on() {
        let Err(Failure::Lost(text)) = refilled(&settings("fail"), "truncated") else { panic!("records were lost") };
        assert!(text.contains("has others in their place (truncated)"), "{text}");
        assert!(refilled(&settings("skip"), "truncated").is_ok());
    }
}

//! Reads a generator: partition by partition, as fast as it is polled or at a rate, until its end.
//!
//! Always the partition that is furthest behind goes next, so that event time advances evenly across partitions.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use crate::connect::{Poll, Positions, Reader, SOURCE_BATCH_ROWS, SourceBatch};
use crate::error::{Error, Kind, Result};
use crate::types::{Changes, RowErrors};

use super::Slots;

/// What a generator must be able to do for a `GeneratorReader` to deliver it.
pub(in crate::connect) trait NumberedRows: Send + Sync {
    /// The numbers that each partition owns.
    fn partitions(&self) -> &[Slots];
    /// One past the last number there is.
    fn end(&self) -> u64;
    /// How many numbers become due each second; `None`: all of them at once.
    fn per_second(&self) -> Option<f64>;
    /// The rows with these numbers.
    fn rows(&self, partition: i32, numbers: &[u64]) -> Result<RecordBatch>;
}

/// One reader over all partitions of a generator.
pub(in crate::connect) struct GeneratorReader {
    source: Arc<dyn NumberedRows>,
    partitions: Vec<Partition>,
    pace: Option<Pace>,
}

/// How far one partition has been read.
struct Partition {
    id: i32,
    /// The next number; it need not be one that the partition owns.
    position: u64,
    /// Numbers before it are history.
    history: u64,
    end: u64,
}

impl GeneratorReader {
    /// Starts at `from` (a partition not in it: at 0). With `until`, partitions not in it deliver nothing, and no rate holds: what
    /// was delivered once is history, to be read again as fast as possible.
    pub(in crate::connect) fn new(source: Arc<dyn NumberedRows>, from: &Positions, until: Option<&Positions>) -> Result<Self> {
        let count = i32::try_from(source.partitions().len()).unwrap_or(i32::MAX);
        if let Some((partition, _)) = from.iter().find(|(partition, offset)| !(0..count).contains(partition) || **offset < 0) {
            return Err(Error::new(Kind::InvalidParameter, format!("the source has no partition {partition}"))
                .hint("The number of splits of a generator cannot change once it has been read."));
        }
        let number = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let partitions: Vec<Partition> = (0..count)
            .map(|id| Partition {
                id,
                position: from.get(&id).copied().map_or(0, number),
                history: 0,
                end: until.map_or(u64::MAX, |until| until.get(&id).copied().map_or(0, number)).min(source.end()),
            })
            .collect();
        let first = partitions.iter().map(|partition| partition.position).min().unwrap_or(0);
        let pace = source.per_second().filter(|_| until.is_none()).map(|rate| Pace { start: Instant::now(), first, rate });
        Ok(GeneratorReader { source, partitions, pace })
    }

    /// The same where what is before `read` was delivered once.
    pub(in crate::connect) fn again(mut self, read: &Positions) -> Self {
        for partition in &mut self.partitions {
            partition.history = read.get(&partition.id).map_or(0, |offset| u64::try_from(*offset).unwrap_or(0));
        }
        if let Some(pace) = &mut self.pace {
            let begins = |partition: &Partition| partition.position.max(partition.history);
            pace.first = self.partitions.iter().map(begins).min().unwrap_or(pace.first);
        }
        self
    }

    /// The rows of one partition up to `due`, or `None` if there are none yet.
    fn batch(&mut self, index: usize, due: u64) -> Result<Option<SourceBatch>> {
        let partition = &mut self.partitions[index];
        let slots = &self.source.partitions()[index];
        let limit = partition.end.min(due);
        let numbers = slots.list(partition.position, limit, SOURCE_BATCH_ROWS);
        let Some(last) = numbers.last() else {
            if limit == partition.end {
                partition.position = partition.end;
            }
            return Ok(None);
        };
        let left = slots.count(last + 1, limit);
        let rows = self.source.rows(partition.id, &numbers)?;
        partition.position = if left == 0 && limit == partition.end { partition.end } else { last + 1 };
        Ok(Some(SourceBatch {
            partition: partition.id,
            next_offset: i64::try_from(partition.position).unwrap_or(i64::MAX),
            changes: Changes::insertions(rows),
            offsets: numbers.iter().map(|number| i64::try_from(*number).unwrap_or(i64::MAX)).collect(),
            dead_letters: Vec::new(),
            errors: RowErrors::default(),
            lag: None,
            fingerprint: None,
            watermark: None,
        }))
    }
}

impl Reader for GeneratorReader {
    fn poll(&mut self, wait: Duration) -> Poll {
        let deadline = Instant::now() + wait;
        loop {
            let unread = self.partitions.iter().enumerate().filter(|(_, partition)| partition.position < partition.end);
            let Some((index, behind)) = unread.min_by_key(|(_, partition)| partition.position) else { return Poll::End };
            let next = behind.position;
            let due = self.pace.as_ref().map_or(u64::MAX, Pace::due).max(behind.history);
            match self.batch(index, due) {
                Ok(Some(batch)) => return Poll::Batch(Box::new(batch)),
                Err(error) => return Poll::Failed(error.to_string()),
                Ok(None) => {}
            }
            if let Some(pace) = &self.pace {
                let now = Instant::now();
                if now >= deadline {
                    return Poll::Pending;
                }
                sleep(pace.until_due(next.max(due)).min(deadline - now));
            }
        }
    }

    /// The numbers that are due; unknown if all there ever will be are.
    fn lag(&self) -> Option<i64> {
        let due = self.pace.as_ref().map_or(u64::MAX, Pace::due);
        let left = self.partitions.iter().zip(self.source.partitions()).map(|(partition, slots)| {
            let limit = partition.end.min(due);
            (limit < i64::MAX as u64).then(|| slots.count(partition.position.min(limit), limit))
        });
        left.sum::<Option<u64>>().map(|left| i64::try_from(left).unwrap_or(i64::MAX))
    }
}

/// Lets numbers through at a rate, counted from when the reader started.
struct Pace {
    start: Instant,
    first: u64,
    rate: f64,
}

impl Pace {
    /// One past the last number that is due by now. The first is due at once.
    fn due(&self) -> u64 {
        // A float too large for the integer becomes its largest.
        self.first.saturating_add((self.start.elapsed().as_secs_f64() * self.rate) as u64).saturating_add(1)
    }

    /// How long until `number` is due: at least a millisecond, so that a high rate comes in batches.
    fn until_due(&self, number: u64) -> Duration {
        let seconds = (number - self.first.min(number)) as f64 / self.rate;
        let at = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        at.saturating_sub(self.start.elapsed()).max(Duration::from_millis(1))
    }
}

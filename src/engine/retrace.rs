//! After a crash a source is read again in the portions in which it was read before: one for each epoch that the log has noted. What was late is
//! late again, and what had come out comes out.
//!
//! ```text
//! read before     ├── epoch 7 ──┼─── epoch 8 ───┼ 9 ┤ crash            the log has the offset behind each
//! comes again     ├───── batch ─────┼───────── batch ─────────┤
//! portions        ├─────────────┼───┴───────────┼───┼┄┄┄┄┄┄┄┄┄┤        the rest comes when the server works again
//! ```
//!
//! In: batches, and how far each partition had been read when an epoch ended. Out: the batches up to there.
//! Always: each record that comes in goes out once, in the order of its partition. A source that does not get as far as it was once goes on as
//! it comes.

use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::checkpoint_writer::CheckpointWriter;
use super::source::{Delivery, RunningSource};
use crate::connect::{Positions, SourceBatch};

/// How long portions wait for what the outside world had once, without anything coming from any source. The server takes nobody's questions
/// meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Rows that may wait for later portions while one partition keeps the others waiting: some hundred megabytes.
const WAITING_ROWS_MAX: usize = 1 << 20;

impl RunningSource {
    /// The next batch of the portion that `ends` there; waits for it while there is `patience`, of which there is all again when something comes.
    /// `None`: all of it has come, or will not come.
    pub(super) fn next_up_to(&mut self, ends: &Positions, patience: &mut Duration, writer: &mut CheckpointWriter) -> Option<SourceBatch> {
        if self.strayed {
            return None;
        }
        if let Some(batch) = self.waiting_up_to(ends) {
            return Some(batch);
        }
        while !self.has_reached(ends) {
            let began = Instant::now();
            let delivery = self.queue.recv_timeout(*patience);
            *patience = if delivery.is_ok() { PATIENCE } else { patience.saturating_sub(began.elapsed()) };
            match delivery {
                Ok(Delivery::Started(starts)) => self.begin(writer.settled(), &starts),
                Ok(Delivery::Batch(batch)) => {
                    let (now, later) = self.parts(*batch, ends);
                    self.waiting.extend(later);
                    if now.is_some() {
                        return now;
                    }
                    if self.waiting.iter().map(|batch| batch.changes.len()).sum::<usize>() > WAITING_ROWS_MAX {
                        return self.stray("one of its partitions keeps the others waiting");
                    }
                }
                Err(RecvTimeoutError::Timeout) => return self.stray("nothing comes"),
                Err(RecvTimeoutError::Disconnected) => return self.stray("its reader has ended"),
            }
        }
        None
    }

    /// Of what came too early for the portions before, the first batch of this one.
    fn waiting_up_to(&mut self, ends: &Positions) -> Option<SourceBatch> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut found = None;
        for batch in waiting {
            let (now, later) = if found.is_some() { (None, Some(batch)) } else { self.parts(batch, ends) };
            found = found.or(now);
            self.waiting.extend(later);
        }
        found
    }

    /// What of a batch is before the ends, and what is not.
    fn parts(&self, batch: SourceBatch, ends: &Positions) -> (Option<SourceBatch>, Option<SourceBatch>) {
        let read = self.report.lock().position.positions.get(&batch.partition).copied();
        match ends.get(&batch.partition).filter(|end| read.is_none_or(|read| read < **end)) {
            None => (None, Some(batch)),
            Some(end) if batch.next_offset <= *end => (Some(batch), None),
            Some(end) => {
                let (now, later) = batch.split_at(*end);
                (Some(now), Some(later))
            }
        }
    }

    /// Whether it has been read as far as this.
    pub(super) fn has_reached(&self, ends: &Positions) -> bool {
        let positions = &self.report.lock().position.positions;
        ends.iter().all(|(partition, end)| positions.get(partition).is_some_and(|read| read >= end))
    }

    /// It goes on as it comes.
    fn stray(&mut self, why: &str) -> Option<SourceBatch> {
        tracing::warn!(source = self.id, why, "a source does not get as far as it was before the restart: what comes late is found anew");
        self.strayed = true;
        None
    }
}

//! `Changes` as timely's containers, and the exchange of rows between workers by the hash of their keys.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use timely::Accountable;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};

use crate::dataflow::driver::Stage;
use crate::types::{Changes, hash_rows, worker_of};

/// The name of the column that carries weights between processes; no SQL name has a NUL in it.
const WEIGHT_COLUMN: &str = "\0weight";

/// One batch on its way between operators. Empty only as timely's placeholder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    changes: Option<Changes>,
    /// Arrow IPC form, made once: timely asks for the length first and for the bytes afterwards.
    encoded: OnceLock<Vec<u8>>,
}

impl Packet {
    /// The batch, leaving the placeholder.
    pub(crate) fn take(&mut self) -> Option<Changes> {
        self.encoded = OnceLock::new();
        self.changes.take()
    }

    /// Bytes of the batch's values: the same wherever it is asked.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.changes.as_ref().map_or(0, Changes::payload_bytes)
    }

    fn ipc(&self) -> &[u8] {
        self.encoded.get_or_init(|| {
            let Some(changes) = &self.changes else { return Vec::new() };
            let batch = with_weight_column(changes);
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("every schema of ours encodes");
            writer.write(&batch).expect("writing to memory does not fail");
            let mut bytes = writer.into_inner().expect("writing to memory does not fail");
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes
        })
    }
}

impl From<Changes> for Packet {
    fn from(changes: Changes) -> Self {
        Packet { changes: Some(changes), encoded: OnceLock::new() }
    }
}

impl Accountable for Packet {
    /// Progress tracking counts these rows, so an exchange must neither lose nor add one.
    fn record_count(&self) -> i64 {
        self.changes.as_ref().map_or(0, |changes| i64::try_from(changes.len()).expect("a batch is far smaller"))
    }
}

impl ContainerBytes for Packet {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        let batch = StreamReader::try_new(&bytes[..], None).expect("a peer of this version wrote it").next();
        Packet {
            changes: batch.map(|batch| without_weight_column(&batch.expect("a peer of this version wrote it"))),
            encoded: OnceLock::new(),
        }
    }

    fn length_in_bytes(&self) -> usize {
        self.ipc().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(self.ipc()).expect("timely reserved the length it was told");
    }
}

fn with_weight_column(changes: &Changes) -> RecordBatch {
    let Some(weights) = changes.weights() else { return changes.rows().clone() };
    let mut fields = changes.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false)));
    let mut columns = changes.rows().columns().to_vec();
    columns.push(Arc::new(weights.clone()) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

fn without_weight_column(batch: &RecordBatch) -> Changes {
    let last = batch.num_columns().saturating_sub(1);
    if batch.num_columns() == 0 || batch.schema().field(last).name() != WEIGHT_COLUMN {
        return Changes::insertions(batch.clone());
    }
    let weights = batch.column(last).as_primitive::<Int64Type>().clone();
    let rows = batch.project(&(0..last).collect::<Vec<_>>()).expect("positions within the batch");
    Changes::new(rows, Some(weights))
}

/// Sends every row to the worker that its key hashes to: one pass over the keys, one `take` per destination.
pub(crate) struct ByKey {
    /// Positions of the key columns; without any, everything goes to worker 0.
    pub(crate) keys: Vec<usize>,
    /// The exchange's: what is on its way waits there.
    pub(crate) stage: Stage,
}

impl ByKey {
    /// For each worker the numbers of its rows.
    fn destinations(&self, changes: &Changes, workers: usize) -> Vec<Vec<u32>> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| Arc::clone(changes.column(*key))).collect();
        let mut rows: Vec<Vec<u32>> = vec![Vec::with_capacity(changes.len() / workers + 16); workers];
        for (row, hash) in hash_rows(&keys, changes.len()).into_iter().enumerate() {
            rows[worker_of(hash, workers)].push(u32::try_from(row).expect("a batch is far smaller"));
        }
        rows
    }
}

impl Distributor<Packet> for ByKey {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(&mut self, packet: &mut Packet, time: &T, pushers: &mut [P]) {
        let Some(changes) = packet.take() else { return };
        let Stage { node, progress } = &self.stage;
        let send = |changes: Changes, pusher: &mut P| {
            let mut packet = Packet::from(changes);
            progress.pressure().add(*node, packet.payload_bytes());
            Message::push_at(&mut packet, time.clone(), pusher);
        };
        if self.keys.is_empty() {
            send(changes, &mut pushers[0]);
            return;
        }
        let rows = self.destinations(&changes, pushers.len());
        for (pusher, rows) in pushers.iter_mut().zip(rows) {
            if rows.len() == changes.len() {
                send(changes, pusher);
                return;
            }
            if !rows.is_empty() {
                send(changes.take(&UInt32Array::from(rows)), pusher);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

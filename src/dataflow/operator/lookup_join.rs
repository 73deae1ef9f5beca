//! A temporal join as of PROCTIME(): every left row with the row of a table as it is when the left row comes.
//!
//! In: changes of the left side; those of the right side say only that the table has written the epoch. Out: left columns, then right ones.
//! A right row is found by the primary key where its table or view keeps it, as of the end of the epoch: what changes in the same epoch
//! counts. What changes later changes nothing.
//! Holds: nothing, if left rows only come; else what came out for each left row, with which it is taken back when that goes. Of equal left rows
//! that came at different times, which look alike, the one goes whose right row is the least.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};

use super::delta_join::{Input, SharedKept, pieces};
use super::net::Net;
use super::ordered::{Batch, Count, Groups, Place, not_there};
use super::output::OutputSchema;
use super::rows::part_ranges;
use super::{Operator, StateSize, Work};
use crate::dataflow::expr::Condition;
use crate::dataflow::row_errors::RowErrorSink;
use crate::error::{Error, Result};
use crate::plan::{Node, NodeKind};
use crate::state::{Found, StateChanges, StateEntry};
use crate::types::{Changes, Epoch};

/// The join.
pub struct LookupJoin {
    right: Input,
    /// Where the values of the right side's key stand on the left.
    keys: Vec<usize>,
    /// How many left columns.
    left: usize,
    condition: Option<Condition>,
    outer: bool,
    output: OutputSchema,
    /// The output's columns, and whether a right row was found.
    found: OutputSchema,
    memory: Option<Memory>,
    epoch: Epoch,
    /// Left rows that have not looked yet.
    tasks: VecDeque<Changes>,
}

/// What came out, by left row.
struct Memory {
    net: Net,
    groups: Groups<Count>,
}

impl LookupJoin {
    /// The join of `node`, whose right rows are in `kept`. `partitioned_by`: by which of the left columns its rows are on this worker.
    pub fn new(node: &Node, kept: Option<SharedKept>, partitioned_by: Option<Vec<usize>>, errors: &RowErrorSink) -> Result<Self> {
        let NodeKind::LookupJoin { left, right, keys, condition, outer, .. } = &node.kind else {
            return Err(Error::internal("not a lookup join"));
        };
        let kept = kept.ok_or_else(|| Error::internal("a lookup in something that keeps no rows"))?;
        let width = left.schema.fields().len();
        let found = node.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let found = found.chain([Field::new("found", DataType::Boolean, false)]).collect::<Vec<_>>();
        let found: SchemaRef = Arc::new(Schema::new(found));
        let memory = if left.properties.append_only {
            None
        } else {
            let mut groups = Groups::new(&found, &(0..width).collect::<Vec<_>>(), &[])?;
            groups.partitioned_by(partitioned_by.unwrap_or_else(|| (0..width).collect()));
            Some(Memory { net: Net::new(Arc::clone(&left.schema)), groups })
        };
        let condition = condition.as_ref().map(|condition| Condition::new(condition, &node.schema, errors.clone()));
        Ok(LookupJoin {
            right: Input::new(right, kept, 0..right.schema.fields().len())?,
            keys: keys.clone(),
            left: width,
            condition: condition.transpose()?,
            outer: *outer,
            output: OutputSchema::new(Arc::clone(&node.schema)),
            found: OutputSchema::new(found),
            memory,
            epoch: 0,
            tasks: VecDeque::new(),
        })
    }

    /// Left rows with their right ones. `None`: all together are too large, and pieces of them come next.
    fn look(&mut self, rows: &Changes) -> Result<Option<Changes>> {
        let found = self.find(rows)?;
        let mut bytes = vec![rows.payload_bytes() / rows.len().max(1); rows.len()];
        for (at, probe) in found.probes().iter().enumerate() {
            bytes[*probe as usize] += found.row_bytes(at);
        }
        let ranges = part_ranges(rows.len(), |row| bytes[row]);
        if ranges.len() > 1 {
            ranges.into_iter().rev().for_each(|range| self.tasks.push_front(rows.slice(range.start, range.len())));
            return Ok(None);
        }
        self.beside(rows, &found).map(Some)
    }

    fn find(&self, rows: &Changes) -> Result<Found> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| ArrayRef::clone(rows.column(*key))).collect();
        self.right.find(&keys, self.epoch)
    }

    /// Left rows with their right ones, NULL where there is none, and whether there is one.
    fn beside(&mut self, rows: &Changes, found: &Found) -> Result<Changes> {
        let columns = rows.rows().columns();
        let mut partners: Vec<Option<u32>> = vec![None; rows.len()];
        let read = if found.is_empty() { None } else { self.right.read(found, 0..found.len())? };
        let right = match read {
            Some(mut read) => {
                let probes = read.pop().ok_or_else(|| Error::internal("a lookup without the number of the probe"))?;
                let probes = probes.as_primitive::<UInt32Type>();
                let mask = self.condition.as_ref().map(|condition| {
                    condition.mask(probes.len(), None, |column| match column.checked_sub(self.left) {
                        None => Ok(take(&columns[column], probes, None)?),
                        Some(right) => Ok(ArrayRef::clone(&read[right])),
                    })
                });
                let mask = mask.transpose()?;
                for (at, probe) in probes.values().iter().enumerate() {
                    if mask.as_ref().is_none_or(|mask| mask.is_valid(at) && mask.value(at)) {
                        partners[*probe as usize] = Some(at as u32);
                    }
                }
                let places = UInt32Array::from(partners.clone());
                read.iter().map(|column| Ok(take(column, &places, None)?)).collect::<Result<Vec<_>>>()?
            }
            None => {
                let types = self.output.promised().fields()[self.left..].iter();
                types.map(|field| new_null_array(field.data_type(), rows.len())).collect()
            }
        };
        let is_found: BooleanArray = partners.iter().map(|partner| Some(partner.is_some())).collect();
        let all = columns.iter().cloned().chain(right).chain([Arc::new(is_found) as ArrayRef]).collect();
        self.found.changes(all, rows.len(), rows.weights().cloned())
    }

    /// What comes out of rows that know whether they have a right row.
    fn emit(&self, rows: &Changes, output: &mut Vec<Changes>) -> Result<()> {
        let filtered = if self.outer { rows.clone() } else { rows.filter(rows.column(rows.rows().num_columns() - 1).as_boolean()) };
        if filtered.is_empty() {
            return Ok(());
        }
        let count = filtered.len();
        let (batch, weights) = filtered.into_parts();
        let columns = batch.columns()[..batch.num_columns() - 1].to_vec();
        output.push(self.output.changes(columns, count, weights)?);
        Ok(())
    }

    /// Takes back what came out for left rows that go, and remembers nothing of it any more.
    fn take_back(&mut self, going: &Changes, output: &mut Vec<Changes>) -> Result<()> {
        let Some(memory) = &mut self.memory else { return Err(not_there()) };
        let slots = memory.groups.locate(going.rows().columns(), going.len())?;
        let (mut batch, mut weights) = (Batch::default(), Vec::new());
        for (row, slot) in slots.iter().enumerate() {
            let mut wanted = going.weight(row).unsigned_abs();
            for entry in memory.groups.rows(*slot).from(Place::default()) {
                let taken = wanted.min(entry.payload.0);
                batch.push(*slot, entry.row);
                weights.push(-(taken as i64));
                wanted -= taken;
                if wanted == 0 {
                    break;
                }
            }
            if wanted > 0 {
                return Err(not_there());
            }
        }
        for range in memory.groups.parts(&batch, |_| 0) {
            let columns = memory.groups.columns(&batch, range.clone())?;
            let taken = self.found.changes(columns, range.len(), Some(Int64Array::from(weights[range].to_vec())))?;
            memory.apply(taken.clone())?;
            output.push(taken);
        }
        Ok(())
    }
}

impl Memory {
    fn apply(&mut self, changes: Changes) -> Result<()> {
        let changes = self.groups.gather([changes])?;
        for (slot, of_slot) in changes.groups() {
            self.groups.open(slot).apply(of_slot)?;
            self.groups.close(slot);
        }
        Ok(())
    }
}

impl Operator for LookupJoin {
    /// After an error the state is undefined: the view has failed.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<Changes>>, output: &mut Vec<Changes>) -> Result<()> {
        self.epoch = epoch;
        let left = inputs.into_iter().next().unwrap_or_default();
        let Some(memory) = &mut self.memory else {
            self.tasks.extend(left.iter().flat_map(pieces));
            return Ok(());
        };
        // Rows that come and go within the epoch are not looked up.
        let mut net = Vec::new();
        memory.net.step(epoch, vec![left], &mut net)?;
        let mut gone = Vec::new();
        for changes in net {
            let comes: BooleanArray = (0..changes.len()).map(|row| Some(changes.weight(row) > 0)).collect();
            self.tasks.extend(pieces(&changes.filter(&comes)));
            let going = changes.filter(&arrow::compute::not(&comes)?);
            if !going.is_empty() {
                self.take_back(&going, &mut gone)?;
            }
        }
        gone.iter().try_for_each(|gone| self.emit(gone, output))
    }

    fn resume(&mut self, output: &mut Vec<Changes>) -> Result<Work> {
        if let Some(rows) = self.tasks.pop_front()
            && let Some(looked) = self.look(&rows)?
        {
            self.emit(&looked, output)?;
            if let Some(memory) = &mut self.memory {
                memory.apply(looked)?;
            }
        }
        Ok(if self.tasks.is_empty() { Work::Done } else { Work::Left })
    }

    fn checkpoint(&mut self, changes: &mut StateChanges) -> Result<()> {
        self.memory.as_mut().map_or(Ok(()), |memory| memory.groups.checkpoint(changes))
    }

    fn restore(&mut self, entries: &mut dyn Iterator<Item = Result<StateEntry>>) -> Result<()> {
        for entry in entries {
            let memory = self.memory.as_mut().ok_or_else(|| Error::internal("state of a lookup join that keeps none"))?;
            memory.groups.restore(&entry?)?;
        }
        Ok(())
    }

    fn size(&self) -> StateSize {
        self.memory.as_ref().map_or_else(StateSize::default, |memory| memory.groups.size())
    }
}

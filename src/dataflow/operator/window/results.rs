//! The results that were emitted with rows.
//!
//! ```text
//! checkpoint   length of the results (4 bytes; 0: none yet), results
//!              with what was forgotten before: the length's first bit is set, and behind: rows (8), length of the states (4), states
//! ```

use super::base::Base;
use crate::dataflow::operator::ordered::{Column, Payload};

/// In the length of the results: what was forgotten before the row stands behind them.
const WITH_BASE: u32 = 1 << 31;

/// What is known of a row.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The results that were emitted with it; `None`: it was not emitted yet.
    pub(super) emitted: Option<Box<[u8]>>,
    /// If the rows before it were forgotten: what they and it came to.
    pub(super) base: Option<Box<Base>>,
}

/// Of rows next to each other.
#[derive(Debug, Default)]
pub(super) struct ResultColumn {
    results: Vec<Results>,
    /// Bytes of all results.
    bytes: usize,
}

impl Results {
    fn bytes(&self) -> usize {
        let base = self.base.as_ref().map_or(0, |base| size_of::<Base>() + base.states.len());
        self.emitted.as_ref().map_or(0, |bytes| bytes.len()) + base
    }
}

impl Payload for Results {
    type Column = ResultColumn;

    fn weight(&self) -> u64 {
        1
    }

    fn write(&self, output: &mut Vec<u8>) {
        let bytes = self.emitted.as_deref().unwrap_or_default();
        let with_base = if self.base.is_some() { WITH_BASE } else { 0 };
        output.extend_from_slice(&(bytes.len() as u32 | with_base).to_le_bytes());
        output.extend_from_slice(bytes);
        if let Some(base) = &self.base {
            output.extend_from_slice(&base.rows.to_le_bytes());
            output.extend_from_slice(&(base.states.len() as u32).to_le_bytes());
            output.extend_from_slice(&base.states);
        }
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let (length, rest) = input.split_first_chunk()?;
        let length = u32::from_le_bytes(*length);
        let (bytes, mut rest) = rest.split_at_checked((length & !WITH_BASE) as usize)?;
        let mut base = None;
        if length & WITH_BASE != 0 {
            let (rows, behind) = rest.split_first_chunk()?;
            let (length, behind) = behind.split_first_chunk()?;
            let (states, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            base = Some(Box::new(Base { rows: u64::from_le_bytes(*rows), states: states.into() }));
            rest = behind;
        }
        *input = rest;
        Some(Results { emitted: (!bytes.is_empty()).then(|| bytes.into()), base })
    }
}

impl Column<Results> for ResultColumn {
    fn len(&self) -> usize {
        self.results.len()
    }

    fn get(&self, at: usize) -> &Results {
        &self.results[at]
    }

    fn insert(&mut self, at: usize, results: Results) {
        self.bytes += results.bytes();
        self.results.insert(at, results);
    }

    fn update(&mut self, at: usize, change: impl FnOnce(&mut Results)) {
        let results = &mut self.results[at];
        self.bytes -= results.bytes();
        change(results);
        self.bytes += results.bytes();
    }

    fn remove(&mut self, at: usize) -> Results {
        let results = self.results.remove(at);
        self.bytes -= results.bytes();
        results
    }

    fn split_off(&mut self, at: usize) -> Self {
        let results = self.results.split_off(at);
        let bytes = results.iter().map(Results::bytes).sum();
        self.bytes -= bytes;
        ResultColumn { results, bytes }
    }

    fn append(&mut self, others: Self) {
        self.bytes += others.bytes;
        self.results.extend(others.results);
    }

    fn weight(&self, end: usize) -> u64 {
        end as u64
    }

    fn locate(&self, position: u64) -> usize {
        let last = self.len().saturating_sub(1);
        usize::try_from(position).unwrap_or(last).min(last)
    }

    fn heap(&self) -> usize {
        self.results.capacity() * size_of::<Results>() + self.bytes
    }
}

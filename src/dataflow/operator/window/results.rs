//! The results that were emitted with rows.

use crate::dataflow::operator::ordered::{Column, Payload};

/// The results that were emitted with a row; `None`: it was not emitted yet.
#[derive(Debug)]
pub(super) struct Results(pub(super) Option<Box<[u8]>>);

/// Of rows next to each other.
#[derive(Debug, Default)]
pub(super) struct ResultColumn {
    results: Vec<Results>,
    /// Bytes of all results.
    bytes: usize,
}

impl Results {
    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }
}

impl Payload for Results {
    type Column = ResultColumn;

    fn weight(&self) -> u64 {
        1
    }

    fn write(&self, output: &mut Vec<u8>) {
        let bytes = self.0.as_deref().unwrap_or_default();
        output.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        output.extend_from_slice(bytes);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let (length, rest) = input.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *input = rest;
        Some(Results(Some(bytes.into())))
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

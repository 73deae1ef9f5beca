//! How often rows are there: nothing is kept of the counts while all of them are 1.

use super::gather::GroupChanges;
use super::groups::Kept;
use super::piece::{Column, Payload};
use super::sorted::Place;
use crate::error::{Error, Result};

/// How often a row is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataflow::operator) struct Count(pub(in crate::dataflow::operator) u64);

/// Of rows next to each other.
#[derive(Debug, Default)]
pub(in crate::dataflow::operator) struct Counts {
    length: u32,
    each: Option<Box<Each>>,
}

/// In a box, as few lists have it.
#[derive(Debug)]
struct Each(Vec<Count>);

impl Payload for Count {
    type Column = Counts;

    fn weight(&self) -> u64 {
        self.0
    }

    fn write(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.0.to_le_bytes());
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let (count, rest) = input.split_first_chunk()?;
        *input = rest;
        Some(Count(u64::from_le_bytes(*count)))
    }
}

impl Counts {
    fn each(&mut self) -> &mut Vec<Count> {
        let length = self.length as usize;
        &mut self.each.get_or_insert_with(|| Box::new(Each(vec![Count(1); length]))).0
    }
}

impl Column<Count> for Counts {
    fn len(&self) -> usize {
        self.length as usize
    }

    fn get(&self, at: usize) -> &Count {
        self.each.as_ref().map_or(&Count(1), |each| &each.0[at])
    }

    fn insert(&mut self, at: usize, count: Count) {
        if self.each.is_some() || count != Count(1) {
            self.each().insert(at, count);
        }
        self.length += 1;
    }

    fn update(&mut self, at: usize, change: impl FnOnce(&mut Count)) {
        let mut count = *self.get(at);
        change(&mut count);
        if count != *self.get(at) {
            self.each()[at] = count;
        }
    }

    fn remove(&mut self, at: usize) -> Count {
        self.length -= 1;
        self.each.as_mut().map_or(Count(1), |each| each.0.remove(at))
    }

    fn split_off(&mut self, at: usize) -> Self {
        let length = self.length - at as u32;
        self.length = at as u32;
        Counts { length, each: self.each.as_mut().map(|each| Box::new(Each(each.0.split_off(at)))) }
    }

    fn append(&mut self, mut others: Self) {
        if self.each.is_some() || others.each.is_some() {
            let behind = std::mem::take(others.each());
            self.each().extend(behind);
        }
        self.length += others.length;
    }

    fn weight(&self, end: usize) -> u64 {
        self.each.as_ref().map_or(end as u64, |each| each.0[..end].iter().map(|count| count.0).sum())
    }

    fn locate(&self, position: u64) -> usize {
        let last = self.len().saturating_sub(1);
        let Some(each) = &self.each else { return usize::try_from(position).unwrap_or(last).min(last) };
        let mut before = 0;
        let covers = |count: &Count| {
            before += count.0;
            before > position
        };
        each.0.iter().position(covers).unwrap_or(last)
    }

    fn heap(&self) -> usize {
        self.each.as_ref().map_or(0, |each| size_of::<Each>() + each.0.capacity() * size_of::<Count>())
    }
}

impl Kept<'_, Count> {
    /// Applies the changes of the group. Fails if a row is retracted that is not there.
    pub(in crate::dataflow::operator) fn apply(&mut self, changes: GroupChanges<'_>) -> Result<()> {
        let mut from = Place::default();
        for (row, weight) in changes.iter() {
            from = self.rows().find(from, row);
            let held = self.rows().get(from).filter(|entry| entry.row == row).map_or(0, |entry| entry.payload.0);
            match held.checked_add_signed(weight).ok_or_else(not_there)? {
                0 => {
                    self.remove(from);
                    from = Place::default();
                }
                count if held > 0 => self.rows().update(from, |known| known.0 = count),
                count => from = self.rows().insert(from, row, Count(count)),
            }
        }
        Ok(())
    }
}

/// The error for a retraction of nothing.
pub(in crate::dataflow::operator) fn not_there() -> Error {
    Error::internal("an operator's input retracted a row that was not there")
}

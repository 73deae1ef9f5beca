//! BIT_XOR in place: what comes twice, or goes again, cancels.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::cells::{Cells, Taken, Words};
use super::codec::Reader;
use super::state::{End, GroupState, Input};
use super::value::{array_of_words, words};
use crate::error::Result;

/// The exclusive or of every group's integers.
pub(super) struct Xors {
    /// The word of the number 0: words of signed integers have their sign turned.
    zero: u64,
    data_type: DataType,
}

impl Xors {
    /// Of integers of a type.
    pub(super) fn new(data_type: DataType) -> Self {
        let zero = if data_type.is_signed_integer() { 1 << 63 } else { 0 };
        Xors { zero, data_type }
    }
}

impl GroupState for Xors {
    fn words(&self) -> usize {
        u64::COUNT
    }

    fn update(&mut self, input: &Input, cells: &mut Cells, place: usize) -> Result<()> {
        let words = words(input.argument())?;
        input.for_each(|row, slot, weight| {
            if weight % 2 != 0 {
                cells.change::<u64>(slot, place, |sum| sum ^ words[row] ^ self.zero);
            }
        });
        Ok(())
    }

    fn values(&self, groups: &Taken, place: usize, _end: End) -> Result<ArrayRef> {
        array_of_words(groups.each::<u64>(place).map(|sum| Some(sum ^ self.zero)), &self.data_type)
    }

    fn follows_from_words(&self) -> bool {
        true
    }

    fn write(&self, _slot: u32, words: &[u64], output: &mut Vec<u8>) {
        output.extend_from_slice(&u64::load(words).to_le_bytes());
    }

    fn read(&mut self, _slot: u32, words: &mut [u64], input: &mut Reader) -> Result<()> {
        u64::from_le_bytes(input.array()?).store(words);
        Ok(())
    }
}

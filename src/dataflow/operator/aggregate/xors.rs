//! BIT_XOR in place: what comes twice, or goes again, cancels.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::codec::Reader;
use super::segments::Segments;
use super::state::{End, GroupState, Input};
use super::value::{array_of_words, words};
use crate::error::Result;

/// The exclusive or of every group's integers.
pub(super) struct Xors {
    words: Segments<u64>,
    /// The word of the number 0: words of signed integers have their sign turned.
    zero: u64,
    data_type: DataType,
}

impl Xors {
    /// Of integers of a type.
    pub(super) fn new(data_type: DataType) -> Self {
        let zero = if data_type.is_signed_integer() { 1 << 63 } else { 0 };
        Xors { words: Segments::new(), zero, data_type }
    }
}

impl GroupState for Xors {
    fn grow(&mut self, slots: usize) {
        self.words.grow(slots);
    }

    fn update(&mut self, input: &Input) -> Result<()> {
        let words = words(input.argument())?;
        input.for_each(|row, slot, weight| {
            if weight % 2 != 0 {
                self.words[slot] ^= words[row] ^ self.zero;
            }
        });
        Ok(())
    }

    fn values(&self, slots: &[u32], _end: End) -> Result<ArrayRef> {
        array_of_words(slots.iter().map(|slot| Some(self.words[*slot] ^ self.zero)), &self.data_type)
    }

    fn reset(&mut self, slot: u32) {
        self.words[slot] = 0;
    }

    fn write(&self, slot: u32, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.words[slot].to_le_bytes());
    }

    fn read(&mut self, slot: u32, input: &mut Reader) -> Result<()> {
        self.words[slot] = u64::from_le_bytes(input.array()?);
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.words.bytes()
    }
}

//! Sums without rounding, as groups store them.

use super::codec::{Reader, write_count};
use crate::error::Result;
pub(super) use crate::types::ExactSum;

/// Writes the number of parts, then the parts.
pub(super) fn write(sum: &ExactSum, output: &mut Vec<u8>) {
    write_count(sum.parts().len() as i64, output);
    sum.parts().iter().for_each(|part| output.extend_from_slice(&part.to_le_bytes()));
}

/// Takes back what `write` wrote.
pub(super) fn read(input: &mut Reader) -> Result<ExactSum> {
    let parts = input.length()?;
    let part = |_| Ok(f64::from_le_bytes(input.array()?));
    Ok(ExactSum::from_parts((0..parts).map(part).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::codec::Reader;
    use super::{ExactSum, read, write};

    #[test]
    fn what_was_written_goes_on_as_before() {
        let mut sum = ExactSum::default();
        [0.1, 1e100, -3.7e-20].into_iter().for_each(|value| sum.add_weighted_product(value, value, 3));
        let mut written = Vec::new();
        write(&sum, &mut written);
        assert_eq!(read(&mut Reader(&written)).unwrap(), sum);
    }
}

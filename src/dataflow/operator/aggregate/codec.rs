//! How groups are written into state entries: little-endian, small counts in few bytes.
//!
//! An entry's key is the length of the group's key (4 bytes), the group's key, and the part (2 bytes): part 0 is the group itself; all others
//! name a set of values and are followed by one value, so that a change of a large set does not rewrite the set.

use crate::error::{Error, Result};

/// The part of an entry that holds a group's row count and accumulators.
pub(super) const GROUP_PART: u16 = 0;

/// Writes what the keys of a group's entries of one part begin with. `encode` appends the group's key.
pub(super) fn begin_key(key: &mut Vec<u8>, part: u16, encode: impl FnOnce(&mut Vec<u8>)) {
    key.clear();
    key.extend_from_slice(&[0; 4]);
    encode(key);
    let length = (key.len() - 4) as u32;
    key[..4].copy_from_slice(&length.to_le_bytes());
    key.extend_from_slice(&part.to_le_bytes());
}

/// A number in one to ten bytes, small ones (of either sign) in few: zigzag and LEB128.
pub(super) fn write_count(count: i64, output: &mut Vec<u8>) {
    let mut rest = ((count << 1) ^ (count >> 63)) as u64;
    while rest >= 0x80 {
        output.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    output.push(rest as u8);
}

/// Takes values off the front of an entry; an entry that ends early is damaged, which is an error and no panic.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes(N)?.try_into().map_err(|_| damaged())
    }

    pub(super) fn count(&mut self) -> Result<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(damaged())
    }

    pub(super) fn length(&mut self) -> Result<usize> {
        usize::try_from(self.count()?).map_err(|_| damaged())
    }

    /// The group's key, the part and the value, from an entry's key.
    pub(super) fn entry_key(mut self) -> Result<(&'a [u8], u16, &'a [u8])> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let group = self.bytes(length)?;
        let part = u16::from_le_bytes(self.array()?);
        Ok((group, part, self.0))
    }
}

/// State that does not read as we write it.
pub(super) fn damaged() -> Error {
    Error::internal("the stored state of an aggregate is damaged")
}

#[cfg(test)]
mod tests {
    use super::{Reader, begin_key, write_count};

    #[test]
    fn counts_come_back() {
        for count in [0, 1, -1, 63, 64, -65, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_count(count, &mut bytes);
            assert_eq!(Reader(&bytes).count().unwrap(), count);
        }
        assert!(Reader(&[0x80]).count().is_err());
    }

    #[test]
    fn a_key_comes_apart() {
        let mut key = b"another".to_vec();
        begin_key(&mut key, 7, |key| key.extend_from_slice(b"group"));
        key.extend_from_slice(b"value");
        let (group, part, value) = Reader(&key).entry_key().unwrap();
        assert_eq!((group, part, value), (b"group".as_slice(), 7, b"value".as_slice()));
    }
}

//! Tells by its content whether a file is the one that was read before, whatever happened to its name, its inode or its age.
//!
//! In: a file and an offset up to which it was read. Out: a fingerprint of the beginning of that stretch and of its end.
//! Always: a file that was only appended to, or copied, keeps the fingerprint of each offset.

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;

use crate::types::hash_bytes;

/// Bytes at either end that are looked at: a few lines, so enough to tell files of the same kind apart, and one page to read.
const END_BYTES: u64 = 4_096;

/// The fingerprint of a file's first `offset` bytes. Part of stored positions: must never change.
pub(super) fn fingerprint(file: &File, offset: u64) -> io::Result<NonZero<u64>> {
    let length = offset.min(END_BYTES);
    let mut ends = vec![0; length as usize];
    let head = read_at(file, &mut ends, 0)?;
    ends.truncate(head);
    if offset > END_BYTES {
        let start = ends.len();
        ends.resize(start + length as usize, 0);
        let tail = read_at(file, &mut ends[start..], offset - length)?;
        ends.truncate(start + tail);
    }
    Ok(NonZero::new(hash_bytes(&ends)).unwrap_or(NonZero::<u64>::MIN))
}

/// As much as the file has from `offset` on, up to the buffer's length.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}

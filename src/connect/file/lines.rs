//! Finds the ends of lines.

/// Bytes looked at together: wide enough for the compiler to use the machine's vectors.
const CHUNK_BYTES: usize = 64;

/// Where the first line feed is.
pub(super) fn line_feed(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        // A fold without an early exit becomes a few vector instructions; only a chunk with a hit is searched byte by byte.
        if chunk.iter().fold(false, |found, byte| found | (*byte == b'\n')) {
            return chunk.iter().position(|byte| *byte == b'\n').map(|at| start + at);
        }
        start += chunk.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::line_feed;

    #[test]
    fn finds_the_first_wherever_it_is() {
        for at in [0, 1, 63, 64, 65, 200] {
            let mut bytes = vec![b'x'; 300];
            bytes[at] = b'\n';
            bytes[299] = b'\n';
            assert_eq!(line_feed(&bytes), Some(at));
        }
        assert_eq!(line_feed(b""), None);
        assert_eq!(line_feed(&[b'x'; 130]), None);
    }
}

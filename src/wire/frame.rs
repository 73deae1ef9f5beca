//! Bytes of a socket ↔ frames: reading with limits, writing with backpressure, and noticing that the client has gone.
//!
//! In: what the client sends, cut into frames; at most `WATCH_BYTES` are read ahead while a statement runs.
//! Out: a buffer that is written whenever it holds `FLUSH_BYTES`, and waited for: a client that does not read stops us, it costs no memory.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::engine::{Ended, Interrupt};
use crate::error::{Error, Kind, Result};

/// Longest message before a client is known. PostgreSQL takes 10,000 bytes at startup and 64 KiB for a password: nobody needs more.
pub(super) const BEFORE_LOGIN_BYTES_MAX: usize = 64 << 10;

/// Longest message of a known client. Room for a large INSERT or bytea; with hundreds of clients more would be a way to fill the memory.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Output is written once so much is waiting: large enough to make a system call worth it, small enough for thousands of clients.
pub(super) const FLUSH_BYTES: usize = 32 << 10;

/// How much of the next messages is read while a statement runs. Then only the end of the connection is looked for.
const WATCH_BYTES: usize = 256 << 10;

/// Read at least so much at a time.
const READ_BYTES: usize = 8 << 10;

/// A buffer that grew beyond this for one long message is given back afterwards.
const KEEP_BYTES: usize = 256 << 10;

/// How often a connection with a full read-ahead is asked whether it still stands: it cannot wake us, since there is always more to read.
const FULL_CHECK_PERIOD: Duration = Duration::from_millis(500);

/// A client that does not read its last message must not keep the socket.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Why a message could not be served to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told, and the connection goes on.
    Error(Error),
    /// The client is told, and the connection ends.
    Fatal(Error),
    /// There is nobody left to tell.
    Gone,
}

impl From<Error> for Failure {
    /// What says that the session or the server ends is the last word.
    fn from(error: Error) -> Self {
        if error.kind() == Kind::Shutdown { Failure::Fatal(error) } else { Failure::Error(error) }
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Failure::Gone
    }
}

/// One message of a client.
#[derive(Debug)]
pub(super) struct Frame {
    /// The letter that says what it is.
    pub(super) kind: u8,
    /// Everything behind its length.
    pub(super) body: Bytes,
}

/// Both directions of a client's socket.
pub(super) struct Channel {
    reader: OwnedReadHalf,
    read: BytesMut,
    bytes_max: usize,
    writer: OwnedWriteHalf,
    /// Messages not written yet.
    pub(super) out: BytesMut,
}

impl Channel {
    /// Over a fresh socket, with the limit for clients that are not known yet.
    pub(super) fn new(socket: TcpStream) -> Self {
        let (reader, writer) = socket.into_split();
        let (read, out) = (BytesMut::with_capacity(READ_BYTES), BytesMut::with_capacity(READ_BYTES));
        Channel { reader, read, bytes_max: BEFORE_LOGIN_BYTES_MAX, writer, out }
    }

    /// From here on the limit for known clients holds.
    pub(super) fn logged_in(&mut self) {
        self.bytes_max = MESSAGE_BYTES_MAX;
    }

    /// The letter of the next message, if it has arrived.
    pub(super) fn next_kind(&self) -> Option<u8> {
        self.read.first().copied()
    }

    /// Whether bytes have arrived that nobody has taken.
    pub(super) fn has_unread(&self) -> bool {
        !self.read.is_empty()
    }

    /// The next message, if it is all there already.
    pub(super) fn next_buffered(&mut self) -> Result<Option<Frame>, Failure> {
        take_frame(&mut self.read, self.bytes_max)
    }

    /// The next message, waiting for it; `None` once the client has gone. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            if let Some(frame) = take_frame(&mut self.read, self.bytes_max)? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// A packet of the startup, which has no letter: everything behind its length.
    pub(super) async fn next_startup(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(body) = take_startup(&mut self.read, self.bytes_max)? {
                return Ok(Some(body));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads what there is; `false` at the end of the connection.
    async fn fill(&mut self) -> io::Result<bool> {
        // Doubling: memory follows the bytes that came, not the length that was announced.
        self.read.reserve(self.read.len().max(READ_BYTES));
        Ok(self.reader.read_buf(&mut self.read).await? > 0)
    }

    /// Resolves once the client has gone; reads ahead meanwhile, up to a bound.
    async fn gone(&mut self) {
        while self.read.len() < WATCH_BYTES {
            if !matches!(self.fill().await, Ok(true)) {
                return;
            }
        }
        loop {
            tokio::time::sleep(FULL_CHECK_PERIOD).await;
            match self.reader.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
        }
    }

    /// Waits for `work`, unless the client goes away or it is interrupted: then `work` is dropped.
    pub(super) async fn attend<T>(&mut self, interrupt: &Interrupt, work: impl Future<Output = Result<T>>) -> Result<T, Failure> {
        interrupt.check()?;
        match interrupt.attend(work, self.gone()).await {
            Ended::Done(done) => Ok(done?),
            Ended::Interrupted(error) => Err(error.into()),
            Ended::Left => Err(Failure::Gone),
        }
    }

    /// Waits for the next message while a statement takes data from the client.
    pub(super) async fn next_of_copy(&mut self, interrupt: &Interrupt) -> Result<Frame, Failure> {
        tokio::select! {
            biased;
            error = interrupt.fired() => Err(error.into()),
            frame = self.next() => frame?.ok_or(Failure::Gone),
        }
    }

    /// Appends a message; for the rare ones, that pgwire has types for.
    pub(super) fn put(&mut self, message: &impl Message) {
        let start = self.out.len();
        if let Err(cause) = message.encode(&mut self.out) {
            // Only a message beyond pgwire's limits: a column name of 2 GiB, a tag of 30,000 bytes.
            tracing::error!(%cause, "a message was not sent");
            self.out.truncate(start);
        }
    }

    /// Appends a message that has no body.
    pub(super) fn put_bare(&mut self, kind: u8) {
        self.out.put_slice(&[kind, 0, 0, 0, 4]);
    }

    /// Writes everything, but only if enough waits. The statement can be interrupted while the client does not read.
    pub(super) async fn flush_if_full(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        if self.out.len() < FLUSH_BYTES {
            return Ok(());
        }
        interrupt.check()?;
        // What is written is taken off the buffer at once, so a dropped write leaves exactly the rest.
        tokio::select! {
            biased;
            written = write_all(&mut self.writer, &mut self.out) => Ok(written?),
            error = interrupt.fired() => Err(error.into()),
        }
    }

    /// Writes everything that waits.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        Ok(write_all(&mut self.writer, &mut self.out).await?)
    }

    /// Says goodbye to the socket: what waits is written, then the end is marked. Errors no longer matter.
    pub(super) async fn close(mut self) {
        let close = async {
            if self.flush().await.is_ok() {
                let _ = self.writer.shutdown().await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_MAX, close).await;
    }
}

async fn write_all(writer: &mut OwnedWriteHalf, out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        if writer.write_buf(out).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    if out.capacity() > KEEP_BYTES {
        *out = BytesMut::with_capacity(READ_BYTES);
    } else {
        out.clear();
    }
    Ok(())
}

/// Cuts the first message off, if it is all there.
fn take_frame(read: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, Failure> {
    let &[kind, a, b, c, d, ..] = &read[..] else { return Ok(None) };
    let length = checked_length([a, b, c, d], bytes_max)?;
    if read.len() < 1 + length {
        return Ok(None);
    }
    let mut body = read.split_to(1 + length).freeze();
    if length > KEEP_BYTES {
        // Otherwise the memory of this one message would be used again, and so be kept, by all that follow.
        *read = BytesMut::from(&read[..]);
    }
    bytes::Buf::advance(&mut body, 5);
    Ok(Some(Frame { kind, body }))
}

fn take_startup(read: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, Failure> {
    let &[a, b, c, d, ..] = &read[..] else { return Ok(None) };
    let length = checked_length([a, b, c, d], bytes_max)?;
    if read.len() < length {
        return Ok(None);
    }
    let mut body = read.split_to(length).freeze();
    bytes::Buf::advance(&mut body, 4);
    Ok(Some(body))
}

/// The length field counts itself. Beyond the limits there is no way back to a message's start: fatal.
fn checked_length(field: [u8; 4], bytes_max: usize) -> Result<usize, Failure> {
    let length = u32::from_be_bytes(field) as usize;
    if length < 4 || i32::from_be_bytes(field) < 0 {
        return Err(Failure::Fatal(Error::new(Kind::Protocol, "invalid message length")));
    }
    if length > bytes_max {
        let text = format!("message of {length} bytes is longer than the limit of {bytes_max} bytes");
        return Err(Failure::Fatal(Error::new(Kind::LimitExceeded, text)));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{BEFORE_LOGIN_BYTES_MAX, Failure, MESSAGE_BYTES_MAX, take_frame, take_startup};
    use crate::error::Kind;

    #[test]
    fn frames_are_cut_wherever_the_bytes_were_split() {
        let bytes = b"Q\0\0\0\x09SEL\0\0S\0\0\0\x04";
        let mut read = BytesMut::new();
        let mut kinds = Vec::new();
        for byte in bytes {
            read.extend_from_slice(&[*byte]);
            while let Some(frame) = take_frame(&mut read, MESSAGE_BYTES_MAX).unwrap() {
                kinds.push((frame.kind, frame.body.len()));
            }
        }
        assert_eq!(kinds, [(b'Q', 5), (b'S', 0)]);
        assert!(read.is_empty());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        let announce = |length: i32| {
            let mut read = BytesMut::from(&b"Q"[..]);
            read.extend_from_slice(&length.to_be_bytes());
            read
        };
        let kind = |length, bytes_max| match take_frame(&mut announce(length), bytes_max) {
            Err(Failure::Fatal(error)) => Some(error.kind()),
            _ => None,
        };
        assert_eq!(kind(0x3fff_ffff, MESSAGE_BYTES_MAX), Some(Kind::LimitExceeded));
        assert_eq!(kind(100_000, BEFORE_LOGIN_BYTES_MAX), Some(Kind::LimitExceeded));
        assert_eq!(kind(100_000, MESSAGE_BYTES_MAX), None);
        assert_eq!(kind(3, MESSAGE_BYTES_MAX), Some(Kind::Protocol));
        assert_eq!(kind(-1, MESSAGE_BYTES_MAX), Some(Kind::Protocol));
        let mut tls = BytesMut::from(&b"\x16\x03\x01\x02\0\x01"[..]);
        assert!(take_startup(&mut tls, BEFORE_LOGIN_BYTES_MAX).is_err());
    }
}

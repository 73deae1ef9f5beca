//! Reads files in turn, block by block, and waits for them to grow.
//!
//! Always: `next_offset` of a file is the start of a line. A file that is shorter than what was read of it, or another one under the
//! same name, stops the reader: going on would tear a line or repeat rows. That is asked whenever there is more to read than before, and
//! of the file's content ([`recognise`](super::recognise)), so it does not matter when the file was exchanged.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::lines::{line_feed, line_parts, record_end};
use super::recognise::{fingerprint, read_at};
use crate::connect::format::{Decoder, Envelope, Format};
use crate::connect::{Fingerprints, Poll, Positions, Reader, SOURCE_BATCH_ROWS, SourceBatch};

/// Bytes that are read at once: a full batch of ordinary lines for each decoder.
const BLOCK_BYTES: usize = DECODERS * (4 << 20);
/// Threads that make rows of lines, the reader's own among them. Rows of JSON cost more than most queries on them, so that one thread alone
/// would hold back the workers; more than two would take their cores from them.
const DECODERS: usize = 2;
/// Fewer bytes are not worth another thread: to start one takes as long as some hundred lines.
const SHARED_BYTES_MIN: usize = 256 << 10;
/// Longer lines stop the reader: they are no lines.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Bytes of a line without its end that are compared with the file before more of it is read.
const COMPARED_BYTES: usize = 4 << 10;
/// Longer lines name no columns.
const HEADER_BYTES_MAX: usize = 1 << 16;
/// How often new files are looked for.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// How soon files are asked whether they have grown when they just had.
const LOOK_FIRST: Duration = Duration::from_millis(5);
/// How soon they are asked when they have not for long: each time in vain doubles it up to here, where it costs next to nothing.
const LOOK_LAST: Duration = Duration::from_millis(100);

/// Which part of the files is read.
pub(super) struct Stretch {
    from: Positions,
    until: Option<Positions>,
    /// What stood before the end of the stretch, or before its beginning if it has no end, when it was read before.
    seen: Fingerprints,
}

impl Stretch {
    pub(super) fn new(from: &Positions, until: Option<&Positions>, seen: &Fingerprints) -> Self {
        Stretch { from: from.clone(), until: until.cloned(), seen: seen.clone() }
    }

    /// Where file `id` is read from and where to; `None` if nothing of it.
    fn of(&self, id: i32) -> Option<(i64, Option<i64>)> {
        let from = self.from.get(&id).copied().unwrap_or(0);
        match &self.until {
            None => Some((from, None)),
            // With an end given, a file that it does not name had nothing to read.
            Some(until) => until.get(&id).map(|until| (from, Some(*until))),
        }
    }

    /// The files of which something was read, or is to be read again.
    fn needed(&self) -> impl Iterator<Item = i32> {
        let read = self.until.as_ref().unwrap_or(&self.from);
        read.iter().filter(|(_, offset)| **offset > 0).map(|(id, _)| *id)
    }
}

/// Reads all files of a path or glob.
pub(super) struct FileReader {
    path: String,
    follow: bool,
    format: Format,
    stretch: Stretch,
    files: BTreeMap<i32, OpenFile>,
    /// Where files begin that nobody has been told of yet.
    found: Positions,
    /// The file that was read last: the next one gets its turn.
    last: Option<i32>,
    scanned_at: Option<Instant>,
    /// How long to wait before the next look, if there is nothing to read.
    pause: Duration,
}

/// One file.
struct OpenFile {
    path: PathBuf,
    file: File,
    /// Device and inode: tells a replaced file.
    identity: (u64, u64),
    decoders: Vec<Decoder>,
    /// Between the fields of a record, where line feeds may stand in quotes.
    csv_delimiter: Option<char>,
    /// A file whose first line names columns cannot be read before that line is complete.
    header_missing: bool,
    next_offset: i64,
    until: Option<i64>,
    /// An offset and the fingerprint of what stood before it.
    seen: Option<(i64, NonZero<u64>)>,
    /// What was read, and not yet decoded, is in `unread` of it. It stays as long as it was: to fill it with zeros for each block costs as much as to
    /// read that.
    buffer: Vec<u8>,
    unread: Range<usize>,
    /// Decoded and not yet delivered, in the file's order.
    ready: VecDeque<SourceBatch>,
    /// When it was read last, there was nothing behind that.
    at_end: bool,
    ended: bool,
}

impl FileReader {
    pub(super) fn new(path: &str, follow: bool, format: Format, stretch: Stretch) -> Self {
        FileReader {
            path: path.to_owned(),
            follow,
            format,
            stretch,
            files: BTreeMap::new(),
            found: Positions::new(),
            last: None,
            scanned_at: None,
            pause: LOOK_FIRST,
        }
    }

    /// Opens files that are new.
    fn scan(&mut self) -> Result<(), String> {
        if self.scanned_at.is_some_and(|at| at.elapsed() < SCAN_EVERY || !self.follow) {
            return Ok(());
        }
        for path in matching(&self.path) {
            let id = partition_of(&path);
            match self.files.get(&id) {
                Some(open) if open.path == path => continue,
                Some(open) => {
                    let (one, other) = (open.path.display(), path.display());
                    return Err(format!("files \"{one}\" and \"{other}\" have the same hash: rename one of them"));
                }
                None => {}
            }
            let Some((from, until)) = self.stretch.of(id) else { continue };
            let seen = self.stretch.seen.get(&id).map(|seen| (until.unwrap_or(from), *seen));
            self.files.insert(id, OpenFile::new(path, &self.format, from, until, seen)?);
            if !self.stretch.from.contains_key(&id) {
                self.found.insert(id, from);
            }
        }
        if self.stretch.needed().any(|id| !self.files.contains_key(&id)) {
            return Err(format!("a file of \"{}\" that was read before is gone", self.path));
        }
        self.scanned_at = Some(Instant::now());
        Ok(())
    }

    /// The next rows of any file, each in its turn.
    fn advance(&mut self) -> Result<Option<SourceBatch>, String> {
        let behind: Vec<i32> = self.files.keys().copied().filter(|id| Some(*id) > self.last).collect();
        let before: Vec<i32> = self.files.keys().copied().filter(|id| Some(*id) <= self.last).collect();
        for id in behind.into_iter().chain(before) {
            let Some(file) = self.files.get_mut(&id) else { continue };
            if let Some(batch) = file.read(id, self.follow)? {
                self.last = Some(id);
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn finished(&self) -> bool {
        let may_end = self.stretch.until.is_some() || !self.follow;
        may_end && self.scanned_at.is_some() && self.files.values().all(OpenFile::delivered)
    }
}

impl Reader for FileReader {
    fn poll(&mut self, wait: Duration) -> Poll {
        let deadline = Instant::now() + wait;
        loop {
            // What went wrong before a file was read may be right the next time; what is wrong with one that was being read is final.
            if let Err(text) = self.scan() {
                std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                return Poll::Degraded(text);
            }
            // Before any row: a file that nobody knew would not hold event time back, and its rows would be late.
            if !self.found.is_empty() {
                return Poll::Started(std::mem::take(&mut self.found));
            }
            match self.advance() {
                Ok(Some(batch)) => {
                    self.pause = LOOK_FIRST;
                    return Poll::Batch(Box::new(batch));
                }
                Ok(None) if self.finished() => return Poll::End,
                Ok(None) => {}
                Err(text) => return Poll::Failed(text),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Pending;
            }
            std::thread::sleep(left.min(self.pause));
            self.pause = (self.pause * 2).min(LOOK_LAST);
        }
    }

    /// Records are not counted ahead; that there are none is known.
    fn lag(&self) -> Option<i64> {
        (self.scanned_at.is_some() && self.files.values().all(|file| file.at_end && file.ready.is_empty())).then_some(0)
    }
}

impl OpenFile {
    fn new(
        path: PathBuf,
        format: &Format,
        next_offset: i64,
        until: Option<i64>,
        seen: Option<(i64, NonZero<u64>)>,
    ) -> Result<Self, String> {
        let failed = |cause: io::Error| format!("cannot read \"{}\": {cause}", path.display());
        let file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("\"{}\" is not a file", path.display()));
        }
        Ok(OpenFile {
            file,
            identity: identity(&metadata),
            decoders: (0..DECODERS).map(|_| format.decoder()).collect(),
            csv_delimiter: format.csv_delimiter(),
            header_missing: format.has_header(),
            next_offset,
            until,
            seen,
            buffer: Vec::new(),
            unread: 0..0,
            ready: VecDeque::new(),
            at_end: false,
            ended: false,
            path,
        })
    }

    fn done(&self) -> bool {
        self.until.is_some_and(|until| self.next_offset >= until)
    }

    /// Whether everything that is to be read was handed out.
    fn delivered(&self) -> bool {
        self.ready.is_empty() && (self.done() || self.ended)
    }

    /// The next lines, if there are any.
    fn read(&mut self, id: i32, follow: bool) -> Result<Option<SourceBatch>, String> {
        if self.ready.is_empty() && !self.done() && !self.ended {
            self.fill(id, follow)?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads a block, if there is more, and decodes it.
    fn fill(&mut self, id: i32, follow: bool) -> Result<(), String> {
        let length = self.length(follow)?;
        if self.header_missing && !self.read_header(length, follow)? {
            return Ok(());
        }
        // A long line may need several blocks; more of it is read only while there is more.
        while self.ready.is_empty() && !self.done() && self.read_block(length)? {
            self.decode(id)?;
        }
        if self.ready.is_empty() && !follow && !self.done() {
            self.decode_last_line(id)?;
            self.ended = true;
        }
        self.at_end = length <= self.read_to();
        Ok(())
    }

    /// How far the file was read: what waits for the end of its line included.
    fn read_to(&self) -> i64 {
        self.next_offset + length_of(self.unread.len())
    }

    /// The file's length, if it is still the file that we read, and no shorter.
    fn length(&self, follow: bool) -> Result<i64, String> {
        let path = self.path.display();
        let metadata = self.file.metadata().map_err(|cause| format!("cannot read \"{path}\": {cause}"))?;
        let length = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
        let read = self.read_to().max(self.until.unwrap_or(0));
        if length < read {
            return Err(format!("file \"{path}\" was truncated: it has {length} bytes, {read} were read"));
        }
        // Asked only once everything was read: a file may well be replaced while its old content is still being read.
        if follow && length == self.read_to() {
            match std::fs::metadata(&self.path) {
                Ok(metadata) if identity(&metadata) != self.identity => return Err(format!("file \"{path}\" was replaced by another")),
                _ => {}
            }
        }
        Ok(length)
    }

    /// Refuses a file in which something else stands now where we were.
    fn recognise(&self) -> Result<(), String> {
        let another = |offset: i64| {
            format!(
                "file \"{}\" is not the one that was read before: what stands before byte {offset} of it is something else",
                self.path.display()
            )
        };
        if let Some((offset, seen)) = self.seen
            && self.fingerprint_at(offset)? != seen
        {
            return Err(another(offset));
        }
        // So would be the start of a line whose end was yet to come.
        let rest = &self.buffer[self.unread.clone()];
        let rest = &rest[..rest.len().min(COMPARED_BYTES)];
        let mut now = [0; COMPARED_BYTES];
        let length = read_at(&self.file, &mut now[..rest.len()], u64::try_from(self.next_offset).unwrap_or(0))
            .map_err(|cause| format!("cannot read \"{}\": {cause}", self.path.display()))?;
        if now[..length] == *rest { Ok(()) } else { Err(another(self.next_offset + length_of(rest.len()))) }
    }

    fn fingerprint_at(&self, offset: i64) -> Result<NonZero<u64>, String> {
        let failed = |cause: io::Error| format!("cannot read \"{}\": {cause}", self.path.display());
        fingerprint(&self.file, u64::try_from(offset).unwrap_or(0)).map_err(failed)
    }

    /// Reads the line that names the columns. False: it is not complete yet.
    fn read_header(&mut self, length: i64, follow: bool) -> Result<bool, String> {
        let mut start = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX)];
        let length = read_at(&self.file, &mut start, 0).map_err(|cause| format!("cannot read \"{}\": {cause}", self.path.display()))?;
        let end = match line_feed(&start[..length]) {
            Some(end) => end,
            None if length == HEADER_BYTES_MAX => {
                return Err(format!("the first line of \"{}\" is too long to be a header", self.path.display()));
            }
            None if follow => return Ok(false),
            None => length,
        };
        let header = start[..end].strip_suffix(b"\r").unwrap_or(&start[..end]);
        for decoder in &mut self.decoders {
            decoder.use_header(header).map_err(|cause| format!("file \"{}\": {}", self.path.display(), cause.message()))?;
        }
        self.next_offset = self.next_offset.max(i64::try_from((end + 1).min(length)).unwrap_or(i64::MAX));
        self.header_missing = false;
        Ok(true)
    }

    /// Appends a block to the buffer, of a file of `length` bytes. False: the file has no more.
    fn read_block(&mut self, length: i64) -> Result<bool, String> {
        let old = self.unread.len();
        let at = u64::try_from(self.next_offset).unwrap_or(0) + old as u64;
        let left = u64::try_from(length).unwrap_or(0).saturating_sub(at);
        if left == 0 {
            return Ok(false);
        }
        self.recognise()?;
        if old >= LINE_BYTES_MAX {
            return Err(format!(
                "file \"{}\": the line at byte {} is longer than {LINE_BYTES_MAX} bytes",
                self.path.display(),
                self.next_offset
            ));
        }
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..old;
        let wanted = old + usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let read = read_at(&self.file, &mut self.buffer[old..wanted], at)
            .map_err(|cause| format!("cannot read \"{}\": {cause}", self.path.display()))?;
        self.unread.end += read;
        Ok(read > 0)
    }

    /// Decodes the buffer's complete records, on several threads if they are many.
    fn decode(&mut self, id: i32) -> Result<(), String> {
        let bytes = &self.buffer[self.unread.clone()];
        // Where a CSV record ends is known only to who has read what stands before it.
        let alone = self.csv_delimiter.is_some() || bytes.len() < SHARED_BYTES_MIN;
        let mut offset = self.next_offset;
        let parts: Vec<Records<'_>> = line_parts(bytes, if alone { 1 } else { self.decoders.len() })
            .into_iter()
            .map(|bytes| {
                let part = Records { id, offset, bytes, csv_delimiter: self.csv_delimiter, until: self.until };
                offset += length_of(bytes.len());
                part
            })
            .collect();
        let decoded = decode_together(&mut self.decoders, parts)
            .map_err(|cause| format!("cannot start a thread for \"{}\": {cause}", self.path.display()))?;
        let taken: usize = decoded.iter().map(|(_, taken)| taken).sum();
        self.unread.start += taken;
        self.next_offset += length_of(taken);
        decoded.into_iter().flat_map(|(batches, _)| batches).try_for_each(|batch| self.make_ready(batch))
    }

    /// What is left in the buffer is the last line, if nothing will ever be added to it.
    fn decode_last_line(&mut self, id: i32) -> Result<(), String> {
        let rest = &self.buffer[self.unread.clone()];
        let decoder = self.decoders.first_mut().expect("there is one at least");
        push(decoder, id, self.next_offset, rest);
        self.next_offset += length_of(rest.len());
        self.unread = 0..0;
        if decoder.len() == 0 {
            return Ok(());
        }
        let batch = decoder.finish(id, self.next_offset);
        self.make_ready(batch)
    }

    /// Notes with a batch what stands before its end.
    fn make_ready(&mut self, batch: SourceBatch) -> Result<(), String> {
        let fingerprint = self.fingerprint_at(batch.next_offset)?;
        self.seen = Some((batch.next_offset, fingerprint));
        self.ready.push_back(SourceBatch { fingerprint: Some(fingerprint), ..batch });
        Ok(())
    }
}

/// A part of a file, from the start of a record on.
struct Records<'a> {
    id: i32,
    offset: i64,
    bytes: &'a [u8],
    csv_delimiter: Option<char>,
    /// Records that start here or behind are not wanted.
    until: Option<i64>,
}

impl Records<'_> {
    /// Decodes the complete records. The batches, and how many bytes were taken.
    fn decode(&self, decoder: &mut Decoder) -> (Vec<SourceBatch>, usize) {
        let mut batches = Vec::new();
        let (mut taken, mut offset) = (0, self.offset);
        while self.until.is_none_or(|until| offset < until) {
            let rest = &self.bytes[taken..];
            let known = decoder.push_line(rest, &Envelope { partition: self.id, offset, ..Envelope::default() });
            let end = known.or_else(|| match self.csv_delimiter {
                None => line_feed(rest),
                Some(delimiter) => record_end(rest, delimiter),
            });
            let Some(end) = end else { break };
            if known.is_none() {
                push(decoder, self.id, offset, &rest[..end]);
            }
            taken += end + 1;
            offset = self.offset + length_of(taken);
            if decoder.len() == SOURCE_BATCH_ROWS {
                batches.push(decoder.finish(self.id, offset));
            }
        }
        if decoder.len() > 0 {
            batches.push(decoder.finish(self.id, offset));
        }
        (batches, taken)
    }
}

/// Each part by a decoder of its own, the first one on this thread. As many parts as decoders at the most.
fn decode_together(decoders: &mut [Decoder], parts: Vec<Records<'_>>) -> io::Result<Vec<(Vec<SourceBatch>, usize)>> {
    std::thread::scope(|scope| {
        let mut work = decoders.iter_mut().zip(parts);
        let own = work.next();
        let others: Vec<_> = work
            .map(|(decoder, part)| std::thread::Builder::new().name("decoder".into()).spawn_scoped(scope, move || part.decode(decoder)))
            .collect::<io::Result<_>>()?;
        let mut decoded: Vec<_> = own.map(|(decoder, part)| part.decode(decoder)).into_iter().collect();
        for other in others {
            decoded.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        Ok(decoded)
    })
}

/// A length in memory as one of a file.
fn length_of(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Decodes one line; empty ones are nothing.
fn push(decoder: &mut Decoder, partition: i32, offset: i64, line: &[u8]) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.is_empty() {
        decoder.push(Some(line), &Envelope { partition, offset, ..Envelope::default() });
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The files that a path or glob names, in order. What cannot be read is left out: it may be readable later.
pub(super) fn matching(pattern: &str) -> Vec<PathBuf> {
    // A path that exists means itself, even if it could be a glob.
    if Path::new(pattern).is_file() {
        return vec![PathBuf::from(pattern)];
    }
    let found = glob::glob(pattern).map(|paths| paths.filter_map(|path| path.ok()).filter(|path| path.is_file()).collect());
    found.unwrap_or_default()
}

/// A file's partition: FNV-1a (Fowler, Noll, Vo) of its path, without the sign bit. Part of stored positions: must never change.
fn partition_of(path: &Path) -> i32 {
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    i32::try_from(hash & 0x7fff_ffff).expect("31 bits")
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::{FileReader, LOOK_FIRST, LOOK_LAST, Stretch, partition_of};
    use crate::connect::format::Format;
    use crate::connect::format::tests::{column, rows, spec};
    use crate::connect::{Fingerprints, Poll, Positions, Reader, SourceBatch, SourceSpec, connect, open};
    use crate::types::{SqlType, Value};

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidemill-file-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn append(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            OpenOptions::new().create(true).append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn source(path: &Path, encode: &str, follow: bool) -> SourceSpec {
        let options: &[(&str, &str)] = if encode == "CSV" { &[("header", "true")] } else { &[] };
        let mut spec = spec(encode, vec![column("n", SqlType::Int4)], options);
        spec.options.insert("connector".into(), "file".into());
        spec.options.insert("path".into(), path.to_str().unwrap().into());
        spec.options.insert("follow".into(), follow.to_string());
        spec
    }

    fn reader(spec: SourceSpec, from: &Positions, until: Option<&Positions>) -> Box<dyn Reader> {
        connect(spec).unwrap().start(from, until).unwrap()
    }

    /// What is behind where files begin.
    fn poll(reader: &mut dyn Reader, wait: Duration) -> Poll {
        match reader.poll(wait) {
            Poll::Started(_) => reader.poll(wait),
            other => other,
        }
    }

    fn batch(reader: &mut dyn Reader) -> SourceBatch {
        match poll(reader, Duration::from_secs(2)) {
            Poll::Batch(batch) => *batch,
            other => panic!("{other:?}"),
        }
    }

    fn numbers(batch: &SourceBatch) -> Vec<i64> {
        rows(batch).into_iter().map(|row| if let Value::Int(n) = row[0] { n } else { -1 }).collect()
    }

    #[test]
    fn follows_growth_and_waits_for_the_line_feed() {
        let folder = Folder::new("growth");
        let path = folder.append("a.jsonl", "{\"n\":1}\r\n\n{\"n\":2}\n{\"n\":");
        let mut reader = reader(source(&path, "JSON", true), &Positions::new(), None);
        let first = batch(&mut *reader);
        assert_eq!((numbers(&first), first.next_offset), (vec![1, 2], 18));
        assert!(matches!(reader.poll(Duration::ZERO), Poll::Pending));
        folder.append("a.jsonl", "3}\nx\n");
        let second = batch(&mut *reader);
        assert_eq!((numbers(&second), second.dead_letters[0].offset), (vec![3], 26));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(reader.poll(Duration::from_millis(20)), Poll::Failed(text) if text.contains("truncated")));
    }

    #[test]
    fn positions_give_the_rest_again_and_until_ends() {
        let folder = Folder::new("positions");
        let path = folder.append("a.csv", "m,n\n0,1\n0,2\n0,3\n");
        let id = partition_of(&path);
        let mut from_two = reader(source(&path, "CSV", false), &Positions::from([(id, 8)]), None);
        assert_eq!(numbers(&batch(&mut *from_two)), [2, 3]);
        assert!(matches!(from_two.poll(Duration::ZERO), Poll::End));
        let mut until_three = reader(source(&path, "CSV", true), &Positions::new(), Some(&Positions::from([(id, 12)])));
        assert_eq!(numbers(&batch(&mut *until_three)), [1, 2]);
        assert!(matches!(until_three.poll(Duration::ZERO), Poll::End));
    }

    #[test]
    fn a_line_break_in_quotes_made_two_dead_letters_of_one_record() {
        let folder = Folder::new("quotes");
        let path = folder.append("a.csv", "m,n\n\"one\ntwo\",1\n0,2\n\"three\n");
        let id = partition_of(&path);
        let mut follower = reader(source(&path, "CSV", true), &Positions::new(), None);
        let first = batch(&mut *follower);
        // Behind the last record that is complete: whoever goes on from there begins with the open quote.
        assert_eq!((numbers(&first), first.offsets.clone(), first.next_offset), (vec![1, 2], vec![4, 16], 20));
        assert!(matches!(follower.poll(Duration::ZERO), Poll::Pending));
        folder.append("a.csv", "\"\"four\"\"\n");
        assert!(matches!(follower.poll(Duration::ZERO), Poll::Pending));
        folder.append("a.csv", "\",3\n0,4\n");
        for mut reader in [follower, reader(source(&path, "CSV", false), &Positions::from([(id, 20)]), None)] {
            let rest = batch(&mut *reader);
            assert_eq!((numbers(&rest), rest.dead_letters.len(), rest.offsets[0]), (vec![3, 4], 0, 20));
        }
        // One that never closes is a dead letter where the file ends, and awaited where it does not.
        folder.append("a.csv", "\"open,5\n0,6\n");
        let mut to_the_end = reader(source(&path, "CSV", false), &Positions::new(), None);
        let all = batch(&mut *to_the_end);
        assert_eq!(numbers(&all), [1, 2, 3, 4]);
        let last = batch(&mut *to_the_end);
        assert_eq!((last.dead_letters.len(), last.dead_letters[0].offset), (1, 44));
        assert!(matches!(to_the_end.poll(Duration::ZERO), Poll::End));
    }

    #[test]
    fn a_file_that_does_not_grow_is_not_read_and_seldom_asked() {
        let folder = Folder::new("idle");
        let path = folder.append("a.jsonl", "{\"n\":1}\n{\"n\":");
        let stretch = Stretch::new(&Positions::new(), None, &Fingerprints::new());
        let mut reader = FileReader::new(path.to_str().unwrap(), true, Format::new(&source(&path, "JSON", true)).unwrap(), stretch);
        assert_eq!(numbers(&batch(&mut reader)), [1]);
        assert_eq!(reader.pause, LOOK_FIRST);
        for _ in 0..3 {
            assert!(matches!(reader.poll(Duration::from_millis(100)), Poll::Pending));
        }
        assert_eq!(reader.pause, LOOK_LAST);
        let file = reader.files.values().next().unwrap();
        // Each look used to clear and fill a block of megabytes, and to search the line that is not complete.
        assert!(file.buffer.capacity() < 1 << 10 && file.unread.start == 8);
        folder.append("a.jsonl", "2}\n");
        assert_eq!((numbers(&batch(&mut reader)), reader.pause), (vec![2], LOOK_FIRST));
    }

    #[test]
    fn several_threads_give_the_lines_in_their_order() {
        /// More than is decoded by one thread, and than one batch holds; every thousandth line is none.
        const LINES: i64 = 100_000;
        let folder = Folder::new("threads");
        let line = |n: i64| if n % 1_000 == 7 { format!("no {n}\n") } else { format!("{{\"n\":{n}}}\n") };
        let text: String = (0..LINES).map(line).collect();
        let path = folder.append("a.jsonl", &text);
        let id = partition_of(&path);
        let middle = text.find(&line(60_000)).unwrap() as i64;
        for (from, until, expected) in [(0, None, 0..LINES), (0, Some(middle), 0..60_000), (middle, None, 60_000..LINES)] {
            let until = until.map(|until| Positions::from([(id, until)]));
            let mut reader = reader(source(&path, "JSON", false), &Positions::from([(id, from)]), until.as_ref());
            let (mut found, mut letters, mut next) = (Vec::new(), 0, from);
            loop {
                match poll(&mut *reader, Duration::from_secs(2)) {
                    Poll::Batch(batch) => {
                        let starts = batch.offsets.iter().chain(batch.dead_letters.iter().map(|letter| &letter.offset));
                        assert!(starts.into_iter().all(|start| (next..batch.next_offset).contains(start)));
                        found.extend(numbers(&batch));
                        letters += batch.dead_letters.len();
                        next = batch.next_offset;
                    }
                    Poll::End => break,
                    other => panic!("{other:?}"),
                }
            }
            let rows: Vec<i64> = expected.clone().filter(|n| n % 1_000 != 7).collect();
            assert_eq!(letters, expected.count() - rows.len());
            assert!(found == rows, "lines are missing, too many, or in another order");
        }
    }

    /// The position behind all of a file, as it is stored, and what was seen before it.
    fn read_all(path: &Path) -> (Positions, Fingerprints) {
        let read = batch(&mut *reader(source(path, "JSON", true), &Positions::new(), None));
        (Positions::from([(read.partition, read.next_offset)]), Fingerprints::from([(read.partition, read.fingerprint.unwrap())]))
    }

    fn why(mut reader: Box<dyn Reader>) -> String {
        match poll(&mut *reader, Duration::from_millis(20)) {
            Poll::Failed(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_file_of_the_same_name_was_read_from_its_middle_after_a_restart() {
        let folder = Folder::new("replaced");
        let path = folder.append("a.jsonl", "{\"n\":1}\n{\"n\":2}\n");
        let (positions, seen) = read_all(&path);
        let restart = || connect(source(&path, "JSON", true)).unwrap().start_where(&positions, None, &seen).unwrap();
        folder.append("a.jsonl", "{\"n\":3}\n");
        assert_eq!(numbers(&batch(&mut *restart())), [3]);

        // A copy is as good.
        let copy = folder.append("copy", &std::fs::read_to_string(&path).unwrap());
        std::fs::rename(copy, &path).unwrap();
        assert_eq!(numbers(&batch(&mut *restart())), [3]);

        std::fs::write(&path, "{\"n\":7}\n{\"n\":8}\n{\"n\":9}\n").unwrap();
        assert!(why(restart()).contains("is not the one that was read before: what stands before byte 16"));
        let replay = connect(source(&path, "JSON", true)).unwrap().start_where(&Positions::new(), Some(&positions), &seen).unwrap();
        assert!(why(replay).contains("is not the one that was read before"));

        std::fs::write(&path, "{\"n\":1}\n").unwrap();
        assert!(why(restart()).contains("was truncated: it has 8 bytes, 16 were read"));
        let replay = connect(source(&path, "JSON", true)).unwrap().start(&Positions::new(), Some(&positions)).unwrap();
        assert!(why(replay).contains("was truncated"));
    }

    #[test]
    fn a_file_that_was_written_anew_between_two_looks_looked_like_growth() {
        let folder = Folder::new("anew");
        let path = folder.append("a.jsonl", "{\"n\":1}\n");
        let mut reader = reader(source(&path, "JSON", true), &Positions::new(), None);
        assert_eq!(numbers(&batch(&mut *reader)), [1]);
        std::fs::write(&path, "{\"n\":5}\n{\"n\":6}\n").unwrap();
        assert!(why(reader).contains("is not the one that was read before"));
    }

    #[test]
    fn a_glob_reads_every_file_and_the_last_line_needs_no_line_feed_at_the_end() {
        let folder = Folder::new("glob");
        folder.append("a.jsonl", "{\"n\":1}\n{\"n\":2}");
        folder.append("b.jsonl", "{\"n\":3}\n");
        folder.append("c.txt", "no");
        let mut reader = reader(source(&folder.0.join("*.jsonl"), "JSON", false), &Positions::new(), None);
        let mut all = Vec::new();
        loop {
            match poll(&mut *reader, Duration::ZERO) {
                Poll::Batch(batch) => all.extend(numbers(&batch)),
                Poll::End => break,
                other => panic!("{other:?}"),
            }
        }
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    }

    #[test]
    fn rows_of_the_second_file_were_late_since_nobody_knew_of_it() {
        let folder = Folder::new("known");
        let known = folder.append("a.jsonl", "{\"n\":1}\n");
        let empty = folder.append("b.jsonl", "");
        let spec = || source(&folder.0.join("*.jsonl"), "JSON", true);
        let mut first = reader(spec(), &Positions::new(), None);
        let both = Positions::from([(partition_of(&known), 0), (partition_of(&empty), 0)]);
        assert!(matches!(first.poll(Duration::ZERO), Poll::Started(found) if found == both));
        assert!(matches!(first.poll(Duration::ZERO), Poll::Batch(_)));
        // A file that is known already, and of which nothing was read, may go.
        std::fs::remove_file(&empty).unwrap();
        assert!(matches!(reader(spec(), &both, None).poll(Duration::ZERO), Poll::Batch(_)));
    }

    #[test]
    fn a_missing_file_is_an_error_at_create_only() {
        let path = Path::new("/nonexistent/x.jsonl");
        assert_eq!(connect(source(path, "JSON", true)).err().unwrap().kind().sqlstate(), "58000");
        assert!(open(source(path, "JSON", true)).is_ok());
        let mut unknown = source(path, "JSON", true);
        unknown.options.insert("paht".into(), "x".into());
        assert_eq!(open(unknown).err().unwrap().hint_text(), Some("Did you mean \"path\"?"));
    }
}

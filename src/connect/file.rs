//! Files as sources: one file or a glob, lines of JSON or CSV, followed as they grow.
//!
//! A file is a partition, numbered by a hash of its path, so that a restart finds it again whatever came or went beside it; the offset is the
//! byte at which the next line starts. Two files with the same hash are refused by name. A line counts once its line feed is there.

mod lines;
mod reader;
mod recognise;

use std::sync::Arc;

use self::reader::{FileReader, Stretch};
use super::format::Format;
use super::options::Options;
use super::{Connector, Fingerprints, Positions, Reader, SourceColumn, SourceSpec};
use crate::error::{Error, Kind, Result};
use crate::types::Include;

const KNOWN: &[&str] = &["path", "follow"];

/// Checks the options; does not look at the disk.
pub(super) fn open(spec: SourceSpec) -> Result<Arc<dyn Connector>> {
    let options = Options::new("connector \"file\"", &spec.options);
    options.refuse_unknown(KNOWN, &[])?;
    let path = options.required(&["path"])?.to_owned();
    glob::Pattern::new(&path).map_err(|cause| options.invalid("path", "a path or a glob").detail(format!("{cause}.")))?;
    let follow = options.flag("follow", true)?;
    let foreign = spec.columns.iter().find(|column| {
        matches!(column.include, Some(Include::Key | Include::Timestamp | Include::Headers)) // a line has none of them
    });
    if let Some(column) = foreign {
        let error = Error::new(Kind::InvalidParameter, format!("lines of a file have nothing to INCLUDE as \"{}\"", column.name));
        return Err(error.hint("INCLUDE PARTITION and INCLUDE OFFSET work with files."));
    }
    Ok(Arc::new(FileConnector { path, follow, format: Format::new(&spec)? }))
}

/// Files, and how their lines are read.
struct FileConnector {
    path: String,
    follow: bool,
    format: Format,
}

impl Connector for FileConnector {
    fn columns(&self) -> &[SourceColumn] {
        self.format.columns()
    }

    fn only(&self, wanted: &[bool]) -> Option<Arc<dyn Connector>> {
        Some(Arc::new(FileConnector { path: self.path.clone(), follow: self.follow, format: self.format.only(wanted) }))
    }

    fn check(&self) -> Result<()> {
        // Files of a glob may come later, if anybody waits for them.
        let may_come = self.follow && self.path.contains(['*', '?', '[']);
        if may_come || !reader::matching(&self.path).is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::External, format!("no file \"{}\"", self.path)).hint("The path is one of the server's file system."))
    }

    fn start(&self, from: &Positions, until: Option<&Positions>) -> Result<Box<dyn Reader>> {
        self.start_where(from, until, &Fingerprints::new())
    }

    fn start_where(&self, from: &Positions, until: Option<&Positions>, seen: &Fingerprints) -> Result<Box<dyn Reader>> {
        Ok(Box::new(FileReader::new(&self.path, self.follow, self.format.clone(), Stretch::new(from, until, seen))))
    }
}

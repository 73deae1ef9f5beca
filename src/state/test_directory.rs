//! A directory for one test, gone when the test ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes names of one process's directories differ.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The directory.
pub(crate) struct TestDirectory(PathBuf);

impl TestDirectory {
    /// A new, empty one below the system's directory for temporary files.
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!("tidemill-{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        TestDirectory(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

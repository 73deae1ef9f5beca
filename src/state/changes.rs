//! What operators hand over at a checkpoint, and get back at a restart: keys and values that only they understand. What is told of objects
//! goes the same way.

/// One live piece of an operator's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// `types::bucket` of the hash by which the operator's input is exchanged: decides which worker gets the entry back.
    pub bucket: u8,
    /// Unique within the operator and bucket.
    pub key: Vec<u8>,
    /// What to remember.
    pub value: Vec<u8>,
}

/// What changed in an operator's state since its last checkpoint. A key stands in it at most once.
#[derive(Clone, Debug, Default)]
pub struct StateChanges {
    /// Entries that are new or different.
    pub puts: Vec<StateEntry>,
    /// Bucket and key of entries that are gone.
    pub deletes: Vec<(u8, Vec<u8>)>,
}

/// What changed in what is told of an object since the last checkpoint.
#[derive(Clone, Debug, Default)]
pub struct ReportChanges {
    /// Entries that are new or different, by key.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys of entries that are gone.
    pub deletes: Vec<Vec<u8>>,
}

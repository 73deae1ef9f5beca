//! The numbers that name things.

/// A tick of the system's one logical clock, and the timestamp of every dataflow.
///
/// Epoch 0 never carries rows: it is "before everything". A plain `u64`, since timely's timestamp traits are implemented for it.
pub type Epoch = u64;

/// Names a catalog object for ever: never used again after a DROP. Also its `oid` towards PostgreSQL clients.
pub type ObjectId = u32;

/// Names an operator's state: the object whose plan it belongs to, and its place in that plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId {
    /// The materialised view.
    pub object: ObjectId,
    /// The node's number within the view's plan, in the order of its construction.
    pub node: u32,
}

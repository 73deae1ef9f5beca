//! By which columns' values the rows of a relation can be found: those of its key, and those of the indexes that users made.

use super::{Catalog, ObjectKind};
use crate::types::ObjectId;

/// Columns by whose values rows can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOf {
    /// The index's name.
    pub name: String,
    /// Its number; `None`: the relation's key.
    pub number: Option<ObjectId>,
    /// Positions of its columns.
    pub columns: Vec<usize>,
}

impl Catalog {
    /// By which equalities the rows of a relation can be found: its key first, then indexes in the order of their numbers. What keeps no
    /// rows has none.
    pub fn indexes_of(&self, relation: ObjectId) -> Vec<IndexOf> {
        let Some(object) = self.get(relation) else { return Vec::new() };
        let key = match &object.kind {
            ObjectKind::Table(table) => table.key.clone(),
            ObjectKind::MaterializedView(view) if !view.options.discard => view.key.clone().unwrap_or_default(),
            _ => Vec::new(),
        };
        let key = (!key.is_empty()).then(|| IndexOf { name: format!("{}_pkey", object.name), number: None, columns: key });
        let others = self.dependants(relation).filter_map(|dependant| match &dependant.kind {
            ObjectKind::Index(index) => {
                Some(IndexOf { name: dependant.name.clone(), number: Some(dependant.id), columns: index.columns.clone() })
            }
            _ => None,
        });
        key.into_iter().chain(others).collect()
    }
}

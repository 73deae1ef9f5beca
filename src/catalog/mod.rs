//! Names → definitions. A `Catalog` is a value: a change makes a new one, so a statement sees one catalog from start to end.

mod flow;
mod index;
mod object;
pub mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use index::IndexOf;
pub use object::{
    Argument, Column, ConnectorOptions, EventTime, Function, Index, Object, ObjectKind, Retention, Sink, Source, Table, View, ViewOptions,
    ViewRetention, arrivals, column_number,
};

use crate::error::{Error, Kind, Result};
use crate::types::ObjectId;

/// The schema that is there from the start.
pub const DEFAULT_SCHEMA: &str = "public";

/// The first number of a user's object: PostgreSQL keeps those below for itself, and so do clients' queries.
pub const FIRST_USER_ID: ObjectId = 16_384;

/// Stands behind the names of functions: they may be called as relations are.
const CALLED: &str = "\u{1}()";

/// Where an object stands among the names.
fn name_of(object: &Object) -> (String, String) {
    let called = if matches!(object.kind, ObjectKind::Function(_)) { CALLED } else { "" };
    (object.schema.clone(), format!("{}{called}", object.name))
}

/// Every object there is, by number and by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    objects: BTreeMap<ObjectId, Arc<Object>>,
    /// `(schema, name)` → number; a schema itself stands under `("", name)`.
    names: BTreeMap<(String, String), ObjectId>,
    /// By an object, those whose definitions name it.
    dependants: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// Goes up with every change: cached plans are valid for one generation.
    generation: u64,
}

impl Catalog {
    /// A catalog of these objects.
    pub fn new(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut catalog = Catalog::default();
        for object in objects {
            catalog.insert(object);
        }
        catalog
    }

    /// Adds an object, or replaces the one of its number.
    pub fn insert(&mut self, object: Object) {
        self.forget_name(object.id);
        self.forget_dependant(object.id);
        self.names.insert(name_of(&object), object.id);
        for dependency in &object.depends_on {
            self.dependants.entry(*dependency).or_default().insert(object.id);
        }
        self.objects.insert(object.id, Arc::new(object));
        self.generation += 1;
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: ObjectId) {
        self.forget_name(id);
        self.forget_dependant(id);
        if self.objects.remove(&id).is_some() {
            self.generation += 1;
        }
    }

    /// Frees an object's name, unless another has it by now: two may change names at once.
    fn forget_name(&mut self, id: ObjectId) {
        let Some(object) = self.objects.get(&id) else { return };
        let name = name_of(object);
        if self.names.get(&name) == Some(&id) {
            self.names.remove(&name);
        }
    }

    /// Takes an object out of the dependants of what it depends on.
    fn forget_dependant(&mut self, id: ObjectId) {
        let Some(object) = self.objects.get(&id) else { return };
        for dependency in &object.depends_on {
            if let Some(dependants) = self.dependants.get_mut(dependency)
                && dependants.remove(&id)
                && dependants.is_empty()
            {
                self.dependants.remove(dependency);
            }
        }
    }

    /// Goes up with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The object of this number.
    pub fn get(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(&id)
    }

    /// All objects, in the order of their numbers.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// The object called `schema.name`.
    pub fn find_in(&self, schema: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(self.names.get(&(schema.to_owned(), name.to_owned()))?)
    }

    /// The function of this name: in `schema` if given, else along the search path.
    pub fn find_function(&self, schema: Option<&str>, name: &str, search_path: &[String]) -> Option<&Arc<Object>> {
        let find = |schema: &str| self.objects.get(self.names.get(&(schema.to_owned(), format!("{name}{CALLED}")))?);
        match schema {
            Some(schema) => find(schema),
            None => search_path.iter().find_map(|schema| find(schema)),
        }
    }

    /// Whether a schema of this name is there.
    pub fn has_schema(&self, name: &str) -> bool {
        name == DEFAULT_SCHEMA || self.find_in("", name).is_some()
    }

    /// Looks a name up: in `schema` if given, else along the search path. The error says what was probably meant.
    pub fn resolve(&self, schema: Option<&str>, name: &str, search_path: &[String]) -> Result<&Arc<Object>> {
        let found = match schema {
            Some(schema) => self.find_in(schema, name),
            None => search_path.iter().find_map(|schema| self.find_in(schema, name)),
        };
        found.ok_or_else(|| self.undefined(schema, name))
    }

    /// The objects that name `id` in their definition, directly, in the order of their numbers.
    pub fn dependants(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Object>> {
        self.dependants.get(&id).into_iter().flatten().filter_map(|dependant| self.objects.get(dependant))
    }

    /// The objects that depend on `id`, directly or through others, so that each stands before those it depends on.
    pub fn dependants_deep(&self, id: ObjectId) -> Vec<Arc<Object>> {
        let mut found = BTreeSet::from([id]);
        let mut new = vec![id];
        while let Some(id) = new.pop() {
            new.extend(self.dependants(id).map(|object| object.id).filter(|dependant| found.insert(*dependant)));
        }
        found.remove(&id);
        let mut ordered = self.ordered(&found);
        ordered.reverse();
        ordered
    }

    /// Whether an object's definition leads to one of `ids`, directly or through others.
    pub fn reads_any(&self, id: ObjectId, ids: &BTreeSet<ObjectId>) -> bool {
        let (mut seen, mut left) = (BTreeSet::from([id]), vec![id]);
        while let Some(id) = left.pop() {
            let below = self.objects.get(&id).map_or(&[] as &[ObjectId], |object| &object.depends_on);
            if below.iter().any(|id| ids.contains(id)) {
                return true;
            }
            left.extend(below.iter().filter(|id| seen.insert(**id)));
        }
        false
    }

    /// These objects, each behind those of them that it depends on; otherwise in the order of their numbers. A view that was replaced may
    /// depend on objects with higher numbers.
    pub fn ordered(&self, ids: &BTreeSet<ObjectId>) -> Vec<Arc<Object>> {
        let (mut done, mut ordered) = (BTreeSet::new(), Vec::with_capacity(ids.len()));
        for id in ids {
            self.place(*id, ids, &mut done, &mut ordered);
        }
        ordered
    }

    fn place(&self, id: ObjectId, wanted: &BTreeSet<ObjectId>, done: &mut BTreeSet<ObjectId>, ordered: &mut Vec<Arc<Object>>) {
        let Some(object) = self.objects.get(&id).filter(|_| wanted.contains(&id) && done.insert(id)) else { return };
        for dependency in &object.depends_on {
            self.place(*dependency, wanted, done, ordered);
        }
        ordered.push(Arc::clone(object));
    }

    fn undefined(&self, schema: Option<&str>, name: &str) -> Error {
        let full = schema.map_or_else(|| name.to_owned(), |schema| format!("{schema}.{name}"));
        let error = Error::new(Kind::UndefinedTable, format!("relation \"{full}\" does not exist"));
        let relations = || self.objects.values().filter(|object| object.columns().is_some());
        if let Some(elsewhere) = relations().find(|object| object.name == name) {
            let schema = &elsewhere.schema;
            return error.hint(format!("There is one in schema \"{schema}\": write {schema}.{name}, or add it to search_path."));
        }
        match nearest(name, relations().map(|object| object.name.as_str())) {
            Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
            None => error,
        }
    }
}

/// The candidate that `name` was probably meant to be: the fewest edits, and not more than a third of its length.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    // Of two letters another one says nothing, one more or less does.
    let near = |edits: usize, candidate: &str| match length {
        0..3 => edits <= 1 && (name.starts_with(candidate) || candidate.starts_with(name)),
        _ => edits <= length / 3,
    };
    candidates
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, candidate)| near(*edits, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, by Wagner and Fischer's table kept as three rows; two letters that changed places are one edit (Damerau).
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut least = replaced.min(next[j] + 1).min(row[j + 1] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                least = least.min(above[j - 1] + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

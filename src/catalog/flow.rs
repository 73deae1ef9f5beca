//! Where rows go: from a relation to the views and sinks that read it, and from a sink into its table.
//!
//! Always: they never come back to where they were, or one row would go round for ever. Definitions alone say what an object reads; a sink adds
//! a way from what it reads to its table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Catalog, Object, ObjectKind};
use crate::types::ObjectId;

impl Catalog {
    /// The sinks into a table.
    pub fn sinks_into(&self, table: ObjectId) -> impl Iterator<Item = &Arc<Object>> {
        self.dependants(table).filter(move |object| object.kind.sunk_into() == Some(table))
    }

    /// What an object reads, directly.
    pub fn reads(object: &Object) -> impl Iterator<Item = ObjectId> {
        let into = object.kind.sunk_into();
        object.depends_on.iter().copied().filter(move |id| Some(*id) != into)
    }

    /// How rows get from one relation to another, both included; `None` if they do not. The shortest way.
    pub fn way(&self, from: ObjectId, to: ObjectId) -> Option<Vec<Arc<Object>>> {
        let mut came_from: BTreeMap<ObjectId, ObjectId> = BTreeMap::new();
        let mut next = vec![from];
        while !next.is_empty() && from != to && !came_from.contains_key(&to) {
            let mut then = Vec::new();
            for here in next {
                for (there, through) in self.onwards(here) {
                    if there != from && !came_from.contains_key(&there) {
                        came_from.insert(there, through.unwrap_or(here));
                        if let Some(sink) = through {
                            came_from.insert(sink, here);
                        }
                        then.push(there);
                    }
                }
            }
            next = then;
        }
        let mut way = vec![to];
        while way.last() != Some(&from) {
            way.push(*came_from.get(way.last()?)?);
        }
        way.iter().rev().map(|id| self.get(*id).cloned()).collect()
    }

    /// The sinks whose rows reach these relations, each behind those whose rows reach it.
    pub fn sinks_above(&self, relations: &[ObjectId]) -> Vec<ObjectId> {
        let mut sinks = Vec::new();
        let mut seen = BTreeSet::new();
        relations.iter().for_each(|id| self.collect_sinks(*id, &mut seen, &mut sinks));
        sinks
    }

    /// The relations that rows of `here` reach next, and the sink they go through, if any.
    fn onwards(&self, here: ObjectId) -> impl Iterator<Item = (ObjectId, Option<ObjectId>)> {
        self.dependants(here).filter_map(move |dependant| match &dependant.kind {
            ObjectKind::View(_) | ObjectKind::MaterializedView(_) => Some((dependant.id, None)),
            ObjectKind::Sink(sink) if sink.target != here => Some((sink.target, Some(dependant.id))),
            _ => None,
        })
    }

    fn collect_sinks(&self, id: ObjectId, seen: &mut BTreeSet<ObjectId>, sinks: &mut Vec<ObjectId>) {
        if !seen.insert(id) {
            return;
        }
        let Some(object) = self.get(id) else { return };
        match &object.kind {
            ObjectKind::Table(_) => {
                for sink in self.sinks_into(id) {
                    Self::reads(sink).for_each(|read| self.collect_sinks(read, seen, sinks));
                    sinks.push(sink.id);
                }
            }
            _ => Self::reads(object).for_each(|read| self.collect_sinks(read, seen, sinks)),
        }
    }
}

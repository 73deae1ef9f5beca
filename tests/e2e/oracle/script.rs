//! One seed's script: tables, then changes and views in turn. Nothing of it depends on what a server answers.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::data::{Change, Table};
use super::grammar::{Grammar, Relation};
use super::{once_in, queries};

/// Views per seed: few enough to keep a seed under half a second, enough to have views on views.
const VIEWS: usize = 6;

/// Changes that come after the first views.
const CHANGES: usize = 4;

/// What a seed does.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) tables: Vec<Table>,
    pub(super) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Change(Change),
    View(Definition),
    /// Rows come, and go again: everything is as it was before.
    Visit([String; 2]),
}

/// A view.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) query: String,
    /// Tables and views that it reads.
    pub(super) reads: BTreeSet<String>,
}

impl Script {
    /// The script of a seed.
    pub(super) fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let rng = &mut rng;
        let tables: Vec<Table> = (0..rng.random_range(2..=3)).map(|index| Table::random(rng, index)).collect();
        let mut relations: Vec<Relation> = tables.iter().map(Table::relation).collect();
        let mut steps = Vec::new();
        let mut views = 0;
        let mut view = |rng: &mut StdRng, steps: &mut Vec<Step>| {
            let definition = Definition::random(rng, format!("v{views}"), &tables, &mut relations);
            views += 1;
            steps.push(Step::View(definition));
        };
        // Of some views, all rows come later; others begin with what is there.
        for _ in 0..rng.random_range(0..VIEWS - 2) {
            view(rng, &mut steps);
        }
        let first = steps.len();
        for _ in 0..rng.random_range(1..5) {
            steps.push(Step::Change(Change::random(rng, &tables)));
        }
        for _ in first..VIEWS - 2 {
            view(rng, &mut steps);
        }
        for index in 0..CHANGES {
            steps.push(Step::Change(Change::random(rng, &tables)));
            if index < 2 {
                view(rng, &mut steps);
            }
        }
        let visited = super::choose(rng, &tables).clone();
        steps.push(Step::Visit(visited.visitors(rng)));
        Script { tables, steps }
    }

    /// The same changes, in other transactions; all views are there before them.
    pub(super) fn split(&self, rng: &mut StdRng) -> Self {
        let mut steps: Vec<Step> = self.steps.iter().filter(|step| matches!(step, Step::View(_))).cloned().collect();
        let changes = self.steps.iter().filter_map(|step| match step {
            Step::Change(change) if change.commits => Some(change.statements.clone()),
            _ => None,
        });
        let mut together: Vec<String> = Vec::new();
        let mut flush = |together: &mut Vec<String>| {
            if !together.is_empty() {
                steps.push(Step::Change(Change { statements: std::mem::take(together), commits: true }));
            }
        };
        for statement in changes.flatten() {
            let alone = statement.starts_with("TRUNCATE");
            if alone || once_in(rng, 3) {
                flush(&mut together);
            }
            together.push(statement);
            if alone {
                flush(&mut together);
            }
        }
        flush(&mut together);
        Script { tables: self.tables.clone(), steps }
    }

    /// The views, in the order in which they are created.
    pub(super) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.steps.iter().filter_map(|step| match step {
            Step::View(definition) => Some(definition),
            _ => None,
        })
    }

    /// Whether a view reads the relation.
    pub(super) fn is_read(&self, name: &str) -> bool {
        self.definitions().any(|definition| definition.reads.contains(name))
    }

    /// As statements, to be tried by hand.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self.tables.iter().map(|table| format!("{};", table.create())).collect();
        lines.extend(self.steps.iter().map(|step| match step {
            Step::Change(change) => format!("{};", change.sql()),
            Step::View(view) => format!("CREATE MATERIALIZED VIEW {} AS {};", view.name, view.query),
            Step::Visit([insert, delete]) => format!("{insert};\n{delete};"),
        }));
        lines.join("\n")
    }
}

impl Definition {
    /// By the grammar, mostly; the shapes that are written out hold functions that it lacks.
    fn random(rng: &mut StdRng, name: String, tables: &[Table], relations: &mut Vec<Relation>) -> Self {
        if once_in(rng, 5) {
            let query = queries::random(rng, tables);
            return Definition { name, query, reads: tables.iter().map(|table| table.name.clone()).collect() };
        }
        let query = Grammar::query(rng, relations);
        let columns = query.kinds.iter().enumerate().map(|(index, kind)| (format!("c{index}"), *kind)).collect();
        relations.push(Relation { name: name.clone(), columns, rows: query.rows.max(1.0), table: false });
        Definition { name, query: query.sql, reads: query.reads }
    }

    /// The query with plain views in the place of materialised ones: what it gives comes from the tables alone.
    pub(super) fn over_tables(&self) -> String {
        let views = self.reads.iter().filter(|name| name.starts_with('v'));
        views.fold(self.query.clone(), |query, name| query.replace(&format!("{name} AS "), &format!("p{name} AS ")))
    }
}

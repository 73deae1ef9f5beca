//! A server on which scripts are played: their statements said, their views compared with what their queries give.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use super::postgres::Postgres;
use super::script::{Definition, Script, Step};
use super::tally::Tally;
use crate::Failure;
use crate::client::{TextRow, message, results, rows};
use crate::compare::View;
use crate::server::Server;

/// SQLSTATEs of a query that fails on its rows, where a view would have NULL: the two cannot be compared.
const ROW_ERRORS: [&str; 4] = ["21000", "22003", "22012", "22023"];

/// Seconds that a statement may take: many times what the slowest needs on a busy machine.
const STATEMENT_S: u32 = 30;

/// A server and a session.
pub(super) struct Stage {
    server: Server,
    client: Client,
    workers: usize,
    postgres: Option<Postgres>,
}

/// Something that is wrong.
#[derive(Debug)]
pub(super) struct Finding {
    /// What kind of thing: a smaller script that shows the same is of the same class.
    pub(super) class: String,
    pub(super) text: String,
    /// The view in question.
    pub(super) view: Option<String>,
}

/// Which views are compared with their queries after each step. After the last step, all are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Checks {
    All,
    /// Each time about half of them.
    Some,
    None,
}

/// How a script is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Manner {
    /// The schema, of this name, that the script has for itself.
    pub(super) schema: u64,
    /// Whether the server is killed between steps.
    pub(super) crashes: bool,
    pub(super) checks: Checks,
    /// Whether views that are created last must equal those created first.
    pub(super) anew: bool,
}

/// The views at the end of a script, with their rows.
pub(super) type Ending = BTreeMap<String, (View, Vec<TextRow>)>;

impl Finding {
    fn new(class: impl Into<String>, text: impl Into<String>, view: Option<&str>) -> Self {
        Finding { class: class.into(), text: text.into(), view: view.map(str::to_owned) }
    }
}

impl Stage {
    pub(super) async fn start(workers: usize) -> Result<Self, Failure> {
        let server = Server::start(workers).await?;
        let client = server.connect().await?;
        Ok(Stage { server, client, workers, postgres: Postgres::connect().await? })
    }

    /// A stage like this, with nothing on it.
    pub(super) async fn another(&self) -> Result<Self, Failure> {
        Stage::start(self.workers).await
    }

    /// What the server has said lately.
    pub(super) fn with_log(&self, text: &str) -> String {
        self.server.with_log(text).to_string()
    }

    /// Plays a script and removes what it made. The schema stays behind after a finding.
    pub(super) async fn play(&mut self, script: &Script, manner: Manner, tally: &Tally) -> Result<Ending, Finding> {
        let mut act = Act { stage: self, script, manner, tally, views: Vec::new(), rng: StdRng::seed_from_u64(manner.schema) };
        let ending = act.play().await?;
        let schema = schema(manner);
        self.say(&format!("DROP SCHEMA {schema} CASCADE")).await?;
        if let Some(postgres) = &self.postgres {
            postgres.leave(&schema).await;
        }
        Ok(ending)
    }

    /// Removes a schema that a finding left behind; false if the server no longer answers.
    pub(super) async fn clear(&self, manner: Manner) -> bool {
        self.client.batch_execute(&format!("ROLLBACK; DROP SCHEMA IF EXISTS {} CASCADE", schema(manner))).await.is_ok()
    }

    async fn say(&self, sql: &str) -> Result<(), Finding> {
        self.client.batch_execute(sql).await.map_err(|error| {
            let what = if error.as_db_error().is_some() { "statement" } else { "lost" };
            Finding::new(format!("{what} {}", short(&error)), format!("{}\n[SQL] {sql}", message(&error)), None)
        })
    }

    /// All rows of a view.
    async fn rows(&self, view: &View) -> Result<Vec<TextRow>, Finding> {
        rows(&self.client, &format!("SELECT * FROM {}", view.name))
            .await
            .map_err(|error| Finding::new("read", error.to_string(), Some(&view.name)))
    }
}

/// A script that is being played.
struct Act<'a> {
    stage: &'a mut Stage,
    script: &'a Script,
    manner: Manner,
    tally: &'a Tally,
    /// Views that were not refused, with the queries that they are compared with.
    views: Vec<(View, String)>,
    rng: StdRng,
}

impl Act<'_> {
    async fn play(&mut self) -> Result<Ending, Finding> {
        self.stage.say(&format!("CREATE SCHEMA {}", schema(self.manner))).await?;
        self.enter().await?;
        if let Some(postgres) = &self.stage.postgres {
            postgres
                .enter(&schema(self.manner), &self.script.tables)
                .await
                .map_err(|error| Finding::new("mirror", error.to_string(), None))?;
        }
        for table in &self.script.tables {
            self.stage.say(&table.create()).await?;
        }
        let script = self.script;
        for (index, step) in script.steps.iter().enumerate() {
            self.step(step).await?;
            let last = index + 1 == script.steps.len();
            if self.manner.crashes && !last && index % 2 == 1 {
                self.crash().await?;
            }
            match self.manner.checks {
                Checks::All => self.check(1.0).await?,
                _ if last => self.check(1.0).await?,
                Checks::Some => self.check(0.5).await?,
                Checks::None => {}
            }
        }
        if self.manner.anew {
            self.create_anew().await?;
        }
        let mut ending = Ending::new();
        for (view, _) in &self.views {
            ending.insert(view.name.clone(), (view.clone(), self.stage.rows(view).await?));
        }
        Ok(ending)
    }

    async fn enter(&self) -> Result<(), Finding> {
        self.stage.say(&format!("SET search_path TO {}; SET statement_timeout = '{STATEMENT_S}s'", schema(self.manner))).await
    }

    async fn step(&mut self, step: &Step) -> Result<(), Finding> {
        match step {
            Step::Change(change) => {
                self.stage.say(&change.sql()).await?;
                if let Some(postgres) = &self.stage.postgres {
                    postgres.change(change, &self.script.tables).await.map_err(|error| Finding::new("mirror", error.to_string(), None))?;
                }
                Ok(())
            }
            Step::View(definition) => self.create(definition).await,
            Step::Visit(statements) => {
                let before = self.contents().await?;
                for statement in statements {
                    self.stage.say(statement).await?;
                }
                self.same_as(before, "before rows came and went").await
            }
        }
    }

    /// Creates a view, unless it is refused or reads one that was.
    async fn create(&mut self, definition: &Definition) -> Result<(), Finding> {
        let there = |name: &String| !name.starts_with('v') || self.views.iter().any(|(view, _)| view.name == *name);
        if !definition.reads.iter().all(there) {
            return Ok(());
        }
        let name = &definition.name;
        let sql = format!("CREATE MATERIALIZED VIEW {name} AS {}", definition.query);
        if let Err(error) = self.stage.client.batch_execute(&sql).await {
            let state = error.code().map_or("", |code| code.code()).to_owned();
            if state == "0A000" {
                self.tally.refused(&message(&error));
                return Ok(());
            }
            return Err(Finding::new(format!("create {}", short(&error)), format!("{}\n[SQL] {sql}", message(&error)), Some(name)));
        }
        self.tally.created();
        let view = View::existing(&self.stage.client, name, &definition.query).await;
        let view = view.map_err(|error| Finding::new("describe", error.to_string(), Some(name)))?;
        let query = definition.over_tables();
        if self.script.is_read(name) {
            let plain = format!("CREATE VIEW p{name} AS {query}");
            self.stage.say(&plain).await?;
            if let Some(postgres) = &self.stage.postgres {
                postgres.define(&plain).await;
            }
        }
        self.views.push((view, query));
        Ok(())
    }

    async fn crash(&mut self) -> Result<(), Finding> {
        let before = self.contents().await?;
        let workers = self.rng.random_range(1..=3);
        let lost = |error: Failure| Finding::new("restart", error.to_string(), None);
        self.stage.server.crash(workers).await.map_err(lost)?;
        self.stage.client = self.stage.server.connect().await.map_err(lost)?;
        self.enter().await?;
        self.same_as(before, &format!("before kill -9 and a start with {workers} workers")).await
    }

    async fn contents(&self) -> Result<Vec<Vec<TextRow>>, Finding> {
        let mut contents = Vec::new();
        for (view, _) in &self.views {
            contents.push(self.stage.rows(view).await?);
        }
        Ok(contents)
    }

    /// Every view has the rows that it had.
    async fn same_as(&self, before: Vec<Vec<TextRow>>, when: &str) -> Result<(), Finding> {
        for ((view, _), before) in self.views.iter().zip(before) {
            if let Some(difference) = view.difference(("the view now", self.stage.rows(view).await?), (when, before)) {
                let text = format!("view \"{}\" is not what it was {when}\n  query: {}\n{difference}", view.name, view.query);
                return Err(Finding::new("changed", text, Some(&view.name)));
            }
        }
        Ok(())
    }

    /// Views equal their queries: this share of them.
    async fn check(&mut self, share: f64) -> Result<(), Finding> {
        for index in 0..self.views.len() {
            if self.rng.random_bool(share) {
                let (view, query) = self.views[index].clone();
                self.check_view(&view, &query).await?;
            }
        }
        Ok(())
    }

    async fn check_view(&self, view: &View, query: &str) -> Result<(), Finding> {
        let both = format!("BEGIN; SELECT * FROM {}; {query}; COMMIT", view.name);
        let mut found = match results(&self.stage.client, &both).await {
            Ok(found) => found,
            Err(error) => {
                let state = error.code().map_or("", |code| code.code()).to_owned();
                if error.as_db_error().is_some() {
                    self.stage.say("ROLLBACK").await?;
                }
                // In batch, DataFusion sorts a group once at the most.
                let sorted_twice = state == "0A000" && message(&error).contains("Conflicting ordering requirements");
                if sorted_twice || ROW_ERRORS.contains(&state.as_str()) {
                    self.tally.incomparable(&message(&error));
                    return Ok(());
                }
                return Err(Finding::new(
                    format!("query {}", short(&error)),
                    format!("{}\n[SQL] {query}", message(&error)),
                    Some(&view.name),
                ));
            }
        };
        let (batch, maintained) = (found.swap_remove(2), found.swap_remove(1));
        self.tally.compared();
        if let Some(postgres) = &self.stage.postgres {
            postgres
                .check(view, query, batch.clone(), self.tally)
                .await
                .map_err(|text| Finding::new("postgres", text, Some(&view.name)))?;
        }
        match view.difference(("the view", maintained), ("the query", batch)) {
            None => Ok(()),
            Some(difference) => {
                let text = format!("view \"{}\" is not what its query gives\n  query: {query}\n{difference}", view.name);
                Err(Finding::new("differs", text, Some(&view.name)))
            }
        }
    }

    /// Views of the same queries, created now, hold the same.
    async fn create_anew(&self) -> Result<(), Finding> {
        for (view, _) in &self.views {
            let name = format!("n{}", view.name);
            self.stage.say(&format!("CREATE MATERIALIZED VIEW {name} AS {}", view.query)).await?;
            let anew = view.named(name);
            let difference = view.difference(("the view", self.stage.rows(view).await?), ("the new view", self.stage.rows(&anew).await?));
            if let Some(difference) = difference {
                let text = format!("view \"{}\" is not what it is if it is created now\n  query: {}\n{difference}", view.name, view.query);
                return Err(Finding::new("anew", text, Some(&view.name)));
            }
        }
        Ok(())
    }
}

/// Two endings of the same changes hold the same.
pub(super) fn same_ending(left: &Ending, right: &Ending, why: &str) -> Result<(), Finding> {
    for (name, (view, rows)) in left {
        let Some((_, other)) = right.get(name) else { continue };
        if let Some(difference) = view.difference(("one", rows.clone()), ("the other", other.clone())) {
            let text = format!("view \"{name}\" differs: {why}\n  query: {}\n{difference}", view.query);
            return Err(Finding::new(why, text, Some(name)));
        }
    }
    Ok(())
}

fn schema(manner: Manner) -> String {
    format!("oracle_{}", manner.schema)
}

/// What an error is, without the names and numbers in it.
fn short(error: &tokio_postgres::Error) -> String {
    let Some(told) = error.as_db_error() else { return String::new() };
    let words = told.message().split(|character: char| character == '"' || character == '[' || character.is_ascii_digit());
    format!("{} {}", told.code().code(), words.take(1).collect::<String>())
}

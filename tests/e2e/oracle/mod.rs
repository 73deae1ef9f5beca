//! Random tables, random changes, and views that must at each step hold what their queries give.
//!
//! `ORACLE_SEEDS` says how many seeds run (200), `ORACLE_FIRST` which is the first, `ORACLE_STEPS` how many changes each makes. A failure
//! prints its seed and every statement up to it; the same seed makes the same statements again.

mod collections;
mod data;
mod queries;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::run;
use crate::compare::View;
use crate::server::Server;
use crate::{Outcome, Test, setting};

use data::Table;

/// Seeds that share a server: starting one costs more than a seed.
const SEEDS_PER_SERVER: u64 = 25;

/// Every so many seeds, one has a server of its own, which is killed between its steps.
const CRASH_EVERY: u64 = 10;

/// Views per seed: most seeds are to cover several kinds, few enough to keep a seed under half a second.
const VIEWS: usize = 6;

/// Rounds of changes per seed.
const STEPS: usize = 6;

/// Groups of seeds, each on one server.
pub(crate) fn tests() -> Vec<Test> {
    let first: u64 = setting("ORACLE_FIRST", 0);
    let end = first + setting("ORACLE_SEEDS", 200_u64);
    let mut tests = Vec::new();
    let (crashing, calm): (Vec<u64>, Vec<u64>) = (first..end).partition(|seed| seed % CRASH_EVERY == CRASH_EVERY - 1);
    for (index, seeds) in calm.chunks(SEEDS_PER_SERVER as usize).enumerate() {
        let seeds = seeds.to_vec();
        let name = format!("oracle/seeds-{}-to-{}", seeds[0], seeds[seeds.len() - 1]);
        tests.push(Test::new(name, move || calm_seeds(seeds, 1 + index % 3)));
    }
    tests.extend(crashing.into_iter().map(|seed| Test::new(format!("oracle/crash-{seed}"), move || crashing_seed(seed))));
    tests
}

/// Runs seeds one after the other on one server.
async fn calm_seeds(seeds: Vec<u64>, workers: usize) -> Outcome {
    let server = Server::start(workers).await?;
    let mut client = server.connect().await?;
    for seed in seeds {
        let mut story = Story::new(seed, client);
        let outcome = story.play(None).await;
        client = match outcome {
            Ok(()) => story.client,
            Err(failure) => return Err(server.with_log(story.explain(failure.as_ref(), workers))),
        };
    }
    Ok(())
}

/// Runs one seed on a server that is killed between its steps, and comes back with another number of workers.
async fn crashing_seed(seed: u64) -> Outcome {
    let mut server = Server::start(1).await?;
    let mut story = Story::new(seed, server.connect().await?);
    match story.play(Some(&mut server)).await {
        Ok(()) => Ok(()),
        Err(failure) => Err(server.with_log(story.explain(failure.as_ref(), 1))),
    }
}

/// One seed: its random values, its connection and everything it has said so far.
struct Story {
    seed: u64,
    rng: StdRng,
    client: Client,
    log: Vec<String>,
    tables: Vec<Table>,
    views: Vec<View>,
}

impl Story {
    fn new(seed: u64, client: Client) -> Self {
        Story { seed, rng: StdRng::seed_from_u64(seed), client, log: Vec::new(), tables: Vec::new(), views: Vec::new() }
    }

    /// Tables, some rows, views over what is there (so they hydrate), then changes; more views join on the way.
    async fn play(&mut self, mut server: Option<&mut Server>) -> Outcome {
        self.enter(true).await?;
        for index in 0..self.rng.random_range(2..=3) {
            let table = Table::random(&mut self.rng, index);
            self.say(table.create()).await?;
            self.tables.push(table);
        }
        for _ in 0..self.rng.random_range(0..4) {
            self.change().await?;
        }
        for _ in 0..VIEWS - 2 {
            self.add_view().await?;
        }
        self.check().await?;
        for step in 0..setting("ORACLE_STEPS", STEPS) {
            if let Some(server) = server.as_deref_mut() {
                let workers = self.rng.random_range(1..=3);
                self.log.push(format!("-- kill -9, then {workers} workers"));
                server.crash(workers).await?;
                self.client = server.connect().await?;
                self.enter(false).await?;
                self.check().await?;
            }
            self.change().await?;
            if step < 2 {
                self.add_view().await?;
            }
            self.check().await?;
        }
        self.say(format!("DROP SCHEMA oracle_{} CASCADE", self.seed)).await
    }

    /// Goes to the seed's own schema.
    async fn enter(&mut self, create: bool) -> Outcome {
        let schema = format!("oracle_{}", self.seed);
        if create {
            self.say(format!("CREATE SCHEMA {schema}")).await?;
        }
        self.say(format!("SET search_path TO {schema}")).await
    }

    /// One statement or transaction that changes a table.
    async fn change(&mut self) -> Outcome {
        for statement in data::change(&mut self.rng, &mut self.tables) {
            self.say(statement).await?;
        }
        Ok(())
    }

    async fn add_view(&mut self) -> Outcome {
        let name = format!("v{}", self.views.len());
        let query = queries::random(&mut self.rng, &self.tables, &self.views);
        self.log.push(format!("CREATE MATERIALIZED VIEW {name} AS {query};"));
        self.views.push(View::create(&self.client, &name, &query).await?);
        Ok(())
    }

    /// Every view equals its query.
    async fn check(&mut self) -> Outcome {
        self.log.push("-- check".to_owned());
        for view in &self.views {
            view.check(&self.client).await?;
        }
        Ok(())
    }

    async fn say(&mut self, sql: String) -> Outcome {
        self.log.push(format!("{sql};"));
        run(&self.client, &sql).await
    }

    /// A failure with everything needed to see it again.
    fn explain(&self, failure: &(dyn std::error::Error + Send + Sync), workers: usize) -> String {
        let seed = self.seed;
        format!(
            "seed {seed} ({workers} workers at first): {failure}\nagain: ORACLE_FIRST={seed} ORACLE_SEEDS=1 cargo test --test e2e -- oracle/\n{}",
            self.log.join("\n")
        )
    }
}

/// One of several, all equally likely.
fn choose<'a, T>(rng: &mut StdRng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

/// Whether something that happens once in `times` happens.
fn once_in(rng: &mut StdRng, times: u32) -> bool {
    rng.random_range(0..times) == 0
}

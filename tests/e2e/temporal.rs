//! Temporal joins against a second implementation: a table whose rows change, are corrected, go and come again, and rows that look into it as of
//! PROCTIME() or as of their own time, while servers die and come back with other numbers of workers.
//!
//! A query cannot say what such a view shows, since it depends on what was when. Here it is written down once more as plainly as it can be: for each
//! row what it found when it came; for each key the list of versions, and for each row the last one that is not later.
//!
//! `TEMPORAL_ROUNDS` says how many statements there are (120), `TEMPORAL_SEED` where the random numbers begin.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{TextRow, rows, run};
use crate::server::Server;
use crate::windows::same;
use crate::{Outcome, Test, setting};

/// Different keys of the table.
const KEYS: i64 = 5;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rate {
    v: i64,
    ts: Option<i64>,
}

/// A row that looks for one of the table.
#[derive(Clone, Copy, Debug)]
struct Order {
    k: i64,
    ts: i64,
    /// What was there when it came.
    met: Option<i64>,
    /// The version valid at its time, as long as that may change.
    valid: Option<i64>,
}

struct Model {
    rng: StdRng,
    /// How far out of order times come, and how far watermarks are behind.
    disorder: i64,
    now: i64,
    next_id: i64,
    next_v: i64,
    rates: BTreeMap<i64, Rate>,
    /// By key and time; `None`: gone from then on.
    versions: BTreeMap<i64, BTreeMap<i64, Option<i64>>>,
    orders: BTreeMap<i64, Order>,
    /// Rows that only come, with what they met.
    events: BTreeMap<i64, (i64, Option<i64>)>,
    rate_watermark: Option<i64>,
    order_watermark: Option<i64>,
}

/// With watermarks that forget, and without.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (disorder, name) in [(20, "forgetting"), (1_000_000, "keeping")] {
        for workers in 1..=3 {
            tests.push(Test::new(format!("temporal/{name}/{workers}"), move || temporal(disorder, workers)));
        }
    }
    tests
}

async fn temporal(disorder: i64, workers: usize) -> Outcome {
    let seed = setting("TEMPORAL_SEED", 1_u64) * 100 + workers as u64 * 10 + u64::from(disorder > 20);
    let mut model = Model {
        rng: StdRng::seed_from_u64(seed),
        disorder,
        now: 0,
        next_id: 0,
        next_v: 0,
        rates: BTreeMap::new(),
        versions: BTreeMap::new(),
        orders: BTreeMap::new(),
        events: BTreeMap::new(),
        rate_watermark: None,
        order_watermark: None,
    };
    let mut server = Server::start(workers).await?;
    let mut client = server.connect().await?;
    for statement in definitions(disorder) {
        run(&client, &statement).await?;
    }
    let rounds = setting("TEMPORAL_ROUNDS", 120_usize);
    for round in 0..rounds {
        for statement in model.step() {
            run(&client, &statement).await.map_err(|failure| server.with_log(failure))?;
        }
        if model.rng.random_range(0..20) == 0 {
            server.crash(1 + model.rng.random_range(0..3)).await?;
            client = server.connect().await?;
        }
        if model.rng.random_range(0..6) == 0 || round + 1 == rounds {
            let checked = check(&client, &model).await;
            checked.map_err(|failure| server.with_log(format!("seed {seed}, round {round}: {failure}")))?;
        }
    }
    Ok(())
}

fn definitions(disorder: i64) -> Vec<String> {
    let timed = |name: &str, columns: &str| {
        format!("CREATE TABLE {name} ({columns}, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '{disorder} seconds')")
    };
    let lookup =
        |from: &str, kind: &str| format!("SELECT o.id, r.v FROM {from} o {kind} rate FOR SYSTEM_TIME AS OF PROCTIME() AS r ON o.k = r.k");
    let version = |kind: &str| format!("SELECT o.id, r.v FROM orders o {kind} rate FOR SYSTEM_TIME AS OF o.ts AS r ON o.k = r.k");
    let view = |name: &str, query: String| format!("CREATE MATERIALIZED VIEW {name} AS {query}");
    vec![
        timed("rate", "k INT PRIMARY KEY, v INT"),
        timed("orders", "id INT PRIMARY KEY, k INT"),
        "CREATE TABLE event (id INT, k INT) APPEND ONLY".to_owned(),
        view("chosen", "SELECT * FROM orders WHERE id >= 0".to_owned()),
        view("chosen_again", "SELECT * FROM chosen WHERE id < 1000000".to_owned()),
        view("met", lookup("orders", "JOIN")),
        view("met_or_not", lookup("orders", "LEFT JOIN")),
        view("events", lookup("event", "LEFT JOIN")),
        view("chosen_met", lookup("chosen_again", "LEFT JOIN")),
        view("valid", version("JOIN")),
        view("valid_or_not", version("LEFT JOIN")),
    ]
}

async fn check(client: &Client, model: &Model) -> Outcome {
    let met = model.orders.iter().map(|(id, order)| (*id, order.met));
    let valid = model.orders.iter().map(|(id, order)| (*id, order.valid));
    let events = model.events.iter().map(|(id, (_, met))| (*id, *met));
    shows(client, "met", met.clone().filter(|(_, v)| v.is_some())).await?;
    shows(client, "met_or_not", met.clone()).await?;
    shows(client, "chosen_met", met).await?;
    shows(client, "events", events).await?;
    shows(client, "valid", valid.clone().filter(|(_, v)| v.is_some())).await?;
    shows(client, "valid_or_not", valid).await
}

async fn shows(client: &Client, view: &str, expected: impl Iterator<Item = (i64, Option<i64>)>) -> Outcome {
    let expected: Vec<TextRow> = expected.map(|(id, v)| vec![Some(id.to_string()), v.map(|v| v.to_string())]).collect();
    let found = rows(client, &format!("SELECT id, v FROM {view}")).await?;
    same(&expected, found, view)
}

impl Model {
    /// What happens next, as statements, each in a transaction of its own unless it says otherwise.
    fn step(&mut self) -> Vec<String> {
        self.now += self.rng.random_range(0..4);
        let statements = match self.rng.random_range(0..10) {
            0..=3 => vec![self.change_rate()],
            4..=6 => vec![self.insert()],
            7 => vec![self.change_order()],
            8 => vec![self.event()],
            _ => {
                // What the table becomes in the same transaction is what is met.
                let rate = self.change_rate();
                vec!["BEGIN".to_owned(), rate, self.event(), "COMMIT".to_owned()]
            }
        };
        self.settle();
        statements
    }

    /// Below what both sides are over.
    fn low(&self) -> i64 {
        self.rate_watermark.zip(self.order_watermark).map_or(i64::MIN, |(rate, order)| rate.min(order))
    }

    /// After a transaction: what is not over finds its version, and watermarks move.
    fn settle(&mut self) {
        let low = self.low();
        let versions = &self.versions;
        for order in self.orders.values_mut().filter(|order| order.ts >= low) {
            let valid = versions.get(&order.k).and_then(|of_key| of_key.range(..=order.ts).next_back());
            order.valid = valid.and_then(|(_, version)| *version);
        }
        let rates = self.rates.values().filter_map(|rate| rate.ts).max().map(|ts| ts - self.disorder);
        self.rate_watermark = self.rate_watermark.max(rates);
        let orders = self.orders.values().map(|order| order.ts).max().map(|ts| ts - self.disorder);
        self.order_watermark = self.order_watermark.max(orders);
    }

    /// A time that is not late.
    fn time(&mut self) -> i64 {
        let spread = self.disorder.min(20);
        self.now.max(self.low()) + self.rng.random_range(0..spread)
    }

    fn change_rate(&mut self) -> String {
        let k = self.rng.random_range(0..KEYS);
        let old = self.rates.get(&k).copied();
        if old.is_some() && self.rng.random_range(0..4) == 0 {
            self.rates.remove(&k);
            self.gone(k, old);
            return format!("DELETE FROM rate WHERE k = {k}");
        }
        self.next_v += 1;
        let ts = match (old.and_then(|old| old.ts), self.rng.random_range(0..12)) {
            (_, 0) => None,
            // The value alone: of the same time.
            (Some(ts), 1..=3) if ts >= self.low() => Some(ts),
            _ => Some(self.time()),
        };
        let new = Rate { v: self.next_v, ts };
        self.rates.insert(k, new);
        self.comes(k, old, new);
        let time = ts.map_or_else(|| "NULL".to_owned(), |ts| format!("to_timestamp({ts})::timestamp"));
        match self.rng.random_range(0..2) {
            0 if old.is_some() => format!("UPDATE rate SET v = {}, ts = {time} WHERE k = {k}", new.v),
            _ => format!("INSERT INTO rate VALUES ({k}, {}, {time})", new.v),
        }
    }

    fn gone(&mut self, k: i64, old: Option<Rate>) {
        if let Some(ts) = old.and_then(|old| old.ts) {
            self.versions.entry(k).or_default().insert(ts, None);
        }
    }

    fn comes(&mut self, k: i64, old: Option<Rate>, new: Rate) {
        let Some(ts) = new.ts else { return self.gone(k, old) };
        let versions = self.versions.entry(k).or_default();
        match old.and_then(|old| old.ts) {
            Some(before) if before > ts => drop(versions.remove(&before)),
            Some(_) => {}
            None => {
                // The end of what was is what is corrected.
                let end = versions.last_key_value().filter(|(end, version)| version.is_none() && **end > ts);
                if let Some(end) = end.map(|(end, _)| *end) {
                    versions.remove(&end);
                }
            }
        }
        versions.insert(ts, Some(new.v));
    }

    fn met(&self, k: i64) -> Option<i64> {
        self.rates.get(&k).map(|rate| rate.v)
    }

    fn insert(&mut self) -> String {
        let mut values = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            self.next_id += 1;
            let (k, ts) = (self.rng.random_range(0..KEYS + 1), self.time());
            self.orders.insert(self.next_id, Order { k, ts, met: self.met(k), valid: None });
            values.push(format!("({}, {k}, to_timestamp({ts})::timestamp)", self.next_id));
        }
        format!("INSERT INTO orders VALUES {}", values.join(", "))
    }

    fn change_order(&mut self) -> String {
        let low = self.low();
        let open: Vec<i64> = self.orders.iter().filter(|(_, order)| order.ts >= low).map(|(id, _)| *id).collect();
        let Some(id) = open.get(self.rng.random_range(0..open.len().max(1))).copied() else { return self.insert() };
        if self.rng.random_range(0..2) == 0 {
            self.orders.remove(&id);
            return format!("DELETE FROM orders WHERE id = {id}");
        }
        let (k, ts) = (self.rng.random_range(0..KEYS), self.time());
        if self.orders.get(&id).is_some_and(|order| (order.k, order.ts) == (k, ts)) {
            // Nothing changes, and so nothing comes.
            return format!("UPDATE orders SET k = {k} WHERE id = {id}");
        }
        self.orders.insert(id, Order { k, ts, met: self.met(k), valid: None });
        format!("UPDATE orders SET k = {k}, ts = to_timestamp({ts})::timestamp WHERE id = {id}")
    }

    fn event(&mut self) -> String {
        self.next_id += 1;
        let k = self.rng.random_range(0..KEYS + 1);
        self.events.insert(self.next_id, (k, self.met(k)));
        format!("INSERT INTO event VALUES ({}, {k})", self.next_id)
    }
}

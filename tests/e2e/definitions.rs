//! SIGKILL while definitions change: each has happened wholly or not at all, rows and definitions always fit together, and every view equals the
//! query that the catalog says of it.
//!
//! `KILL_ROUNDS` says how many times the server is killed (8), `KILL_SEED` which random moments.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{message, rows, run};
use crate::server::Server;
use crate::{Failure, Outcome, Test, setting};

/// What there is at the start.
const START: [&str; 8] = [
    "CREATE TABLE ledger (id BIGINT PRIMARY KEY, amount INT NOT NULL)",
    "CREATE TABLE kind (remainder INT, word TEXT)",
    "INSERT INTO kind VALUES (0, 'none'), (1, 'one'), (2, 'two')",
    "CREATE VIEW chosen AS SELECT * FROM ledger WHERE id % 2 = 0",
    "CREATE MATERIALIZED VIEW whole AS SELECT count(*) AS entries, sum(amount) AS total FROM ledger",
    "CREATE MATERIALIZED VIEW parts AS SELECT amount % 10 AS part, count(*) AS entries FROM chosen GROUP BY amount % 10",
    "CREATE MATERIALIZED VIEW words AS SELECT k.word, max(l.id) AS last FROM ledger l JOIN kind k ON l.amount % 3 = k.remainder GROUP BY k.word",
    "CREATE INDEX by_amount ON ledger (amount)",
];

/// What the one who defines picks from. Some fail, because the one before has not happened or has happened already.
const CHANGES: [&str; 12] = [
    "ALTER TABLE ledger ADD COLUMN extra INT NOT NULL DEFAULT 5",
    "ALTER TABLE ledger DROP COLUMN extra",
    "ALTER TABLE ledger RENAME COLUMN extra TO other",
    "ALTER TABLE ledger DROP COLUMN other",
    "ALTER TABLE kind RENAME TO sort",
    "ALTER TABLE sort RENAME TO kind",
    "ALTER MATERIALIZED VIEW words RENAME COLUMN last TO newest",
    "CREATE OR REPLACE VIEW chosen AS SELECT id, amount FROM ledger WHERE id % 2 = 0",
    "CREATE OR REPLACE VIEW chosen AS SELECT id, amount FROM ledger WHERE id % 3 = 0",
    "CREATE OR REPLACE MATERIALIZED VIEW whole AS SELECT count(*) AS entries, sum(amount) AS total FROM ledger WHERE amount > 50",
    "CREATE OR REPLACE MATERIALIZED VIEW whole AS SELECT count(*) AS entries, sum(amount) AS total FROM ledger",
    "CREATE TABLE IF NOT EXISTS copied AS SELECT id, amount FROM ledger",
];

/// SQLSTATEs of changes that cannot be, as things stand.
const REFUSALS: [&str; 5] = ["42701", "42703", "42P01", "42P07", "40001"];

/// Kills while one session defines and another writes.
pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("kill/definitions", definitions)]
}

async fn definitions() -> Outcome {
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    for sql in START {
        run(&client, sql).await?;
    }
    drop(client);
    let acknowledged = Rc::new(RefCell::new(0_i64));
    for round in 0..setting("KILL_ROUNDS", 8_u64) {
        let define = define(server.connect().await?, StdRng::seed_from_u64(round * 10));
        let write = write(server.connect().await?, round, acknowledged.clone());
        let moment = Duration::from_millis(rng.random_range(30..500));
        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill_9()
        };
        let (defined, written, killed) = futures::future::join3(define, write, kill).await;
        killed?;
        defined.and(written).map_err(|failure| server.with_log(format!("round {round}: {failure}")))?;
        server.checkpoint_every([Some(10), Some(100), None][rng.random_range(0..3)]);
        server.restart(rng.random_range(1..=3)).await?;
        let client = server.connect().await?;
        let count = *acknowledged.borrow();
        check(&client, count).await.map_err(|failure| server.with_log(format!("round {round}: {failure}")))?;
    }
    Ok(())
}

/// Runs one statement; whether the server has answered, and not gone.
async fn told(client: &Client, sql: &str) -> Result<bool, Failure> {
    match client.batch_execute(sql).await {
        Ok(()) => Ok(true),
        Err(error) => match error.as_db_error().map(|told| told.code().code().to_owned()) {
            Some(code) if REFUSALS.contains(&code.as_str()) => Ok(true),
            Some(code) if code != "57P01" => Err(format!("{}\n[SQL] {sql}", message(&error)).into()),
            // Silence is the kill.
            _ => Ok(false),
        },
    }
}

async fn define(client: Client, mut rng: StdRng) -> Outcome {
    while told(&client, CHANGES[rng.random_range(0..CHANGES.len())]).await? {}
    Ok(())
}

/// Inserts rows and changes them; counts those that are there for sure.
async fn write(client: Client, round: u64, acknowledged: Rc<RefCell<i64>>) -> Outcome {
    for number in 0.. {
        let id = i64::try_from(round * 1_000_000 + number)?;
        if client.batch_execute(&format!("INSERT INTO ledger (id, amount) VALUES ({id}, {})", id * 31 % 100)).await.is_ok() {
            *acknowledged.borrow_mut() += 1;
        } else if client.is_closed() {
            return Ok(());
        }
        if number % 5 == 0 && !told(&client, &format!("UPDATE ledger SET amount = amount + 1 WHERE id = {}", id - 3)).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Every view is what the catalog says, and no row has gone or come twice.
async fn check(client: &Client, acknowledged: i64) -> Outcome {
    let counted = rows(client, "SELECT count(*), count(DISTINCT id) FROM ledger").await?;
    let numbers: Vec<i64> = counted[0].iter().filter_map(|count| count.as_deref()?.parse().ok()).collect();
    if numbers.len() != 2 || numbers[0] != numbers[1] || numbers[0] < acknowledged {
        return Err(format!("{counted:?} rows, {acknowledged} were acknowledged").into());
    }
    for view in rows(client, "SELECT matviewname, definition FROM pg_matviews ORDER BY 1").await? {
        let (name, query) = (view[0].clone().unwrap_or_default(), view[1].clone().unwrap_or_default());
        let (mut shown, mut expected) = (rows(client, &format!("SELECT * FROM {name}")).await?, rows(client, &query).await?);
        shown.sort();
        expected.sort();
        if shown != expected {
            return Err(format!("{name} shows {shown:?}, but its query gives {expected:?}\n[SQL] {query}").into());
        }
    }
    let by_index = rows(client, "SELECT count(*) FROM ledger WHERE amount = 31").await?;
    let by_scan = rows(client, "SELECT count(*) FROM ledger WHERE amount + 0 = 31").await?;
    if by_index != by_scan {
        return Err(format!("the index finds {by_index:?} rows, there are {by_scan:?}").into());
    }
    let extra =
        rows(client, "SELECT column_name FROM information_schema.columns WHERE table_name = 'ledger' AND ordinal_position > 2").await?;
    for column in extra {
        let name = column[0].clone().unwrap_or_default();
        let others = rows(client, &format!("SELECT count(*) FROM ledger WHERE {name} IS DISTINCT FROM 5")).await?;
        if others[0][0].as_deref() != Some("0") {
            return Err(format!("{others:?} rows lack the default of column {name}").into());
        }
    }
    Ok(())
}

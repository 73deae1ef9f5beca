//! SIGKILL at random moments: what was acknowledged is there exactly once, what was not is there wholly or not at all, and every view
//! equals its query.
//!
//! `KILL_ROUNDS` says how many times the server is killed (10), `KILL_SEED` which random moments.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{message, rows, run};
use crate::compare::View;
use crate::server::Server;
use crate::{Outcome, Test, setting};

/// Sessions that insert at the same time, so that several commits share a group.
const WRITERS: usize = 4;

const VIEWS: [(&str, &str); 4] = [
    ("per_writer", "SELECT writer, count(*) AS entries, sum(amount) AS total, max(id) AS last FROM ledger GROUP BY writer"),
    ("whole", "SELECT count(*) AS entries, sum(amount) AS total FROM ledger"),
    ("sizes", "SELECT entries, count(*) AS writers FROM per_writer GROUP BY entries"),
    ("pairs", "SELECT l.id, l.amount, o.kind FROM ledger l JOIN kind o ON l.amount % 3 = o.remainder WHERE l.amount > 90"),
];

/// Kills while rows are inserted. (Kills while a source is read stand beside it: see `tests`.)
pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("kill/inserts", inserts), Test::new("kill/generator", generator)]
}

/// What the writers know: the rows of each batch that they sent, and which batches were acknowledged.
#[derive(Clone, Default)]
struct Ledger {
    next: i64,
    batches: Vec<Vec<i64>>,
    acknowledged: HashSet<usize>,
}

async fn inserts() -> Outcome {
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE ledger (id BIGINT PRIMARY KEY, writer INT NOT NULL, amount INT NOT NULL)").await?;
    run(&client, "CREATE TABLE kind (remainder INT, kind TEXT)").await?;
    run(&client, "INSERT INTO kind VALUES (0, 'none'), (1, 'one'), (2, 'two')").await?;
    let mut views = Vec::new();
    for (name, query) in VIEWS {
        views.push(View::create(&client, name, query).await?);
    }
    drop(client);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    for round in 0..setting("KILL_ROUNDS", 10_u64) {
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            writers.push(write(server.connect().await?, writer, StdRng::seed_from_u64(round * 100 + writer as u64), ledger.clone()));
        }
        let moment = Duration::from_millis(rng.random_range(20..600));
        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill_9()
        };
        let (ends, killed) = futures::future::join(join_all(writers), kill).await;
        killed?;
        if let Some(failure) = ends.into_iter().find_map(Result::err) {
            return Err(server.with_log(format!("round {round}: {failure}")));
        }
        server.restart(rng.random_range(1..=3)).await?;
        let client = server.connect().await?;
        // The writers are gone: what they wrote down is final for this round.
        let known = ledger.borrow().clone();
        check(&client, &known, &views).await.map_err(|failure| server.with_log(format!("round {round}: {failure}")))?;
    }
    Ok(())
}

/// Inserts batches until the connection breaks. Each batch is one statement or one transaction.
async fn write(client: Client, writer: usize, mut rng: StdRng, ledger: Rc<RefCell<Ledger>>) -> Outcome {
    loop {
        let (number, ids) = {
            let mut ledger = ledger.borrow_mut();
            let count = rng.random_range(1..20);
            let ids: Vec<i64> = (ledger.next..ledger.next + count).collect();
            ledger.next += count;
            ledger.batches.push(ids.clone());
            (ledger.batches.len() - 1, ids)
        };
        let mut insert = |ids: &[i64]| {
            let rows: Vec<String> = ids.iter().map(|id| format!("({id}, {writer}, {})", rng.random_range(0..100))).collect();
            format!("INSERT INTO ledger VALUES {}", rows.join(", "))
        };
        let sql = match ids.len() % 3 {
            0 => format!("BEGIN; {}; {}; COMMIT", insert(&ids[..1]), insert(&ids[1..])),
            _ => insert(&ids),
        };
        match client.batch_execute(&sql).await {
            Ok(()) => {
                ledger.borrow_mut().acknowledged.insert(number);
            }
            // An answer from the server is a failure; silence is the kill.
            Err(error) if error.as_db_error().is_some_and(|told| told.code().code() != "57P01") => return Err(message(&error).into()),
            Err(_) => return Ok(()),
        }
    }
}

async fn check(client: &Client, ledger: &Ledger, views: &[View]) -> Outcome {
    let mut found: HashMap<i64, usize> = HashMap::new();
    for row in rows(client, "SELECT id FROM ledger").await? {
        let id = row[0].as_deref().and_then(|id| id.parse().ok()).ok_or("an id that is no number")?;
        *found.entry(id).or_default() += 1;
    }
    if let Some((id, times)) = found.iter().find(|(_, times)| **times != 1) {
        return Err(format!("row {id} is there {times} times").into());
    }
    for (number, ids) in ledger.batches.iter().enumerate() {
        let there = ids.iter().filter(|id| found.contains_key(id)).count();
        let acknowledged = ledger.acknowledged.contains(&number);
        if there != ids.len() && (there != 0 || acknowledged) {
            return Err(format!("{there} of {} rows of batch {ids:?} are there; acknowledged: {acknowledged}", ids.len()).into());
        }
    }
    if found.len() > ledger.next as usize {
        return Err("there are rows that nobody inserted".into());
    }
    for view in views {
        view.check(client).await?;
    }
    Ok(())
}

/// A source that can be read again: kills while views drain it, and in the end each event has counted once.
async fn generator() -> Outcome {
    const EVENTS: i64 = 1_000_000;
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    let options =
        format!("connector = 'nexmark', nexmark.table.type = 'bid', nexmark.event.num = '{EVENTS}', nexmark.events.per.second = '200000'");
    run(&client, &format!("CREATE SOURCE bid WITH ({options})")).await?;
    run(&client, "CREATE MATERIALIZED VIEW whole AS SELECT count(*) AS bids, sum(price) AS total, max(date_time) AS latest FROM bid")
        .await?;
    run(&client, "CREATE MATERIALIZED VIEW per_auction AS SELECT auction, count(*) AS bids, sum(price) AS total FROM bid GROUP BY auction")
        .await?;
    drop(client);
    let bids = EVENTS / 50 * 46;
    for round in 0..setting("KILL_ROUNDS", 10_u64) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..600))).await;
        server.crash(rng.random_range(1..=3)).await?;
        let client = server.connect().await?;
        let sums = rows(&client, "SELECT w.bids, w.total, a.bids, a.total FROM whole w CROSS JOIN (SELECT sum(bids) AS bids, sum(total) AS total FROM per_auction) a").await?;
        let both = sums.first().ok_or("a global aggregate has one row")?;
        let zero = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "0".to_owned());
        if zero(&both[0]) != zero(&both[2]) || zero(&both[1]) != zero(&both[3]) {
            return Err(server.with_log(format!("round {round}: two views over one source disagree: {both:?}")));
        }
    }
    let client = server.connect().await?;
    for _ in 0..600 {
        let seen = rows(&client, "SELECT bids FROM whole").await?;
        if seen[0][0].as_deref() == Some(bids.to_string().as_str()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seen = rows(&client, "SELECT bids FROM whole").await?;
    Err(server.with_log(format!("{seen:?} bids counted, {bids} were made")))
}

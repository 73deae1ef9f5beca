//! SIGKILL at random moments: what was acknowledged is there exactly once, what was not is there wholly or not at all, and every view
//! equals its query.
//!
//! `KILL_ROUNDS` says how many times the server is killed (10; with Kafka 5), `KILL_SEED` which random moments. Most rounds make checkpoints so
//! often that many kills fall into one, and that there is always one to restore.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{TextRow, message, rows, run};
use crate::compare::View;
use crate::kafka::{Kafka, wait_for};
use crate::server::Server;
use crate::{Failure, Outcome, Test, setting};

/// Sessions that insert at the same time, so that several commits share a group.
const WRITERS: usize = 4;

const VIEWS: [(&str, &str); 4] = [
    ("per_writer", "SELECT writer, count(*) AS entries, sum(amount) AS total, max(id) AS last FROM ledger GROUP BY writer"),
    ("whole", "SELECT count(*) AS entries, sum(amount) AS total FROM ledger"),
    ("sizes", "SELECT entries, count(*) AS writers FROM per_writer GROUP BY entries"),
    ("pairs", "SELECT l.id, l.amount, o.kind FROM ledger l JOIN kind o ON l.amount % 3 = o.remainder WHERE l.amount > 90"),
];

/// Milliseconds between checkpoints, one of these per round; `None`: the default, so that everything comes from the log and the sources.
const CHECKPOINTS_MS: [Option<u64>; 4] = [Some(10), Some(50), Some(200), None];

/// Records of each burst into Kafka: a few thousand a second, so that every epoch has some and the last check of many rounds stays quick.
const BURST_RECORDS: i64 = 60;

/// Between two bursts.
const BURST_EVERY: Duration = Duration::from_millis(15);

/// Partitions of the topic; an account's records are all in one, so that the last one of it is the same for everyone.
const PARTITIONS: i32 = 3;

/// Kills while rows are inserted, while a source is read, and while both go on.
pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("kill/inserts", inserts),
        Test::new("kill/large", large),
        Test::new("kill/generator", generator),
        Test::new("kill/kafka", kafka),
        Test::new("kill/sinks", sinks),
        Test::new("kill/source_sinks", source_sinks),
    ]
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
        server.checkpoint_every(CHECKPOINTS_MS[rng.random_range(0..CHECKPOINTS_MS.len())]);
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

/// Kills while everything changes again and again, so that each checkpoint is too large for one write.
async fn large() -> Outcome {
    const ROWS: i64 = 500_000;
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE counted (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)").await?;
    run(&client, &format!("INSERT INTO counted SELECT id, 0 FROM generate_series(1, {ROWS}) AS numbers(id)")).await?;
    let per_id = View::create(&client, "per_id", "SELECT id, sum(n) AS n, count(*) AS rows FROM counted GROUP BY id").await?;
    drop(client);
    server.checkpoint_every(Some(10));
    server.terminate().await?;
    server.restart(2).await?;
    let mut acknowledged = 0;
    for round in 0..setting("KILL_ROUNDS", 10_u64).div_ceil(3) {
        let client = server.connect().await?;
        let count_up = async {
            while client.batch_execute("UPDATE counted SET n = n + 1").await.is_ok() {
                acknowledged += 1;
            }
        };
        let moment = Duration::from_millis(rng.random_range(2_000..6_000));
        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill_9()
        };
        let ((), killed) = futures::future::join(count_up, kill).await;
        killed?;
        server.restart(rng.random_range(1..=3)).await?;
        let client = server.connect().await?;
        let seen = rows(&client, "SELECT min(n), max(n), count(*) FROM counted").await?;
        let number = |at: usize| seen[0][at].as_deref().and_then(|cell| cell.parse::<i64>().ok());
        let is_one_step = number(0) == number(1) && number(2) == Some(ROWS);
        // The last one may have happened, though nobody was told.
        if !is_one_step || !number(0).is_some_and(|n| n == acknowledged || n == acknowledged + 1) {
            return Err(
                server.with_log(format!("round {round}: {acknowledged} updates were acknowledged, of {ROWS} rows there are {seen:?}"))
            );
        }
        acknowledged = number(0).unwrap_or_default();
        per_id.check(&client).await.map_err(|failure| server.with_log(format!("round {round}: {failure}")))?;
    }
    Ok(())
}

/// A chain of sinks: each table, and the query over the ledger that it must be equal to.
const SUNK: [(&str, &str); 3] = [
    ("sunk", "SELECT writer, count(*) AS entries, sum(amount) AS total FROM ledger GROUP BY writer"),
    (
        "again",
        "SELECT entries % 5 AS part, count(*) AS writers FROM (SELECT count(*) AS entries FROM ledger GROUP BY writer) GROUP BY entries % 5",
    ),
    ("united", "SELECT id, amount FROM ledger WHERE amount < 50 UNION ALL SELECT id, -amount FROM ledger WHERE amount > 25"),
];

/// Kills while rows go through a view into a table, from there through a view into another, and through two sinks into one.
async fn sinks() -> Outcome {
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    for statement in [
        "CREATE TABLE ledger (id BIGINT PRIMARY KEY, writer INT NOT NULL, amount INT NOT NULL)",
        "CREATE MATERIALIZED VIEW per_writer AS SELECT writer, count(*) AS entries, sum(amount) AS total FROM ledger GROUP BY writer",
        "CREATE TABLE sunk (writer INT PRIMARY KEY, entries BIGINT, total BIGINT)",
        "CREATE SINK first INTO sunk FROM per_writer",
        "CREATE MATERIALIZED VIEW parts AS SELECT entries % 5 AS part, count(*) AS writers FROM sunk GROUP BY entries % 5",
        "CREATE TABLE again (part BIGINT PRIMARY KEY, writers BIGINT) ON CONFLICT ERROR",
        "CREATE SINK second INTO again FROM parts",
        "CREATE TABLE united (id BIGINT, amount INT)",
        "CREATE SINK low INTO united AS SELECT id, amount FROM ledger WHERE amount < 50",
        "CREATE SINK high INTO united AS SELECT id, -amount FROM ledger WHERE amount > 25",
    ] {
        run(&client, statement).await?;
    }
    let mut views = Vec::new();
    for (name, query) in SUNK {
        views.push(View::existing(&client, name, query).await?);
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
        server.checkpoint_every(CHECKPOINTS_MS[rng.random_range(0..CHECKPOINTS_MS.len())]);
        server.restart(rng.random_range(1..=3)).await?;
        let client = server.connect().await?;
        let known = ledger.borrow().clone();
        check(&client, &known, &views).await.map_err(|failure| server.with_log(format!("round {round}: {failure}")))?;
        let errors = rows(&client, "SELECT name, error, row FROM tidemill.row_errors").await?;
        if !errors.is_empty() {
            return Err(server.with_log(format!("round {round}: rows did not fit: {errors:?}")));
        }
    }
    Ok(())
}

/// Kills while a source goes through a view into a table: in the end the table is what the view is, and nothing in it has counted twice.
async fn source_sinks() -> Outcome {
    const EVENTS: i64 = 400_000;
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    let options =
        format!("connector = 'nexmark', nexmark.table.type = 'bid', nexmark.event.num = '{EVENTS}', nexmark.events.per.second = '100000'");
    for statement in [
        &format!("CREATE SOURCE bid WITH ({options})"),
        "CREATE MATERIALIZED VIEW per_auction AS SELECT auction, count(*) AS bids, sum(price) AS total FROM bid GROUP BY auction",
        "CREATE TABLE sunk (auction BIGINT PRIMARY KEY, bids BIGINT, total NUMERIC)",
        "CREATE SINK keyed INTO sunk FROM per_auction",
        "CREATE TABLE each (auction BIGINT, price BIGINT) APPEND ONLY",
        "CREATE SINK plain INTO each AS SELECT auction, price FROM bid",
    ] {
        run(&client, statement).await?;
    }
    drop(client);
    let bids = (EVENTS / 50 * 46).to_string();
    for round in 0..setting("KILL_ROUNDS", 10_u64) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..600))).await;
        if round % 3 == 2 {
            server.terminate().await?;
        } else {
            server.kill_9()?;
        }
        server.checkpoint_every(CHECKPOINTS_MS[rng.random_range(0..CHECKPOINTS_MS.len())]);
        server.restart(rng.random_range(1..=3)).await?;
    }
    let client = server.connect().await?;
    let sums = "SELECT v.bids, v.bids = s.bids AND v.total = s.total AND v.auctions = s.auctions AND v.bids = e.bids AND v.total = e.total
         FROM (SELECT count(*) AS auctions, sum(bids) AS bids, sum(total) AS total FROM per_auction) v
         CROSS JOIN (SELECT count(*) AS auctions, sum(bids) AS bids, sum(total) AS total FROM sunk) s
         CROSS JOIN (SELECT count(*) AS bids, sum(price) AS total FROM each) e";
    for _ in 0..600 {
        let seen = rows(&client, sums).await?;
        if seen[0][0].as_deref() == Some(bids.as_str()) && seen[0][1].as_deref() == Some("t") {
            let view = View::existing(&client, "sunk", "SELECT auction, bids, total FROM per_auction").await?;
            return view.check(&client).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seen = rows(&client, sums).await?;
    let sinks = rows(&client, "SELECT name, status, rows_out, pending_rows, epoch, failure FROM tidemill.sinks").await?;
    Err(server.with_log(format!("{seen:?} bids counted, {bids} were made; sinks: {sinks:?}")))
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
        // Every third time it may put its things in order first.
        if round % 3 == 2 {
            server.terminate().await?;
        } else {
            server.kill_9()?;
        }
        server.checkpoint_every(CHECKPOINTS_MS[rng.random_range(0..CHECKPOINTS_MS.len())]);
        server.restart(rng.random_range(1..=3)).await?;
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

/// What was sent to Kafka so far.
#[derive(Clone, Copy, Default)]
struct Sent {
    rows: i64,
    total: i64,
    malformed: i64,
}

/// Views over a source in Kafka, over tables that Kafka and INSERTs fill, and over both; each with the query over the kept records that must give the
/// same, since a source itself keeps nothing that an ordinary query could read.
const KAFKA_VIEWS: [(&str, &str, &str); 7] = [
    (
        "per_account",
        "SELECT account, count(*) AS entries, sum(amount) AS total, max(id) AS last FROM event GROUP BY account",
        "SELECT account, count(*) AS entries, sum(amount) AS total, max(id) AS last FROM kept GROUP BY account",
    ),
    (
        "whole",
        "SELECT count(*) AS entries, count(DISTINCT id) AS ids, sum(amount) AS total FROM event",
        "SELECT count(*) AS entries, count(DISTINCT id) AS ids, sum(amount) AS total FROM kept",
    ),
    (
        "sizes",
        "SELECT entries, count(*) AS accounts FROM per_account GROUP BY entries",
        "SELECT entries, count(*) AS accounts FROM (SELECT count(*) AS entries FROM kept GROUP BY account) GROUP BY entries",
    ),
    (
        "joined",
        "SELECT e.id, e.amount, l.amount AS inserted FROM event e JOIN ledger l ON e.id = l.id",
        "SELECT e.id, e.amount, l.amount AS inserted FROM kept e JOIN ledger l ON e.id = l.id",
    ),
    (
        "per_writer",
        "SELECT writer, count(*) AS entries, sum(amount) AS total FROM ledger GROUP BY writer",
        "SELECT writer, count(*) AS entries, sum(amount) AS total FROM ledger GROUP BY writer",
    ),
    (
        "from_kept",
        "SELECT account % 7 AS part, count(*) AS entries, max(amount) AS highest FROM kept GROUP BY account % 7",
        "SELECT account % 7 AS part, count(*) AS entries, max(amount) AS highest FROM kept GROUP BY account % 7",
    ),
    (
        "from_newest",
        "SELECT id % 10 AS digit, count(*) AS accounts FROM newest GROUP BY id % 10",
        "SELECT id % 10 AS digit, count(*) AS accounts FROM (SELECT max(id) AS id FROM kept GROUP BY account) GROUP BY id % 10",
    ),
];

/// Kafka and INSERTs at the same time.
async fn kafka() -> Outcome {
    let mut rng = StdRng::seed_from_u64(setting("KILL_SEED", 1));
    let kafka = Kafka::start().await?;
    kafka.topic("event", PARTITIONS).await?;
    let mut server = Server::start(2).await?;
    let views = create_with_kafka(&server.connect().await?, &kafka).await?;
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let sent = RefCell::new(Sent::default());
    for round in 0..setting("KILL_ROUNDS", 5_u64) {
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            writers.push(write(server.connect().await?, writer, StdRng::seed_from_u64(round * 100 + writer as u64), ledger.clone()));
        }
        let moment = Duration::from_millis(rng.random_range(20..800));
        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill_9()
        };
        // Records come before, during and after the kill, and while there is no server.
        let (ends, killed) = tokio::select! {
            ended = futures::future::join(join_all(writers), kill) => ended,
            failed = produce(&kafka, &sent) => return failed,
        };
        killed?;
        if let Some(failure) = ends.into_iter().find_map(Result::err) {
            return Err(server.with_log(format!("round {round}: {failure}")));
        }
        server.checkpoint_every(CHECKPOINTS_MS[rng.random_range(0..CHECKPOINTS_MS.len())]);
        let workers = rng.random_range(1..=3);
        tokio::select! {
            started = server.restart(workers) => started?,
            failed = produce(&kafka, &sent) => return failed,
        }
        kafka.flush()?;
        let client = server.connect().await?;
        let (known, so_far) = (ledger.borrow().clone(), *sent.borrow());
        let checked = async {
            caught_up(&client, so_far).await?;
            check(&client, &known, &views).await
        };
        checked.await.map_err(|failure| server.with_log(format!("round {round}: {failure}")))?;
    }
    let (sent, ledger) = (sent.borrow(), ledger.borrow());
    let (acknowledged, batches) = (ledger.acknowledged.len(), ledger.batches.len());
    println!(
        "kill/kafka: {} records and {} malformed ones sent, {acknowledged} of {batches} commits acknowledged",
        sent.rows, sent.malformed
    );
    Ok(())
}

async fn create_with_kafka(client: &Client, kafka: &Kafka) -> Result<Vec<View>, Failure> {
    let from = format!(
        "WITH (connector = 'kafka', topic = 'event', properties.bootstrap.server = '{}') FORMAT PLAIN ENCODE JSON",
        kafka.brokers()
    );
    run(client, "CREATE TABLE ledger (id BIGINT PRIMARY KEY, writer INT NOT NULL, amount INT NOT NULL)").await?;
    run(client, &format!("CREATE SOURCE event (id BIGINT NOT NULL, account INT, amount INT) {from}")).await?;
    run(client, &format!("CREATE TABLE kept (id BIGINT NOT NULL, account INT, amount INT) {from}")).await?;
    run(client, &format!("CREATE TABLE newest (id BIGINT NOT NULL, account INT PRIMARY KEY, amount INT) {from}")).await?;
    let mut views = Vec::new();
    for (name, query, same) in KAFKA_VIEWS {
        run(client, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
        views.push(View::existing(client, name, same).await?);
    }
    // Not views, but to be compared in the same way.
    views.push(
        View::existing(client, "(SELECT id, account FROM newest) AS kept_newest", "SELECT max(id), account FROM kept GROUP BY account")
            .await?,
    );
    Ok(views)
}

/// Sends records until it is dropped, one in a hundred malformed. Ends only when it fails.
async fn produce(kafka: &Kafka, sent: &RefCell<Sent>) -> Outcome {
    loop {
        {
            let mut sent = sent.borrow_mut();
            for _ in 0..BURST_RECORDS {
                let id = sent.rows;
                // Both a function of the number: no random state that would have to survive being dropped.
                let (account, amount) = (id * 7_919 % 500, id * 31 % 100);
                let partition = i32::try_from(account)? % PARTITIONS;
                kafka.send("event", partition, None, &format!("{{\"id\":{id},\"account\":{account},\"amount\":{amount}}}"))?;
                sent.rows += 1;
                sent.total += amount;
                if id % 100 == 99 {
                    kafka.send("event", partition, None, "{\"id\":null}")?;
                    sent.malformed += 1;
                }
            }
        }
        tokio::time::sleep(BURST_EVERY).await;
    }
}

/// Waits until everything sent has arrived everywhere, once and not twice.
async fn caught_up(client: &Client, sent: Sent) -> Outcome {
    let expected = [sent.rows, sent.rows, sent.total].map(|number| Some(number.to_string()));
    for whole in ["SELECT entries, ids, total FROM whole", "SELECT count(*), count(DISTINCT id), sum(amount) FROM kept"] {
        // More than there can be is no reason to wait.
        let settled =
            |found: &[TextRow]| found.first().and_then(|row| row[0].as_deref()?.parse().ok()).is_some_and(|count: i64| count >= sent.rows);
        wait_for(client, whole, settled).await?;
        let found = rows(client, whole).await?;
        if found.first().map(Vec::as_slice) != Some(&expected[..]) {
            return Err(format!("{found:?} has arrived, {expected:?} was sent\n[SQL] {whole}").into());
        }
    }
    let last = format!("SELECT count(*) FROM newest WHERE id >= {}", sent.rows - 500.min(sent.rows));
    let accounts = 500.min(sent.rows).to_string();
    wait_for(client, &last, |found| found.first().is_some_and(|row| row[0].as_deref() == Some(accounts.as_str()))).await?;
    for (source, count) in rows(client, "SELECT name, dead_letters FROM tidemill.sources").await?.iter().map(|row| (&row[0], &row[1])) {
        if count.as_deref() != Some(sent.malformed.to_string().as_str()) {
            return Err(format!("{count:?} dead letters of {source:?}, {} were sent", sent.malformed).into());
        }
    }
    Ok(())
}

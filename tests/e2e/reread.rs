//! Sources that are read again after a crash: what was seen before is seen again, late rows and final ones too, though the records come in other
//! batches than before.
//!
//! Times are so far out of order that which rows are late depends on what came together. After each crash, before anything new comes, every
//! view, the counts of late rows and the watermarks must be what they were. `REREAD_ROUNDS` says how often something comes (40), `REREAD_SEED`
//! where the random numbers begin.

use std::io::Write;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{TextRow, rows, run, value};
use crate::files::wait_for;
use crate::server::{Server, new_directory};
use crate::{Failure, Outcome, Test, setting};

/// Files, which are partitions.
const FILES: usize = 3;

/// With so many workers at first; crashes change that.
pub(crate) fn tests() -> Vec<Test> {
    let seen = (1..=3).map(|workers| Test::new(format!("reread/seen/{workers}"), move || in_files(move |files| seen(files, workers))));
    seen.chain([Test::new("reread/idle", || in_files(idle)), Test::new("reread/ahead", || in_files(ahead))]).collect()
}

async fn in_files<F: Future<Output = Outcome>>(body: impl FnOnce(Vec<PathBuf>) -> F) -> Outcome {
    let directory = new_directory()?;
    let files: Vec<PathBuf> = (0..FILES).map(|file| directory.join(format!("part-{file}.jsonl"))).collect();
    files.iter().try_for_each(|file| std::fs::write(file, ""))?;
    let outcome = body(files).await;
    std::fs::remove_dir_all(&directory)?;
    outcome
}

async fn seen(files: Vec<PathBuf>, workers: usize) -> Outcome {
    let seed = setting("REREAD_SEED", 1_u64) * 10 + workers as u64;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = Server::start(workers).await?;
    let mut client = server.connect().await?;
    for statement in definitions(&files[0], "never") {
        run(&client, &statement).await?;
    }
    let (mut id, mut now) = (0, 0);
    for round in 0..setting("REREAD_ROUNDS", 40) {
        for _ in 0..rng.random_range(1..6) {
            id += 1;
            now += rng.random_range(0..4);
            let (key, second) = (rng.random_range(0..20), now - rng.random_range(0..30));
            append(&files[rng.random_range(0..FILES)], id, key, second)?;
        }
        all_read(&client, id).await.map_err(|failure| server.with_log(failure))?;
        if rng.random_range(0..4) == 0 {
            let before = observed(&client).await?;
            server.crash(1 + rng.random_range(0..3)).await?;
            client = server.connect().await?;
            let after = observed(&client).await?;
            if before != after {
                let why = format!("seed {seed}, round {round}: seen before the crash\n{before:?}\nand after it\n{after:?}");
                return Err(server.with_log(why));
            }
        }
        // Some crashes come soon behind a checkpoint.
        if rng.random_range(0..8) == 0 {
            run(&client, "CHECKPOINT").await?;
        }
    }
    let late: i64 = value(&client, "SELECT sum(rows)::BIGINT FROM tidemill.late_rows").await?.unwrap_or_else(|| "0".to_owned()).parse()?;
    if late == 0 { Err("no row was late: this proves nothing".into()) } else { Ok(()) }
}

/// A partition that was idle let the watermark go on; after a crash it stood where it had been before.
async fn idle(files: Vec<PathBuf>) -> Outcome {
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    for statement in definitions(&files[0], "1 second") {
        run(&client, &statement).await?;
    }
    append(&files[0], 1, 1, 5)?;
    append(&files[1], 2, 2, 5)?;
    all_read(&client, 2).await?;
    append(&files[0], 3, 3, 40)?;
    all_read(&client, 3).await?;
    // The window of both is over once the second file is idle.
    let closed = "SELECT (SELECT count(*) FROM s_final) || ' ' || (SELECT count(*) FROM t_final)";
    wait_for(&client, closed, "1 1").await?;
    server.crash(3).await?;
    let client = server.connect().await?;
    let found = value(&client, closed).await?.unwrap_or_default();
    if found == "1 1" { Ok(()) } else { Err(server.with_log(format!("windows that were closed before the crash: {found}"))) }
}

/// A row was too far ahead of the clock, and a dead letter; after a crash, when the clock had come nearer, it was a row.
async fn ahead(files: Vec<PathBuf>) -> Outcome {
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    let options = format!("WITH (connector = 'file', path = '{}', watermark_max_future = '10 seconds')", files[0].display());
    let columns = "id BIGINT, at TIMESTAMPTZ, WATERMARK FOR at AS at";
    run(&client, &format!("CREATE SOURCE s ({columns}) {options} FORMAT PLAIN ENCODE JSON")).await?;
    run(&client, &format!("CREATE TABLE t ({columns}) {options} FORMAT PLAIN ENCODE JSON")).await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT id FROM s").await?;
    let now: i64 = value(&client, "SELECT extract(epoch FROM now())::BIGINT").await?.ok_or("no clock")?.parse()?;
    let line = |id: i64, second: i64| {
        format!("{{\"id\": {id}, \"at\": \"{}\"}}\n", chrono::DateTime::from_timestamp(second, 0).unwrap_or_default())
    };
    std::fs::write(&files[0], [line(1, now - 60), line(2, now + 15), line(3, now)].concat())?;
    let seen =
        "SELECT (SELECT string_agg(id::TEXT, ',' ORDER BY id) FROM v) || ' ' || (SELECT string_agg(id::TEXT, ',' ORDER BY id) FROM t)
                || ' ' || (SELECT string_agg(dead_letters::TEXT, ',') FROM tidemill.sources)";
    wait_for(&client, seen, "1,3 1,3 1,1").await?;
    // Behind it comes another epoch, whose rows are read again in one batch with it.
    append_text(&files[0], &line(4, now))?;
    let (all, told) =
        ("1,3,4 1,3,4 1,1", "SELECT string_agg(watermark::TEXT, ',' ORDER BY name) FROM tidemill.watermarks WHERE name IN ('s', 't')");
    wait_for(&client, seen, all).await?;
    wait_for(&client, "SELECT (complete >= durable)::TEXT FROM tidemill.epochs", "true").await?;
    let before = value(&client, told).await?;
    server.kill_9()?;
    while chrono::Utc::now().timestamp() <= now + 6 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    server.restart(3).await?;
    let client = server.connect().await?;
    let found = value(&client, seen).await?.unwrap_or_default();
    let after = value(&client, told).await?;
    match found == all && after == before {
        true => Ok(()),
        false => Err(server.with_log(format!("rows and dead letters after the crash: {found}; watermarks {after:?}, not {before:?}"))),
    }
}

fn definitions(file: &Path, idle: &str) -> Vec<String> {
    let glob = file.with_file_name("part-*.jsonl");
    let columns = |key: &str| format!("id BIGINT {key}, k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '2 seconds'");
    let options =
        format!("WITH (connector = 'file', path = '{}', watermark_idle_timeout = '{idle}') FORMAT PLAIN ENCODE JSON", glob.display());
    let mut statements =
        vec![format!("CREATE SOURCE s ({}) {options}", columns("")), format!("CREATE TABLE t ({}) {options}", columns("PRIMARY KEY"))];
    for from in ["s", "t"] {
        let view = |name: &str, query: &str| format!("CREATE MATERIALIZED VIEW {from}_{name} AS {query}");
        let windows = format!("FROM TUMBLE({from}, at, INTERVAL '5 seconds')");
        statements.extend([
            view("growing", &format!("SELECT window_start, count(*) AS n, sum(id) AS ids {windows} GROUP BY window_start")),
            view("final", &format!("SELECT window_start, count(*) AS n, sum(id) AS ids {windows} GROUP BY window_start EMIT ON WINDOW CLOSE")),
            view("visits", &format!("SELECT k, window_start, count(*) AS n FROM SESSION({from} PARTITION BY k, at, INTERVAL '3 seconds') GROUP BY k, window_start")),
            view("pairs", &format!("SELECT a.id, b.id AS other FROM {from} a LEFT JOIN {from} b ON a.k = b.k AND a.id < b.id AND b.at BETWEEN a.at AND a.at + INTERVAL '4 seconds'")),
        ]);
    }
    statements.push(
        "CREATE MATERIALIZED VIEW near_both AS SELECT s.id, t.id AS other FROM s JOIN t ON s.k = t.k AND t.at BETWEEN s.at - INTERVAL '3 seconds' AND s.at"
            .to_owned(),
    );
    statements
}

fn append(file: &Path, id: i64, key: i64, second: i64) -> Outcome {
    let second = second + 1_000;
    let line = format!(
        "{{\"id\": {id}, \"k\": {key}, \"at\": \"2024-01-01 {:02}:{:02}:{:02}\"}}\n",
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
    append_text(file, &line)
}

fn append_text(file: &Path, text: &str) -> Outcome {
    std::fs::OpenOptions::new().append(true).open(file)?.write_all(text.as_bytes())?;
    Ok(())
}

/// Everything that can be seen.
async fn observed(client: &Client) -> Result<Vec<(String, Vec<TextRow>)>, Failure> {
    let mut queries: Vec<String> = ["s", "t"]
        .iter()
        .flat_map(|from| ["growing", "final", "visits", "pairs"].map(|name| format!("SELECT * FROM {from}_{name}")))
        .collect();
    queries.push("SELECT * FROM near_both".to_owned());
    queries.push("SELECT * FROM t".to_owned());
    queries.push("SELECT name, rows FROM tidemill.late_rows".to_owned());
    queries.push("SELECT name, watermark FROM tidemill.watermarks WHERE name IN ('s', 't')".to_owned());
    let mut found = Vec::new();
    for query in queries {
        let mut answer = rows(client, &query).await?;
        answer.sort();
        found.push((query, answer));
    }
    Ok(found)
}

async fn all_read(client: &Client, records: i64) -> Outcome {
    wait_for(client, "SELECT min(rows)::TEXT FROM tidemill.sources", &records.to_string()).await?;
    // They were read in an epoch that was durable by then.
    wait_for(client, "SELECT (complete >= durable)::TEXT FROM tidemill.epochs", "true").await
}

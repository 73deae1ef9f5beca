//! Views that go by time, after restarts: rows that wait for their time find their views again with any number of workers, and a server comes up
//! whatever of its views is in the last checkpoint. And what was told of rows that are nowhere to be found is told again.

use std::fmt::Write as _;
use std::path::Path;

use tokio_postgres::Client;

use crate::client::{rows, run};
use crate::compare::View;
use crate::files;
use crate::kafka::wait_for;
use crate::server::{Server, new_directory};
use crate::{Failure, Outcome, Test};

/// Clean stops with other numbers of workers; crashes between a checkpoint and the next.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (before, after) in [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2)] {
        tests.push(Test::new(format!("restart/rows_that_waited_were_elsewhere/{before}_{after}"), move || waiting(before, after)));
    }
    for (number, chain) in CHAINS.into_iter().enumerate() {
        tests.push(Test::new(format!("restart/views_over_checkpointed_views_hung/{number}"), move || chain_of_views(chain)));
    }
    tests.push(Test::new("restart/what_was_told_was_forgotten", told));
    tests
}

/// The newest time of each key.
const NEWEST: &str = "SELECT k, max(ts) AS last FROM seen GROUP BY k";

/// What there is of each key when its newest time has come, and above it what wants the rows of one key on one worker.
const DUE: [(&str, &str); 4] = [
    ("silent", "SELECT k, last FROM newest WHERE last <= now()"),
    ("silent_groups", "SELECT k % 3 AS g, count(*) AS n, max(last) AS last FROM newest WHERE last <= now() GROUP BY 1"),
    ("silent_by_key", "SELECT k, count(*) AS n FROM newest WHERE last <= now() GROUP BY k"),
    ("silent_numbered", "SELECT k, last, row_number() OVER (PARTITION BY k ORDER BY last) AS n FROM newest WHERE last <= now()"),
];

/// Half of the rows enter views a second later, the other half leave them: many of them while no server runs.
async fn waiting(before: usize, after: usize) -> Outcome {
    let mut server = Server::start(before).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE seen (id INT PRIMARY KEY, k INT, ts TIMESTAMPTZ)").await?;
    let mut views = Vec::new();
    for (name, query) in DUE {
        views.push(View::create(&client, name, &query.replace("newest", &format!("({NEWEST}) AS newest"))).await?);
    }
    run(&client, &format!("CREATE MATERIALIZED VIEW kept WITH (retention = '1 day', retention_column = 'last') AS {NEWEST}")).await?;
    run(&client, "CREATE MATERIALIZED VIEW kept_by_key AS SELECT k, count(*) AS n FROM kept GROUP BY k").await?;
    run(&client, "INSERT INTO seen SELECT n, n, now() + INTERVAL '1 second' FROM generate_series(1, 30) AS s (n)").await?;
    run(&client, "INSERT INTO seen SELECT n, n, now() - INTERVAL '1 day' + INTERVAL '1 second' FROM generate_series(31, 60) AS s (n)")
        .await?;
    drop(client);
    server.terminate().await?;
    server.restart(after).await?;
    let checked = moved(&server.connect().await?, &views).await;
    checked.map_err(|failure| server.with_log(failure))
}

async fn moved(client: &Client, views: &[View]) -> Outcome {
    count(client, "silent", 60).await?;
    count(client, "kept", 30).await?;
    count(client, "kept_by_key", 30).await?;
    // What has come out where it waited goes where its key is, and the other way round.
    run(client, "UPDATE seen SET ts = now() + INTERVAL '1 hour' WHERE id % 4 = 0").await?;
    run(client, "UPDATE seen SET ts = now() - INTERVAL '1 hour' WHERE id % 4 = 1").await?;
    run(client, "DELETE FROM seen WHERE id % 4 = 2").await?;
    for view in views {
        view.check(client).await?;
    }
    // What is a day old is not there, but for what has a new time.
    count(client, "kept", 37).await?;
    count(client, "kept_by_key", 37).await
}

async fn count(client: &Client, view: &str, expected: usize) -> Outcome {
    let expected = expected.to_string();
    wait_for(client, &format!("SELECT count(*) FROM {view}"), |rows| rows.first().is_some_and(|row| row[0].as_ref() == Some(&expected)))
        .await
}

/// A view that is in the last checkpoint, and one over it that is not.
struct Chain {
    first: &'static str,
    second: &'static str,
}

const CHAINS: [Chain; 5] = [
    Chain { first: "SELECT id, ts FROM t", second: "SELECT id FROM v WHERE ts > now() - INTERVAL '1 hour'" },
    Chain {
        first: "SELECT window_start AS ws, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '10 seconds') GROUP BY window_start",
        second: "SELECT window_start, sum(n) AS s FROM TUMBLE(v, ws, INTERVAL '60 seconds') GROUP BY window_start",
    },
    Chain {
        first: "SELECT window_start AS ws, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '10 seconds') GROUP BY window_start EMIT ON WINDOW CLOSE",
        second: "SELECT window_start, sum(n) AS s FROM TUMBLE(v, ws, INTERVAL '60 seconds') GROUP BY window_start EMIT ON WINDOW CLOSE",
    },
    Chain {
        first: "SELECT window_start AS ws, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '10 seconds') GROUP BY window_start",
        second: "SELECT sum(n) AS s FROM v",
    },
    Chain { first: "SELECT ts AS ws, id AS n FROM t", second: "SELECT ws, n FROM v WHERE n > 1" },
];

/// The second view is made between the checkpoint and the crash. What it shows then is what it showed before.
async fn chain_of_views(chain: Chain) -> Outcome {
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (id INT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')").await?;
    run(&client, "INSERT INTO t VALUES (1, '2024-01-01 00:00:01'), (2, '2024-01-01 00:01:12')").await?;
    run(&client, &format!("CREATE MATERIALIZED VIEW v AS {}", chain.first)).await?;
    run(&client, "CHECKPOINT").await?;
    run(&client, &format!("CREATE MATERIALIZED VIEW w AS {}", chain.second)).await?;
    run(&client, "INSERT INTO t VALUES (3, '2024-01-01 00:02:40'), (4, '2024-01-01 00:00:02')").await?;
    let before = rows(&client, "SELECT * FROM w ORDER BY 1").await?;
    drop(client);
    for workers in [3, 1] {
        server.crash(workers).await?;
        let after = rows(&server.connect().await?, "SELECT * FROM w ORDER BY 1").await?;
        if after != before {
            return Err(server.with_log(format!("{before:?} before the crash, {after:?} with {workers} workers")));
        }
    }
    Ok(())
}

/// Everything that is told of records and rows beside the views, but for the time at which it was.
const TOLD: [&str; 4] = [
    "SELECT name, rows, dead_letters FROM tidemill.sources",
    "SELECT source, partition, \"offset\", error, payload FROM tidemill.dead_letters ORDER BY \"offset\", error, payload",
    "SELECT name, rows FROM tidemill.late_rows ORDER BY name",
    "SELECT name, count, error, row FROM tidemill.row_errors ORDER BY name, row",
];

/// Dead letters, late rows and errors of rows were gone after a restart.
async fn told() -> Outcome {
    let directory = new_directory()?;
    let path = directory.join("log.jsonl");
    let played = play_told(&path).await;
    std::fs::remove_dir_all(&directory)?;
    played
}

async fn play_told(path: &Path) -> Outcome {
    let grow = |records: std::ops::Range<u32>| -> Outcome {
        let mut text = String::new();
        for record in records {
            // One in three is no number, so that more come than are kept.
            let n = if record % 3 == 0 { "\"none\"".to_owned() } else { record.to_string() };
            writeln!(text, "{{\"n\": {n}}}")?;
        }
        std::io::Write::write_all(&mut std::fs::OpenOptions::new().create(true).append(true).open(path)?, text.as_bytes())?;
        Ok(())
    };
    grow(0..0)?;
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    let options = format!("WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE JSON", path.display());
    run(&client, &format!("CREATE SOURCE s (n INT, share INT GENERATED ALWAYS AS (100 / (n % 5)) STORED) {options}")).await?;
    run(&client, "CREATE MATERIALIZED VIEW read AS SELECT count(*) AS rows, sum(share) AS shares FROM s").await?;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, ts TIMESTAMP, WATERMARK FOR ts AS ts)").await?;
    run(&client, "CREATE MATERIALIZED VIEW shares AS SELECT id, 100 / (id % 3) AS share FROM t").await?;
    run(
        &client,
        "CREATE MATERIALIZED VIEW per_minute WITH (late_rows = 'dead_letter') AS \
         SELECT window_start, count(*) AS n FROM TUMBLE(t, ts, INTERVAL '1 minute') GROUP BY window_start",
    )
    .await?;
    let (mut written, mut ids) = (0, 0);
    // Nothing stored; some; more than are kept; a clean stop; twice without news.
    for (records, checkpoint, workers, clean) in [
        (9, false, 2, false),
        (30, true, 1, false),
        (6_000, true, 3, false),
        (9, false, 2, false),
        (90, false, 1, true),
        (0, true, 2, false),
    ] {
        let client = server.connect().await?;
        grow(written..written + records)?;
        written += records;
        let rows_read = (written - written.div_ceil(3)).to_string();
        files::wait_for(&client, "SELECT rows::TEXT FROM read", &rows_read).await?;
        run(&client, &format!("INSERT INTO t SELECT n, '2024-01-01 01:00:00'::TIMESTAMP + n * INTERVAL '1 minute' FROM generate_series({ids}, {ids} + 5) AS s (n)")).await?;
        run(&client, &format!("INSERT INTO t VALUES ({ids} + 6, '2024-01-01'), ({ids} + 7, '2024-01-01 00:00:30')")).await?;
        ids += 8;
        if checkpoint {
            run(&client, "CHECKPOINT").await?;
            run(&client, &format!("INSERT INTO t VALUES ({ids}, '2024-01-01 00:00:10')")).await?;
            ids += 1;
        }
        let before = all_told(&client).await?;
        drop(client);
        if clean {
            server.terminate().await?;
            server.restart(workers).await?;
        } else {
            server.crash(workers).await?;
        }
        let client = server.connect().await?;
        files::wait_for(&client, "SELECT rows::TEXT FROM read", &rows_read).await?;
        let after = all_told(&client).await?;
        let different = before.iter().zip(&after).find(|(before, after)| before != after);
        if let Some((before, after)) = different {
            return Err(server.with_log(format!("{before:?}\nbefore record {written}, and then\n{after:?}")));
        }
    }
    Ok(())
}

async fn all_told(client: &Client) -> Result<Vec<Vec<String>>, Failure> {
    let mut told = Vec::new();
    for sql in TOLD {
        told.push(rows(client, sql).await?.into_iter().map(|row| format!("{row:?}")).collect());
    }
    Ok(told)
}

//! Views that go by time, after restarts: rows that wait for their time find their views again with any number of workers, and a server comes up
//! whatever of its views is in the last checkpoint.

use tokio_postgres::Client;

use crate::client::{rows, run};
use crate::compare::View;
use crate::kafka::wait_for;
use crate::server::Server;
use crate::{Outcome, Test};

/// Clean stops with other numbers of workers; crashes between a checkpoint and the next.
pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (before, after) in [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2)] {
        tests.push(Test::new(format!("restart/rows_that_waited_were_elsewhere/{before}_{after}"), move || waiting(before, after)));
    }
    for (number, chain) in CHAINS.into_iter().enumerate() {
        tests.push(Test::new(format!("restart/views_over_checkpointed_views_hung/{number}"), move || chain_of_views(chain)));
    }
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

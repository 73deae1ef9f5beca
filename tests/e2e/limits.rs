//! Statements that ask for too much, and servers that are asked to end while they run: nobody else notices, and nobody waits.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_postgres::Client;

use crate::client::{message, run, value};
use crate::server::Server;
use crate::{Outcome, Test};

/// Operators within each other that a statement may have, as `types/stack.rs` says.
const LEVELS_MAX: usize = 4_000;

/// What a stop may take.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Runs for hours if nobody ends it.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 100000000000) a (x) WHERE x % 7 = 8";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("limits/deep-statement-ended-the-server", deep_statements),
        Test::new("limits/deep-view-after-restart", deep_views),
        Test::new("limits/wide-row-broke-the-protocol", wide_rows),
        Test::new("limits/planning-could-not-be-cancelled", planning_is_interrupted),
        Test::new("limits/stop-waited-for-statements", stop_while_busy),
        Test::new("limits/terminate-only-cancelled", terminate),
        Test::new("limits/failed-transaction-took-parse", failed_transaction),
        Test::new("limits/drop-did-not-wait-for-writers", drop_waits),
        Test::new("limits/write-error", write_error),
        Test::new("limits/definitions-showed-before-their-rows", definitions_with_rows),
    ]
}

async fn expect(client: &Client, sql: &str, code: &str) -> Outcome {
    let shown: String = sql.chars().take(60).collect();
    match client.batch_execute(sql).await {
        Err(error) if error.code().is_some_and(|found| found.code() == code) => Ok(()),
        Err(error) => Err(format!("{} instead of {code}\n[SQL] {shown}", message(&error)).into()),
        Ok(()) => Err(format!("no error instead of {code}\n[SQL] {shown}").into()),
    }
}

/// A statement of a few hundred operands overflowed a stack, which ended the process. The largest that are let in are answered here on a
/// build without optimisation; larger ones are refused.
async fn deep_statements() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)").await?;
    let many = |part: &str, count: usize| part.repeat(count);
    let sum = value(&client, &format!("SELECT 1{}", many("+1", 1_000))).await?;
    if sum.as_deref() != Some("1001") {
        return Err(format!("the sum is {sum:?}").into());
    }
    run(&client, &format!("SELECT count(*) FROM t WHERE a = 0{}", many(" OR a = 1", LEVELS_MAX - 10))).await?;
    run(&client, &format!("SELECT a::text{} FROM t", many("||'x'", LEVELS_MAX - 10))).await?;
    run(&client, &format!("SELECT a FROM t{}", many(" UNION ALL SELECT a FROM t", 1_500))).await?;
    expect(&client, &format!("SELECT 1{}", many("+1", 5_000)), "54001").await?;
    expect(&client, &format!("SELECT 1{}", many(" UNION ALL SELECT 1", 5_000)), "54001").await?;
    // Each reads the one before it twice: few words, and 2^40 nodes.
    let doubled: String = (1..40).map(|n| format!(", c{n} AS (SELECT x.v FROM c{0} x, c{0} y)", n - 1)).collect();
    expect(&client, &format!("WITH c0 AS (SELECT 1 AS v){doubled} SELECT v FROM c39"), "54001").await?;
    let chained: String = (1..5_000).map(|n| format!(", c{n} AS (SELECT v + 1 AS v FROM c{})", n - 1)).collect();
    expect(&client, &format!("WITH c0 AS (SELECT 1 AS v){chained} SELECT v FROM c4999"), "54001").await?;
    run(&client, "SELECT 1").await
}

/// Deep views are planned again at a restart, and evaluated by the workers; deep defaults and generated columns as well.
async fn deep_views() -> Outcome {
    let mut server = Server::start(1).await?;
    let client = server.connect().await?;
    let sum = "+1".repeat(700);
    run(&client, &format!("CREATE TABLE t (a INT, b INT DEFAULT 0{sum}, c INT GENERATED ALWAYS AS (a{sum}) STORED)")).await?;
    run(&client, &format!("CREATE MATERIALIZED VIEW v AS SELECT a{sum} AS s FROM t WHERE a = 0{}", " OR a = 1".repeat(1_000))).await?;
    run(&client, "INSERT INTO t (a) VALUES (1); FLUSH").await?;
    server.crash(2).await?;
    let client = server.connect().await?;
    run(&client, "INSERT INTO t (a) VALUES (0), (2); FLUSH").await?;
    let sums = value(&client, "SELECT string_agg(s::text, ',' ORDER BY s) FROM v").await?;
    if sums.as_deref() == Some("700,701") { Ok(()) } else { Err(format!("the view holds {sums:?}").into()) }
}

/// The number of columns is sent in 16 bits: more than 32,767 came out negative.
async fn wide_rows() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, &format!("SELECT 1{}", ", 1".repeat(1_663))).await?;
    expect(&client, &format!("SELECT 1{}", ", 1".repeat(40_000)), "54011").await?;
    run(&client, "SELECT 1").await
}

/// A constant was computed while the statement was planned, on the thread of the connection: no time limit ended it, and others waited.
async fn planning_is_interrupted() -> Outcome {
    let server = Server::start(1).await?;
    let (client, other) = (server.connect().await?, server.connect().await?);
    run(&client, "SET statement_timeout = 300").await?;
    let before = server.memory_bytes().unwrap_or_default();
    let started = Instant::now();
    for sql in ["SELECT length(lpad('a', 2000000000))", "SELECT generate_series(1, 300000000)", "SELECT length(repeat('ab', 1000000000))"] {
        if client.batch_execute(sql).await.is_ok() {
            return Err(format!("there was room for it\n[SQL] {sql}").into());
        }
        run(&other, "SELECT 1").await?;
    }
    if started.elapsed() > Duration::from_secs(10) {
        return Err(format!("three statements of 300 ms took {:?}", started.elapsed()).into());
    }
    let grown = server.memory_bytes().unwrap_or_default().saturating_sub(before);
    if grown > 1 << 30 { Err(format!("the server has grown by {grown} bytes").into()) } else { Ok(()) }
}

/// With statements running, a stop took as long as they did; and clients were cut off without a word.
async fn stop_while_busy() -> Outcome {
    let mut server = Server::start(1).await?;
    let clients = join_all((0..3).map(|_| server.connect())).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let running: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(async move { client.batch_execute(ENDLESS).await.err().and_then(|error| error.code().cloned()) }))
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    let status = server.terminate().await?;
    if !status.success() || started.elapsed() > STOP_MAX {
        return Err(server.with_log(format!("the server ended with {status} after {:?}", started.elapsed())));
    }
    for client in running {
        let code = client.await?;
        if code.as_ref().map(tokio_postgres::error::SqlState::code) != Some("57P01") {
            return Err(format!("a client was told {code:?}").into());
        }
    }
    Ok(())
}

/// pg_terminate_backend said true, and the session lived on.
async fn terminate() -> Outcome {
    let server = Server::start(1).await?;
    let (client, idle, busy) = (server.connect().await?, server.connect().await?, server.connect().await?);
    let process = |text: Option<String>| text.ok_or("no number");
    let idle_id = process(value(&idle, "SELECT pg_backend_pid()").await?)?;
    let busy_id = process(value(&busy, "SELECT pg_backend_pid()").await?)?;
    let running = tokio::spawn(async move { busy.batch_execute(ENDLESS).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    run(&client, &format!("SELECT pg_terminate_backend({idle_id}), pg_terminate_backend({busy_id})")).await?;
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await??;
    if ended.as_ref().err().and_then(|error| error.code()).map(tokio_postgres::error::SqlState::code) != Some("57P01") {
        return Err(format!("the busy session was told {ended:?}").into());
    }
    if idle.batch_execute("SELECT 1").await.is_ok() {
        return Err("the idle session lives on".into());
    }
    let left = value(&client, "SELECT count(*) FROM pg_stat_activity").await?;
    if left.as_deref() == Some("1") { Ok(()) } else { Err(format!("{left:?} sessions are left").into()) }
}

/// Parse and Describe went through in a failed transaction.
async fn failed_transaction() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    expect(&client, "BEGIN; SELECT 1 / 0", "22012").await?;
    match client.prepare("SELECT 1").await {
        Err(error) if error.code().is_some_and(|code| code.code() == "25P02") => {}
        other => return Err(format!("prepared in a failed transaction: {other:?}").into()),
    }
    client.execute("ROLLBACK", &[]).await?;
    client.prepare("SELECT 1").await?;
    Ok(())
}

/// A write that fails ends the process by SIGABRT (exit code 134 in a shell) and says why; what was acknowledged is there after a restart.
async fn write_error() -> Outcome {
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, s TEXT); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM t").await?;
    server.limit_files(Some(4 << 20))?;
    let mut acknowledged = 0_u32;
    let failed = loop {
        // Not one that compresses to nothing.
        let sql = format!(
            "INSERT INTO t SELECT {acknowledged}, string_agg(md5((g * {acknowledged} + g)::text), '') FROM generate_series(1, 4000) g"
        );
        match client.batch_execute(&sql).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        if acknowledged > 2_000 {
            return Err("no write has failed".into());
        }
    };
    let status = server.ended().await?;
    if status.signal() != Some(6) || acknowledged == 0 {
        return Err(server.with_log(format!("after {acknowledged} rows ({failed}) the server ended with {status}")));
    }
    if !server.log().contains("the data directory could not be written") {
        return Err(server.with_log("the server did not say why it ended"));
    }
    server.restart(1).await?;
    let client = server.connect().await?;
    // The row whose INSERT was not answered may be there or not.
    let there = value(&client, &format!("SELECT count(*) FROM t WHERE id < {acknowledged} AND length(s) = 128000")).await?;
    let counted = value(&client, "SELECT c - (SELECT count(*) FROM t) FROM v").await?;
    if there == Some(acknowledged.to_string()) && counted.as_deref() == Some("0") {
        Ok(())
    } else {
        Err(format!("{there:?} of {acknowledged} acknowledged rows are there; the view differs by {counted:?}").into())
    }
}

/// A table was dropped under a transaction that had written it, whose COMMIT said that its rows were kept.
async fn drop_waits() -> Outcome {
    let server = Server::start(1).await?;
    let (writer, dropper) = (server.connect().await?, server.connect().await?);
    run(&writer, "CREATE SCHEMA s; CREATE TABLE s.t (a INT); CREATE TABLE u (a INT); CREATE MATERIALIZED VIEW v AS SELECT a FROM s.t")
        .await?;
    run(&writer, "BEGIN; INSERT INTO s.t VALUES (1)").await?;
    run(&dropper, "SET lock_timeout = 200").await?;
    for sql in ["DROP TABLE s.t CASCADE", "DROP TABLE u, s.t CASCADE", "DROP SCHEMA s CASCADE"] {
        expect(&dropper, sql, "55P03").await?;
    }
    run(&dropper, "SET lock_timeout = 0; INSERT INTO u VALUES (1)").await?;
    let dropping = tokio::spawn(async move { dropper.batch_execute("DROP TABLE u, s.t CASCADE").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    run(&writer, "INSERT INTO s.t VALUES (2); COMMIT").await?;
    dropping.await??;
    expect(&writer, "SELECT a FROM s.t", "42P01").await?;
    // What a transaction itself has written is not in its way.
    run(&writer, "CREATE TABLE own (a INT); BEGIN; INSERT INTO own VALUES (1); DROP TABLE own; COMMIT; CREATE TABLE own (b INT)").await
}

/// A table or view was in the catalog before its rows could be found, and a plan's relations were looked up in newer definitions: XX000.
async fn definitions_with_rows() -> Outcome {
    let server = Server::start(1).await?;
    let (definer, reader) = (server.connect().await?, server.connect().await?);
    run(&definer, "CREATE TABLE base (a INT)").await?;
    let defining = async {
        for _ in 0..40 {
            run(&definer, "CREATE TABLE t2 (a INT); CREATE MATERIALIZED VIEW v2 AS SELECT a FROM t2").await?;
            run(&definer, "DROP TABLE t2 CASCADE").await?;
        }
        Ok::<(), crate::Failure>(())
    };
    let reading = async {
        for round in 0..400 {
            let sql =
                ["SELECT a FROM t2", "SELECT v2.a FROM v2, base", "INSERT INTO t2 VALUES (1)", "SELECT count(*) FROM t2, v2"][round % 4];
            if let Err(error) = reader.batch_execute(sql).await
                && error.code().is_none_or(|code| code.code() != "42P01")
            {
                return Err(format!("{}\n[SQL] {sql}", message(&error)).into());
            }
        }
        Ok::<(), crate::Failure>(())
    };
    let (defined, read) = futures::future::join(defining, reading).await;
    defined?;
    read
}

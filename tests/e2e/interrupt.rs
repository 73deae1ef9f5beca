//! What a statement leaves behind when it is ended in its midst: by a cancel request, by a time limit, by a client that goes away or
//! does not read.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::SinkExt;
use futures::future::{join, join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

use crate::client::{message, rows, run, value};
use crate::server::Server;
use crate::{Failure, Outcome, Test};

/// Rows that each pair with each other in `SLOW`: about a second of work for a worker.
const STALLING_ROWS: i64 = 1_500;

/// A view that takes its time.
const SLOW: &str = "CREATE MATERIALIZED VIEW slow AS SELECT max(x.k * y.k) AS m FROM stalling x JOIN stalling y ON x.k % 1 = y.k % 1";

/// Rows whose keys take a moment to look up.
const MANY_ROWS: i64 = 200_000;

/// When such statements are cancelled: while they read their rows, look them up, write them.
const CANCELLED_AFTER_MS: [u64; 4] = [50, 200, 500, 900];

/// Sessions that write many rows at once, on a machine with more cores than that.
const WRITERS_MAX: usize = 4;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("interrupt/drop", interrupted_drop),
        Test::new("interrupt/drop-and-kill", killed_drop),
        Test::new("interrupt/write", cancelled_write),
        Test::new("interrupt/many-rows", cancelled_many_rows),
        Test::new("interrupt/others-go-on", others_go_on),
        Test::new("interrupt/definition-of-many-rows", cancelled_definitions),
        Test::new("interrupt/commit", cancelled_commit),
        Test::new("interrupt/create-on-hydrating", create_on_hydrating),
        Test::new("interrupt/copy-timeout", copy_timeout),
        Test::new("interrupt/idle-in-transaction", idle_in_transaction),
        Test::new("interrupt/lock-timeout", lock_timeout),
        Test::new("interrupt/definitions-side-by-side", definitions_side_by_side),
        Test::new("interrupt/query-memory", query_memory),
        Test::new("interrupt/unread-result", unread_result),
    ]
}

fn code(result: &Result<(), tokio_postgres::Error>) -> Option<&str> {
    result.as_ref().err().and_then(|error| error.code()).map(tokio_postgres::error::SqlState::code)
}

fn expect(what: &str, result: &Result<(), tokio_postgres::Error>, expected: &str) -> Outcome {
    if code(result) == Some(expected) { Ok(()) } else { Err(format!("{what}: {result:?} instead of {expected}").into()) }
}

/// Runs a statement and asks for its cancellation after a while. Returns when the request has been sent, too.
async fn cancelled(client: &Client, sql: &str, after: Duration) -> Result<Result<(), tokio_postgres::Error>, Failure> {
    let token = client.cancel_token();
    let cancelling = async {
        tokio::time::sleep(after).await;
        token.cancel_query(NoTls).await
    };
    let (answer, sent) = tokio::time::timeout(PATIENCE, join(client.batch_execute(sql), cancelling)).await?;
    sent?;
    Ok(answer)
}

/// A value behind a statement for which a cancel request was sent: if that statement was faster, the request may meet this one.
async fn value_behind(client: &Client, sql: &str) -> Result<Option<String>, Failure> {
    match value(client, sql).await {
        Err(failure) if failure.to_string().starts_with("57014") => value(client, sql).await,
        answer => answer,
    }
}

/// Tables, views on them, and a join that keeps a worker busy for long when `stalling` is inserted into.
async fn prepare(client: &Client) -> Outcome {
    run(client, "CREATE TABLE t (a BIGINT)").await?;
    run(client, "CREATE TABLE stalling (k BIGINT)").await?;
    run(client, SLOW).await?;
    run(client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM t").await?;
    run(client, "INSERT INTO t VALUES (1), (2)").await
}

/// Keeps the workers busy, and the coordinator waiting for them: what it is asked for next takes a while.
async fn stall(server: &Server) -> Outcome {
    let client = server.connect().await?;
    run(&client, &format!("INSERT INTO stalling SELECT x FROM generate_series(1, {STALLING_ROWS}) s (x)")).await?;
    tokio::spawn(async move { client.batch_execute("CHECKPOINT").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// The view is gone for everyone, or maintained as if nothing had been asked for.
async fn dropped_or_alive(client: &Client) -> Outcome {
    run(client, "INSERT INTO t VALUES (3)").await?;
    match client.simple_query("SELECT c FROM v").await {
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => Ok(()),
        Err(error) => Err(message(&error).into()),
        Ok(_) => {
            let counts = rows(client, "SELECT (SELECT c FROM v), (SELECT count(*) FROM t)").await?;
            if counts[0][0] == counts[0][1] { Ok(()) } else { Err(format!("the view is stale: {counts:?}").into()) }
        }
    }
}

/// A DROP that is cancelled, runs out of time, or whose client goes away drops all or nothing.
async fn interrupted_drop() -> Outcome {
    let mut server = Server::start(1).await?;
    let client = server.connect().await?;
    prepare(&client).await?;
    for round in 0..3 {
        stall(&server).await?;
        let other = server.connect().await?;
        match round {
            0 => drop(cancelled(&other, "DROP MATERIALIZED VIEW v", Duration::from_millis(100)).await?),
            1 => drop(other.batch_execute("SET statement_timeout = 50; DROP MATERIALIZED VIEW v").await),
            _ => {
                drop(tokio::time::timeout(Duration::from_millis(100), other.batch_execute("DROP MATERIALIZED VIEW v")).await);
                drop(other);
            }
        }
        dropped_or_alive(&client).await?;
        run(&client, "DROP MATERIALIZED VIEW IF EXISTS v").await?;
        run(&client, "DELETE FROM stalling").await?;
        run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM t").await?;
        dropped_or_alive(&client).await?;
    }
    server.crash(2).await?;
    dropped_or_alive(&server.connect().await?).await
}

/// A server that is killed while it drops has dropped all or nothing when it is back.
async fn killed_drop() -> Outcome {
    let mut server = Server::start(1).await?;
    let client = server.connect().await?;
    prepare(&client).await?;
    run(&client, "CREATE TABLE other (a BIGINT); INSERT INTO other VALUES (1)").await?;
    run(&client, "CHECKPOINT").await?;
    run(&client, "INSERT INTO other VALUES (2)").await?;
    stall(&server).await?;
    drop(tokio::time::timeout(Duration::from_millis(100), client.batch_execute("DROP TABLE other; DROP MATERIALIZED VIEW v")).await);
    server.crash(2).await?;
    let client = server.connect().await?;
    match client.simple_query("SELECT * FROM other").await {
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => {}
        Err(error) => return Err(message(&error).into()),
        Ok(_) => match value(&client, "SELECT count(*) FROM other").await?.as_deref() {
            Some("2") => {}
            rows => return Err(format!("the table is there with {rows:?} of its rows").into()),
        },
    }
    dropped_or_alive(&client).await
}

/// A write of its own that is cancelled leaves no row, no lock, and a session that goes on.
async fn cancelled_write() -> Outcome {
    let server = Server::start(1).await?;
    let (client, other) = (server.connect().await?, server.connect().await?);
    run(&client, "CREATE TABLE t (a BIGINT)").await?;
    run(&client, "CREATE TABLE many (x BIGINT); INSERT INTO many SELECT x FROM generate_series(1, 2000) s (x)").await?;
    run(&other, "SET lock_timeout = '2s'").await?;
    let pairs = "FROM many x, many y, many z WHERE x.x + y.x + z.x < 0";
    for (statement, sql) in [
        ("INSERT", format!("INSERT INTO t SELECT x.x {pairs}")),
        ("UPDATE", format!("UPDATE t SET a = 1 WHERE 1 = (SELECT count(*) {pairs})")),
        ("DELETE", format!("DELETE FROM t WHERE 1 = (SELECT count(*) {pairs})")),
    ] {
        run(&other, "INSERT INTO t VALUES (1)").await?;
        expect(statement, &cancelled(&client, &sql, Duration::from_millis(300)).await?, "57014")?;
        run(&other, "DELETE FROM t").await?;
        run(&client, "INSERT INTO t VALUES (2)").await?;
        run(&client, "SET statement_timeout = 300").await?;
        expect(statement, &client.batch_execute(&sql).await, "57014")?;
        run(&client, "SET statement_timeout = 0").await?;
        run(&other, "TRUNCATE t").await?;
    }
    match value(&other, "SELECT count(*) FROM t").await?.as_deref() {
        Some("0") => Ok(()),
        count => Err(format!("{count:?} rows are left").into()),
    }
}

/// Whenever a cancel request comes: a statement that writes many rows into a table with a key writes all of them or none, and its transaction can go
/// back to where it was.
async fn cancelled_many_rows() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)").await?;
    run(&client, &format!("INSERT INTO t SELECT x, 'old' FROM generate_series(1, {MANY_ROWS}) s (x)")).await?;
    let written = [
        format!("INSERT INTO t SELECT x + {MANY_ROWS}, 'new' FROM generate_series(1, {MANY_ROWS}) s (x)"),
        "UPDATE t SET a = -a, b = 'new'".to_owned(),
        "DELETE FROM t".to_owned(),
        format!("INSERT INTO t SELECT x, 'new' FROM generate_series(1, {MANY_ROWS}) s (x) ON CONFLICT (a) DO UPDATE SET b = excluded.b"),
    ];
    let before = rows(&client, "SELECT b, count(*), min(a), max(a) FROM t GROUP BY b").await?;
    for (sql, after) in written.iter().flat_map(|sql| CANCELLED_AFTER_MS.map(|after| (sql, Duration::from_millis(after)))) {
        run(&client, "BEGIN; INSERT INTO t VALUES (0, 'mine'); SAVEPOINT s").await?;
        match cancelled(&client, sql, after).await? {
            Ok(()) => {}
            error => expect(sql, &error, "57014")?,
        }
        run(&client, "ROLLBACK TO s").await?;
        run(&client, "INSERT INTO t VALUES (0, 'again'), (-1, 'again') ON CONFLICT DO NOTHING").await?;
        let mine = rows(&client, "SELECT a, b FROM t WHERE a <= 0 ORDER BY a").await?;
        if mine != [[Some("-1".to_owned()), Some("again".to_owned())], [Some("0".to_owned()), Some("mine".to_owned())]] {
            return Err(format!("{sql}: before the savepoint there was {mine:?}").into());
        }
        run(&client, "ROLLBACK").await?;
        let now = rows(&client, "SELECT b, count(*), min(a), max(a) FROM t GROUP BY b").await?;
        if now != before {
            return Err(format!("{sql}: {now:?} instead of {before:?}").into());
        }
    }
    Ok(())
}

/// As many sessions as there are cores write many rows at once; others connect, ask and are answered before any of these is done, and a cancel request
/// ends each of them.
async fn others_go_on() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    let writers = std::thread::available_parallelism().map_or(2, usize::from).min(WRITERS_MAX);
    let mut writing = Vec::new();
    for number in 0..writers {
        run(&client, &format!("CREATE TABLE t{number} (a BIGINT PRIMARY KEY, b TEXT)")).await?;
        let writer = server.connect().await?;
        let (token, sql) =
            (writer.cancel_token(), format!("INSERT INTO t{number} SELECT x, 'new' FROM generate_series(1, {}) s (x)", 5 * MANY_ROWS));
        writing.push((token, tokio::spawn(async move { writer.batch_execute(&sql).await })));
    }
    for _ in 0..20 {
        let other = server.connect().await?;
        run(&other, "SELECT 1").await?;
        if writing.iter().any(|(_, writer)| writer.is_finished()) {
            return Err("a statement of many rows was done before others were answered".into());
        }
    }
    for (token, writer) in writing {
        while !writer.is_finished() {
            token.cancel_query(NoTls).await?;
        }
        expect("INSERT", &writer.await?, "57014")?;
    }
    for number in 0..writers {
        match value(&client, &format!("SELECT count(*) FROM t{number}")).await?.as_deref() {
            Some("0") => {}
            count => return Err(format!("t{number} has {count:?} rows").into()),
        }
    }
    Ok(())
}

/// A key, a column or an index that is cancelled while the rows are looked through is not there, and the next attempt begins anew.
async fn cancelled_definitions() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a BIGINT, b TEXT)").await?;
    run(&client, &format!("INSERT INTO t SELECT x, 'old' FROM generate_series(1, {MANY_ROWS}) s (x)")).await?;
    for (sql, is_there, undo) in [
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'", ""),
        (
            "ALTER TABLE t ADD COLUMN c INT DEFAULT 7",
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 't' AND column_name = 'c'",
            "ALTER TABLE t DROP COLUMN c",
        ),
        ("CREATE INDEX t_b ON t (b)", "SELECT count(*) FROM pg_class WHERE relname = 't_b'", "DROP INDEX t_b"),
    ] {
        for after in CANCELLED_AFTER_MS {
            let done = match cancelled(&client, sql, Duration::from_millis(after)).await? {
                Ok(()) => "1",
                error => expect(sql, &error, "57014").map(|()| "0")?,
            };
            let there = value_behind(&client, is_there).await?;
            if there.as_deref() != Some(done) {
                return Err(format!("{sql} is there {there:?} times, not {done}").into());
            }
            if done == "1" && undo.is_empty() {
                break;
            }
            if done == "1" {
                run(&client, undo).await?;
            }
            run(&client, "INSERT INTO t VALUES (0, 'new'); DELETE FROM t WHERE a = 0").await?;
        }
    }
    match value(&client, "SELECT count(*) FROM t WHERE b = 'old'").await?.and_then(|count| count.parse::<i64>().ok()) {
        Some(MANY_ROWS) => Ok(()),
        count => Err(format!("{count:?} rows are there").into()),
    }
}

/// Whenever a cancel request comes: a commit that is reported as cancelled has not happened, and one that has is reported.
async fn cancelled_commit() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a BIGINT)").await?;
    let mut written = BTreeSet::new();
    for round in 0..150_u64 {
        let after = Duration::from_micros(round % 10 * 150);
        match cancelled(&client, &format!("INSERT INTO t VALUES ({round})"), after).await? {
            Ok(()) => drop(written.insert(round.to_string())),
            error => expect("INSERT", &error, "57014")?,
        }
    }
    // The last request may still be on its way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let there = rows(&client, "SELECT a FROM t").await?.into_iter().filter_map(|mut row| row.remove(0)).collect::<BTreeSet<_>>();
    if there == written { Ok(()) } else { Err(format!("reported: {written:?}\nthere: {there:?}").into()) }
}

/// While a view waits for the one that it reads to be filled, definitions change, and the wait ends when that one is dropped.
async fn create_on_hydrating() -> Outcome {
    let server = Server::start(1).await?;
    let (client, waiting, reading) = (server.connect().await?, server.connect().await?, server.connect().await?);
    run(&client, "CREATE TABLE stalling (k BIGINT)").await?;
    run(&client, &format!("INSERT INTO stalling SELECT x FROM generate_series(1, {STALLING_ROWS}) s (x)")).await?;
    run(&client, SLOW).await?;
    let create = tokio::spawn(async move { waiting.batch_execute("CREATE MATERIALIZED VIEW w AS SELECT m FROM slow").await });
    let read = tokio::spawn(async move { reading.batch_execute("SELECT m FROM slow").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    run(&client, "CREATE TABLE other (a INT)").await?;
    run(&client, "DROP MATERIALIZED VIEW slow CASCADE").await?;
    let took = began.elapsed();
    let (create, read) = tokio::time::timeout(PATIENCE, join(create, read)).await?;
    let (create, read) = (create?, read?);
    // On a fast machine the view was there before it was dropped: then nobody had to wait.
    for result in [&create, &read] {
        if result.is_err() {
            expect("what waited", result, "42P01")?;
        }
    }
    if took > PATIENCE / 2 {
        return Err(format!("the definitions took {took:?}").into());
    }
    expect("the dropped view", &client.batch_execute("SELECT * FROM slow").await, "42P01")
}

/// statement_timeout ends a COPY whose client sends nothing; nothing of it stays.
async fn copy_timeout() -> Outcome {
    let server = Server::start(1).await?;
    let (client, other) = (server.connect().await?, server.connect().await?);
    run(&client, "CREATE TABLE t (a BIGINT)").await?;
    run(&client, "SET statement_timeout = 300").await?;
    let mut sink = pin!(client.copy_in::<_, bytes::Bytes>("COPY t FROM STDIN").await?);
    sink.send(bytes::Bytes::from_static(b"1\n2\n")).await?;
    let running = "SELECT state FROM tidemill.sessions WHERE query LIKE 'COPY t%'";
    if value(&other, running).await?.as_deref() != Some("active") {
        return Err("a session that receives rows was told to be idle".into());
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    run(&other, "SET lock_timeout = 500; INSERT INTO t VALUES (3)").await?;
    expect("COPY", &sink.finish().await.map(drop), "57014")?;
    match value(&client, "SELECT sum(a) FROM t").await?.as_deref() {
        Some("3") => Ok(()),
        sum => Err(format!("the sum is {sum:?}").into()),
    }
}

/// A client that leaves a transaction open is cut off, and lets go of what it held.
async fn idle_in_transaction() -> Outcome {
    let server = Server::start(1).await?;
    let (client, other) = (server.connect().await?, server.connect().await?);
    run(&client, "CREATE TABLE t (a BIGINT)").await?;
    run(&client, "SET idle_in_transaction_session_timeout = 300").await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    run(&client, "BEGIN; INSERT INTO t VALUES (1)").await?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    run(&other, "SET lock_timeout = 2000; INSERT INTO t VALUES (2)").await?;
    if client.batch_execute("COMMIT").await.is_ok() {
        return Err("the client was not cut off".into());
    }
    match value(&other, "SELECT sum(a) FROM t").await?.as_deref() {
        Some("2") => Ok(()),
        sum => Err(format!("the sum is {sum:?}").into()),
    }
}

/// lock_timeout ends a wait; 0 is no limit.
async fn lock_timeout() -> Outcome {
    let server = Server::start(1).await?;
    let (client, other) = (server.connect().await?, server.connect().await?);
    run(&client, "CREATE TABLE t (a BIGINT)").await?;
    run(&client, "BEGIN; INSERT INTO t VALUES (1)").await?;
    run(&other, "SET lock_timeout = 100").await?;
    expect("lock_timeout", &other.batch_execute("INSERT INTO t VALUES (2)").await, "55P03")?;
    run(&other, "SET lock_timeout = 0").await?;
    let commit = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.batch_execute("COMMIT").await
    };
    let (inserted, committed) = join(other.batch_execute("INSERT INTO t VALUES (2)"), commit).await;
    inserted?;
    committed?;
    Ok(())
}

/// Sessions that define things at the same time get each its own, and a restart knows all of them.
async fn definitions_side_by_side() -> Outcome {
    let mut server = Server::start(1).await?;
    let mut work = Vec::new();
    for number in 0..8 {
        let client = server.connect().await?;
        work.push(async move {
            run(&client, &format!("CREATE SCHEMA s{number}")).await?;
            run(&client, &format!("CREATE TABLE s{number}.t AS SELECT {number} AS a")).await
        });
    }
    join_all(work).await.into_iter().collect::<Result<Vec<()>, Failure>>()?;
    server.crash(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t AS SELECT 100 AS a").await?;
    for number in 0..8 {
        let a = value(&client, &format!("SELECT a FROM s{number}.t")).await?;
        if a != Some(number.to_string()) {
            return Err(format!("s{number}.t holds {a:?}").into());
        }
    }
    Ok(())
}

/// A query that needs more memory than queries may use ends; the server and its other queries go on.
async fn query_memory() -> Outcome {
    let server = Server::start_with(1, &["--query-memory-mb", "16"]).await?;
    let client = server.connect().await?;
    let join = "SELECT count(*) FROM generate_series(1, 3000000) a (x) JOIN generate_series(1, 3000000) b (y) ON x = y";
    expect("a join that is too large", &client.batch_execute(join).await, "53200")?;
    match value(&client, "SELECT count(*) FROM generate_series(1, 3000000)").await?.as_deref() {
        Some("3000000") => Ok(()),
        count => Err(format!("another query gave {count:?}").into()),
    }
}

/// A result of more than a gigabyte, sent to a client that does not read it, stays where it is: the server's memory does not grow.
async fn unread_result() -> Outcome {
    /// Socket buffers, a few batches, and what the allocator keeps.
    const GROWTH_MAX: u64 = 200 << 20;
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a BIGINT, b TEXT)").await?;
    run(&client, "INSERT INTO t SELECT x, repeat('x', 200) FROM generate_series(1, 50000) s (x)").await?;
    // Once, so that what every query needs is there before the first measurement.
    run(&client, "SELECT count(b) FROM t CROSS JOIN generate_series(1, 3)").await?;
    let mut socket = TcpStream::connect(("127.0.0.1", server.endpoint().current().0)).await?;
    let mut startup = vec![0, 0, 0, 0, 0, 3, 0, 0];
    startup.extend(b"user\0tidemill\0database\0tidemill\0\0");
    startup[3] = startup.len() as u8;
    socket.write_all(&startup).await?;
    let mut greeting = Vec::new();
    while !greeting.ends_with(&[b'Z', 0, 0, 0, 5, b'I']) {
        if socket.read_buf(&mut greeting).await? == 0 {
            return Err("the server closed the connection".into());
        }
    }
    let Some(before) = server.memory_bytes() else { return Ok(()) };
    let query = b"SELECT t.* FROM t CROSS JOIN generate_series(1, 120)\0";
    let mut frame = vec![b'Q', 0, 0, 0, 4 + query.len() as u8];
    frame.extend(query);
    socket.write_all(&frame).await?;
    let mut most = before;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(server.memory_bytes().unwrap_or_default());
    }
    // It has begun, it goes on when it is read, and others are served.
    let mut read = vec![0; 32 << 20];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut read)).await??;
    if read[0] != b'T' || value(&client, "SELECT count(*) FROM t").await?.as_deref() != Some("50000") {
        return Err("the result was not sent, or another query failed".into());
    }
    most = most.max(server.memory_bytes().unwrap_or_default());
    if most - before <= GROWTH_MAX {
        return Ok(());
    }
    Err(format!("the server's memory grew from {} to {} MiB", before >> 20, most >> 20).into())
}

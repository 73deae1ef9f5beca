//! What the stories cannot say with simple queries: parameters, binary values, COPY, cancelling, sessions side by side.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{SinkExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::NoTls;

use crate::client::{message, run, value};
use crate::server::Server;
use crate::{Outcome, Test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("wire/parameters", parameters),
        Test::new("wire/copy", copy),
        Test::new("wire/cancel", cancel),
        Test::new("wire/cancel-join", cancel_join),
        Test::new("wire/cancel-series", cancel_series),
        Test::new("wire/sessions", sessions),
        Test::new("wire/failed-transaction", failed_transaction),
        Test::new("wire/reset", reset),
    ]
}

/// Prepared statements with typed parameters, and values in the binary format.
async fn parameters() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT, s TEXT, f DOUBLE PRECISION, b BOOLEAN, y BYTEA)").await?;
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6)").await?;
    let bytes: &[u8] = &[0, 1, 255];
    client.execute(&insert, &[&1_i64, &2_i32, &"drei", &4.5_f64, &true, &bytes]).await?;
    let nothing: Option<&str> = None;
    let affected = client.execute(&insert, &[&2_i64, &None::<i32>, &nothing, &None::<f64>, &None::<bool>, &None::<&[u8]>]).await?;
    let row = client.query_one("SELECT id, n, s, f, b, y FROM t WHERE id = $1", &[&1_i64]).await?;
    let seen: (i64, i32, &str, f64, bool, &[u8]) = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5));
    if affected != 1 || seen != (1, 2, "drei", 4.5, true, bytes) {
        return Err(format!("{affected} rows inserted; read {seen:?}").into());
    }
    let row = client.query_one("SELECT n, s, f, b, y FROM t WHERE id = $1", &[&2_i64]).await?;
    let empty =
        row.get::<_, Option<i32>>(0).is_none() && row.get::<_, Option<&str>>(1).is_none() && row.get::<_, Option<bool>>(3).is_none();
    if !empty {
        return Err("NULL parameters were not kept".into());
    }
    let returned = client.query("DELETE FROM t WHERE id > $1 RETURNING id", &[&0_i64]).await?;
    if returned.len() == 2 { Ok(()) } else { Err(format!("RETURNING gave {} rows", returned.len()).into()) }
}

/// COPY in text and CSV, both ways, with a view behind the table.
async fn copy() -> Outcome {
    let server = Server::start(2).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a INT, b TEXT)").await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, count(b) AS named, sum(a) AS total FROM t").await?;
    for (statement, data) in [
        ("COPY t FROM STDIN", "1\tone\n2\t\\N\n3\ta\\tb\n"),
        ("COPY t (b, a) FROM STDIN WITH (FORMAT csv, HEADER true)", "b,a\n\"four, or so\",4\n,5\n"),
    ] {
        let mut sink = pin!(client.copy_in::<_, bytes::Bytes>(statement).await?);
        sink.send(bytes::Bytes::from_static(data.as_bytes())).await?;
        sink.finish().await?;
    }
    let counts = value(&client, "SELECT concat(c, ' ', named, ' ', total) FROM v").await?;
    if counts.as_deref() != Some("5 3 15") {
        return Err(format!("the view saw {counts:?} of the copied rows").into());
    }
    let stream = client.copy_out("COPY (SELECT a, b FROM t ORDER BY a) TO STDOUT").await?;
    let chunks: Vec<bytes::Bytes> = pin!(stream).try_collect().await?;
    let text = String::from_utf8(chunks.concat())?;
    if text != "1\tone\n2\t\\N\n3\ta\\tb\n4\tfour, or so\n5\t\\N\n" {
        return Err(format!("COPY TO gave {text:?}").into());
    }
    let mut sink = pin!(client.copy_in::<_, bytes::Bytes>("COPY t FROM STDIN").await?);
    sink.send(bytes::Bytes::from_static(b"6\tsix\nnot a number\tx\n")).await?;
    match sink.finish().await {
        Err(error) if error.code().is_some_and(|code| code.code() == "22P02") => {}
        other => return Err(format!("a line that is no number gave {other:?}").into()),
    }
    match value(&client, "SELECT count(*) FROM t").await?.as_deref() {
        Some("5") => Ok(()),
        other => Err(format!("a COPY that failed left {other:?} rows instead of 5").into()),
    }
}

/// A query that would run for long ends with 57014, and its session goes on.
async fn cancel() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    let rows: Vec<String> = (0..2_000).map(|row| format!("({row})")).collect();
    run(&client, &format!("CREATE TABLE t (a BIGINT); INSERT INTO t VALUES {}", rows.join(", "))).await?;
    let token = client.cancel_token();
    let query = client.batch_execute("SELECT count(*) FROM t x, t y, t z WHERE x.a + y.a + z.a < 0");
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    };
    let (answer, sent) = tokio::time::timeout(Duration::from_secs(20), futures::future::join(query, cancelling)).await?;
    sent?;
    match answer {
        Err(error) if error.code().is_some_and(|code| code.code() == "57014") => {}
        Err(error) => return Err(message(&error).into()),
        Ok(()) => return Err("the query ended by itself".into()),
    }
    match value(&client, "SELECT 1").await?.as_deref() {
        Some("1") => Ok(()),
        other => Err(format!("SELECT 1 gave {other:?}").into()),
    }
}

/// A join that pairs a million rows with a million stops computing when its query is cancelled, runs out of time, or loses its client.
async fn cancel_join() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    let series = "generate_series(1, 1000000) a (x), generate_series(1, 1000000) b (y)";
    for query in [
        format!("SELECT count(*) FROM {series} WHERE x + y < 0"),
        format!("SELECT count(*) FROM {series}"),
        format!("SELECT sum(x) FROM {series} WHERE x % 2 = y % 2 AND x * 2 < y - 2000000"),
        "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n FROM r) SELECT count(*) FROM r".to_owned(),
    ] {
        let token = client.cancel_token();
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await
        };
        let both = futures::future::join(client.batch_execute(&query), cancelling);
        let (answer, sent) = tokio::time::timeout(Duration::from_secs(20), both).await?;
        sent?;
        if !answer.as_ref().is_err_and(|error| error.code().is_some_and(|code| code.code() == "57014")) {
            return Err(format!("{query}: {answer:?}").into());
        }
        idle(&server, &query).await?;
    }
    let query = format!("SELECT count(*) FROM {series} WHERE x + y < 0");
    run(&client, "SET statement_timeout = 300").await?;
    if client.batch_execute(&query).await.is_ok() {
        return Err("statement_timeout did not end the join".into());
    }
    idle(&server, "statement_timeout").await?;
    leave_running(&server, &query).await?;
    idle(&server, "a client that has gone").await?;
    match value(&client, "SELECT 1").await?.as_deref() {
        Some("1") => Ok(()),
        other => Err(format!("SELECT 1 gave {other:?}").into()),
    }
}

/// A series of more values than anybody waits for is not counted beforehand, takes no memory, and ends with its query.
async fn cancel_series() -> Outcome {
    /// A few batches, and what the allocator keeps.
    const GROWTH_MAX: u64 = 100 << 20;
    const END: &str = "100000000000";
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    // Once, so that what every query needs is there before the first measurement.
    run(&client, "SELECT count(*) FROM generate_series(1, 1000000) AS a (x) WHERE a.x = -1").await?;
    run(&client, "SET statement_timeout = 1000").await?;
    let before = server.memory_bytes().unwrap_or_default();
    for query in [
        format!("SELECT count(*) FROM generate_series(1, {END}) AS a (x) WHERE a.x = -1"),
        format!("SELECT max(n) FROM generate_series({END}, 1, -1) WITH ORDINALITY AS a (x, n)"),
        format!("SELECT max(x) FROM (VALUES (1), (2)) AS t (a), generate_series(a, {END}, a) AS x WHERE x < a"),
        format!("SELECT count(b) FROM ROWS FROM (generate_series(0.5, {END}), generate_series(1, 2)) AS r (a, b)"),
        "SELECT max(x) FROM generate_series(timestamp '1000-01-01', '9000-01-01', '1 second') AS x".to_owned(),
    ] {
        let started = Instant::now();
        let answer = client.batch_execute(&query).await;
        if !answer.as_ref().is_err_and(|error| error.code().is_some_and(|code| code.code() == "57014")) {
            return Err(format!("{query}: {answer:?}").into());
        }
        if started.elapsed() > Duration::from_secs(10) {
            return Err(format!("{query}: a second became {:?}", started.elapsed()).into());
        }
        idle(&server, &query).await?;
        let grown = server.memory_bytes().unwrap_or_default().saturating_sub(before);
        if grown > GROWTH_MAX {
            return Err(format!("{query}: the server has grown by {grown} bytes").into());
        }
    }
    Ok(())
}

/// Sends a query and closes the connection while it runs. In bytes, since a driver would wait for the answer.
async fn leave_running(server: &Server, query: &str) -> Outcome {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", server.endpoint().current().0)).await?;
    let startup = b"\0\x03\0\0user\0tidemill\0database\0tidemill\0\0";
    socket.write_all(&u32::try_from(startup.len() + 4)?.to_be_bytes()).await?;
    socket.write_all(startup).await?;
    let mut answer = Vec::new();
    // ReadyForQuery, idle: the last message before the server listens.
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        if socket.read_buf(&mut answer).await? == 0 {
            return Err("the server closed the connection".into());
        }
    }
    socket.write_all(b"Q").await?;
    socket.write_all(&u32::try_from(query.len() + 5)?.to_be_bytes()).await?;
    socket.write_all(query.as_bytes()).await?;
    socket.write_all(b"\0").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = server.cpu_ticks();
    tokio::time::sleep(Duration::from_millis(500)).await;
    if before.is_some() && server.cpu_ticks() == before {
        return Err("the query does not run".into());
    }
    Ok(())
}

/// Waits until the server uses next to no processor time.
async fn idle(server: &Server, after: &str) -> Outcome {
    let Some(mut before) = server.cpu_ticks() else { return Ok(()) };
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = server.cpu_ticks().unwrap_or(before);
        // A tick is 10 ms: a thread that computes uses 25 of them.
        if now - before <= 5 {
            return Ok(());
        }
        before = now;
    }
    Err(format!("the server still computes ten seconds after {after}").into())
}

/// A session reads its own writes at once; another sees them whole or not at all.
async fn sessions() -> Outcome {
    let server = Server::start(3).await?;
    let (writer, reader) = (server.connect().await?, server.connect().await?);
    run(&writer, "CREATE TABLE t (a BIGINT)").await?;
    run(&writer, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM t").await?;
    for round in 1..=200_i64 {
        run(&writer, &format!("BEGIN; INSERT INTO t VALUES ({round}); INSERT INTO t VALUES (-{round}); COMMIT")).await?;
        let own = value(&writer, "SELECT c FROM v").await?.unwrap_or_default();
        let other: i64 = value(&reader, "SELECT c FROM v").await?.unwrap_or_default().parse()?;
        if own != (2 * round).to_string() || other % 2 != 0 {
            return Err(format!("after {round} commits the writer saw {own} rows and the reader {other}").into());
        }
    }
    Ok(())
}

/// After an error a transaction takes nothing but its end, and leaves nothing.
async fn failed_transaction() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a INT)").await?;
    run(&client, "BEGIN; INSERT INTO t VALUES (1)").await?;
    let code = |result: Result<(), tokio_postgres::Error>| result.err().and_then(|error| error.code().map(|code| code.code().to_owned()));
    let codes = (code(client.batch_execute("SELECT nope").await), code(client.batch_execute("SELECT 1").await));
    if codes != (Some("42703".to_owned()), Some("25P02".to_owned())) {
        return Err(format!("the two errors were {codes:?}").into());
    }
    run(&client, "ROLLBACK").await?;
    match value(&client, "SELECT count(*) FROM t").await?.as_deref() {
        Some("0") => Ok(()),
        other => Err(format!("a failed transaction left {other:?} rows").into()),
    }
}

/// RESET and DISCARD ALL go back to what the client connected with, which poolers rely on, not to what the server would have had.
async fn reset() -> Outcome {
    let server = Server::start(1).await?;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.endpoint().current().0).user("tidemill").dbname("tidemill").application_name("app");
    config.options("-c TimeZone=Europe/Berlin -c search_path=foo,\\ public --statement-timeout=7000 -cjit=tru");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    let names = ["timezone", "search_path", "statement_timeout", "application_name", "jit", "session_authorization"];
    let started = ["Europe/Berlin", "foo, public", "7s", "app", "on", "tidemill"];
    let change =
        "SET timezone = 'UTC'; SET search_path = public; SET statement_timeout = 0; SET application_name = 'other'; SET jit = off;";
    let each: String = names.iter().map(|name| format!("RESET {name};")).collect();
    for back in [each.as_str(), "RESET ALL", "DISCARD ALL", "SET timezone = DEFAULT; RESET ALL"] {
        run(&client, change).await?;
        for statement in back.split_inclusive(';') {
            run(&client, statement).await?;
        }
        for (name, expected) in names.iter().zip(started) {
            let found = value(&client, &format!("SHOW {name}")).await?;
            if found.as_deref() != Some(expected) {
                return Err(format!("{name} is {found:?} after {back}, and was {expected} at the start").into());
            }
        }
    }
    let mut wrong = config;
    wrong.options("-c jit=maybe");
    match wrong.connect(NoTls).await {
        Err(error) if message(&error).starts_with("22023") => Ok(()),
        Err(error) => Err(message(&error).into()),
        Ok(_) => Err("a session began with a setting that is no value".into()),
    }
}

//! Files as sources across restarts: what is read on, and what is another file by then.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::client::{run, value};
use crate::server::{Server, new_directory};
use crate::{Failure, Outcome, Test};

/// A source says what it found within a fraction of a second; a loaded machine may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("files/another-file-was-read-from-its-middle", another_file),
        Test::new("files/a-line-without-its-end", half_a_line),
        Test::new("files/views-that-read-other-columns", other_columns),
    ]
}

/// Views of one source read more and more of its columns, while it grows and the server crashes: each has all rows, and the dead letters stay what
/// they are.
async fn other_columns() -> Outcome {
    let directory = new_directory()?;
    let played = play_columns(&directory.join("log.jsonl")).await;
    std::fs::remove_dir_all(&directory)?;
    played
}

async fn play_columns(path: &Path) -> Outcome {
    let mut written = 0;
    let mut grow = || -> Outcome {
        let text = (written..written + 20_000).map(five_columns).collect::<String>();
        written += 20_000;
        std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())?;
        Ok(())
    };
    grow()?;
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    let columns = "a INT, b TEXT, c INT NOT NULL, d TIMESTAMP, e TEXT";
    run(&client, &format!("CREATE SOURCE s ({columns}) WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE JSON", path.display()))
        .await?;
    run(&client, "CREATE MATERIALIZED VIEW two AS SELECT count(a) || ' ' || sum(a) || ' ' || sum(length(b)) AS answer FROM s").await?;
    wait_for(&client, "SELECT answer FROM two", &expected(20_000).0).await?;

    // One that reads a third, and another one, while more comes.
    grow()?;
    run(&client, "CREATE MATERIALIZED VIEW third AS SELECT count(*) || ' ' || sum(c) AS answer FROM s").await?;
    grow()?;
    run(
        &client,
        "CREATE MATERIALIZED VIEW rest AS SELECT count(d) || ' ' || max(d) || ' ' || sum(length(e)) || ' ' || sum(c) AS answer FROM s",
    )
    .await?;
    let agree = |rows: u32| {
        let (two, third, rest) = expected(rows);
        (
            "SELECT (SELECT answer FROM two) || '; ' || (SELECT answer FROM third) || '; ' || (SELECT answer FROM rest)",
            format!("{two}; {third}; {rest}"),
        )
    };
    let letters = |rows: u32| {
        ("SELECT rows || ' ' || dead_letters FROM tidemill.sources WHERE name = 's'", format!("{} {}", rows - rows / 1_000, rows / 1_000))
    };
    let (sql, answer) = agree(60_000);
    wait_for(&client, sql, &answer).await?;
    let (sql, answer) = letters(60_000);
    wait_for(&client, sql, &answer).await?;

    server.crash(1).await?;
    let client = server.connect().await?;
    for (sql, answer) in [agree(60_000), letters(60_000)] {
        wait_for(&client, sql, &answer).await?;
    }
    run(&client, "CHECKPOINT").await?;
    run(&client, "DROP MATERIALIZED VIEW third").await?;
    grow()?;
    run(&client, "CREATE MATERIALIZED VIEW third AS SELECT count(*) || ' ' || sum(c) AS answer FROM s").await?;
    server.crash(3).await?;
    let client = server.connect().await?;
    for (sql, answer) in [agree(80_000), letters(80_000)] {
        wait_for(&client, sql, &answer).await?;
    }
    Ok(())
}

/// A record; every thousandth has a wrong type in one column or another.
fn five_columns(row: u32) -> String {
    let (c, d) = match row % 2_000 {
        500 => ("\"many\"".to_owned(), "12:00:00"),
        1_500 => (row.to_string(), "noon"),
        _ => (row.to_string(), "12:00:00"),
    };
    format!("{{\"a\":{row},\"b\":\"b{row}\",\"c\":{c},\"d\":\"2024-02-29 {d}\",\"e\":\"e\\u00e9{row}\"}}\n")
}

/// What the views say of so many records.
fn expected(records: u32) -> (String, String, String) {
    let good = || (0..records).filter(|row| row % 1_000 != 500).map(u64::from);
    let (count, sum) = (good().count(), good().sum::<u64>());
    let digits: usize = good().map(|row| row.to_string().len()).sum();
    (
        format!("{count} {sum} {}", digits + count),
        format!("{count} {sum}"),
        format!("{count} 2024-02-29 12:00:00 {} {sum}", digits + 2 * count),
    )
}

/// A file that was exchanged while the server was down was read on from the old one's position.
async fn another_file() -> Outcome {
    let directory = new_directory()?;
    let path = directory.join("log.jsonl");
    let played = play(&path).await;
    std::fs::remove_dir_all(&directory)?;
    played
}

async fn play(path: &Path) -> Outcome {
    std::fs::write(path, lines(1..=1_000))?;
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    let options = format!("WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE JSON", path.display());
    run(&client, &format!("CREATE SOURCE s (n INT) {options}; CREATE TABLE t (n INT) {options}")).await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS rows FROM s").await?;
    let counts = "SELECT (SELECT rows FROM v) || ' ' || count(*) FROM t";
    wait_for(&client, counts, "1000 1000").await?;

    // Grown while the server was down: read on.
    server.terminate().await?;
    std::fs::write(path, lines(1..=1_500))?;
    server.restart(1).await?;
    let client = server.connect().await?;
    wait_for(&client, counts, "1500 1500").await?;

    // Another one of the same name, and longer.
    server.terminate().await?;
    std::fs::write(path, lines(5_000..=9_000))?;
    server.restart(2).await?;
    let client = server.connect().await?;
    let failed = "SELECT count(*) FROM tidemill.sources WHERE status LIKE 'failed: %is not the one that was read before%'";
    wait_for(&client, failed, "2").await?;
    wait_for(&client, counts, "1500 1500").await?;

    // The old one again.
    server.terminate().await?;
    std::fs::write(path, lines(1..=1_600))?;
    server.restart(2).await?;
    wait_for(&server.connect().await?, counts, "1600 1600").await
}

/// A file whose last line was not complete was exchanged, and nobody noticed: the start of the line was joined to the middle of the new file.
async fn half_a_line() -> Outcome {
    let directory = new_directory()?;
    let played = play_half_a_line(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    played
}

async fn play_half_a_line(directory: &Path) -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    let path = |name: &str| directory.join(name);
    for name in ["grows", "rewritten", "rotated"] {
        std::fs::write(path(name), "{\"n\":1}\n{\"n\":")?;
        let options = format!("WITH (connector = 'file', path = '{}') FORMAT PLAIN ENCODE JSON", path(name).display());
        run(&client, &format!("CREATE TABLE {name} (n INT) {options}")).await?;
    }
    let read = "SELECT (SELECT sum(n) FROM grows) || ' ' || (SELECT sum(n) FROM rewritten) || ' ' || (SELECT sum(n) FROM rotated)";
    wait_for(&client, read, "1 1 1").await?;
    let lag = "SELECT sum(lag) FROM tidemill.sources";
    wait_for(&client, lag, "0").await?;

    std::fs::OpenOptions::new().append(true).open(path("grows"))?.write_all(b"2}\n")?;
    std::fs::write(path("rewritten"), "{\"n\":7}\n{\"n\":8}\n{\"n\":9}\n")?;
    std::fs::rename(path("rotated"), path("rotated.1"))?;
    std::fs::write(path("rotated"), "{\"n\":5}\n")?;
    wait_for(&client, read, "3 1 1").await?;
    let failed =
        "SELECT string_agg(name || split_part(status, '\"', 3), ' ' ORDER BY name) FROM tidemill.sources WHERE status LIKE 'failed%'";
    let told =
        "rewritten is not the one that was read before: what stands before byte 8 of it is something else rotated was replaced by another";
    wait_for(&client, failed, told).await
}

fn lines(numbers: impl Iterator<Item = u32>) -> String {
    numbers.fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{{\"n\": {number}}}");
        text
    })
}

/// Asks until a query gives this one value.
pub(crate) async fn wait_for(client: &Client, sql: &str, answer: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = value(client, sql).await?;
        if found.as_deref() == Some(answer) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{sql} gives {found:?}, not {answer}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

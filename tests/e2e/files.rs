//! Files as sources across restarts: what is read on, and what is another file by then.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::client::{run, value};
use crate::server::{Server, new_directory};
use crate::{Failure, Outcome, Test};

/// A source says what it found within a fraction of a second; a loaded machine may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("files/another-file-was-read-from-its-middle", another_file)]
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

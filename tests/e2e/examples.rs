//! The worked examples in `sql/examples`: each runs as it is, and each has a story in `tests/slt/examples` that feeds the same views exact rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::client::rows;
use crate::server::{Server, binary};
use crate::{Failure, Outcome, Test};

/// How long until the last view has its first row: event time must pass hours in some of them, a thousand times faster than the clock.
const PATIENCE: Duration = Duration::from_secs(120);

/// One test for each example, and one for their stories.
pub(crate) fn tests() -> Vec<Test> {
    let mut examples: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/examples"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    examples.sort();
    let mut tests = vec![Test::new("examples/stories-have-the-same-views", {
        let examples = examples.clone();
        || async move { examples.iter().try_for_each(|example| same_views(example)) }
    })];
    for example in examples {
        let name = example.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        tests.push(Test::new(format!("examples/{name}"), move || runs(example)));
    }
    tests
}

/// Runs a file on a server until every view has rows, and nothing went wrong on the way.
async fn runs(example: PathBuf) -> Outcome {
    let server = Server::start(2).await?;
    let (port, _) = server.endpoint().current();
    let url = format!("postgresql://tidemill@127.0.0.1:{port}/tidemill");
    let output = Command::new(binary()).args(["run", "--url", &url]).arg(&example).output()?;
    if !output.status.success() {
        return Err(format!("{} gave {}: {}", example.display(), output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let client = server.connect().await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let empty = names(&client, "SELECT name FROM tidemill.relations WHERE kind = 'materialized view' AND rows = 0").await?;
        if empty.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(server.with_log(format!("views without rows: {empty:?}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (what, sql) in [
        ("failed", "SELECT name || ': ' || failure FROM tidemill.progress WHERE failure IS NOT NULL"),
        ("has row errors", "SELECT name || ': ' || error FROM tidemill.row_errors"),
        ("has dead letters", "SELECT source || ': ' || error FROM tidemill.dead_letters"),
    ] {
        let wrong = names(&client, sql).await?;
        if !wrong.is_empty() {
            return Err(server.with_log(format!("what {what}: {wrong:?}")));
        }
    }
    Ok(())
}

async fn names(client: &Client, sql: &str) -> Result<BTreeSet<String>, Failure> {
    Ok(rows(client, sql).await?.into_iter().flatten().flatten().collect())
}

/// Every view and function of the example stands in its story, but for line breaks.
fn same_views(example: &Path) -> Outcome {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt/examples").join(example.file_name().unwrap_or_default());
    let story = story.with_extension("slt");
    let told = words(&std::fs::read_to_string(&story).map_err(|error| format!("{}: {error}", story.display()))?);
    let text = words(&std::fs::read_to_string(example)?);
    let made = ["CREATE MATERIALIZED VIEW", "CREATE VIEW", "CREATE FUNCTION"];
    let missing: Vec<&str> = text
        .split(';')
        .map(str::trim)
        .filter(|statement| made.iter().any(|word| statement.starts_with(word)) && !told.contains(statement))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{} does not have these of the example: {missing:#?}", story.display()).into()) }
}

/// A text without comments, its words with one blank between them.
fn words(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("--").map_or(line, |(before, _)| before));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

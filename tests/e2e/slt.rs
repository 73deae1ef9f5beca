//! Runs every story in `tests/slt` over the wire: with one worker, with three, and with crashes between its statements.
//!
//! In a story, `statement error` takes a regular expression over `SQLSTATE: message DETAIL: … HINT: …`, or `(SQLSTATE)` alone. A comment
//! line `# no-restart` says that the story needs its session (a transaction, a setting, a cursor) and skips the third run.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Record, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::{Endpoint, Server, connect};
use crate::{Outcome, Test, client};

/// A crash comes before every third statement: often enough to hit each kind of state, seldom enough to finish soon.
const STATEMENTS_PER_CRASH: usize = 3;

/// How a story is run.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    OneWorker,
    ThreeWorkers,
    Crashes,
}

/// Each story in each variant.
pub(crate) fn tests() -> Vec<Test> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut stories = Vec::new();
    collect(&root, &mut stories);
    stories.sort();
    let variants = [(Variant::OneWorker, "1"), (Variant::ThreeWorkers, "3"), (Variant::Crashes, "crash")];
    let mut tests = Vec::new();
    for story in &stories {
        let name = story.strip_prefix(&root).unwrap_or(story).with_extension("");
        for (variant, word) in variants {
            if variant == Variant::Crashes && needs_its_session(story) {
                continue;
            }
            let story = story.clone();
            tests.push(Test::new(format!("slt/{}/{word}", name.display()), move || run(story, variant)));
        }
    }
    tests
}

fn collect(directory: &Path, stories: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            collect(&path, stories);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            stories.push(path);
        }
    }
}

fn needs_its_session(story: &Path) -> bool {
    std::fs::read_to_string(story).is_ok_and(|text| text.lines().any(|line| line.trim() == "# no-restart"))
}

async fn run(story: PathBuf, variant: Variant) -> Outcome {
    let records = sqllogictest::parse_file::<DefaultColumnType>(&story)?;
    let mut server = Server::start(if variant == Variant::ThreeWorkers { 3 } else { 1 }).await?;
    let endpoint = server.endpoint();
    let mut runner = Runner::new(move || {
        let endpoint = endpoint.clone();
        async move { Ok(Session { endpoint, open: None }) }
    });
    // Stories that read files find them here.
    runner.set_var("FILES".to_owned(), format!("{}/tests/slt/files", env!("CARGO_MANIFEST_DIR")));
    let mut statements = 0;
    for record in records {
        if matches!(record, Record::Statement { .. } | Record::Query { .. }) {
            statements += 1;
            if variant == Variant::Crashes && statements % STATEMENTS_PER_CRASH == 0 {
                // Another number of workers each time: state must find its new owners.
                server.crash(1 + statements / STATEMENTS_PER_CRASH % 3).await?;
            }
        }
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        runner.run_async(record).await.map_err(|error| server.with_log(error))?;
    }
    Ok(())
}

/// A connection that is opened when needed, and again after the server has been started anew.
struct Session {
    endpoint: Endpoint,
    open: Option<(u64, Client)>,
}

/// What a story's `statement error` looks at.
#[derive(Debug)]
struct SqlError {
    state: Option<String>,
    text: String,
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SqlError {}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        SqlError { state: error.code().map(|code| code.code().to_owned()), text: client::message(&error) }
    }
}

#[async_trait]
impl AsyncDB for Session {
    type Error = SqlError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlError> {
        let (port, generation) = self.endpoint.current();
        let client = match &mut self.open {
            Some((opened, client)) if *opened == generation => client,
            stale => &mut stale.insert((generation, connect(port).await?)).1,
        };
        let messages = client.simple_query(sql).await?;
        let (mut columns, mut rows, mut count) = (None, Vec::new(), 0);
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => columns = Some(description.len()),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|column| shown(row.get(column))).collect()),
                SimpleQueryMessage::CommandComplete(affected) => count = affected,
                _ => {}
            }
        }
        Ok(match columns {
            Some(columns) => DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {
        self.open = None;
    }

    fn engine_name(&self) -> &str {
        "tidemill"
    }

    fn error_sql_state(error: &SqlError) -> Option<String> {
        error.state.clone()
    }
}

/// A value as stories write it.
fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    }
}

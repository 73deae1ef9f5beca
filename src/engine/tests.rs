//! The engine as a whole, without the wire: what needs a hand in its insides, or in what it has stored.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;

use crate::catalog::{Object, ObjectKind};
use crate::config::ServeOptions;
use crate::connect::{Connector, Positions, Reader, SourceColumn};
use crate::engine::{Engine, Outcome, Startup};
use crate::error::{Error, Result};
use crate::state::Store;
use crate::state::test_directory::TestDirectory;
use crate::types::{STACK_BYTES, SystemClock};

/// Long enough that a test sees only the checkpoints that it asks for.
const NEVER: Duration = Duration::from_secs(3_600);

/// Runs a test on threads of the server's kind.
fn play(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_stack_size(STACK_BYTES).enable_all().build();
    let runtime = runtime.unwrap();
    let played = runtime.block_on(runtime.spawn(test));
    runtime.shutdown_background();
    played.unwrap();
}

async fn open(directory: &Path) -> Arc<Engine> {
    let options = ServeOptions { data_dir: Some(directory.to_owned()), workers: Some(2), ..ServeOptions::default() };
    let mut config = options.resolve().unwrap();
    config.checkpoint_interval = NEVER;
    Engine::open(config, Arc::new(Store::open(directory).unwrap()), Arc::new(SystemClock)).await.unwrap()
}

/// Runs statements in a session of their own. Gives the rows of all, values separated by blanks.
async fn run(engine: &Arc<Engine>, sql: &str) -> Result<Vec<String>> {
    let startup = Startup { user: "test".to_owned(), database: String::new(), parameters: Vec::new(), peer: String::new() };
    let mut session = engine.connect(startup)?;
    let mut answer = Vec::new();
    for statement in session.parse(sql).await? {
        let outcome = session.execute(&statement, None, Vec::new()).await?;
        let Outcome::Rows { rows, .. } = outcome else { continue };
        for batch in rows.try_collect::<Vec<_>>().await? {
            let options = FormatOptions::default().with_null("NULL");
            let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
            answer.extend((0..batch.num_rows()).map(|row| {
                let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
                values.join(" ")
            }));
        }
    }
    Ok(answer)
}

/// What the disk holds at this moment, as after a crash.
fn copied(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copied(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn redefine(directory: &Path, name: &str, change: impl Fn(&mut ObjectKind)) {
    let store = Store::open(directory).unwrap();
    let stored = store.objects().unwrap().into_iter().map(|(_, bytes)| serde_json::from_slice::<Object>(&bytes).unwrap());
    let mut object = stored.into_iter().find(|object| object.name == name).unwrap();
    change(&mut object.kind);
    store.put_objects(&[(object.id, serde_json::to_vec(&object).unwrap())], &[]).unwrap();
}

#[test]
fn a_long_log_was_replayed_as_one_array() {
    play(async {
        let (first, second) = (TestDirectory::new("log_first"), TestDirectory::new("log_second"));
        let engine = open(first.path()).await;
        run(
            &engine,
            "CREATE TABLE t (a INT PRIMARY KEY, b TEXT); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(length(b)) AS l FROM t",
        )
        .await
        .unwrap();
        // Several times what one epoch takes, in transactions that change each other's rows.
        for round in 0..12 {
            run(&engine, &format!("INSERT INTO t SELECT i, repeat('x', 100 + {round}) FROM generate_series({round}, {round} + 20) g (i)"))
                .await
                .unwrap();
            run(&engine, &format!("DELETE FROM t WHERE a = {round}")).await.unwrap();
        }
        let expected = run(&engine, "SELECT * FROM v").await.unwrap();
        copied(first.path(), second.path());
        engine.stop().await;

        let engine = open(second.path()).await;
        assert_eq!(run(&engine, "SELECT * FROM v").await.unwrap(), expected);
        assert_eq!(run(&engine, "SELECT count(*), sum(length(b)) FROM t").await.unwrap(), expected);
        engine.stop().await;
    });
}

#[test]
fn a_definition_that_cannot_be_planned_stopped_the_start() {
    play(async {
        let (first, second, third) = (TestDirectory::new("plan_1"), TestDirectory::new("plan_2"), TestDirectory::new("plan_3"));
        let engine = open(first.path()).await;
        let script = "CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2);
            CREATE MATERIALIZED VIEW broken AS SELECT sum(a) AS s FROM t;
            CREATE MATERIALIZED VIEW above AS SELECT s + 1 AS s FROM broken;
            CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM t;
            CREATE SOURCE numbers (n INT DEFAULT 7) WITH (connector = 'datagen', datagen.rows.per.second = '1');
            CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM numbers; FLUSH";
        run(&engine, script).await.unwrap();
        engine.stop().await;
        copied(first.path(), second.path());

        redefine(second.path(), "broken", |kind| {
            if let ObjectKind::MaterializedView(view) = kind {
                view.query = "SELECT no_such_function(a) AS s FROM t".to_owned();
            }
        });
        redefine(second.path(), "numbers", |kind| {
            if let ObjectKind::Source(source) = kind {
                source.columns[0].default = Some("no_such_function()".to_owned());
            }
        });
        let engine = open(second.path()).await;
        run(&engine, "INSERT INTO t VALUES (3)").await.unwrap();
        assert_eq!(run(&engine, "SELECT n FROM other").await.unwrap(), ["3"]);
        let error = run(&engine, "SELECT s FROM broken").await.unwrap_err();
        assert_eq!(error.message(), "materialized view \"broken\" has failed");
        let detail = error.detail_text().unwrap();
        assert!(detail.starts_with("its query cannot be planned any more: ") && detail.contains("no_such_function"), "{detail}");
        let error = run(&engine, "SELECT s FROM above").await.unwrap_err();
        assert_eq!(error.message(), "materialized view \"above\" has failed");
        let shown = "SELECT name, status, failure LIKE '%no_such_function%' FROM tidemill.progress WHERE name = 'broken'";
        assert_eq!(run(&engine, shown).await.unwrap(), ["broken failed true"]);
        let status = "SELECT status LIKE 'failed: %no_such_function%' FROM tidemill.sources WHERE name = 'numbers'";
        wait_for(&engine, status, "true").await;
        engine.stop().await;
        copied(second.path(), third.path());

        // A version that can plan it again computes it anew: what was stored of it is of another epoch.
        redefine(third.path(), "broken", |kind| {
            if let ObjectKind::MaterializedView(view) = kind {
                view.query = "SELECT sum(a) AS s FROM t".to_owned();
            }
        });
        let engine = open(third.path()).await;
        assert_eq!(run(&engine, "SELECT s FROM broken; SELECT s FROM above").await.unwrap(), ["6", "7"]);
        engine.stop().await;
    });
}

async fn wait_for(engine: &Arc<Engine>, sql: &str, answer: &str) {
    let asked = async {
        while run(engine, sql).await.unwrap() != [answer] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap_or_else(|_| panic!("{sql} does not become {answer}"));
}

/// Cannot be read.
struct Refuses;

impl Connector for Refuses {
    fn columns(&self) -> &[SourceColumn] {
        &[]
    }

    fn start(&self, _from: &Positions, _until: Option<&Positions>) -> Result<Box<dyn Reader>> {
        Err(Error::internal("not today"))
    }
}

#[test]
fn a_view_that_could_not_be_created_left_a_source_running() {
    play(async {
        let directory = TestDirectory::new("refused");
        let engine = open(directory.path()).await;
        let options = "WITH (connector = 'datagen', datagen.rows.per.second = '1')";
        run(&engine, &format!("CREATE SOURCE a (n INT) {options}; CREATE SOURCE b (n INT) {options}")).await.unwrap();
        let id = engine.catalog().find_in("public", "b").unwrap().id;
        engine.sources.write().get_mut(&id).unwrap().recipe.connector = Arc::new(Refuses);
        let error = run(&engine, "CREATE MATERIALIZED VIEW v AS SELECT n FROM a UNION ALL SELECT n FROM b").await.unwrap_err();
        assert_eq!(error.message(), "not today");
        assert_eq!(run(&engine, "SELECT name, status FROM tidemill.sources ORDER BY name").await.unwrap(), ["a idle", "b idle"]);
        assert_eq!(run(&engine, "SELECT count(*) FROM tidemill.progress").await.unwrap(), ["0"]);
        assert!(engine.relations.lock().is_empty() && engine.views.read().is_empty());
        engine.stop().await;
    });
}

/// What a session is told while it executes a statement.
async fn told(engine: &Arc<Engine>, sql: &str) -> Vec<String> {
    let startup = Startup { user: "test".to_owned(), database: String::new(), parameters: Vec::new(), peer: String::new() };
    let mut session = engine.connect(startup).unwrap();
    for statement in session.parse(sql).await.unwrap() {
        session.execute(&statement, None, Vec::new()).await.unwrap();
    }
    let told = session.take_notices().into_iter().filter(|notice| !notice.error.message().ends_with("skipping"));
    told.map(|notice| format!("{} HINT: {}", notice.error.message(), notice.error.hint_text().unwrap_or_default())).collect()
}

#[test]
fn state_that_grows_for_ever_is_told_with_what_would_bound_it() {
    play(async {
        let directory = TestDirectory::new("unbounded");
        let engine = open(directory.path()).await;
        let tables = "CREATE TABLE a (id INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds');
            CREATE TABLE b (id INT, ts TIMESTAMPTZ) APPEND ONLY;
            CREATE TABLE c (id INT) APPEND ONLY;
            CREATE TABLE d (id INT PRIMARY KEY, at TIMESTAMP)";
        run(&engine, tables).await.unwrap();

        let told_of =
            async |query: &str| told(&engine, &format!("DROP MATERIALIZED VIEW IF EXISTS v; CREATE MATERIALIZED VIEW v AS {query}")).await;
        let unbounded = told_of("SELECT a.id, b.ts FROM a JOIN b ON a.id = b.id").await;
        assert_eq!(unbounded.len(), 1, "{unbounded:?}");
        assert!(unbounded[0].starts_with(r#"the state of "Join on id = id" grows for ever: "at" and "ts" would bound it HINT: Declare WATERMARK FOR ts AS ts - INTERVAL '5 seconds' for "b". Say in the condition how far"#), "{unbounded:?}");
        let unbounded = told_of("SELECT a.id FROM a, c WHERE a.id = c.id").await;
        assert!(unbounded[0].contains(r#"Give "c" a timestamp column and a watermark, or WITH (retention = '1 day')."#), "{unbounded:?}");
        let unbounded = told_of("SELECT count(DISTINCT id), ts FROM b GROUP BY ts").await;
        assert!(unbounded[0].contains(r#"GROUP BY a window of "ts""#), "{unbounded:?}");
        let unbounded = told_of("SELECT id, ntile(4) OVER (PARTITION BY id ORDER BY at) FROM a").await;
        assert!(
            unbounded[0].contains(r#"nothing that it keeps goes by "at", which event time passes HINT: ORDER BY "at", with frames"#),
            "{unbounded:?}"
        );
        assert!(unbounded[0].contains(r#"PARTITION BY a window of "at""#), "{unbounded:?}");

        let unbounded = told_of("SELECT id, max(at) FROM a GROUP BY id").await;
        assert!(unbounded[0].contains(r#"Or make "a" APPEND ONLY"#), "{unbounded:?}");

        // A time that has a watermark already bounds nothing by having one; and expressions read as they were written.
        let unbounded = told_of("SELECT x.id, y.id AS other FROM a AS x JOIN a AS y ON x.id = y.id AND x.at < y.at").await;
        assert!(unbounded[0].contains(r#"grows for ever: nothing that it keeps goes by "at", which event time passes"#), "{unbounded:?}");
        let later = "ts + INTERVAL '10 seconds' AS later, date_bin('5 minutes', ts, TIMESTAMPTZ '2000-01-01') AS bin, ts::date AS day";
        let unbounded = told_of(&format!("SELECT {later}, count(*) AS n FROM b GROUP BY 1, 2, 3")).await;
        let by = "\"Aggregate by (ts + interval '00:00:10', date_bin(interval '00:05:00', ts, timestamp with time zone '2000-01-01 00:00:00+00'), ts::date): count(*)\"";
        assert!(unbounded[0].contains(by), "{unbounded:?}");

        let bounded = [
            "SELECT id, count(*), sum(id) FROM a GROUP BY id",
            "SELECT id, count(*), max(ts) FROM b GROUP BY id",
            "SELECT DISTINCT id FROM c",
            "SELECT d.at, count(*) AS n, count(DISTINCT d.id) AS different FROM d JOIN d AS e ON d.at = e.at GROUP BY d.at",
            "SELECT window_start, count(*) FROM TUMBLE(a, at, INTERVAL '1 minute') GROUP BY window_start",
            "SELECT a.id FROM a JOIN a AS b ON a.id = b.id AND b.at BETWEEN a.at AND a.at + INTERVAL '1 minute'",
            "SELECT id, row_number() OVER (PARTITION BY id ORDER BY at) FROM a",
            "SELECT id, lag(id) OVER (ORDER BY at), sum(id) OVER (ORDER BY at RANGE INTERVAL '1 hour' PRECEDING) FROM a",
            "SELECT id, row_number() OVER (ORDER BY ts) FROM b WHERE ts > now() - INTERVAL '1 hour'",
            "SELECT * FROM b ORDER BY ts DESC LIMIT 10",
        ];
        for query in bounded {
            assert_eq!(told_of(query).await, Vec::<String>::new(), "{query}");
        }
        let patient = "CREATE MATERIALIZED VIEW p WITH (allowed_lateness = '5 seconds') AS";
        let without_effect = told(&engine, &format!("{patient} SELECT id, count(*) AS n FROM a GROUP BY id")).await;
        assert!(without_effect[0].starts_with("allowed_lateness has no effect"), "{without_effect:?}");
        let window = "SELECT window_start, count(*) AS n FROM TUMBLE(a, at, '1 minute') GROUP BY window_start";
        assert_eq!(told(&engine, &format!("DROP MATERIALIZED VIEW p; {patient} {window}")).await, Vec::<String>::new());
        let ahead = told(&engine, "CREATE TABLE f (ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts + INTERVAL '5 seconds')").await;
        assert!(ahead[0].starts_with(r#"the watermark of "ts" runs ahead of it"#), "{ahead:?}");
        let silent =
            told(&engine, "SET client_min_messages = warning; CREATE MATERIALIZED VIEW w AS SELECT a.id FROM a JOIN b ON a.id = b.id")
                .await;
        assert_eq!(silent, Vec::<String>::new());
        engine.stop().await;
    });
}

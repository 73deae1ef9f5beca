//! Texts and what they parse to; mistakes and where they are.

use super::{
    Copy, CopySubject, CreateTable, CreateView, Discard, DropKind, ExplainKind, Insert, InsertConflict, Parsed, Show, Statement,
    is_default, parse,
};
use crate::error::{Error, Kind};
use crate::types::{CopyKind, Include, OnConflict};

/// The only statement in `text`.
fn one(text: &str) -> Statement {
    let mut parsed = parse(text).unwrap_or_else(|error| panic!("{text}: {error} at {:?}", error.position()));
    assert_eq!(parsed.len(), 1, "{text}");
    parsed.remove(0).statement
}

fn table(text: &str) -> CreateTable {
    match one(text) {
        Statement::CreateTable(table) | Statement::CreateSource(table) => table,
        other => panic!("{text}: {other:?}"),
    }
}

fn view(text: &str) -> CreateView {
    match one(text) {
        Statement::CreateView(view) | Statement::CreateMaterializedView(view) => view,
        other => panic!("{text}: {other:?}"),
    }
}

fn insert(text: &str) -> Insert {
    match one(text) {
        Statement::Insert(insert) => *insert,
        other => panic!("{text}: {other:?}"),
    }
}

fn copy(text: &str) -> Copy {
    match one(text) {
        Statement::Copy(copy) => copy,
        other => panic!("{text}: {other:?}"),
    }
}

fn error(text: &str) -> Error {
    match parse(text) {
        Err(error) => error,
        Ok(parsed) => panic!("{text}: {parsed:?}"),
    }
}

#[test]
fn splits_at_semicolons_only() {
    let text = "-- först\nSELECT ';' ; ;\n  /* ü */ SHOW \"a;b\";COMMIT -- x;\n";
    let parts: Vec<(String, usize)> = parse(text).unwrap().into_iter().map(|Parsed { text, offset, .. }| (text, offset)).collect();
    assert_eq!(parts, [("SELECT ';'".to_owned(), 9), ("SHOW \"a;b\"".to_owned(), 34), ("COMMIT".to_owned(), 45)]);
    for empty in ["", "  \n", ";", " ; ; ", "-- nothing", "/* nothing; */"] {
        assert!(parse(empty).unwrap().is_empty(), "{empty:?}");
    }
}

#[test]
fn mistakes_are_told_as_postgresql_tells_them() {
    let cases = [
        ("SELEC 1", "syntax error at or near \"SELEC\"", 1),
        ("SELECT 1; SELECT 'ü' FORM t", "syntax error at or near \"t\"", 27),
        ("SELECT 1 FROM", "syntax error at end of input", 14),
        ("SELECT (1 + ", "syntax error at end of input", 12),
        ("SELECT\n  1 +\n  )", "syntax error at or near \")\"", 16),
        ("CREATE TABLE t (a int,)", "syntax error at or near \")\"", 23),
        ("CREATE TABLE t (a)", "syntax error at or near \")\"", 18),
        ("CREATE TABLE select (a int)", "syntax error at or near \"select\"", 14),
        ("CREATE VIEW v AS SELECT 1 FROM ,", "syntax error at or near \",\"", 32),
        ("CREATE VIEW v AS", "syntax error at end of input", 17),
        ("CREATE BANANA b", "syntax error at or near \"BANANA\"", 8),
        ("PREPARE p AS SELECT )", "syntax error at or near \")\"", 21),
        ("PREPARE p AS COMMIT", "syntax error at or near \"COMMIT\"", 14),
        ("INSERT t VALUES (1)", "syntax error at or near \"t\"", 8),
        ("SET x", "syntax error at end of input", 6),
        ("FETCH 1 FROM c d", "syntax error at or near \"d\"", 16),
        ("SELECT 'abc", "unterminated quoted string at or near \"'abc\"", 8),
        ("SELECT \"abc", "unterminated quoted identifier at or near \"\"abc\"", 8),
        ("SELECT 1 /* x", "unterminated /* comment at or near \"/* x\"", 10),
        ("COPY t FROM STDIN WITH", "syntax error at end of input", 23),
    ];
    for (text, message, position) in cases {
        let error = error(text);
        assert_eq!((error.kind(), error.message(), error.position()), (Kind::Syntax, message, Some(position)), "{text}");
        assert!(!error.detail_text().unwrap_or_default().contains("Line:"), "{text}: {:?}", error.detail_text());
    }
}

#[test]
fn refusals_name_the_construct() {
    let cases = [
        ("CREATE UNIQUE INDEX i ON t (a)", "CREATE UNIQUE INDEX is not supported yet"),
        ("CREATE SINK k FROM t WITH (connector = 'kafka')", "CREATE SINK … WITH (connector = …) is not supported yet"),
        ("CREATE FUNCTION f() RETURNS SETOF int", "RETURNS SETOF is not supported yet"),
        ("DROP AGGREGATE f", "DROP AGGREGATE is not supported yet"),
        ("ALTER ROLE r SUPERUSER", "ALTER ROLE is not supported yet"),
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", "ALTER COLUMN is not supported yet"),
        ("GRANT SELECT ON t TO x", "GRANT is not supported yet"),
        ("SUBSCRIBE TO v", "SUBSCRIBE is not supported yet"),
        ("CREATE SECRET s", "CREATE SECRET is not supported yet"),
        ("CREATE TEMP TABLE t (a int)", "a temporary table or view is not supported yet"),
        ("CREATE TABLE t (a int UNIQUE)", "a UNIQUE constraint is not supported yet"),
        ("CREATE TABLE t (a int, CHECK (a > 0))", "a CHECK constraint is not supported yet"),
        ("CREATE TABLE t (a int, CONSTRAINT c FOREIGN KEY (a) REFERENCES u)", "a FOREIGN KEY constraint is not supported yet"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE is not supported yet"),
        ("EXPLAIN (ANALYZE) SELECT 1", "EXPLAIN ANALYZE is not supported yet"),
        ("SELECT * FROM a.b.c", "cross-database references are not implemented: \"a.b.c\""),
        ("CREATE TABLE a.b.c (x int)", "cross-database references are not implemented: \"a.b.c\""),
        ("WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x", "DELETE within a query is not supported yet"),
        ("SELECT a INTO u FROM t", "SELECT INTO is not supported yet"),
        ("COPY t FROM '/etc/passwd'", "COPY with a file or program on the server is not supported yet"),
        ("COMMIT AND CHAIN", "AND CHAIN is not supported yet"),
    ];
    for (text, message) in cases {
        let error = error(text);
        assert_eq!((error.kind(), error.message()), (Kind::NotSupported, message), "{text}");
    }
}

#[test]
fn deep_nesting_is_refused_and_nested_calls_stay_fast() {
    let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(error(&nested(10_000)).kind(), Kind::TooComplex);
    assert_eq!(error(&format!("SELECT 1{}", " + 1".repeat(100_000))).kind(), Kind::TooComplex);
    one(&nested(20));
    one(&format!("SELECT {}1{}", "abs(".repeat(30), ")".repeat(30)));
    one(&format!("SELECT 1{}", " OR a = 1".repeat(1_000)));
}

#[test]
fn a_table_with_every_clause() {
    let table = table(
        "CREATE TABLE IF NOT EXISTS S.\"T\" (
            id BIGINT, Name text NOT NULL DEFAULT 'x', ts TIMESTAMPTZ NULL, n int DEFAULT 1 NOT NULL,
            cents BIGINT GENERATED ALWAYS AS (price * 100) STORED, twice BIGINT AS cents * 2,
            CONSTRAINT pk PRIMARY KEY (id, name), WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
        ) APPEND ONLY ON CONFLICT DO UPDATE FULL INCLUDE KEY INCLUDE OFFSET AS Position
        WITH (connector = 'kafka', properties.bootstrap.server = 'h:9092', scan.limit = -1, flag = TRUE)
        FORMAT plain ENCODE json (a.b = 'c')",
    );
    assert_eq!((table.name.schema.as_deref(), table.name.name.as_str(), table.name.position), (Some("s"), "T", 28));
    assert!(table.if_not_exists && table.append_only);
    let columns: Vec<_> = table.columns.iter().map(|c| (c.name.as_str(), c.not_null, c.default.is_some(), c.generated.is_some())).collect();
    assert_eq!(
        columns,
        [
            ("id", false, false, false),
            ("name", true, true, false),
            ("ts", false, false, false),
            ("n", true, true, false),
            ("cents", false, false, true),
            ("twice", false, false, true),
        ]
    );
    assert_eq!(table.columns[3].default.as_ref().unwrap().to_string(), "1");
    assert_eq!(table.key, ["id", "name"]);
    assert_eq!(table.on_conflict, Some(OnConflict::Overwrite));
    assert_eq!(table.include, [(Include::Key, "tm_key".to_owned()), (Include::Offset, "position".to_owned())]);
    let options: Vec<_> = table.options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [("connector", "kafka"), ("flag", "true"), ("properties.bootstrap.server", "h:9092"), ("scan.limit", "-1")];
    assert_eq!(options, expected);
    assert_eq!((table.format.as_deref(), table.encode.as_deref()), (Some("PLAIN"), Some("JSON")));
    assert_eq!(table.encode_options["a.b"], "c");
    assert_eq!(table.watermark.unwrap().0, "ts");
}

#[test]
fn tables_in_short() {
    let of_query = table("CREATE TABLE t (a, b) AS SELECT 1, 2");
    assert_eq!(of_query.columns.len(), 2);
    assert!(of_query.query.is_some());
    assert!(table("CREATE SOURCE s WITH (connector = 'kafka') FORMAT PLAIN ENCODE JSON").columns.is_empty());
    assert_eq!(table("CREATE TABLE tidemill.public.t (id int primary key)").key, ["id"]);
    assert_eq!(table("CREATE TABLE t (id int PRIMARY KEY) ON CONFLICT DO NOTHING").on_conflict, Some(OnConflict::DoNothing));
    let cases = [
        ("CREATE TABLE t (a int, A int)", Kind::DuplicateColumn),
        ("CREATE TABLE t (a int, PRIMARY KEY (b))", Kind::UndefinedColumn),
        ("CREATE TABLE t (a int PRIMARY KEY, PRIMARY KEY (a))", Kind::InvalidTableDefinition),
        ("CREATE TABLE t (a int) WITH (x = 1, X = 2)", Kind::Syntax),
    ];
    for (text, kind) in cases {
        assert_eq!(error(text).kind(), kind, "{text}");
    }
}

#[test]
fn views_keep_their_querys_text() {
    let plain = view("CREATE VIEW v AS SELECT 1");
    assert_eq!((plain.query_text.as_str(), plain.query_offset), ("SELECT 1", 17));
    let text = "/*x*/ CREATE OR REPLACE MATERIALIZED VIEW IF NOT EXISTS ü (A, b) WITH (k = 'v')\nAS  SELECT a, 'ö'\n FROM t EMIT ON WINDOW CLOSE ;";
    let full = view(text);
    assert_eq!(full.query_text, "SELECT a, 'ö'\n FROM t");
    assert_eq!(full.query_offset, 78);
    assert!(full.emit_on_window_close && full.or_replace && full.if_not_exists);
    assert_eq!(full.columns, ["a", "b"]);
    assert_eq!(full.query.to_string(), "SELECT a, 'ö' FROM t");
    assert_eq!(view("CREATE VIEW v AS TABLE t").query.to_string(), "SELECT * FROM t");
    assert_eq!(view("CREATE VIEW v AS SELECT * FROM tidemill.s.t").query.to_string(), "SELECT * FROM s.t");
}

#[test]
fn rows() {
    let full = insert(
        "INSERT INTO s.T (A, \"B\") VALUES (1, DEFAULT), (2, 'x') ON CONFLICT (a) DO UPDATE SET b = excluded.b WHERE t.b < 3 RETURNING *",
    );
    assert_eq!((full.table.schema.as_deref(), full.table.name.as_str(), full.table.position), (Some("s"), "t", 13));
    assert_eq!(full.columns, ["a", "B"]);
    assert_eq!(full.conflict_target, ["a"]);
    assert!(matches!(full.on_conflict, Some(InsertConflict::DoUpdate { ref assignments, condition: Some(_) }) if assignments[0].0 == "b"));
    assert_eq!(full.returning.unwrap().len(), 1);
    let source = full.source.unwrap();
    let sqlparser::ast::SetExpr::Values(values) = *source.body else { panic!("not VALUES") };
    assert!(is_default(&values.rows[0][1]) && !is_default(&values.rows[1][1]));
    assert!(insert("INSERT INTO t DEFAULT VALUES").source.is_none());
    assert!(matches!(insert("INSERT INTO t SELECT * FROM u ON CONFLICT DO NOTHING").on_conflict, Some(InsertConflict::DoNothing)));
    assert!(matches!(one("UPDATE t SET a = DEFAULT FROM u WHERE t.id = u.id RETURNING t.a"), Statement::Update(_)));
    assert!(matches!(one("DELETE FROM t USING u WHERE t.id = u.id"), Statement::Delete(_)));
    assert!(matches!(one("TRUNCATE TABLE a, s.b"), Statement::Truncate { names } if names.len() == 2));
    assert_eq!(error("DELETE FROM t WHERE true LIMIT 1").kind(), Kind::Syntax);
    assert_eq!(error("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1").kind(), Kind::Syntax);
}

#[test]
fn drops_and_schemas() {
    let Statement::Drop { kind, names, if_exists, cascade } = one("DROP MATERIALIZED VIEW IF EXISTS a, \"B\".c CASCADE") else {
        panic!("not DROP")
    };
    assert_eq!((kind, names.len(), if_exists, cascade), (DropKind::MaterializedView, 2, true, true));
    assert!(matches!(one("DROP TABLE t RESTRICT"), Statement::Drop { kind: DropKind::Table, cascade: false, .. }));
    assert!(matches!(one("CREATE SCHEMA IF NOT EXISTS s"), Statement::CreateSchema { if_not_exists: true, .. }));
}

#[test]
fn explain_chooses_by_what_is_explained() {
    let cases = [
        ("EXPLAIN SELECT 1", ExplainKind::Physical),
        ("EXPLAIN (SELECT 1)", ExplainKind::Physical),
        ("EXPLAIN VERBOSE SELECT 1", ExplainKind::Physical),
        ("EXPLAIN (logical) SELECT 1", ExplainKind::Logical),
        ("EXPLAIN (COSTS OFF, incremental, FORMAT TEXT) SELECT 1", ExplainKind::Incremental),
        ("EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT 1", ExplainKind::Incremental),
    ];
    for (text, expected) in cases {
        assert!(matches!(one(text), Statement::Explain { kind, .. } if kind == expected), "{text}");
    }
}

#[test]
fn copies_old_and_new() {
    let csv = copy("COPY s.t (a, b) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'NULL', QUOTE '''')");
    assert!(csv.from_client && matches!(csv.subject, CopySubject::Relation { ref columns, .. } if columns.len() == 2));
    let format = csv.format;
    assert_eq!((format.kind, format.delimiter, format.null.as_str(), format.header), (CopyKind::Csv, b';', "NULL", true));
    assert_eq!((format.quote, format.escape), (b'\'', b'\''));
    let old = copy("COPY t TO STDOUT CSV HEADER DELIMITER AS '|' NULL AS 'x'").format;
    assert_eq!((old.kind, old.delimiter, old.null.as_str(), old.header), (CopyKind::Csv, b'|', "x", true));
    let text = copy("COPY (SELECT 1) TO STDOUT").format;
    assert_eq!((text.kind, text.delimiter, text.null.as_str()), (CopyKind::Text, b'\t', "\\N"));
    assert_eq!(copy("COPY t FROM STDIN BINARY").format.kind, CopyKind::Binary);
    assert_eq!(copy("COPY t FROM STDIN (FORMAT 'binary')").format.kind, CopyKind::Binary);
    for text in ["COPY t TO STDOUT (FORMAT csv, DELIMITER 'ab')", "COPY t TO STDOUT (QUOTE 'a')", "COPY t TO STDOUT (FORMAT xml)"] {
        error(text);
    }
}

#[test]
fn settings() {
    let cases = [
        ("SET x = 1", "x", Some("1"), false),
        ("SET X.Y TO 'A b'", "x.y", Some("A b"), false),
        ("SET SESSION datestyle = ISO, MDY", "datestyle", Some("iso, mdy"), false),
        ("SET LOCAL a = -1.5", "a", Some("-1.5"), true),
        ("SET a TO DEFAULT", "a", None, false),
        ("SET extra = on", "extra", Some("on"), false),
        ("SET TIME ZONE 'Europe/Berlin'", "timezone", Some("Europe/Berlin"), false),
        ("SET LOCAL TIME ZONE LOCAL", "timezone", None, true),
        ("SET NAMES 'utf8'", "client_encoding", Some("utf8"), false),
        ("SET search_path TO \"$user\", Public", "search_path", Some("\"$user\", public"), false),
        ("SET ROLE NONE", "role", None, false),
    ];
    for (text, expected, expected_value, expected_local) in cases {
        let Statement::Set { name, value, local } = one(text) else { panic!("{text}") };
        assert_eq!((name.as_str(), value.as_deref(), local), (expected, expected_value, expected_local), "{text}");
    }
    for (text, setting) in [
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY", ("transaction_read_only", "on", true)),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", ("default_transaction_read_only", "off", false)),
    ] {
        let Statement::Set { name, value, local } = one(text) else { panic!("{text}") };
        assert_eq!((name.as_str(), value.as_deref().unwrap_or_default(), local), setting, "{text}");
    }
    assert!(matches!(one("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), Statement::NoOperation("SET")));
    assert!(matches!(one("RESET ALL"), Statement::Reset { name: None }));
    assert!(matches!(one("RESET TIME ZONE"), Statement::Reset { name: Some(name) } if name == "timezone"));
}

#[test]
fn shows() {
    let objects = |kind: &str, like: Option<&str>| Show::Objects { kind: kind.to_owned(), like: like.map(str::to_owned) };
    let cases = [
        ("SHOW Server_Version", Show::Setting("server_version".to_owned())),
        ("SHOW TIME ZONE", Show::Setting("timezone".to_owned())),
        ("SHOW TRANSACTION ISOLATION LEVEL", Show::Setting("transaction_isolation".to_owned())),
        ("SHOW ALL", Show::AllSettings),
        ("SHOW TABLES", objects("tables", None)),
        ("SHOW tables LIKE 'a%'", objects("tables", Some("a%"))),
        ("SHOW MATERIALIZED VIEWS", objects("materialized views", None)),
        ("SHOW SOURCES", objects("sources", None)),
    ];
    for (text, expected) in cases {
        assert!(matches!(one(text), Statement::Show(show) if show == expected), "{text}");
    }
    for text in ["SHOW COLUMNS FROM t", "DESCRIBE t", "DESC TABLE t", "DESCRIBE source"] {
        assert!(matches!(one(text), Statement::Show(Show::Columns(_))), "{text}");
    }
    assert!(matches!(one("SHOW CREATE MATERIALIZED VIEW s.v"), Statement::Show(Show::Create(name)) if name.name == "v"));
}

#[test]
fn transactions_and_cursors() {
    for text in ["BEGIN", "BEGIN WORK", "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION READ ONLY, NOT DEFERRABLE"] {
        assert!(matches!(one(text), Statement::Begin { .. }), "{text}");
    }
    assert!(matches!(one("END TRANSACTION"), Statement::Commit));
    assert!(matches!(one("ABORT"), Statement::Rollback));
    assert!(matches!(one("ROLLBACK TO SAVEPOINT s"), Statement::RollbackTo(name) if name == "s"));
    let Statement::Declare { name, hold, binary, query } = one("DECLARE \"C 1\" BINARY NO SCROLL CURSOR WITH HOLD FOR SELECT 1") else {
        panic!("not DECLARE")
    };
    assert_eq!((name.as_str(), hold, binary, query.text.as_str(), query.offset), ("C 1", true, true, "SELECT 1", 52));
    let cases = [
        ("FETCH c", Some(1), false),
        ("FETCH NEXT FROM c", Some(1), false),
        ("FETCH 10 c", Some(10), false),
        ("FETCH FORWARD 10 IN c", Some(10), false),
        ("FETCH FORWARD ALL FROM c", None, false),
        ("FETCH ALL FROM c", None, false),
        ("MOVE 0 FROM c", Some(0), true),
        ("FETCH next", Some(1), false),
    ];
    for (text, expected, expected_skip) in cases {
        assert!(matches!(one(text), Statement::Fetch { count, skip, .. } if (count, skip) == (expected, expected_skip)), "{text}");
    }
    assert_eq!(error("FETCH BACKWARD 1 FROM c").kind(), Kind::ObjectState);
    assert!(matches!(one("CLOSE ALL"), Statement::Close { name: None }));
}

#[test]
fn prepared_statements_and_the_rest() {
    let parsed = parse("FLUSH; PREPARE p (int, text) AS INSERT INTO t VALUES ($1, $2)").unwrap();
    let Statement::Prepare { types, statement, .. } = &parsed[1].statement else { panic!("not PREPARE") };
    assert_eq!((types.len(), statement.text.as_str(), statement.offset), (2, "INSERT INTO t VALUES ($1, $2)", 32));
    assert!(matches!(one("EXECUTE p (1, 'x')"), Statement::Execute { arguments, .. } if arguments.len() == 2));
    assert!(matches!(one("DEALLOCATE PREPARE ALL"), Statement::Deallocate { name: None }));
    assert!(matches!(one("DISCARD PLANS"), Statement::Discard(Discard::Plans)));
    for (text, tag) in [("LISTEN c", "LISTEN"), ("UNLISTEN *", "UNLISTEN"), ("NOTIFY c, 'x'", "NOTIFY"), ("VACUUM (FULL) t", "VACUUM")] {
        assert!(matches!(one(text), Statement::NoOperation(found) if found == tag), "{text}");
    }
}

#[test]
fn queries() {
    let cases = [
        ("TABLE t", "SELECT * FROM t"),
        ("SELECT 'a'\n'b'", "SELECT 'ab'"),
        ("(SELECT 1) UNION ALL TABLE s.t", "(SELECT 1) UNION ALL SELECT * FROM s.t"),
        ("VALUES (1), (2)", "VALUES (1), (2)"),
        ("SELECT a NOTNULL FROM Tidemill.s.t", "SELECT a IS NOT NULL FROM s.t"),
    ];
    for (text, expected) in cases {
        let Statement::Query(query) = one(text) else { panic!("{text}") };
        assert_eq!(query.to_string(), expected, "{text}");
    }
}

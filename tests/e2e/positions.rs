//! Typical mistakes: each has PostgreSQL's SQLSTATE, and a place in the text wherever PostgreSQL 15 tells one, so that clients show a caret.

use tokio_postgres::error::ErrorPosition;

use crate::client::{message, run};
use crate::server::Server;
use crate::{Outcome, Test};

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("positions", positions)]
}

/// A statement, what PostgreSQL's error is, and the place that it tells, counted from 1.
const MISTAKES: &[(&str, &str, Option<u32>)] = &[
    ("SELECT nam FROM t", "42703", Some(8)),
    ("SELECT t.nope FROM t", "42703", Some(8)),
    ("SELECT id FROM t ORDER BY nope", "42703", Some(27)),
    ("SELECT count(*) OVER (PARTITION BY nope) FROM t", "42703", Some(36)),
    ("SELECT * FROM t JOIN u ON t.id = u.nope", "42703", Some(34)),
    ("SELECT * FROM t JOIN u USING (nope)", "42703", None),
    ("INSERT INTO t (id, nope) VALUES (1, 2)", "42703", Some(20)),
    ("UPDATE t SET nope = 1", "42703", Some(14)),
    ("SELECT id FROM t, u", "42702", Some(8)),
    ("SELECT * FROM tt", "42P01", Some(15)),
    ("SELECT x.id FROM t", "42P01", Some(8)),
    ("DELETE FROM nope", "42P01", Some(13)),
    ("DROP TABLE nope", "42P01", None),
    ("SELECT abss(1)", "42883", Some(8)),
    ("SELECT lower(a, a) FROM t", "42883", Some(8)),
    ("SELECT sum(a) FROM t", "42883", Some(8)),
    ("SELECT id + a FROM t", "42883", Some(11)),
    ("SELECT * FROM t WHERE id = a", "42883", Some(26)),
    ("SELECT 1::integr", "42704", Some(11)),
    ("SET no_such_setting = 1", "42704", None),
    ("SELECT a, count(*) FROM t GROUP BY b", "42803", Some(8)),
    ("SELECT id, sum(b) FROM t HAVING b > 1", "42803", Some(8)),
    ("SELECT a FROM t WHERE count(*) > 1", "42803", Some(23)),
    ("SELECT sum(count(*)) FROM t", "42803", Some(12)),
    ("SELECT id FROM t WHERE row_number() OVER () = 1", "42P20", Some(24)),
    ("SELECT id FROM t WHERE id", "42804", Some(24)),
    ("SELECT 1 UNION SELECT 'a'::text", "42804", Some(23)),
    ("INSERT INTO t (id, a) VALUES (1)", "42601", Some(20)),
    ("SELECT t.a IS TRUE FROM t", "42804", Some(8)),
    ("SELECT id[1] FROM t", "42804", Some(8)),
    ("SELECT id LIKE '1' FROM t", "42883", Some(11)),
    ("SELECT id NOT ILIKE '1' FROM t", "42883", Some(11)),
    ("SELECT grouping(id) FROM t", "42803", Some(17)),
    // Which of the values is meant is not known any more when it turns out: the place is that of the word.
    ("SELECT CASE WHEN true THEN 1 ELSE 'a'::text END", "42804", Some(8)),
    ("SELECT coalesce(1, true)", "42804", Some(8)),
    ("SELECT \"ID\" FROM t", "42703", Some(8)),
    ("SELECT id, \"Id\" FROM t", "42703", Some(12)),
    ("SELECT t.\"Id\" FROM t", "42703", Some(8)),
    ("SELECT id FROM t LIMIT id", "42P10", Some(24)),
    ("SELECT id FROM t OFFSET count(*)", "42803", Some(25)),
    ("SELECT '99999999999'::int", "22003", Some(8)),
    ("SELECT - a FROM t", "42883", Some(8)),
    ("SELECT 'a' 'b'", "42601", Some(12)),
    ("SELECT count(*) FROM t GROUP BY count(*)", "42803", Some(33)),
    ("SELECT max(*) FROM t", "42883", Some(8)),
    ("SELECT X'zz'", "22P02", Some(8)),
    ("SELECT a.b.c.d.e FROM t", "42601", Some(8)),
    ("INSERT INTO t (id) VALUES (1) RETURNING count(*)", "42803", Some(41)),
    ("SELECT 1 UNION SELECT 'a'", "22P02", Some(23)),
    ("SELECT coalesce(1, 'a')", "22P02", Some(20)),
    ("SELECT CASE WHEN 1 THEN 2 END", "42804", Some(18)),
    ("SELECT count(*) FROM t HAVING count(*)", "42804", Some(31)),
    ("SELECT * FROM t JOIN u ON 1", "42804", Some(27)),
    ("INSERT INTO t VALUES (true)", "42804", Some(23)),
    ("UPDATE t SET id = true", "42804", Some(19)),
    ("CREATE TABLE n (a INT, b INT GENERATED ALWAYS AS (a) STORED, c INT GENERATED ALWAYS AS (b) STORED)", "42P17", Some(89)),
    ("SELECT 'abc'::int", "22P02", Some(8)),
    ("SELECT * FROM t WHERE id = 'abc'", "22P02", Some(28)),
    ("SELECT id FROM t LIMIT 'x'", "22P02", Some(24)),
    ("SELECT INTERVAL 'foo'", "22007", Some(17)),
    ("SELECT DATE '2020-02-30'", "22008", Some(13)),
    ("SELECT 1 / 0", "22012", None),
    ("SELECT id FROM t ORDER BY 3", "42P10", Some(27)),
    ("SELECT id FROM t GROUP BY 3", "42P10", Some(27)),
    ("SELECT 1 UNION SELECT 1, 2", "42601", Some(23)),
    ("SELECT (SELECT id, a FROM t)", "42601", Some(8)),
    ("SELECT a b c FROM t", "42601", Some(12)),
    ("INSERT INTO t VALUES (1, 'x', 2, 3)", "42601", Some(34)),
    ("UPDATE t SET id = 1, id = 2", "42601", None),
    ("INSERT INTO t (id, id) VALUES (1, 2)", "42701", Some(20)),
    ("CREATE TABLE d (a INT, a INT)", "42701", None),
    ("CREATE TABLE t (id INT)", "42P07", None),
    ("INSERT INTO t (a) VALUES ('x')", "23502", None),
    ("CREATE MATERIALIZED VIEW w WITH (nope = 1) AS SELECT 1 AS one", "22023", None),
    ("SELECT now() + 1", "42883", Some(14)),
    // The second of two: counted from the beginning of both.
    ("SELECT 1; SELECT nope FROM t", "42703", Some(18)),
    ("SELECT 1; SELECT 'abc'::int", "22P02", Some(18)),
];

async fn positions() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, a TEXT, b INT)").await?;
    run(&client, "CREATE TABLE u (id INT PRIMARY KEY, c TEXT)").await?;
    let mut wrong = String::new();
    for (sql, sqlstate, position) in MISTAKES {
        let Err(error) = client.simple_query(sql).await else {
            wrong.push_str(&format!("\n{sql}: no error"));
            continue;
        };
        let told = error.as_db_error().and_then(|told| match told.position() {
            Some(ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        });
        // Where PostgreSQL tells no place, one more does no harm.
        let placed = position.is_none() || told == *position;
        if error.code().map(|code| code.code()) != Some(*sqlstate) || !placed {
            wrong.push_str(&format!("\n{sql}: wanted {sqlstate} at {position:?}, got at {told:?} {}", message(&error)));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

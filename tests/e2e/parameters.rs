//! Parameters: their types as PostgreSQL infers them, and their values, in text and in binary.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::Client;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::client::{message, run};
use crate::server::Server;
use crate::{Outcome, Test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("wire/numeric-parameters-were-rounded", numeric_digits),
        Test::new("wire/infinite-parameters-became-null", infinite_moments),
        Test::new("wire/parameters-of-on-conflict-and-returning-had-no-value", conflict_and_returning),
        Test::new("wire/typed-parameters-were-other-operands-than-literals", operands),
        Test::new("wire/untyped-parameters-are-what-stands-beside-them", inferred),
        Test::new("wire/untyped-parameters-are-what-functions-take", of_functions),
    ]
}

/// Bytes as they are, for whatever type.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A value as its text, for whatever type.
#[derive(Debug)]
struct Written(&'static str);

impl ToSql for Written {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A statement, the types that the client declares, those that it is told, the values, and the answer.
type Case<'a> = (&'a str, &'a [Type], &'a [Type], &'a [&'static str], &'a str);

/// Prepares and runs each statement; its answer is one text.
async fn answers(client: &Client, cases: &[Case<'_>]) -> Outcome {
    for (sql, declared, types, values, expected) in cases {
        let told = |error| format!("{}\n[SQL] {sql}", message(&error));
        let statement = client.prepare_typed(sql, declared).await.map_err(told)?;
        if statement.params() != *types {
            return Err(format!("parameters {:?} instead of {types:?}\n[SQL] {sql}", statement.params()).into());
        }
        let values: Vec<Written> = values.iter().copied().map(Written).collect();
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = client.query(&statement, &values).await.map_err(told)?;
        let found = rows.first().map_or(Ok(None), |row| row.try_get::<_, Option<String>>(0)).map_err(told)?;
        if found.as_deref() != Some(*expected) {
            return Err(format!("{found:?} instead of {expected:?}\n[SQL] {sql}").into());
        }
    }
    Ok(())
}

/// `numeric` in binary: digits of base 10,000, the power of the first, digits behind the point.
fn numeric(digits: &[u16], weight: i16, behind: u16) -> Raw {
    let mut bytes = BytesMut::new();
    bytes.put_u16(u16::try_from(digits.len()).unwrap_or_default());
    bytes.put_i16(weight);
    bytes.put_u16(0);
    bytes.put_u16(behind);
    digits.iter().for_each(|digit| bytes.put_u16(*digit));
    Raw(bytes.to_vec())
}

async fn one(client: &Client, sql: &str, declared: &[Type], value: Raw) -> Result<Option<String>, crate::Failure> {
    let told = |error| format!("{}\n[SQL] {sql}", message(&error));
    let statement = client.prepare_typed(sql, declared).await.map_err(told)?;
    let rows = client.query(&statement, &[&value]).await.map_err(told)?;
    Ok(rows.first().and_then(|row| row.get(0)))
}

/// A `numeric` parameter is as exact as the place where it stands, and has more digits than a column that it is compared or computed with.
async fn numeric_digits() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a NUMERIC(30, 15), price NUMERIC(10, 2), n INT, plain NUMERIC)").await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT sum(n::bigint) AS total FROM t").await?;
    let fifteen = || numeric(&[1234, 5678, 9012, 3450], -1, 15);
    let small = || numeric(&[750], -1, 3);
    let half_cent = || numeric(&[1, 50], 0, 3);
    // Declared by the client (psycopg), and not (node, tokio).
    for declared in [&[Type::NUMERIC][..], &[]] {
        run(&client, "DELETE FROM t").await?;
        let cases = [
            ("INSERT INTO t (a) VALUES ($1) RETURNING a::text", fifteen(), "0.123456789012345"),
            ("SELECT a::text FROM t WHERE a = $1", fifteen(), "0.123456789012345"),
            ("UPDATE t SET a = $1, price = 2, n = 3 RETURNING a::text", fifteen(), "0.123456789012345"),
            ("SELECT (price * $1)::numeric(12, 4)::text FROM t", small(), "0.1500"),
            ("SELECT count(*)::text FROM t WHERE price < $1", numeric(&[2, 10], 0, 3), "1"),
            ("SELECT count(*)::text FROM t WHERE price = $1", numeric(&[2, 10], 0, 3), "0"),
            ("SELECT count(*)::text FROM v WHERE total > $1", numeric(&[2, 5000], 0, 1), "1"),
            ("SELECT count(*)::text FROM v WHERE total = $1", numeric(&[3], 0, 0), "1"),
            ("UPDATE t SET price = $1 RETURNING price::text", half_cent(), "1.01"),
            ("UPDATE t SET plain = $1 RETURNING plain::text", small(), "0.075"),
            ("SELECT ($1::numeric(5, 2))::text", half_cent(), "1.01"),
        ];
        for (sql, value, expected) in cases {
            let found = one(&client, sql, declared, value).await?;
            if found.as_deref() != Some(expected) {
                return Err(format!("{found:?} instead of {expected:?}, declared: {declared:?}\n[SQL] {sql}").into());
            }
        }
    }
    // What is no numeric there is cast to what it is.
    let found = one(&client, "UPDATE t SET n = $1 RETURNING n::text", &[Type::NUMERIC], half_cent()).await?;
    if found.as_deref() == Some("1") { Ok(()) } else { Err(format!("an integer from 1.005 is {found:?}").into()) }
}

/// Infinite dates and times are refused in binary as they are in text: no value stands for them.
async fn infinite_moments() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    for (sql, bytes) in [
        ("SELECT $1::date::text", i32::MAX.to_be_bytes().to_vec()),
        ("SELECT $1::date::text", i32::MIN.to_be_bytes().to_vec()),
        ("SELECT $1::timestamp::text", i64::MAX.to_be_bytes().to_vec()),
        ("SELECT $1::timestamptz::text", i64::MIN.to_be_bytes().to_vec()),
    ] {
        let statement = client.prepare(sql).await?;
        match client.query(&statement, &[&Raw(bytes)]).await {
            Err(error) if error.code().is_some_and(|code| code.code() == "22008") => {}
            other => return Err(format!("{other:?}\n[SQL] {sql}").into()),
        }
    }
    let found = one(&client, "SELECT $1::date::text", &[], Raw(1_i32.to_be_bytes().to_vec())).await?;
    if found.as_deref() == Some("2000-01-02") { Ok(()) } else { Err(format!("the second day is {found:?}").into()) }
}

/// All expressions of a statement have the same parameters: also those of ON CONFLICT DO UPDATE and of RETURNING.
async fn conflict_and_returning() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT, name TEXT, tags TEXT[])").await?;
    let (int4, int8, text) = (Type::INT4, Type::INT8, Type::TEXT);
    let upsert = "INSERT INTO t (id, n) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET";
    let set = format!("{upsert} n = $2 RETURNING n::text");
    let conditional = format!("{upsert} n = t.n + $3, name = $4 WHERE t.n < $2 RETURNING n || name");
    let operators = format!("{upsert} name = upper($3) || excluded.n, tags = t.tags || $4 RETURNING name");
    let boolean = format!("{upsert} n = $2 + 1 WHERE $3 RETURNING n::text");
    answers(
        &client,
        &[
            (&set, &[], &[int8.clone(), int4.clone()], &["1", "10"], "10"),
            (&set, &[int4.clone(), int4.clone()], &[int4.clone(), int4.clone()], &["1", "11"], "11"),
            (&set, &[], &[int8.clone(), int4.clone()], &["1", "12"], "12"),
            (&conditional, &[], &[int8.clone(), int4.clone(), int4.clone(), text.clone()], &["1", "50", "30", "x"], "42x"),
            (&operators, &[], &[int8.clone(), int4.clone(), text.clone(), Type::TEXT_ARRAY], &["1", "7", "z", "{a}"], "Z7"),
            (&boolean, &[], &[int8.clone(), int4.clone(), Type::BOOL], &["1", "8", "t"], "9"),
            ("INSERT INTO t (id) VALUES (50) RETURNING (id + $1)::text", &[], std::slice::from_ref(&int8), &["1"], "51"),
            ("INSERT INTO t (id) VALUES ($1) RETURNING (id + $2)::text", &[], &[int8.clone(), int8.clone()], &["60", "1"], "61"),
            ("UPDATE t SET n = $1 WHERE id = 1 RETURNING left($2, n)", &[], &[int4.clone(), text.clone()], &["2", "abc"], "ab"),
            (
                "UPDATE t SET n = v.b FROM (VALUES ($1, 1)) AS v (a, b) WHERE t.id = v.b RETURNING v.a || $2",
                &[],
                &[text.clone(), text.clone()],
                &["x", "y"],
                "xy",
            ),
            ("DELETE FROM t WHERE id = $2 RETURNING repeat($1, 2)", &[], &[text.clone(), int8.clone()], &["ab", "50"], "abab"),
        ],
    )
    .await
}

/// An operator means the same beside a parameter of a type as beside a literal of it.
async fn operands() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    let (jsonb, interval, date, timestamp) = (Type::JSONB, Type::INTERVAL, Type::DATE, Type::TIMESTAMP);
    let one = |sql: &'static str, sql_type: &Type, value: &'static str, answer: &'static str| (sql, sql_type.clone(), value, answer);
    let cases = [
        one("SELECT ('{\"a\": 1}'::jsonb || $1)::text || ''", &jsonb, "{\"b\": 2}", "{\"a\": 1, \"b\": 2}"),
        one("SELECT ('{\"a\": 1}'::jsonb @> $1)::text", &jsonb, "{\"a\": 1}", "true"),
        one("SELECT ($1 -> 'a')::text || ''", &jsonb, "{\"a\": 1}", "1"),
        one("SELECT (DATE '2020-03-01' + $1)::text", &interval, "1 day 02:00", "2020-03-02 02:00:00"),
        one("SELECT (DATE '2020-03-01' - $1)::text", &timestamp, "2020-02-01 08:00:00", "28 days 16:00:00"),
        one("SELECT (TIMESTAMP '2020-03-01 10:00:00' - $1)::text", &timestamp, "2020-02-01 08:00:00", "29 days 02:00:00"),
        one("SELECT (TIMESTAMP '2020-03-01 10:00:00' + $1)::text", &Type::TIME, "08:00", "2020-03-01 18:00:00"),
        one("SELECT ($1 * INTERVAL '1 day')::text", &Type::INT4, "2", "2 days"),
        one("SELECT (INTERVAL '1 day' * $1)::text", &Type::NUMERIC, "2", "2 days"),
        one("SELECT (7 / $1)::text", &Type::NUMERIC, "0.30", "23.3333333333333333"),
    ];
    for (sql, sql_type, value, answer) in &cases {
        let types = std::slice::from_ref(sql_type);
        answers(&client, &[(sql, types, types, &[value], answer)]).await?;
    }
    // What is an error for the literal is one for the parameter.
    for (sql, sql_type) in [("SELECT 1 = $1", &date), ("SELECT 1 < $1", &Type::TEXT), ("SELECT DATE '2020-01-01' = $1", &Type::INT4)] {
        match client.prepare_typed(sql, std::slice::from_ref(sql_type)).await {
            Err(error) if error.code().is_some_and(|code| code.code() == "42883") => {}
            other => return Err(format!("{:?}\n[SQL] {sql}", other.map(|statement| statement.params().to_vec())).into()),
        }
    }
    Ok(())
}

/// A parameter that nobody has declared is of the type that PostgreSQL infers: of what it is compared or computed with, of what a function or a
/// condition takes, of the others among which one is chosen. Drivers encode by what they are told.
async fn inferred() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (n INT, price NUMERIC(10, 2), d DATE, ts TIMESTAMPTZ, name TEXT, v VARCHAR(3), tags TEXT[], j JSONB)")
        .await?;
    run(&client, "INSERT INTO t VALUES (7, 2.50, '2020-01-01', '2020-01-01 00:00+00', 'abc', 'abc', '{x,y}', '{\"a\": 1}')").await?;
    let (int4, text, boolean) = (Type::INT4, Type::TEXT, Type::BOOL);
    let (int4, text, boolean) = (std::slice::from_ref(&int4), std::slice::from_ref(&text), std::slice::from_ref(&boolean));
    let texts = [Type::TEXT, Type::TEXT];
    let cases: &[Case<'_>] = &[
        ("SELECT $1 || $2", &[], &texts, &["a", "b"], "ab"),
        ("SELECT $1 || ' days'", &[], text, &["2"], "2 days"),
        ("SELECT n || $1 FROM t", &[], text, &["x"], "7x"),
        ("SELECT left(name, $1) FROM t", &[], int4, &["2"], "ab"),
        ("SELECT substr(name, $1, $2) FROM t", &[], &[Type::INT4, Type::INT4], &["2", "1"], "b"),
        ("SELECT substr(name, $1) FROM t", &[], int4, &["2"], "bc"),
        ("SELECT round($1, 2)::text", &[], &[Type::NUMERIC], &["1.005"], "1.01"),
        ("SELECT n::text FROM t WHERE n = $1 OR $1::text = ''", &[], int4, &["7"], "7"),
        ("SELECT count(*)::text FROM t WHERE ts >= $1 AND d = $1::date", &[], &[Type::TIMESTAMPTZ], &["2020-01-01 05:00:00+00"], "0"),
        ("SELECT repeat($1, $2)", &[], &[Type::TEXT, Type::INT4], &["ab", "2"], "abab"),
        ("SELECT lpad($1, $2, $3)", &[], &[Type::TEXT, Type::INT4, Type::TEXT], &["a", "3", "x"], "xxa"),
        ("SELECT split_part($1, $2, $3)", &[], &[Type::TEXT, Type::TEXT, Type::INT4], &["a,b", ",", "2"], "b"),
        ("SELECT (round(price, $1) = 2.5)::text FROM t", &[], int4, &["1"], "true"),
        ("SELECT abs($1)::text", &[], &[Type::FLOAT8], &["-1.5"], "1.5"),
        ("SELECT to_timestamp($1)::text", &[], &[Type::FLOAT8], &["0"], "1970-01-01 00:00:00+00"),
        ("SELECT make_interval(days => $1)::text", &[], int4, &["3"], "3 days"),
        ("SELECT (INTERVAL '1 day' * $1)::text", &[], &[Type::FLOAT8], &["2"], "2 days"),
        ("SELECT ($1 * INTERVAL '1 day')::text", &[], &[Type::FLOAT8], &["2"], "2 days"),
        ("SELECT (ts + $1)::text FROM t", &[], &[Type::INTERVAL], &["1 day"], "2020-01-02 00:00:00+00"),
        ("SELECT (ts - $1)::text FROM t", &[], &[Type::TIMESTAMPTZ], &["2019-12-31 00:00+00"], "1 day"),
        ("SELECT name FROM t WHERE $1", &[], boolean, &["t"], "abc"),
        ("SELECT (NOT $1)::text", &[], boolean, &["f"], "true"),
        ("SELECT CASE WHEN $1 THEN 'x' END", &[], boolean, &["t"], "x"),
        ("SELECT name FROM t WHERE name LIKE $1", &[], text, &["a%"], "abc"),
        ("SELECT name FROM t WHERE v <> $1", &[], text, &["longer"], "abc"),
        ("SELECT coalesce($1, n)::text FROM t", &[], int4, &["5"], "5"),
        ("SELECT coalesce($1, d)::text FROM t", &[], &[Type::DATE], &["2020-02-03"], "2020-02-03"),
        ("SELECT greatest(n, $1)::text FROM t", &[], int4, &["50"], "50"),
        ("SELECT nullif(n, $1)::text FROM t", &[], int4, &["5"], "7"),
        ("SELECT CASE n WHEN $1 THEN 'x' END FROM t", &[], int4, &["7"], "x"),
        ("SELECT (CASE WHEN n > 0 THEN $1 ELSE n END)::text FROM t", &[], int4, &["9"], "9"),
        ("SELECT n::text FROM t WHERE n IN (1, $1)", &[], int4, &["7"], "7"),
        ("SELECT n::text FROM t WHERE $1 BETWEEN n AND 9", &[], int4, &["8"], "7"),
        ("SELECT max(a)::text FROM (VALUES ($1, 1), (2, $2)) AS v (a, b)", &[], &[Type::INT4, Type::INT4], &["1", "1"], "2"),
        ("SELECT a::text FROM (SELECT $1 AS a UNION SELECT 1) AS u ORDER BY a DESC", &[], int4, &["10"], "10"),
        ("SELECT tags[$1] FROM t", &[], int4, &["2"], "y"),
        ("SELECT array_append(tags, $1)::text FROM t", &[], text, &["z"], "{x,y,z}"),
        ("SELECT (j || $1)::text || '' FROM t", &[], &[Type::JSONB], &["{\"b\": 2}"], "{\"a\": 1, \"b\": 2}"),
        ("SELECT j ->> $1 FROM t", &[], text, &["a"], "1"),
        ("SELECT (row_number() OVER (ORDER BY n) + $1)::text FROM t", &[], &[Type::INT8], &["1"], "2"),
        ("SELECT (lag(n, $1) OVER (ORDER BY n))::text FROM t", &[], int4, &["0"], "7"),
        ("SELECT (percentile_cont($1) WITHIN GROUP (ORDER BY n))::text FROM t", &[], &[Type::FLOAT8], &["0.5"], "7"),
        ("SELECT name FROM t WHERE v = ANY ($1)", &[], &[Type::TEXT_ARRAY], &["{longer,abc}"], "abc"),
        ("SELECT $1::varchar(2)", &[], &[Type::VARCHAR], &["abc"], "ab"),
    ];
    answers(&client, cases).await
}

/// The same beside arrays, of functions that give rows, and of those that DataFusion or the session has.
async fn of_functions() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (n INT, ts TIMESTAMPTZ, name TEXT, tags TEXT[])").await?;
    run(&client, "INSERT INTO t VALUES (7, '2020-01-01 00:00+00', 'abc', '{x,y}')").await?;
    let (int4, text) = (&[Type::INT4][..], &[Type::TEXT][..]);
    let texts = [Type::TEXT, Type::TEXT];
    let (instants, stepped) = ([Type::TIMESTAMPTZ, Type::TIMESTAMPTZ], [Type::TIMESTAMPTZ, Type::INTERVAL]);
    let cases: &[Case<'_>] = &[
        ("SELECT name FROM t WHERE $1 = ANY (tags)", &[], text, &["x"], "abc"),
        ("SELECT name FROM t WHERE tags && $1", &[], &[Type::TEXT_ARRAY], &["{x}"], "abc"),
        ("SELECT max(g)::text FROM generate_series(1, $1) AS g", &[], int4, &["3"], "3"),
        (
            "SELECT max(g)::text FROM t, generate_series(ts, $1, $2) AS g",
            &[],
            &stepped,
            &["2020-01-04 00:00+00", "2 days"],
            "2020-01-03 00:00:00+00",
        ),
        (
            "SELECT count(*)::text FROM generate_series($1, $2, INTERVAL '1 day')",
            &[],
            &instants,
            &["2020-01-01 00:00+00", "2020-01-03 00:00+00"],
            "3",
        ),
        ("SELECT string_agg(e::text, ',') FROM jsonb_array_elements($1) AS e", &[], &[Type::JSONB], &["[1, 2]"], "1,2"),
        ("SELECT sum(a)::text FROM jsonb_to_recordset($1) AS r (a int)", &[], &[Type::JSONB], &["[{\"a\": 4}]"], "4"),
        ("SELECT string_agg(p, '+') FROM string_to_table($1, $2) AS p", &[], &texts, &["a,b", ","], "a+b"),
        ("SELECT max(g)::text FROM t, generate_subscripts(tags, $1) AS g", &[], int4, &["1"], "2"),
        ("SELECT set_config($1, $2, $3)", &[], &[Type::TEXT, Type::TEXT, Type::BOOL], &["lock_timeout", "5s", "f"], "5s"),
        // FROM comes before the list.
        ("SELECT $1::text FROM t JOIN t AS u ON u.n = $1", &[], int4, &["7"], "7"),
    ];
    answers(&client, cases).await
}

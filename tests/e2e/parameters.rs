//! Parameters in the binary format, as drivers send them that know the types.

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

//! TPC-H: all 22 queries as views, while the eight tables are loaded in random order and changed afterwards.
//!
//! After every step, and again after a kill -9, each view equals its query. `TPCH_SCALE` is the scale factor (0.002; `make tpch` takes 0.01).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures::SinkExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::run;
use crate::compare::View;
use crate::server::{Server, binary, new_directory};
use crate::{Failure, Outcome, Test, setting};

const TABLES: [&str; 8] = ["region", "nation", "supplier", "part", "partsupp", "customer", "orders", "lineitem"];

/// Steps of loading: each brings a random share of every table.
const STEPS: usize = 4;

/// Changes of what was loaded: each one a transaction.
const CHANGES: [&str; 5] = [
    "DELETE FROM lineitem WHERE l_orderkey % 8 = 3",
    "UPDATE lineitem SET l_quantity = l_quantity + 5, l_discount = 0.06 WHERE l_partkey % 5 = 1;
     UPDATE lineitem SET l_receiptdate = l_receiptdate + INTERVAL '30 days' WHERE l_suppkey % 3 = 1",
    "DELETE FROM orders WHERE o_orderkey % 9 = 5;
     UPDATE orders SET o_orderdate = o_orderdate - INTERVAL '200 days', o_orderpriority = '1-URGENT' WHERE o_custkey % 4 = 2",
    "UPDATE supplier SET s_nationkey = (s_nationkey + 1) % 25, s_comment = 'Customer bla Complaints' WHERE s_suppkey % 6 = 1;
     UPDATE part SET p_brand = 'Brand#23', p_container = 'MED BOX', p_size = 15 WHERE p_partkey % 10 = 4;
     UPDATE customer SET c_acctbal = -c_acctbal WHERE c_custkey % 5 = 0",
    "DELETE FROM partsupp WHERE ps_partkey % 7 = 2; DELETE FROM lineitem WHERE l_returnflag = 'R'; DELETE FROM customer WHERE c_custkey % 11 = 6",
];

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("tpch/22-queries", all_queries)]
}

async fn all_queries() -> Outcome {
    let files = new_directory()?;
    let scale: f64 = setting("TPCH_SCALE", 0.002);
    let made = Command::new(binary()).args(["generate", "tpch", "--scale", &scale.to_string(), "--to"]).arg(&files).output()?;
    if !made.status.success() {
        return Err(format!("generate tpch gave {}: {}", made.status, String::from_utf8_lossy(&made.stderr)).into());
    }
    let tables = TABLES.iter().map(|table| Ok((*table, lines(&files.join(format!("{table}.csv")))?)));
    let tables = tables.collect::<Result<BTreeMap<_, _>, Failure>>()?;
    std::fs::remove_dir_all(&files)?;
    let mut server = Server::start(2).await?;
    play(&mut server, tables).await.map_err(|failure| server.with_log(failure))
}

async fn play(server: &mut Server, mut tables: BTreeMap<&str, Vec<String>>) -> Outcome {
    let mut rng = StdRng::seed_from_u64(22);
    let mut client = server.connect().await?;
    run(&client, &text("schema.sql")?).await?;
    let mut views = Vec::new();
    for number in 1..=22 {
        let query = text(&format!("q{number}.sql"))?;
        let query = query.trim().trim_end_matches(';');
        // Of half of them, all rows come later; the others begin with what is there after the first step.
        if number % 2 == 0 {
            views.push(View::create(&client, &format!("q{number}"), query).await?);
        }
    }
    for lines in tables.values_mut() {
        shuffle(&mut rng, lines);
    }
    for step in 0..STEPS {
        for (table, lines) in &mut tables {
            let left = STEPS - step;
            let taken = lines.split_off(lines.len() - lines.len() / left);
            load(&client, table, taken).await?;
        }
        if step == 0 {
            for number in (1..=22).step_by(2) {
                let query = text(&format!("q{number}.sql"))?;
                views.push(View::create(&client, &format!("q{number}"), query.trim().trim_end_matches(';')).await?);
            }
        }
        check(&client, &views).await.map_err(|failure| format!("after loading step {step}: {failure}"))?;
    }
    for change in CHANGES {
        run(&client, &format!("BEGIN; {change}; COMMIT")).await?;
        run(&client, "CHECKPOINT").await?;
        check(&client, &views).await.map_err(|failure| format!("after {change}: {failure}"))?;
    }
    server.crash(3).await?;
    client = server.connect().await?;
    check(&client, &views).await.map_err(|failure| format!("after kill -9: {failure}").into())
}

/// Every view equals its query.
async fn check(client: &Client, views: &[View]) -> Outcome {
    for view in views {
        view.check(client).await?;
    }
    Ok(())
}

/// The rows of a file, without its header.
fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    Ok(std::fs::read_to_string(path)?.lines().skip(1).map(str::to_owned).collect())
}

async fn load(client: &Client, table: &str, lines: Vec<String>) -> Outcome {
    let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN (FORMAT csv)")).await?);
    sink.send(Bytes::from(lines.join("\n") + "\n")).await?;
    sink.finish().await?;
    Ok(())
}

fn shuffle(rng: &mut StdRng, lines: &mut [String]) {
    for place in (1..lines.len()).rev() {
        lines.swap(place, rng.random_range(0..=place));
    }
}

fn text(name: &str) -> Result<String, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/tpch").join(name);
    let text = std::fs::read_to_string(path)?;
    // Comments would end up in the middle of a line.
    Ok(text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n"))
}

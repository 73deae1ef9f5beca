//! The binary as a program: its answers to `--help`, its exit codes, its files, its way to stop.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{run, value};
use crate::server::{Server, binary, new_directory};
use crate::{Failure, Outcome, Test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("cli/help", help),
        Test::new("cli/environment", environment),
        Test::new("cli/run-from-standard-input", run_from_input),
        Test::new("cli/run-copy", run_copy),
        Test::new("cli/directory-over-file", directory_over_file),
        Test::new("cli/generate", generate),
        Test::new("cli/terminate", terminate),
        Test::new("cli/terminate-while-recovering", terminate_while_recovering),
        Test::new("cli/terminate-while-writing", terminate_while_writing),
        Test::new("cli/terminate-demo", terminate_demo),
        Test::new("cli/one-server-per-directory", one_server_per_directory),
        Test::new("cli/http", http),
    ]
}

async fn help() -> Outcome {
    let output = Command::new(binary()).arg("--help").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || !text.contains("serve") {
        return Err(format!("--help gave {}: {text}", output.status).into());
    }
    let output = Command::new(binary()).arg("--version").output()?;
    if !String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")) {
        return Err("--version does not tell the version".into());
    }
    let status = Command::new(binary()).args(["serve", "--no-such-option"]).output()?.status;
    if status.code() == Some(2) { Ok(()) } else { Err(format!("an unknown option gave {status}").into()) }
}

/// A switch is on by any word that says so, a variable that is set to nothing is not set, and an address may be a name.
async fn environment() -> Outcome {
    let mut server = Command::new(binary())
        .args(["serve", "--listen", "localhost:0", "--http", "localhost:0"])
        .envs([("TIDEMILL_IN_MEMORY", "1"), ("TIDEMILL_WORKERS", ""), ("TIDEMILL_DATA_DIR", ""), ("TIDEMILL_LOG_JSON", "no")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let banner = BufReader::new(server.stdout.take().ok_or("no standard output")?).lines();
    let listens = banner.map_while(Result::ok).find(|line| line.contains("postgresql://127.0.0.1:"));
    server.kill()?;
    let output = server.wait_with_output()?;
    match listens {
        Some(_) => Ok(()),
        None => Err(format!("the server did not start: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// `tidemill run -` reads what editors write, and tells of each statement what psql would.
async fn run_from_input() -> Outcome {
    let sql = "\u{feff}CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1), (2);\nDELETE FROM t WHERE a = 1; DROP TABLE t;\n";
    ran(sql, 0, "CREATE TABLE\nINSERT 0 2\nDELETE 1\nDROP TABLE\n")
}

/// Data for COPY stands in the file behind its statement, as for psql, and rows that leave by COPY are printed.
async fn run_copy() -> Outcome {
    let sql = "CREATE TABLE t (a INT, b TEXT);\nCOPY t FROM STDIN;\n1\tit's\n2\t\\N\n\\.\nCOPY t (a) FROM STDIN (FORMAT csv);\n3\n\\.\n\
               COPY (SELECT a, b FROM t ORDER BY a) TO STDOUT;\nSELECT sum(a) FROM t;\n";
    ran(sql, 0, "CREATE TABLE\nCOPY 2\nCOPY 1\n1\tit's\n2\t\\N\n3\t\\N\n sum\n-----\n 6\n(1 row)\n")?;
    // Defaults of columns that the lines do not give: the same moment for all rows, another UUID for each.
    let sql = "CREATE TABLE d (a INT, u UUID DEFAULT gen_random_uuid(), at TIMESTAMPTZ DEFAULT now());\nCOPY d (a) FROM STDIN;\n1\n2\n3\n\\.\n\
               SELECT count(DISTINCT u) * 10 + count(DISTINCT at) AS n FROM d;\n";
    ran(sql, 0, "CREATE TABLE\nCOPY 3\n n\n----\n 31\n(1 row)\n")?;
    ran("CREATE TABLE t (a INT);\nCOPY t FROM STDIN;\n1\nx\n\\.\n", 2, "CREATE TABLE\n")
}

/// What `tidemill run -` makes of a text: its exit code and what it prints.
fn ran(sql: &str, code: i32, printed: &str) -> Outcome {
    let mut child =
        Command::new(binary()).args(["run", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(sql.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(code) && text == printed {
        return Ok(());
    }
    Err(format!("{}: {text:?} {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// A directory that is named on the command line is where rows are kept, whatever a file says about memory.
async fn directory_over_file() -> Outcome {
    let directory = new_directory()?;
    let (file, data) = (directory.join("tidemill.toml"), directory.join("data"));
    std::fs::write(&file, "in_memory = true\nlisten = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n")?;
    let mut server = Command::new(binary());
    server.arg("serve").arg("--config").arg(&file).arg("--data-dir").arg(&data).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn()?;
    let banner = BufReader::new(server.stdout.take().ok_or("no standard output")?).lines();
    let kept = banner.map_while(Result::ok).find(|line| line.trim_start().starts_with("data "));
    server.kill()?;
    server.wait()?;
    std::fs::remove_dir_all(&directory)?;
    match kept {
        Some(line) if line.contains("(durable") => Ok(()),
        line => Err(format!("the banner says {line:?}").into()),
    }
}

async fn generate() -> Outcome {
    let directory = new_directory()?;
    let file = directory.join("bids.jsonl");
    let output = Command::new(binary()).args(["generate", "nexmark", "--table", "bid", "--events", "1000", "--to"]).arg(&file).output()?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::remove_dir_all(&directory)?;
    let lines: Vec<&str> = text.lines().collect();
    if !output.status.success() || lines.len() != 920 || !lines.iter().all(|line| line.starts_with("{\"auction\":")) {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("generate gave {} and {} lines: {told}", output.status, lines.len()).into());
    }
    Ok(())
}

/// SIGTERM ends the process with success, and nothing is lost.
async fn terminate() -> Outcome {
    let mut server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a INT)").await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT sum(a) AS total FROM t").await?;
    run(&client, "INSERT INTO t VALUES (1), (2)").await?;
    let status = server.terminate().await?;
    if !status.success() {
        return Err(server.with_log(format!("SIGTERM gave {status}")));
    }
    server.restart(2).await?;
    let client = server.connect().await?;
    run(&client, "INSERT INTO t VALUES (3)").await?;
    match value(&client, "SELECT total FROM v").await?.as_deref() {
        Some("6") => Ok(()),
        other => Err(format!("the total is {other:?} after a restart, not 6").into()),
    }
}

/// SIGTERM before a server has recovered ends it with success, and the next start has everything.
async fn terminate_while_recovering() -> Outcome {
    let mut server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)").await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT a % 1000 AS k, count(*) AS c, max(b) AS m FROM t GROUP BY a % 1000").await?;
    run(&client, "INSERT INTO t SELECT x, 'row ' || x FROM generate_series(1, 200000) s (x)").await?;
    server.kill_9()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut second = Command::new(binary());
    second.arg("serve").arg("--data-dir").arg(server.data_directory()).args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut child = second.args(["--http", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // As soon as it listens, which it does before it opens anything.
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended before it listened: {status}").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ended_by_term(&mut child).await?;
    server.restart(1).await?;
    let client = server.connect().await?;
    match value(&client, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT sum(c) FROM v)").await?.as_deref() {
        Some("200000 200000") => Ok(()),
        other => Err(format!("table and view have {other:?} rows").into()),
    }
}

/// SIGTERM while statements look up many rows ends them and the server with success; nothing of them stays.
async fn terminate_while_writing() -> Outcome {
    let mut server = Server::start(1).await?;
    let mut writing = Vec::new();
    for number in 0..3 {
        let client = server.connect().await?;
        run(&client, &format!("CREATE TABLE t{number} (a BIGINT PRIMARY KEY, b TEXT); INSERT INTO t{number} VALUES (0, 'old')")).await?;
        let sql = format!("BEGIN; INSERT INTO t{number} SELECT x, 'new' FROM generate_series(1, 1000000) s (x)");
        writing.push(tokio::spawn(async move { client.batch_execute(&sql).await }));
    }
    let client = server.connect().await?;
    let active = "SELECT count(*) FROM tidemill.sessions WHERE state = 'active' AND query LIKE 'INSERT%'";
    while value(&client, active).await?.as_deref() == Some("0") {}
    let status = server.terminate().await?;
    if !status.success() {
        return Err(server.with_log(format!("SIGTERM gave {status}")));
    }
    server.restart(1).await?;
    let client = server.connect().await?;
    match value(&client, "SELECT count(*) || ' ' || min(b) FROM (SELECT * FROM t0 UNION ALL SELECT * FROM t1 UNION ALL SELECT * FROM t2) t")
        .await?
        .as_deref()
    {
        Some("3 old") => Ok(()),
        other => Err(format!("the tables hold {other:?}").into()),
    }
}

/// SIGTERM ends the demo as Ctrl-C does: nothing of it stays on the disk.
async fn terminate_demo() -> Outcome {
    let directory = new_directory()?;
    let mut child = Command::new(binary())
        .args(["demo", "--workers", "1"])
        .env("TMPDIR", &directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines().map_while(Result::ok);
    if !lines.any(|line| line.starts_with("Running the statements")) {
        return Err("the demo did not start".into());
    }
    // Nobody may be in the way of what it prints from here on.
    std::thread::spawn(move || lines.count());
    ended_by_term(&mut child).await?;
    let left = std::fs::read_dir(&directory)?.count();
    std::fs::remove_dir_all(&directory)?;
    if left == 0 { Ok(()) } else { Err("the demo has left its directory".into()) }
}

/// Sends SIGTERM and waits for an end with success.
async fn ended_by_term(child: &mut Child) -> Outcome {
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("SIGTERM gave {status}").into()),
            None if Instant::now() > deadline => {
                child.kill()?;
                child.wait()?;
                return Err("SIGTERM did not end it".into());
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A second server on the same directory says so and leaves the first alone.
async fn one_server_per_directory() -> Outcome {
    let server = Server::start(1).await?;
    let mut second = Command::new(binary());
    second.arg("serve").arg("--data-dir").arg(server.data_directory());
    let mut child =
        second.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if status.and_then(|status| status.code()) != Some(1) {
        // It may have ended by itself.
        let _ = child.kill();
        child.wait()?;
        return Err(format!("a second server on the same directory: {status:?}, not the exit code 1").into());
    }
    let client = server.connect().await?;
    run(&client, "CREATE TABLE t (a INT)").await
}

/// The console's port answers and counts something: of each object as long as it is there.
async fn http() -> Outcome {
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE kept (a INT); CREATE TABLE \"go\"\"ne\" (a INT); INSERT INTO kept VALUES (1), (2)").await?;
    let before = metrics(&server).await?;
    let lines = [
        "# TYPE tidemill_relation_rows gauge",
        "tidemill_relation_rows{schema=\"public\",relation=\"kept\"} 2",
        "tidemill_relation_rows{schema=\"public\",relation=\"go\\\"ne\"} 0",
    ];
    if !before.starts_with("HTTP/1.1 200") || lines.iter().any(|line| !before.lines().any(|found| found == *line)) {
        return Err(before.into());
    }
    run(&client, "DROP TABLE \"go\"\"ne\"").await?;
    let after = metrics(&server).await?;
    if after.contains("go\\\"ne") || !after.contains(lines[1]) { Err(after.into()) } else { Ok(()) }
}

async fn metrics(server: &Server) -> Result<String, Failure> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let port = server.http_port().ok_or_else(|| server.with_log("the banner names no http address"))?;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

//! The binary as a program: its answers to `--help`, its exit codes, its files, its way to stop.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{run, value};
use crate::server::{Server, binary, new_directory};
use crate::{Failure, Outcome, Test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("cli/help", help),
        Test::new("cli/environment", environment),
        Test::new("cli/run-from-standard-input", run_from_input),
        Test::new("cli/generate", generate),
        Test::new("cli/terminate", terminate),
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
    let mut child =
        Command::new(binary()).args(["run", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let sql = "\u{feff}CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1), (2);\nDELETE FROM t WHERE a = 1; DROP TABLE t;\n";
    child.stdin.take().ok_or("no standard input")?.write_all(sql.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text == "CREATE TABLE\nINSERT 0 2\nDELETE 1\nDROP TABLE\n" {
        return Ok(());
    }
    Err(format!("{}: {text:?} {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
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
    if status.is_none_or(|status| status.success()) {
        // It may have ended by itself in the meantime.
        let _ = child.kill();
        child.wait()?;
        return Err("a second server started on the same directory".into());
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

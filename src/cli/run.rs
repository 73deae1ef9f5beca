//! `tidemill run file.sql`: executes the statements of a file one after the other and prints their answers. Data for COPY stands in the file behind its
//! statement, as for psql.

use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::cli::serve::{Server, runtime, start_tracing};
use crate::config::ServeOptions;
use crate::error::{Error, Kind, Result};
use crate::sql::{Parsed, Statement};

/// Of the data for COPY, what is sent in one message.
const COPIED_BYTES: usize = 64 << 10;

/// What `tidemill run` takes.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The file with SQL statements; - for standard input.
    file: PathBuf,
    /// The server to run them on, like postgresql://127.0.0.1:7654/tidemill?user=tidemill [default: one of its own, in memory].
    #[arg(long)]
    url: Option<String>,
}

/// Runs a file's statements; the first error ends it.
pub fn run(options: &RunOptions) -> Result<()> {
    start_tracing(false);
    let read = match options.file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(&options.file),
    };
    let text = read.map_err(|cause| Error::external(&format!("cannot read \"{}\"", options.file.display()), cause))?;
    // Some editors mark UTF-8 with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    runtime()?.block_on(async {
        let own = match &options.url {
            Some(_) => None,
            None => Some(own_server(1).await?),
        };
        let url = options.url.clone().unwrap_or_else(|| own.as_ref().map(url_of).unwrap_or_default());
        let client = connect(&url).await?;
        let result = run_text(&client, text, &options.file.display().to_string()).await;
        if let Some(server) = own {
            server.stop().await?;
        }
        result
    })
}

/// A server in memory, on ports of its own choosing.
pub(crate) async fn own_server(workers: usize) -> Result<Server> {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let options =
        ServeOptions { in_memory: Some(true), listen: Some(any), http: Some(any), workers: Some(workers), ..ServeOptions::default() };
    Server::start(options.resolve()?, Arc::new(String::new)).await
}

/// How to reach a server of this process.
pub(crate) fn url_of(server: &Server) -> String {
    format!("postgresql://tidemill@{}/tidemill", server.address)
}

/// A client of the server at `url`.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(|cause| Error::external(&format!("cannot connect to {url}"), cause))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs each statement of `text` and prints its answer. `name`: what messages call the text.
pub(crate) async fn run_text(client: &Client, text: &str, name: &str) -> Result<()> {
    let pointed = |error: Error| {
        point_at(text, &error, name);
        error
    };
    for Piece { statements, data } in pieces(text).map_err(pointed)? {
        let last = statements.len().saturating_sub(1);
        for (position, statement) in statements.iter().enumerate() {
            let data = data.filter(|_| position == last).unwrap_or_default();
            let ran = run_statement(client, statement, data).await;
            ran.map_err(|cause| pointed(server_error(&cause, statement)))?;
        }
    }
    Ok(())
}

/// Runs a statement and prints its answer. `data`: the lines that COPY … FROM STDIN takes.
async fn run_statement(client: &Client, statement: &Parsed, data: &str) -> std::result::Result<(), tokio_postgres::Error> {
    match &statement.statement {
        Statement::Copy(copy) if copy.from_client => {
            let mut sink = pin!(client.copy_in(statement.text.as_str()).await?);
            for part in data.as_bytes().chunks(COPIED_BYTES) {
                sink.send(Bytes::copy_from_slice(part)).await?;
            }
            println!("COPY {}", sink.finish().await?);
        }
        Statement::Copy(_) => {
            let mut rows = pin!(client.copy_out(statement.text.as_str()).await?);
            while let Some(row) = rows.try_next().await? {
                // Whoever reads this has stopped reading: as good as read.
                drop(std::io::stdout().write_all(&row));
            }
        }
        other => print_answer(&client.simple_query(&statement.text).await?, other),
    }
    Ok(())
}

/// Statements, and the lines of data that stand behind them if the last one is COPY … FROM STDIN.
struct Piece<'a> {
    statements: Vec<Parsed>,
    data: Option<&'a str>,
}

/// Cuts a file into statements and data as psql does: data begins on the line behind COPY … FROM STDIN, and ends at a line `\.` or with the file.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let (mut pieces, mut begun, mut line_begins, mut named) = (Vec::new(), 0, 0, false);
    while let Some(line) = text[line_begins..].split_inclusive('\n').next() {
        let line_ends = line_begins + line.len();
        named |= line.to_ascii_lowercase().contains("stdin");
        let complete = if named && line.trim_end().ends_with(';') { statements(text, begun, line_ends).ok() } else { None };
        line_begins = line_ends;
        if let Some(statements) = complete {
            named = false;
            if !reads_data(&statements) {
                // The word was another one.
                pieces.push(Piece { statements, data: None });
                begun = line_ends;
                continue;
            }
            let data = data_at(&text[line_ends..]);
            pieces.push(Piece { statements, data: Some(data) });
            let marker = text[line_ends + data.len()..].split_inclusive('\n').next().map_or(0, str::len);
            begun = line_ends + data.len() + marker;
            line_begins = begun;
        }
    }
    pieces.push(Piece { statements: statements(text, begun, text.len())?, data: None });
    Ok(pieces)
}

/// The statements between two places, with their positions in the whole text.
fn statements(text: &str, begin: usize, end: usize) -> Result<Vec<Parsed>> {
    let before = text[..begin].chars().count();
    let parsed = crate::sql::parse(&text[begin..end]).map_err(|error| error.shifted(before))?;
    Ok(parsed.into_iter().map(|statement| Parsed { offset: statement.offset + before, ..statement }).collect())
}

fn reads_data(statements: &[Parsed]) -> bool {
    statements.last().is_some_and(|last| matches!(&last.statement, Statement::Copy(copy) if copy.from_client))
}

/// The lines before `\.`.
fn data_at(text: &str) -> &str {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches(['\n', '\r']) == "\\." {
            break;
        }
        end += line.len();
    }
    &text[..end]
}

/// What the server said, with its position in the whole text.
fn server_error(cause: &tokio_postgres::Error, statement: &Parsed) -> Error {
    let Some(told) = cause.as_db_error() else { return Error::external("the server cannot be reached", cause) };
    let mut error = match Kind::of_sqlstate(told.code().code()) {
        Some(kind) => Error::new(kind, told.message()),
        // Another server than ours.
        None => Error::new(Kind::External, format!("{} ({})", told.message(), told.code().code())),
    };
    if let Some(hint) = told.hint() {
        error = error.hint(hint);
    }
    if let Some(detail) = told.detail() {
        error = error.detail(detail);
    }
    match told.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(position)) => error.at(*position as usize).shifted(statement.offset),
        _ => error.at(statement.offset + 1),
    }
}

/// Prints the line of an error with a caret under its position.
fn point_at(text: &str, error: &Error, name: &str) {
    let Some(position) = error.position() else { return };
    let before: String = text.chars().take(position.saturating_sub(1)).collect();
    let line_number = before.matches('\n').count();
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let prefix = format!("LINE {}: ", line_number + 1);
    eprintln!("{name}:");
    eprintln!("{prefix}{}", text.lines().nth(line_number).unwrap_or_default());
    eprintln!("{}^", " ".repeat(prefix.chars().count() + column));
}

/// Prints rows as an aligned table, everything else as its tag.
fn print_answer(messages: &[SimpleQueryMessage], statement: &Statement) {
    let mut header: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => header = columns.iter().map(|column| column.name().to_owned()).collect(),
            SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|column| row.get(column).unwrap_or("").to_owned()).collect()),
            SimpleQueryMessage::CommandComplete(count) if header.is_empty() => println!("{}", tag(statement, *count)),
            _ => {}
        }
    }
    if !header.is_empty() {
        println!("{}", table(&header, &rows));
    }
}

/// What psql prints of a statement that is done. The driver keeps nothing of the server's words but the number of rows.
fn tag(statement: &Statement, rows: u64) -> String {
    let word = match statement {
        Statement::Insert(_) => return format!("INSERT 0 {rows}"),
        Statement::Update(_) => return format!("UPDATE {rows}"),
        Statement::Delete(_) => return format!("DELETE {rows}"),
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateSource(_) => "CREATE SOURCE",
        Statement::CreateView(_) => "CREATE VIEW",
        Statement::CreateMaterializedView(_) => "CREATE MATERIALIZED VIEW",
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::CreateIndex(_) => "CREATE INDEX",
        Statement::CreateFunction(_) => "CREATE FUNCTION",
        Statement::Drop { kind, .. } => return format!("DROP {}", kind.name().to_uppercase()),
        Statement::Alter(alter) => return format!("ALTER {}", alter.kind.name().to_uppercase()),
        Statement::Truncate { .. } => "TRUNCATE TABLE",
        Statement::Comment { .. } => "COMMENT",
        Statement::Set { .. } => "SET",
        Statement::Reset { .. } => "RESET",
        Statement::Begin { .. } => "BEGIN",
        Statement::Commit => "COMMIT",
        Statement::Rollback => "ROLLBACK",
        Statement::Flush => "FLUSH",
        _ => "OK",
    };
    word.to_owned()
}

/// Rows under their header, each column as wide as its widest value.
pub(crate) fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} ")).collect();
        padded.join("|").trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let body: Vec<String> = rows.iter().map(|row| line(row)).collect();
    let count = if rows.len() == 1 { "(1 row)".to_owned() } else { format!("({} rows)", rows.len()) };
    format!("{}\n{}\n{}{}{count}", line(header), rule.join("+"), body.join("\n"), if body.is_empty() { "" } else { "\n" })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn data_stands_behind_its_statement() {
        let text = "CREATE TABLE t (a INT, b TEXT);\n-- stdin;\nCOPY t FROM\n  STDIN;\n1\tit's; ü\n\\.\nSELECT 1;\ncopy t from stdin;\n\\.\nSELEC 1;";
        let told: Vec<(Vec<usize>, Option<&str>)> = pieces(&text[..text.len() - 8])
            .expect("valid")
            .into_iter()
            .map(|piece| (piece.statements.iter().map(|statement| statement.offset).collect(), piece.data))
            .collect();
        let select = text[..text.find("SELECT 1").expect("there")].chars().count();
        let data = [(vec![0], None), (vec![42], Some("1\tit's; ü\n")), (vec![select, select + 10], Some("")), (vec![], None)];
        assert_eq!(told, data);
        // To the end of the file.
        assert_eq!(pieces("COPY t FROM STDIN;\n1\n2").expect("valid")[0].data, Some("1\n2"));
        let error = pieces(text).err().expect("no query");
        assert!(error.position() > Some(text.len() - 20), "a place in the whole text");
    }
}

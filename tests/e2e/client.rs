//! Queries as text: what psql would show, with NULL told from the empty string.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::Failure;

/// One row; NULL is `None`.
pub(crate) type TextRow = Vec<Option<String>>;

/// The rows of one or more statements.
pub(crate) async fn rows(client: &Client, sql: &str) -> Result<Vec<TextRow>, Failure> {
    let messages = client.simple_query(sql).await.map_err(|error| format!("{}\n[SQL] {sql}", message(&error)))?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()),
        _ => None,
    });
    Ok(rows.collect())
}

/// The rows of each of several statements, and the error as the server told it.
pub(crate) async fn results(client: &Client, sql: &str) -> Result<Vec<Vec<TextRow>>, tokio_postgres::Error> {
    let mut results = vec![Vec::new()];
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::Row(row) => {
                let row = (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect();
                if let Some(rows) = results.last_mut() {
                    rows.push(row);
                }
            }
            SimpleQueryMessage::CommandComplete(_) => results.push(Vec::new()),
            _ => {}
        }
    }
    results.pop();
    Ok(results)
}

/// The only value of the only row.
pub(crate) async fn value(client: &Client, sql: &str) -> Result<Option<String>, Failure> {
    let rows = rows(client, sql).await?;
    match rows.as_slice() {
        [row] if row.len() == 1 => Ok(row[0].clone()),
        _ => Err(format!("expected one value, got {rows:?}\n[SQL] {sql}").into()),
    }
}

/// Runs statements whose rows, if any, do not matter.
pub(crate) async fn run(client: &Client, sql: &str) -> Result<(), Failure> {
    client.batch_execute(sql).await.map_err(|error| format!("{}\n[SQL] {sql}", message(&error)).into())
}

/// `SQLSTATE: message HINT: hint`, or what went wrong with the connection.
pub(crate) fn message(error: &tokio_postgres::Error) -> String {
    let Some(told) = error.as_db_error() else {
        return std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    };
    let mut text = format!("{}: {}", told.code().code(), told.message());
    for (name, part) in [("DETAIL", told.detail()), ("HINT", told.hint())] {
        if let Some(part) = part {
            text.push_str(&format!(" {name}: {part}"));
        }
    }
    text
}

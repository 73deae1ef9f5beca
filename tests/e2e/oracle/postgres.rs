//! A real PostgreSQL beside us, if `FUZZ_POSTGRES` says how to reach one: what our queries give is compared with what its give.
//!
//! Its answers come without any of our rewrites. Queries that it does not know (TUMBLE, some functions) are left out, and counted.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use super::data::{Change, Table};
use super::tally::Tally;
use crate::Failure;
use crate::client::{TextRow, message, rows, run};
use crate::compare::View;

/// A session with PostgreSQL.
pub(super) struct Postgres {
    client: Client,
}

impl Postgres {
    /// `None` if nobody asked for it.
    pub(super) async fn connect() -> Result<Option<Self>, Failure> {
        let Ok(address) = std::env::var("FUZZ_POSTGRES") else { return Ok(None) };
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
        // Ends with the client; what went wrong, its next call tells.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Some(Postgres { client }))
    }

    /// Goes to a new schema with these tables.
    pub(super) async fn enter(&self, schema: &str, tables: &[Table]) -> Result<(), Failure> {
        run(&self.client, &format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path TO {schema}")).await?;
        for table in tables {
            run(&self.client, &table.create()).await?;
        }
        Ok(())
    }

    /// Removes a schema. What stays behind after a failure does no harm.
    pub(super) async fn leave(&self, schema: &str) {
        let _ = run(&self.client, &format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await;
    }

    pub(super) async fn change(&self, change: &Change, tables: &[Table]) -> Result<(), Failure> {
        let spelled_out = |statement: &String| tables.iter().find_map(|table| table.spelled_out(statement)).unwrap_or(statement.clone());
        let statements = change.statements.iter().map(spelled_out).collect();
        run(&self.client, &Change { statements, ..*change }.sql()).await
    }

    /// Creates a plain view, if PostgreSQL understands it.
    pub(super) async fn define(&self, sql: &str) {
        let _ = run(&self.client, sql).await;
    }

    /// Whether a query gives there what it gave here.
    pub(super) async fn check(&self, view: &View, query: &str, ours: Vec<TextRow>, tally: &Tally) -> Result<(), String> {
        let statement = match self.client.prepare(query).await {
            Ok(statement) => statement,
            Err(error) => {
                tally.incomparable(&format!("PostgreSQL says {}", message(&error)));
                return Ok(());
            }
        };
        let numbers: Vec<bool> =
            statement.columns().iter().map(|column| [Type::NUMERIC, Type::FLOAT8, Type::FLOAT4].contains(column.type_())).collect();
        let theirs = match rows(&self.client, query).await {
            Ok(theirs) => theirs,
            Err(error) => {
                tally.incomparable(&format!("PostgreSQL says {error}"));
                return Ok(());
            }
        };
        let loose = view.clone().with_loose_numbers(&numbers);
        match loose.difference(("our query", ours), ("PostgreSQL", theirs)) {
            None => Ok(()),
            Some(difference) => {
                Err(format!("the query of view \"{}\" is not what PostgreSQL gives\n  query: {query}\n{difference}", view.name))
            }
        }
    }
}

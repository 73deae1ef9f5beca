//! The oracle: a view holds what its own SQL gives when it is run as an ordinary query.

use std::cmp::Ordering;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::client::{TextRow, rows, run};
use crate::{Failure, Outcome};

/// Sums of floats depend on the order of their terms, so that much may differ, relative to the larger value or to 1.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// Rows that a failure shows of each side.
const SHOWN_ROWS: usize = 8;

/// A materialised view and the query behind it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) query: String,
    /// Which columns hold floats.
    floats: Vec<bool>,
}

impl View {
    /// Creates the view and learns its columns' types.
    pub(crate) async fn create(client: &Client, name: &str, query: &str) -> Result<Self, Failure> {
        run(client, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
        View::existing(client, name, query).await
    }

    /// A view that is there.
    pub(crate) async fn existing(client: &Client, name: &str, query: &str) -> Result<Self, Failure> {
        let statement = client.prepare(&format!("SELECT * FROM {name}")).await?;
        let floats = statement.columns().iter().map(|column| [Type::FLOAT4, Type::FLOAT8].contains(column.type_())).collect();
        Ok(View { name: name.to_owned(), query: query.to_owned(), floats })
    }

    /// Reads both in one transaction, which sees one epoch, and compares them as multisets.
    pub(crate) async fn check(&self, client: &Client) -> Outcome {
        run(client, "BEGIN").await?;
        let view = rows(client, &format!("SELECT * FROM {}", self.name)).await;
        let query = rows(client, &self.query).await;
        run(client, if view.is_ok() && query.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        let (view, query) = (self.sorted(view?), self.sorted(query?));
        if view.len() == query.len() && view.iter().zip(&query).all(|(left, right)| self.same(left, right)) {
            return Ok(());
        }
        let only = |from: &[TextRow], other: &[TextRow]| {
            let rows = from.iter().filter(|row| !other.iter().any(|one| self.same(row, one))).take(SHOWN_ROWS);
            rows.map(|row| format!("    {row:?}\n")).collect::<String>()
        };
        Err(format!(
            "view \"{}\" ({} rows) is not what its query gives ({} rows)\n  query: {}\n  only in the view:\n{}  only in the query:\n{}",
            self.name,
            view.len(),
            query.len(),
            self.query,
            only(&view, &query),
            only(&query, &view)
        )
        .into())
    }

    /// In an order that two equal multisets share: floats last, since their texts may differ in the last digit.
    fn sorted(&self, mut rows: Vec<TextRow>) -> Vec<TextRow> {
        rows.sort_by(|left, right| {
            let exact = |row: &TextRow| self.part(row, false).map(Option::<String>::clone).collect::<Vec<_>>();
            let floats = |row: &TextRow| self.part(row, true).map(|cell| cell.as_deref().map_or(f64::NAN, number)).collect::<Vec<_>>();
            exact(left).cmp(&exact(right)).then_with(|| {
                let pairs = floats(left).into_iter().zip(floats(right));
                pairs.map(|(left, right)| left.total_cmp(&right)).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
            })
        });
        rows
    }

    /// The cells of the columns that hold floats, or of the others.
    fn part<'a>(&'a self, row: &'a TextRow, floats: bool) -> impl Iterator<Item = &'a Option<String>> {
        row.iter().zip(&self.floats).filter(move |(_, float)| **float == floats).map(|(cell, _)| cell)
    }

    fn same(&self, left: &TextRow, right: &TextRow) -> bool {
        left.len() == right.len()
            && left.iter().zip(right).zip(&self.floats).all(|((left, right), float)| match (left, right) {
                (Some(left), Some(right)) if *float && left != right => close(number(left), number(right)),
                _ => left == right,
            })
    }
}

/// `NaN` for what is no number: it equals nothing, so that the texts decide.
fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= FLOAT_TOLERANCE * left.abs().max(right.abs()).max(1.0)
}

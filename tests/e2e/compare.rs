//! The oracle: a view holds what its own SQL gives when it is run as an ordinary query.

use std::cmp::Ordering;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::client::{TextRow, rows, run};
use crate::{Failure, Outcome};

/// Sums of floats depend on the order of their terms, so that much may differ, relative to the larger value or to 1.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// Between databases that keep another number of digits behind the point of an average.
const LOOSE_TOLERANCE: f64 = 2e-6;

/// Rows that a failure shows of each side.
const SHOWN_ROWS: usize = 8;

/// A materialised view and the query behind it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) query: String,
    /// Which columns hold floats.
    floats: Vec<bool>,
    tolerance: f64,
}

impl View {
    /// Creates the view and learns its columns' types.
    pub(crate) async fn create(client: &Client, name: &str, query: &str) -> Result<Self, Failure> {
        run(client, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
        View::existing(client, name, query).await
    }

    /// The same, where numerics too may differ in their last digits and zeros.
    pub(crate) fn with_loose_numbers(mut self, numbers: &[bool]) -> Self {
        self.floats.iter_mut().zip(numbers).for_each(|(float, number)| *float |= number);
        self.tolerance = LOOSE_TOLERANCE;
        self
    }

    /// Another view of the same query.
    pub(crate) fn named(&self, name: String) -> Self {
        View { name, ..self.clone() }
    }

    /// A view that is there.
    pub(crate) async fn existing(client: &Client, name: &str, query: &str) -> Result<Self, Failure> {
        let statement = client.prepare(&format!("SELECT * FROM {name}")).await?;
        let floats = statement.columns().iter().map(|column| [Type::FLOAT4, Type::FLOAT8].contains(column.type_())).collect();
        Ok(View { name: name.to_owned(), query: query.to_owned(), floats, tolerance: FLOAT_TOLERANCE })
    }

    /// Reads both in one transaction, which sees one epoch, and compares them as multisets.
    pub(crate) async fn check(&self, client: &Client) -> Outcome {
        run(client, "BEGIN").await?;
        let view = rows(client, &format!("SELECT * FROM {}", self.name)).await;
        let query = rows(client, &self.query).await;
        run(client, if view.is_ok() && query.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        match self.difference(("the view", view?), ("the query", query?)) {
            None => Ok(()),
            Some(difference) => {
                Err(format!("view \"{}\" is not what its query gives\n  query: {}\n{difference}", self.name, self.query).into())
            }
        }
    }

    /// How two multisets of rows differ, each told with its name; `None` if they do not.
    pub(crate) fn difference(&self, left: (&str, Vec<TextRow>), right: (&str, Vec<TextRow>)) -> Option<String> {
        let (left_rows, right_rows) = (self.sorted(left.1), self.sorted(right.1));
        if left_rows.len() == right_rows.len() && left_rows.iter().zip(&right_rows).all(|(left, right)| self.same(left, right)) {
            return None;
        }
        let only = |from: &[TextRow], other: &[TextRow]| {
            let count = |rows: &[TextRow], row: &TextRow| rows.iter().filter(|one| self.same(row, one)).count();
            let mut rows: Vec<&TextRow> = from.iter().filter(|row| count(from, row) > count(other, row)).collect();
            rows.dedup();
            rows.into_iter().take(SHOWN_ROWS).map(|row| format!("    {row:?}\n")).collect::<String>()
        };
        Some(format!(
            "  {} has {} rows, {} has {}\n  only in {}:\n{}  only in {}:\n{}",
            left.0,
            left_rows.len(),
            right.0,
            right_rows.len(),
            left.0,
            only(&left_rows, &right_rows),
            right.0,
            only(&right_rows, &left_rows)
        ))
    }

    /// In an order that two equal multisets share: floats last, since their texts may differ in the last digit.
    fn sorted(&self, mut rows: Vec<TextRow>) -> Vec<TextRow> {
        rows.sort_by(|left, right| {
            let exact = |row: &TextRow| self.part(row, false).map(Option::<String>::clone).collect::<Vec<_>>();
            let floats = |row: &TextRow| self.part(row, true).map(|cell| cell.as_deref().map(number)).collect::<Vec<_>>();
            exact(left).cmp(&exact(right)).then_with(|| {
                let pairs = floats(left).into_iter().zip(floats(right));
                let compare = |(left, right): (Option<f64>, Option<f64>)| match (left, right) {
                    (Some(left), Some(right)) => left.total_cmp(&right),
                    (left, right) => left.is_some().cmp(&right.is_some()),
                };
                pairs.map(compare).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
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
                (Some(left), Some(right)) if *float && left != right => close(number(left), number(right), self.tolerance),
                _ => left == right,
            })
    }
}

/// `NaN` for what is no number: it equals nothing, so that the texts decide.
fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn close(left: f64, right: f64, tolerance: f64) -> bool {
    (left - right).abs() <= tolerance * left.abs().max(right.abs()).max(1.0)
}

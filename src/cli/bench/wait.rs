//! Waiting until a server has done all there is to do.

use std::time::Duration;

use crate::cli::bench::Subject;
use crate::error::{Error, Kind, Result};

/// Between two looks. Seldom enough to cost next to nothing beside what is measured, which takes seconds.
const LOOK: Duration = Duration::from_millis(10);

impl Subject {
    /// Makes the table that `settled` writes to. To be called before anything is measured.
    pub(super) async fn prepare_settled(&self) -> Result<()> {
        self.run("CREATE TABLE settled (n BIGINT)").await
    }

    /// Waits until every view has taken in all rows that the sources (or tables with a connector) of these names will ever deliver.
    ///
    /// A source that has delivered its last row has put it into an epoch; a row inserted after that is in a later one, and is seen
    /// by its own session only when every view has finished its epoch.
    pub(super) async fn settled(&self, sources: &[(&str, u64)]) -> Result<()> {
        while !self.delivered(sources).await? {
            tokio::time::sleep(LOOK).await;
        }
        self.run("INSERT INTO settled VALUES (1)").await?;
        self.run("SELECT count(*) FROM settled").await?;
        self.no_failure().await
    }

    async fn delivered(&self, sources: &[(&str, u64)]) -> Result<bool> {
        let known = self.rows("SELECT name, rows FROM tidemill.sources").await?;
        let rows = |name: &str| known.iter().find(|row| row[0] == name).and_then(|row| row[1].parse::<u64>().ok());
        Ok(sources.iter().all(|(name, expected)| rows(name).is_some_and(|rows| rows >= *expected)))
    }

    /// Waits until a view has read what was there before it.
    pub(super) async fn hydrated(&self, view: &str) -> Result<()> {
        loop {
            let jobs = self.rows("SHOW jobs").await?;
            if jobs.iter().any(|row| row[0] == view && row[1] == "running") {
                return Ok(());
            }
            self.no_failure().await?;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A view that failed would look like one that is very fast.
    async fn no_failure(&self) -> Result<()> {
        let jobs = self.rows("SHOW jobs").await?;
        match jobs.iter().find(|row| row[1].starts_with("failed")) {
            None => Ok(()),
            Some(row) => Err(Error::new(Kind::ObjectState, format!("view \"{}\" has {}", row[0], row[1]))),
        }
    }
}

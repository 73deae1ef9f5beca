//! Runs one bound query over relations as of one epoch.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::displayable;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;

use super::convert::convert;
use super::stop::{Running, Waiting, stoppable};
use crate::error::{Error, Result};
use crate::plan::{Bound, Planner, RowsOf, from_datafusion};

/// Rows as they become ready. Dropping it stops the work behind it.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// Batches that a query may compute ahead of its reader.
const BATCHES_AHEAD: usize = 2;

/// Starts a query: optimises it with the parameters' values (one array of length 1 each) in their places, and streams its rows,
/// in the types of `bound.schema`, computed on `threads`. `provider` gives the rows of each object; `now_micros` is what `now()` means.
pub async fn run(
    planner: &Planner,
    bound: &Bound,
    provider: &RowsOf<'_>,
    parameters: &[ArrayRef],
    now_micros: i64,
    threads: &Handle,
) -> Result<(SchemaRef, RowStream)> {
    let plan = bound.with_parameters(bound.attach(provider)?, parameters)?;
    let plan = planner.optimize(plan, now_micros)?;
    let physical = planner.physical(&plan).await?;
    let running = Running::default();
    let waiting = running.waiting();
    let batches = planner.execute(stoppable(physical, &running)?)?;
    let schema = Arc::clone(&bound.schema);
    let rows = batches.map(move |batch| {
        let batch = batch.map_err(|error| from_datafusion(error, ""))?;
        convert(&batch, &schema)
    });
    Ok((Arc::clone(&bound.schema), aside(rows, waiting, threads)))
}

/// Runs a stream on the threads for queries: one that computes for long without a pause keeps neither other clients waiting nor a cancel
/// request from being noticed. It is stopped, at its next pause or the next look at `waiting`, when the rows are dropped.
fn aside(mut rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static, waiting: Waiting, threads: &Handle) -> RowStream {
    let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
    let mut task = tokio::task::JoinSet::new();
    let work = async move {
        while let Some(batch) = rows.next().await {
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    };
    task.spawn_on(work, threads);
    Box::pin(futures::stream::unfold((receiver, task, waiting), |(mut receiver, mut task, waiting)| async move {
        match receiver.recv().await {
            Some(batch) => Some((batch, (receiver, task, waiting))),
            None => match task.join_next().await {
                Some(Err(cause)) if cause.is_panic() => Some((Err(Error::internal("the query has panicked")), (receiver, task, waiting))),
                _ => None,
            },
        }
    }))
}

/// DataFusion's physical plan as an indented tree.
pub async fn explain_physical(planner: &Planner, bound: &Bound, provider: &RowsOf<'_>, now_micros: i64) -> Result<String> {
    let plan = planner.optimize(bound.attach(provider)?, now_micros)?;
    let physical = planner.physical(&plan).await?;
    Ok(displayable(physical.as_ref()).indent(false).to_string())
}

//! Runs one bound query over relations as of one epoch.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::physical_plan::displayable;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;

use super::convert::convert;
use super::rows::Providers;
use super::stop::stoppable;
use crate::error::{Error, Kind, Result};
use crate::plan::{Bound, Planner, RowsOf, attach, from_datafusion};
use crate::types::{Running, Waiting};

/// Rows as they become ready. Dropping it stops the work behind it.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// Batches that a query may compute ahead of its reader.
const BATCHES_AHEAD: usize = 2;

/// Starts a query: optimises it with the parameters' values (one array of length 1 each) in their places, and streams its rows,
/// in the types of `bound.schema`. All of that on `threads`. `now_micros` is what `now()` means.
pub async fn run(
    planner: &Arc<Planner>,
    bound: &Arc<Bound>,
    providers: Providers,
    parameters: &[ArrayRef],
    now_micros: i64,
    threads: &Handle,
) -> Result<RowStream> {
    let (planner, bound, parameters, handle) = (Arc::clone(planner), Arc::clone(bound), parameters.to_vec(), threads.clone());
    let start = move || {
        let plan = bound.optimized(&planner, &parameters, now_micros)?;
        let plan = attach(plan, &|id, columns| providers.get(id, columns))?;
        let physical = handle.block_on(planner.physical(&plan))?;
        let running = Running::default();
        let waiting = running.waiting();
        let batches = planner.execute(stoppable(physical, &running)?)?;
        let schema = Arc::clone(&bound.schema);
        let rows = batches.map(move |batch| {
            let batch = batch.map_err(|error| from_datafusion(error, ""))?;
            convert(&batch, &schema)
        });
        Ok(stream_aside(rows, waiting, &handle))
    };
    aside(threads, start).await
}

/// Waits for work that takes long without a pause, done on a thread of its own. Whoever stops waiting does not stop the work.
pub async fn aside<T: Send + 'static>(threads: &Handle, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match threads.spawn_blocking(work).await {
        Ok(done) => done,
        Err(cause) if cause.is_panic() => Err(panicked()),
        Err(_) => Err(Error::new(Kind::Shutdown, "the server is shutting down")),
    }
}

/// Runs a stream on the threads for queries: one that computes for long without a pause keeps neither other clients waiting nor a cancel
/// request from being noticed. It is stopped, at its next pause or the next look at `waiting`, when the rows are dropped.
fn stream_aside(
    mut rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static,
    waiting: Waiting,
    threads: &Handle,
) -> RowStream {
    let (sender, receiver) = tokio::sync::mpsc::channel(BATCHES_AHEAD);
    let mut task = tokio::task::JoinSet::new();
    let work = async move {
        while let Some(batch) = rows.next().await {
            // Behind an error there is nothing: operators need not bear to be asked again.
            let failed = batch.is_err();
            if sender.send(batch).await.is_err() || failed {
                return;
            }
        }
    };
    task.spawn_on(work, threads);
    Box::pin(futures::stream::unfold((receiver, task, waiting), |(mut receiver, mut task, waiting)| async move {
        match receiver.recv().await {
            Some(batch) => Some((batch, (receiver, task, waiting))),
            None => match task.join_next().await {
                Some(Err(cause)) if cause.is_panic() => Some((Err(panicked()), (receiver, task, waiting))),
                _ => None,
            },
        }
    }))
}

fn panicked() -> Error {
    Error::internal("the query has panicked")
}

/// DataFusion's physical plan as an indented tree, over the rows that `provider` gives.
pub fn explain_physical(planner: &Planner, bound: &Bound, provider: &RowsOf<'_>, now_micros: i64, threads: &Handle) -> Result<String> {
    let plan = attach(bound.optimized(planner, &[], now_micros)?, provider)?;
    let physical = threads.block_on(planner.physical(&plan))?;
    Ok(displayable(physical.as_ref()).indent(false).to_string())
}

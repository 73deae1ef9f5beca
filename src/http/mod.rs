//! HTTP: whether the server lives, and what it measures.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::{Error, Result};

/// Writes all metrics in Prometheus' text format. Made by `main`, which owns the recorder.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    engine: Arc<Engine>,
    render: RenderMetrics,
}

impl Shared {
    /// All metrics: what the recorder has collected, and what belongs to single objects.
    fn text(&self) -> String {
        self.engine.record_metrics();
        let mut text = (self.render)();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text + &self.engine.object_metrics()
    }
}

/// Answers requests until `shutdown`.
pub async fn serve(listener: TcpListener, engine: Arc<Engine>, render: RenderMetrics, shutdown: CancellationToken) -> Result<()> {
    let router = Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics)).with_state(Shared { engine, render });
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|cause| Error::external("the HTTP server failed", cause))
}

/// `200 ok` while all is well; `200 degraded` with the names of sources that have stopped for good, as a restart of the server would not mend
/// that; `503` with the names of failed views.
async fn healthz(State(shared): State<Shared>) -> Response {
    let (views, sources) = (shared.engine.failed_views(), shared.engine.failed_sources());
    let degraded = if sources.is_empty() { String::new() } else { format!("degraded: failed sources: {}\n", sources.join(", ")) };
    match (views.is_empty(), degraded.is_empty()) {
        (true, true) => "ok\n".into_response(),
        (true, false) => degraded.into_response(),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed views: {}\n{degraded}", views.join(", "))).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.text()).into_response()
}

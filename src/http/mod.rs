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

/// `200 ok` while the clock runs; `503` with the names of failed views otherwise.
async fn healthz(State(shared): State<Shared>) -> Response {
    let failed = shared.engine.failed_views();
    if failed.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("failed views: {}\n", failed.join(", "))).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.text()).into_response()
}

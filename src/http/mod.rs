//! HTTP: whether the server lives, and what it measures.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;

/// Connections at once; others wait in the system's queue. Clients that ask nothing must not take all file descriptors.
const CONNECTIONS_MAX: usize = 128;

/// How long a client may take to ask: those that ask nothing keep others waiting.
const ASKING_MAX: Duration = Duration::from_secs(2);

/// How long a connection may last: it is for one request.
const CONNECTION_MAX: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept: usually all file descriptors are taken, and trying at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
pub async fn serve(listener: TcpListener, engine: Arc<Engine>, render: RenderMetrics, shutdown: CancellationToken) {
    let router = Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics)).with_state(Shared { engine, render });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((socket, _)) => drop(connections.spawn(timeout(CONNECTION_MAX, answer(socket, router.clone(), shutdown.clone())))),
                Err(cause) => {
                    tracing::warn!(%cause, "an HTTP client could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Answers one request; at the shutdown none that has not begun. What goes wrong on the way is the client's to notice.
async fn answer(socket: TcpStream, router: Router, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(ASKING_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router)));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
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

//! `tidemill serve`: a database with its listeners, until a signal ends it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::descriptors;
use crate::config::{Config, ServeOptions};
use crate::engine::{Engine, describe_metrics};
use crate::error::{Error, Result};
use crate::http::RenderMetrics;
use crate::state::Store;
use crate::types::{STACK_BYTES, SystemClock};

/// How long the listeners may take to say goodbye to their clients when the server stops: a little longer than they want to.
const DRAIN: Duration = Duration::from_millis(2_500);

/// When the server has ended, whatever it was doing: within five seconds, as whoever runs it may expect. What it did not get to put into a
/// last checkpoint is in the log. The rest is for RocksDB, which may be writing a file.
const STOP: Duration = Duration::from_millis(3_800);

/// What is left to the threads of the runtime at the very end.
pub(crate) const LAST: Duration = Duration::from_millis(200);

/// Runs the server until SIGTERM or SIGINT.
pub fn serve(options: ServeOptions) -> Result<()> {
    let config = options.resolve()?;
    start_tracing(config.log_json);
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // A second server in one process (a test) keeps the first one's recorder.
    drop(metrics::set_global_recorder(recorder));
    describe_metrics();
    let render: RenderMetrics = Arc::new(move || handle.render());
    let runtime = runtime()?;
    let server = runtime.spawn(async move {
        // Listened for from the first moment on: whoever reads the banner may end the server at once.
        let mut signals = Signals::listen()?;
        let Some(server) = Server::start_unless(config, render, signals.next()).await? else {
            tracing::info!("stopped before the start was over: the next one begins where this one did");
            return Ok(());
        };
        println!("{}", server.banner());
        signals.next().await;
        tracing::info!("stopping");
        server.stop().await
    });
    // As a task: the main thread has a stack of the system's choosing, which the expressions of a stored table may not fit in.
    let served = runtime.block_on(server);
    // Dropped, it would wait for work that does not pause.
    runtime.shutdown_timeout(LAST);
    served.map_err(|cause| Error::internal(format!("the server has failed: {cause}")))?
}

/// The runtime for connections and queries.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_stack_size(STACK_BYTES).build().map_err(|cause| Error::external("cannot start the runtime", cause))
}

/// What ends the program: SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let on = |kind| signal(kind).map_err(|cause| Error::external("cannot listen for signals", cause));
        Ok(Signals { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    /// Waits for the next one. May be dropped while it waits.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The store of a server. However that ends, or its start, RocksDB ends what it does beside.
struct Opened(Arc<Store>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A running server.
pub(crate) struct Server {
    config: Config,
    /// Behind everything that writes to it.
    _store: Opened,
    engine: Arc<Engine>,
    /// Where PostgreSQL clients reach it.
    pub(crate) address: SocketAddr,
    http: SocketAddr,
    shutdown: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Starts a server that nothing ends before it is there.
    pub(crate) async fn start(config: Config, render: RenderMetrics) -> Result<Self> {
        let started = Server::start_unless(config, render, std::future::pending()).await?;
        Ok(started.expect("only `ended` ends it before it is there"))
    }

    /// Binds first, so that a port that is taken is told before anything is opened; then recovers; then lets clients in. `None` if `ended` came before
    /// that: what is on disk is as complete as it was.
    pub(crate) async fn start_unless(config: Config, render: RenderMetrics, ended: impl Future<Output = ()>) -> Result<Option<Self>> {
        let listener = bind(config.listen).await?;
        let http_listener = bind(config.http).await?;
        let address = listener.local_addr().map_err(|cause| Error::external("cannot listen", cause))?;
        let http = http_listener.local_addr().map_err(|cause| Error::external("cannot listen", cause))?;
        let (started, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let sockets_max = descriptors::for_clients();
        let early = tokio::spawn(crate::wire::turn_away(listener, sockets_max, started.clone()));
        let opened = open(&config, ended).await;
        started.cancel();
        let Some((store, engine)) = opened? else { return Ok(None) };
        let listener = early.await.map_err(not_started)?;
        let tasks = vec![
            tokio::spawn(crate::wire::serve(listener, sockets_max, Arc::clone(&engine), shutdown.clone())),
            tokio::spawn(crate::http::serve(http_listener, Arc::clone(&engine), render, shutdown.clone())),
        ];
        Ok(Some(Server { config, _store: store, engine, address, http, shutdown, tasks }))
    }

    fn banner(&self) -> String {
        let kept = match &self.config.data_dir {
            Some(dir) => format!("data        {} (durable: every COMMIT is on disk)", dir.display()),
            None => "data        in memory only: nothing survives a restart".to_owned(),
        };
        format!(
            "Tidemill {}  ({} workers)\n  {kept}\n  http        http://{}/healthz  /metrics\n  connect     psql \"postgresql://{}/tidemill?user=tidemill\"",
            env!("CARGO_PKG_VERSION"),
            self.config.workers,
            self.http,
            self.address,
        )
    }

    /// Lets clients finish, makes a last checkpoint, and ends, all of it within `STOP`.
    pub(crate) async fn stop(self) -> Result<()> {
        let now = Instant::now();
        self.shutdown.cancel();
        for mut task in self.tasks {
            // A client that does not finish in time is cut off: what it committed is durable.
            if timeout_at(now + DRAIN, &mut task).await.is_err() {
                task.abort();
            }
        }
        if timeout_at(now + STOP, self.engine.stop()).await.is_err() {
            tracing::warn!("the last checkpoint took too long: the next start reads what is missing from the log");
        }
        Ok(())
    }
}

/// Opens the data directory, and recovers what is in it; `None` if `ended` comes before that is done.
async fn open(config: &Config, ended: impl Future<Output = ()>) -> Result<Option<(Opened, Arc<Engine>)>> {
    let mut ended = pin!(ended);
    let dir = config.data_dir.clone();
    let mut opening = tokio::task::spawn_blocking(move || dir.map_or_else(|| Ok(Store::in_memory()), |dir| Store::open(&dir)));
    let store = tokio::select! {
        store = &mut opening => store.map_err(not_started)??,
        () = &mut ended => {
            // RocksDB reads its log without a pause; a process that ends meanwhile would pull away what it reads with.
            drop(timeout(STOP, opening).await);
            return Ok(None);
        }
    };
    let store = Opened(Arc::new(store));
    let mut recovering = JoinSet::new();
    recovering.spawn(Engine::open(config.clone(), Arc::clone(&store.0), Arc::new(SystemClock)));
    tokio::select! {
        Some(engine) = recovering.join_next() => Ok(Some((store, engine.map_err(not_started)??))),
        () = ended => Ok(None),
    }
}

fn not_started(cause: JoinError) -> Error {
    Error::internal(format!("the server could not start: {cause}"))
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| {
        Error::external(&format!("cannot listen on {address}"), cause)
            .hint("Another process may use it: choose another with --listen or --http.")
    })
}

pub(crate) fn start_tracing(json: bool) {
    let filter = EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| EnvFilter::new("warn,tidemill=info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that a subscriber is there already, which will do.
    if json {
        drop(builder.json().try_init());
    } else {
        drop(builder.try_init());
    }
}

//! Accepts clients, one task each, until the shutdown; then lets what runs finish.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pgwire::messages::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::{Error, Kind};
use crate::wire::error_response::error_response;
use crate::wire::startup::{refuse_starting, start};

/// How long statements may go on after a shutdown was asked for: short ones end by themselves.
const DRAIN_MAX: Duration = Duration::from_millis(1_500);

/// How long clients whose statements were ended may take to read that.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// How long to wait after a failed accept: usually all file descriptors are taken, and trying at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves clients until `shutdown`. Then idle clients are told `57P01` at once, busy ones after their statement, or in its midst if that
/// takes longer than a moment, and who does not take note is cut off.
///
/// At most `sockets_max` sockets are open, known clients or not: the engine has its own, lower limit for sessions; this one keeps clients that
/// never say who they are from taking all file descriptors.
pub async fn serve(listener: TcpListener, sockets_max: usize, engine: Arc<Engine>, shutdown: CancellationToken) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = clients.join_next(), if !clients.is_empty() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if clients.len() >= sockets_max => refuse(&socket),
                Ok((socket, peer)) => {
                    clients.spawn(start(socket, peer, Arc::clone(&engine), shutdown.clone()));
                }
                Err(cause) => {
                    tracing::warn!(%cause, "a client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_MAX, drain(&mut clients)).await.is_ok() {
        return;
    }
    engine.end_sessions();
    if tokio::time::timeout(FAREWELL_MAX, drain(&mut clients)).await.is_err() {
        tracing::warn!(clients = clients.len(), "clients were cut off: their statements did not end in time");
        clients.shutdown().await;
    }
}

/// Waits until all clients have gone.
async fn drain(clients: &mut JoinSet<()>) {
    while let Some(ended) = clients.join_next().await {
        report(ended);
    }
}

/// Tells clients that the server is starting, until `started`; then gives the listener back.
pub async fn turn_away(listener: TcpListener, sockets_max: usize, started: CancellationToken) -> TcpListener {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = started.cancelled() => return listener,
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) if clients.len() < sockets_max => drop(clients.spawn(refuse_starting(socket))),
                Ok(_) => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// A panic in a connection is a bug of ours, but only that client's trouble.
fn report(ended: Result<(), JoinError>) {
    if let Err(cause) = ended
        && cause.is_panic()
    {
        tracing::error!(%cause, "a connection has panicked");
    }
}

/// Too many sockets: said if the client can be told without waiting.
fn refuse(socket: &TcpStream) {
    let mut out = BytesMut::new();
    let error = Error::new(Kind::TooManyConnections, "sorry, too many clients already");
    if error_response(&error, true).encode(&mut out).is_ok() {
        // The buffer of a fresh socket takes it; if not, the client sees a closed connection.
        let _ = socket.try_write(&out);
    }
}

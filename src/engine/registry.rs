//! Who is connected: for cancel requests, the limit, and `pg_stat_activity`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// All connected clients.
#[derive(Default)]
pub(crate) struct Registry {
    clients: Mutex<BTreeMap<i32, Client>>,
    next: AtomicI32,
}

/// One connected client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) secret: i32,
    pub(crate) user: String,
    pub(crate) peer: String,
    pub(crate) application: String,
    /// Microseconds since 1970.
    pub(crate) connected: i64,
    /// What it runs, or ran last.
    pub(crate) query: String,
    pub(crate) active: bool,
    cancel: CancellationToken,
    /// Fires when the session is to end.
    ended: CancellationToken,
}

/// By what a client is known, and what ends its statements and its session.
pub(crate) struct Entered {
    pub(crate) process_id: i32,
    pub(crate) secret: i32,
    pub(crate) cancel: CancellationToken,
    pub(crate) ended: CancellationToken,
}

impl Registry {
    /// Lets a client in and gives its number, unless `limit` are in already.
    pub(crate) fn enter(&self, limit: usize, user: &str, peer: &str, application: &str, now: i64) -> Result<Entered> {
        let mut clients = self.clients.lock();
        if clients.len() >= limit {
            return Err(
                Error::new(Kind::TooManyConnections, "sorry, too many clients already").hint("Raise --max-connections or close some.")
            );
        }
        let process_id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        // The secret keeps others from cancelling by a guessed number; the standard library's hasher keys are random per process and call.
        let secret = random_i32();
        let (cancel, ended) = (CancellationToken::new(), CancellationToken::new());
        let client = Client {
            secret,
            user: user.to_owned(),
            peer: peer.to_owned(),
            application: application.to_owned(),
            connected: now,
            query: String::new(),
            active: false,
            cancel: cancel.clone(),
            ended: ended.clone(),
        };
        clients.insert(process_id, client);
        Ok(Entered { process_id, secret, cancel, ended })
    }

    pub(crate) fn leave(&self, process_id: i32) {
        self.clients.lock().remove(&process_id);
    }

    /// Fires the token of the client, if the secret is right (`None`: asked by a superuser's function). Returns whether there was one.
    pub(crate) fn cancel(&self, process_id: i32, secret: Option<i32>) -> bool {
        let clients = self.clients.lock();
        let found = clients.get(&process_id).filter(|client| secret.is_none_or(|secret| secret == client.secret));
        if let Some(client) = found {
            client.cancel.cancel();
        }
        found.is_some()
    }

    /// Ends the client's session: `Some` number, or all of them. Returns whether there was one.
    pub(crate) fn end(&self, process_id: Option<i32>) -> bool {
        let clients = self.clients.lock();
        let ending = clients.iter().filter(|(id, _)| process_id.is_none_or(|wanted| wanted == **id));
        ending.map(|(_, client)| client.ended.cancel()).count() > 0
    }

    /// A fresh token for the client's next statement.
    pub(crate) fn renew(&self, process_id: i32) -> CancellationToken {
        let cancel = CancellationToken::new();
        if let Some(client) = self.clients.lock().get_mut(&process_id) {
            client.cancel = cancel.clone();
        }
        cancel
    }

    /// Notes what a client runs; `None`: it is done.
    pub(crate) fn note(&self, process_id: i32, query: Option<&str>) {
        if let Some(client) = self.clients.lock().get_mut(&process_id) {
            client.active = query.is_some();
            if let Some(query) = query {
                query.clone_into(&mut client.query);
            }
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.clients.lock().len()
    }

    pub(crate) fn clients(&self) -> Vec<(i32, Client)> {
        self.clients.lock().iter().map(|(process_id, client)| (*process_id, client.clone())).collect()
    }
}

fn random_i32() -> i32 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    i32::from_le_bytes(bits.to_le_bytes()[..4].try_into().expect("four of eight bytes"))
}

//! From a fresh socket to a session: encryption requests, cancel requests, protocol version, startup parameters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Session, Startup};
use crate::error::{Error, Kind, Result};
use crate::wire::connection::Connection;
use crate::wire::decode::text;
use crate::wire::error_response::error_response;
use crate::wire::frame::{Channel, Failure};
use crate::wire::message::Fields;

/// A client must have said who it is within this time.
const STARTUP_MAX: Duration = Duration::from_secs(10);

/// Codes in the place of a protocol version.
const CANCEL_REQUEST: i32 = 80_877_102;
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;

/// The protocol's only major version, and the newest minor one we know (PostgreSQL 18).
const MAJOR: i32 = 3;
const NEWEST: i32 = (MAJOR << 16) | 2;

/// What a startup packet says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Packet {
    user: Option<String>,
    database: Option<String>,
    parameters: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`): we know none.
    unknown_options: Vec<String>,
}

/// Serves a fresh socket to its end.
pub(super) async fn start(socket: TcpStream, peer: SocketAddr, engine: Arc<Engine>, shutdown: CancellationToken) {
    // Every write is a whole answer: waiting for more would only delay it.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let mut channel = Channel::new(socket);
    let started = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(Failure::Fatal(Error::new(Kind::Shutdown, "the database system is shutting down"))),
        started = tokio::time::timeout(STARTUP_MAX, handshake(&mut channel, peer, &engine)) => {
            started.unwrap_or_else(|_| Err(Failure::Fatal(Error::new(Kind::Protocol, "no startup packet in time"))))
        }
    };
    match started {
        Ok(Some(session)) => {
            channel.logged_in();
            Connection::new(channel, session, shutdown).serve().await;
        }
        Ok(None) | Err(Failure::Gone) => {}
        Err(Failure::Fatal(error) | Failure::Error(error)) => {
            channel.put(&error_response(&error, true));
            channel.close().await;
        }
    }
}

/// Tells a client that connects too early to come again.
pub(super) async fn refuse_starting(socket: TcpStream) {
    let mut channel = Channel::new(socket);
    let asked = tokio::time::timeout(STARTUP_MAX, async {
        while let Ok(Some(body)) = channel.next_startup().await {
            match Fields::new(&body).i32() {
                Some(SSL_REQUEST | GSS_REQUEST) if refuse_encryption(&mut channel).await.is_ok() => {}
                Some(CANCEL_REQUEST) | None => return false,
                Some(_) => return true,
            }
        }
        false
    });
    if asked.await == Ok(true) {
        let error = Error::new(Kind::CannotConnectNow, "the database system is starting up");
        channel.put(&error_response(&error, true));
        channel.close().await;
    }
}

/// Everything before the first ReadyForQuery; `None` if there is no session to serve.
async fn handshake(channel: &mut Channel, peer: SocketAddr, engine: &Arc<Engine>) -> Result<Option<Session>, Failure> {
    let (mut asked_ssl, mut asked_gss) = (false, false);
    loop {
        let Some(body) = channel.next_startup().await? else { return Ok(None) };
        let mut fields = Fields::new(&body);
        match fields.i32().ok_or_else(invalid_packet)? {
            SSL_REQUEST if !asked_ssl => {
                asked_ssl = true;
                refuse_encryption(channel).await?;
            }
            GSS_REQUEST if !asked_gss => {
                asked_gss = true;
                refuse_encryption(channel).await?;
            }
            CANCEL_REQUEST => {
                // Never answered, whether it names a session or not.
                if let (Some(process_id), Some(secret)) = (fields.i32(), fields.i32()) {
                    engine.cancel(process_id, secret);
                }
                return Ok(None);
            }
            version => return open(channel, version, &body.slice(4..), peer, engine).map(Some),
        }
    }
}

/// Says that there is no encryption. What was sent without waiting for that answer may come from someone in between who wants it taken
/// for a part of the encrypted session (CVE-2021-23214): such a connection ends.
async fn refuse_encryption(channel: &mut Channel) -> Result<(), Failure> {
    if channel.has_unread() {
        let error = Error::new(Kind::Protocol, "received unencrypted data after an encryption request");
        return Err(Failure::Fatal(error.detail("This could be a faulty client or an attack in the middle.")));
    }
    channel.out.extend_from_slice(b"N");
    channel.flush().await
}

/// Opens a session and reports it: authentication passed, settings, and the key for cancel requests.
fn open(channel: &mut Channel, version: i32, body: &Bytes, peer: SocketAddr, engine: &Arc<Engine>) -> Result<Session, Failure> {
    if version >> 16 != MAJOR {
        let text = format!("unsupported frontend protocol {}.{}: server supports 3.0 to 3.2", version >> 16, version & 0xffff);
        return Err(Failure::Fatal(Error::not_supported(text)));
    }
    let packet = read_packet(body).map_err(Failure::Fatal)?;
    if version > NEWEST || !packet.unknown_options.is_empty() {
        channel.put(&NegotiateProtocolVersion::new(version.min(NEWEST), packet.unknown_options));
    }
    let no_user = || Failure::Fatal(Error::new(Kind::Authorization, "no PostgreSQL user name specified in startup packet"));
    let user = packet.user.ok_or_else(no_user)?;
    let database = packet.database.unwrap_or_else(|| user.clone());
    let startup = Startup { user, database, parameters: packet.parameters, peer: peer.to_string() };
    let session = engine.connect(startup).map_err(Failure::Fatal)?;
    channel.put(&Authentication::Ok);
    for (name, value) in session.parameter_status() {
        channel.put(&ParameterStatus::new(name, value));
    }
    channel.put(&BackendKeyData::new(session.process_id(), SecretKey::I32(session.secret())));
    Ok(session)
}

fn invalid_packet() -> Failure {
    Failure::Fatal(invalid_layout())
}

fn invalid_layout() -> Error {
    Error::new(Kind::Protocol, "invalid startup packet layout")
}

/// Names and values, each ended by a zero byte; an empty name ends all.
fn read_packet(body: &[u8]) -> Result<Packet> {
    let (mut fields, mut packet) = (Fields::new(body), Packet::default());
    loop {
        let name = text(fields.string().ok_or_else(invalid_layout)?)?;
        if name.is_empty() {
            break;
        }
        let value = text(fields.string().ok_or_else(invalid_layout)?)?;
        match name {
            "user" => packet.user = Some(value.to_owned()).filter(|user| !user.is_empty()),
            "database" => packet.database = Some(value.to_owned()).filter(|database| !database.is_empty()),
            "options" => packet.parameters.extend(read_options(value)?),
            "replication" if matches!(value, "false" | "off" | "no" | "0") => {}
            "replication" => return Err(Error::not_supported("replication connections are not supported")),
            _ if name.starts_with("_pq_.") => packet.unknown_options.push(name.to_owned()),
            _ => packet.parameters.push((name.to_owned(), value.to_owned())),
        }
    }
    if fields.is_empty() { Ok(packet) } else { Err(invalid_layout()) }
}

/// `-c name=value` and `--name=value`, divided by blanks; a backslash takes the meaning off a blank.
fn read_options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = Vec::new();
    let (mut word, mut characters) = (String::new(), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            _ if character.is_ascii_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.push(word);
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(setting), _) => Some(setting.to_owned()),
            (None, Some("")) => words.next(),
            (None, Some(setting)) => Some(setting.to_owned()),
            (None, None) => None,
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let (name, value) = pair.ok_or_else(|| Error::new(Kind::Syntax, format!("invalid command-line argument: \"{word}\"")))?;
        options.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::{read_options, read_packet};

    #[test]
    fn a_packet_names_user_database_and_settings() {
        let body = b"user\0ann\0database\0shop\0options\0-c search_path=a\\ b --TimeZone=UTC\0_pq_.x\x001\0application_name\0psql\0\0";
        let packet = read_packet(body).unwrap();
        assert_eq!((packet.user.as_deref(), packet.database.as_deref()), (Some("ann"), Some("shop")));
        let names = packet.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
        assert_eq!(names, [("search_path", "a b"), ("TimeZone", "UTC"), ("application_name", "psql")]);
        assert_eq!(packet.unknown_options, ["_pq_.x"]);
    }

    #[test]
    fn a_packet_that_does_not_add_up_is_refused() {
        assert!(read_packet(b"user\0ann\0").is_err());
        assert!(read_packet(b"user\0ann\0\0more").is_err());
        assert!(read_packet(b"user").is_err());
        assert!(read_packet(b"user\0ann\0replication\0database\0\0").is_err());
        assert!(read_options("-x").is_err());
        assert!(read_options("-c name").is_err());
    }
}

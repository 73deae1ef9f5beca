//! The options of `connector = 'kafka'`, and the client's configuration that follows from them.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;

use super::watch::Watch;
use crate::connect::options::Options;
use crate::error::{Error, Kind, Result};

/// Options by name; everything that starts with `properties.` goes to the client as it is.
const KNOWN: &[&str] = &[
    "topic",
    "properties.bootstrap.server",
    "properties.bootstrap.servers",
    "scan.startup.mode",
    "scan.startup.timestamp.millis",
    "on_data_loss",
];

const PREFIX: &str = "properties.";

/// What a user may want otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    // Only there because the client asks for one: nobody joins it.
    ("group.id", "tidemill"),
    ("client.id", "tidemill"),
    ("isolation.level", "read_committed"),
    // Bytes that wait in the client, for all partitions together.
    ("queued.max.messages.kbytes", "16384"),
    // With a full queue the client waits before it fetches again; its default of a second would be most of the time.
    ("fetch.queue.backoff.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// What correctness rests on: positions come from checkpoints, and a position that the log does not have is an error, not a jump.
const FORCED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    // End offsets and broker states arrive with the statistics: no request per partition for the lag.
    ("statistics.interval.ms", "1000"),
];

/// Where partitions without a position begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Startup {
    /// At the first record there is.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At the first record with this timestamp or a later one, in milliseconds since 1970.
    Timestamp(i64),
}

/// The options, checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) startup: Startup,
    /// A position that the log does not have: go on with the first record there is, instead of stopping.
    pub(super) skip_lost: bool,
    config: ClientConfig,
}

impl Settings {
    /// `22023` for anything unknown, missing or malformed.
    pub(super) fn new(given: &BTreeMap<String, String>) -> Result<Self> {
        let options = Options::new("connector \"kafka\"", given);
        options.refuse_unknown(KNOWN, &[PREFIX])?;
        let brokers = options.required(&["properties.bootstrap.server", "properties.bootstrap.servers"])?.to_owned();
        let topic = options.required(&["topic"])?.to_owned();
        let millis = options.number("scan.startup.timestamp.millis")?;
        let startup = match (options.text(&["scan.startup.mode"]).unwrap_or("earliest"), millis) {
            ("earliest", None) => Startup::Earliest,
            ("latest", None) => Startup::Latest,
            ("timestamp", Some(millis)) => Startup::Timestamp(millis),
            ("timestamp", None) => {
                let error =
                    Error::new(Kind::InvalidParameter, "option \"scan.startup.timestamp.millis\" of connector \"kafka\" is missing");
                return Err(error.hint("With scan.startup.mode = 'timestamp' say from when, in milliseconds since 1970."));
            }
            ("earliest" | "latest", Some(_)) => {
                let error =
                    Error::new(Kind::InvalidParameter, "option \"scan.startup.timestamp.millis\" needs scan.startup.mode = 'timestamp'");
                return Err(error.hint("Leave one of the two out, or correct the mode."));
            }
            _ => return Err(options.invalid("scan.startup.mode", "earliest, latest or timestamp")),
        };
        let skip_lost = match options.text(&["on_data_loss"]).unwrap_or("fail") {
            "fail" => false,
            "skip" => true,
            _ => return Err(options.invalid("on_data_loss", "fail or skip")),
        };
        let settings = Settings { config: client_config(given, &brokers)?, brokers, topic, startup, skip_lost };
        // The client checks names and values of its properties when it is made.
        settings.consumer(false)?;
        Ok(settings)
    }

    /// A new client. `ends`: it shall say when it has reached the end of a partition.
    pub(super) fn consumer(&self, ends: bool) -> Result<BaseConsumer<Watch>> {
        let mut config = self.config.clone();
        config.set("enable.partition.eof", if ends { "true" } else { "false" });
        config.create_with_context(Watch::new(&self.topic)).map_err(|cause| property_error(&cause))
    }
}

fn client_config(given: &BTreeMap<String, String>, brokers: &str) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    for (key, value) in DEFAULTS {
        config.set(*key, *value);
    }
    for (key, value) in given {
        let Some(property) = key.strip_prefix(PREFIX) else { continue };
        if let Some((_, forced)) = FORCED.iter().find(|(key, forced)| *key == property && *forced != value.trim()) {
            let error = Error::new(Kind::InvalidParameter, format!("option \"{key}\" must be \"{forced}\" here"));
            return Err(error.hint("Positions are kept in checkpoints, not by the broker."));
        }
        if !matches!(property, "bootstrap.server" | "bootstrap.servers") {
            config.set(property, value.trim());
        }
    }
    config.set("bootstrap.servers", brokers);
    for (key, value) in FORCED {
        config.set(*key, *value);
    }
    Ok(config)
}

/// The client's word about a bad property, as an error of ours.
fn property_error(cause: &KafkaError) -> Error {
    match cause {
        KafkaError::ClientConfig(_, text, key, _) => {
            let error = Error::new(Kind::InvalidParameter, format!("option \"{PREFIX}{key}\" of connector \"kafka\": {text}"));
            error.hint("See the configuration of librdkafka for its properties.")
        }
        KafkaError::ClientCreation(text) => Error::new(Kind::InvalidParameter, format!("options of connector \"kafka\": {text}")),
        other => Error::external("cannot make a kafka client", other),
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, Startup};
    use std::collections::BTreeMap;

    fn settings(more: &[(&str, &str)]) -> Result<Settings, String> {
        let base = [("connector", "kafka"), ("topic", "t"), ("properties.bootstrap.server", "127.0.0.1:1")];
        let options: BTreeMap<_, _> = base.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::new(&options).map_err(|error| format!("{} {}", error.message(), error.hint_text().unwrap_or("")))
    }

    #[test]
    fn options_are_checked() {
        assert_eq!(settings(&[]).unwrap().startup, Startup::Earliest);
        let at = settings(&[("scan.startup.mode", "timestamp"), ("scan.startup.timestamp.millis", "17")]).unwrap();
        assert_eq!(at.startup, Startup::Timestamp(17));
        assert!(settings(&[("scan.startup.mode", "timestamp")]).unwrap_err().contains("missing"));
        assert!(settings(&[("scan.startup_mode", "latest")]).unwrap_err().contains("Did you mean \"scan.startup.mode\"?"));
        assert!(settings(&[("properties.no.such.thing", "1")]).unwrap_err().contains("properties.no.such.thing"));
        assert!(settings(&[("properties.enable.auto.commit", "true")]).unwrap_err().contains("must be \"false\""));
        assert!(settings(&[("properties.fetch.min.bytes", "100")]).is_ok());
    }
}

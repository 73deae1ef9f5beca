//! The connectors there are, by the name that `WITH (connector = '…')` gives them.

use std::sync::Arc;

use super::options::nearest;
use super::{Connector, SourceSpec, datagen, file, kafka, nexmark};
use crate::error::{Error, Kind, Result};

/// Checks a source's options and gives what reads it. Asks nothing of the outside world.
type Open = fn(SourceSpec) -> Result<Arc<dyn Connector>>;

/// One line per connector.
const CONNECTORS: &[(&str, Open)] =
    &[("datagen", datagen::connect), ("file", file::open), ("kafka", kafka::open), ("nexmark", nexmark::connect)];

/// Named in the dialect, not built yet.
const PLANNED: &[&str] =
    &["http", "kinesis", "mqtt", "mysql-cdc", "nats", "postgres-cdc", "pubsub", "pulsar", "rabbitmq", "redis", "webhook"];

/// For CREATE: as `open`, and the outside world must answer: `58000` if it does not.
pub fn connect(spec: SourceSpec) -> Result<Arc<dyn Connector>> {
    let connector = open(spec)?;
    connector.check()?;
    Ok(connector)
}

/// The connector that the options name, its options checked: `22023` for an unknown connector or option or a bad value, `0A000` for
/// what is not built yet.
pub fn open(spec: SourceSpec) -> Result<Arc<dyn Connector>> {
    let names = || CONNECTORS.iter().map(|(name, _)| *name);
    let Some(name) = spec.options.get("connector").map(|name| name.trim().to_ascii_lowercase()) else {
        let error = Error::new(Kind::InvalidParameter, "option \"connector\" is missing");
        return Err(error.hint(format!("Say which: WITH (connector = '…'), one of: {}.", names().collect::<Vec<_>>().join(", "))));
    };
    if let Some((_, open)) = CONNECTORS.iter().find(|(known, _)| *known == name) {
        return open(spec);
    }
    let list = names().collect::<Vec<_>>().join(", ");
    if PLANNED.contains(&name.as_str()) {
        return Err(Error::not_supported(format!("connector \"{name}\" is not there yet")).hint(format!("There are: {list}.")));
    }
    let error = Error::new(Kind::InvalidParameter, format!("unknown connector \"{name}\""));
    Err(match nearest(&name, names().chain(PLANNED.iter().copied())) {
        Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
        None => error.hint(format!("There are: {list}.")),
    })
}

#[cfg(test)]
mod tests {
    use super::connect;
    use crate::connect::SourceSpec;
    use crate::error::Error;
    use std::collections::BTreeMap;

    fn error(connector: Option<&str>) -> Error {
        let options = connector.map(|name| ("connector".to_owned(), name.to_owned())).into_iter().collect();
        let spec =
            SourceSpec { columns: vec![], options, format: "PLAIN".into(), encode: "JSON".into(), encode_options: BTreeMap::default() };
        connect(spec).err().expect("an error")
    }

    #[test]
    fn an_unknown_connector_gets_a_hint() {
        let near = error(Some("kafak"));
        assert_eq!((near.kind().sqlstate(), near.message()), ("22023", "unknown connector \"kafak\""));
        assert_eq!(near.hint_text(), Some("Did you mean \"kafka\"?"));
        assert_eq!(error(Some("pulsar")).kind().sqlstate(), "0A000");
        assert_eq!(error(None).message(), "option \"connector\" is missing");
    }
}

//! A real Kafka for tests, and what sources do when it misbehaves. Without Java and Maven these tests are skipped, and say so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio_postgres::Client;

use crate::client::{TextRow, rows, run, value};
use crate::server::{Server, new_directory};
use crate::{Failure, Outcome, Skipped, Test};

/// A loaded machine takes its time; a broker that is not there by then never comes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Sources and their broker.
pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("kafka/keys_and_starts", keys_and_starts), Test::new("kafka/broker_stops", broker_stops)]
}

/// A broker of its own. Dropping it stops it and removes its topics.
pub(crate) struct Kafka {
    directory: PathBuf,
    port: u16,
    producer: BaseProducer,
}

impl Kafka {
    /// Starts a broker on a free port. `Skipped` if the machine cannot.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let there = |tool: &&str| Command::new(tool).arg("-version").output().is_ok_and(|output| output.status.success());
        let missing: Vec<&str> = ["java", "mvn"].into_iter().filter(|tool| !there(tool)).collect();
        if !missing.is_empty() {
            return Err(Skipped(format!("no Kafka without {}", missing.join(" and "))).into());
        }
        let (directory, port) = (new_directory()?, free_ports()?);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{port}"))
            // Retries must neither reorder nor repeat: else the test would not know what is in the topic.
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("reconnect.backoff.max.ms", "500")
            .create()?;
        let kafka = Kafka { directory, port, producer };
        kafka.script(&["start", "--port", &port.to_string()]).await?;
        Ok(kafka)
    }

    /// Where it listens.
    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops the broker; its topics stay.
    pub(crate) async fn stop(&self) -> Outcome {
        self.script(&["stop"]).await
    }

    /// Starts the broker again.
    pub(crate) async fn restart(&self) -> Outcome {
        self.script(&["start", "--port", &self.port.to_string()]).await
    }

    /// Creates a topic.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> Outcome {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", self.brokers()).create()?;
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT)).request_timeout(Some(ANSWER_TIMEOUT));
        let results = admin.create_topics([&NewTopic::new(name, partitions, TopicReplication::Fixed(1))], &options).await?;
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|(topic, code)| format!("topic {topic}: {code}").into()))
    }

    /// Queues one record.
    pub(crate) fn send(&self, topic: &str, partition: i32, key: Option<&str>, payload: &str) -> Outcome {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition).payload(payload);
        if let Some(key) = key {
            record = record.key(key);
        }
        self.producer.send(record).map_err(|(cause, _)| cause)?;
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until the broker has everything.
    pub(crate) fn flush(&self) -> Outcome {
        Ok(self.producer.flush(ANSWER_TIMEOUT)?)
    }

    async fn script(&self, arguments: &[&str]) -> Outcome {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka");
        let mut command = Command::new(script);
        command.args(arguments).env("TIDEMILL_KAFKA_RUN", &self.directory);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("scripts/kafka {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka");
        // `wipe` stops it too. It may be gone already; nothing is left to do about a failure here.
        let _ = Command::new(script).arg("wipe").env("TIDEMILL_KAFKA_RUN", &self.directory).output();
    }
}

/// Two ports next to each other: the broker's own and its controller's. Below those that the system gives to connections: a broker comes after
/// seconds, and without its controller it would answer nothing.
fn free_ports() -> Result<u16, Failure> {
    let mut rng = StdRng::seed_from_u64(
        u64::from(std::process::id()) << 32 | u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()),
    );
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = (0..100).map(|_| rng.random_range(10_000..30_000));
    ports.find(|port| is_free(*port) && is_free(port + 1)).ok_or_else(|| "there are no two free ports next to each other".into())
}

/// Asks until the answer is `expected`.
pub(crate) async fn wait_for(client: &Client, sql: &str, expected: impl Fn(&[TextRow]) -> bool) -> Outcome {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    loop {
        let found = rows(client, sql).await?;
        if expected(&found) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("not what was waited for: {found:?}\n[SQL] {sql}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is(text: &'static str) -> impl Fn(&[TextRow]) -> bool {
    move |rows| matches!(rows, [row] if row[0].as_deref() == Some(text))
}

/// Records without a key where the key is the primary key; and `latest`, which is settled once for all views and restarts.
async fn keys_and_starts() -> Outcome {
    let kafka = Kafka::start().await?;
    kafka.topic("t", 2).await?;
    let mut server = Server::start(2).await?;
    let client = server.connect().await?;
    for n in 0..3 {
        kafka.send("t", 0, Some("old"), &format!("{{\"n\":{n}}}"))?;
    }
    kafka.flush()?;
    let options = format!("connector = 'kafka', topic = 't', properties.bootstrap.server = '{}'", kafka.brokers());
    run(&client, &format!("CREATE TABLE keyed (n INT, PRIMARY KEY (k)) INCLUDE KEY AS k WITH ({options}) FORMAT PLAIN ENCODE JSON"))
        .await?;
    run(&client, &format!("CREATE SOURCE young (n INT) WITH ({options}, scan.startup.mode = 'latest') FORMAT PLAIN ENCODE JSON")).await?;
    run(&client, "CREATE MATERIALIZED VIEW one AS SELECT count(*) AS rows, sum(n) AS total FROM young").await?;
    // Both partitions' ends are known.
    wait_for(&client, "SELECT position FROM tidemill.sources WHERE name = 'young'", |rows| {
        rows.first().and_then(|row| row[0].as_deref()).is_some_and(|position| position.split(' ').count() == 2)
    })
    .await?;
    kafka.send("t", 0, None, "{\"n\":10}")?;
    kafka.send("t", 1, Some("new"), "{\"n\":11}")?;
    kafka.flush()?;
    for round in 0..3 {
        wait_for(&client_of(&server).await?, "SELECT rows FROM one", is("2")).await.map_err(|why| server.with_log(why))?;
        let client = client_of(&server).await?;
        // A second view sees what the first has seen, though the end is another by now.
        run(&client, &format!("CREATE MATERIALIZED VIEW other{round} AS SELECT count(*) AS rows, sum(n) AS total FROM young")).await?;
        wait_for(&client, &format!("SELECT total FROM other{round}"), is("21")).await.map_err(|why| server.with_log(why))?;
        // The record without key is no row, and stops nothing.
        wait_for(&client, "SELECT string_agg(n::text, ',' ORDER BY n) FROM keyed", is("2,11")).await.map_err(|why| server.with_log(why))?;
        wait_for(&client, "SELECT status || dead_letters FROM tidemill.sources WHERE name = 'keyed'", is("running1")).await?;
        // Long before the first checkpoint.
        server.crash(round % 3 + 1).await?;
    }
    Ok(())
}

async fn client_of(server: &Server) -> Result<Client, Failure> {
    server.connect().await
}

/// A broker that goes away for a while: the source says so, and goes on when it is back.
async fn broker_stops() -> Outcome {
    let kafka = Kafka::start().await?;
    kafka.topic("t", 1).await?;
    let server = Server::start(1).await?;
    let client = server.connect().await?;
    let options = format!("connector = 'kafka', topic = 't', properties.bootstrap.server = '{}'", kafka.brokers());
    run(&client, &format!("CREATE SOURCE s (n INT) WITH ({options}) FORMAT PLAIN ENCODE JSON")).await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS rows FROM s").await?;
    let status = "SELECT status FROM tidemill.sources WHERE name = 's'";
    kafka.send("t", 0, None, "{\"n\":1}")?;
    kafka.flush()?;
    wait_for(&client, "SELECT rows FROM v", is("1")).await?;
    wait_for(&client, status, is("running")).await?;
    kafka.stop().await?;
    let degraded = |rows: &[TextRow]| rows.first().and_then(|row| row[0].as_deref()).is_some_and(|status| status.starts_with("degraded: "));
    wait_for(&client, status, degraded).await.map_err(|why| server.with_log(why))?;
    if value(&client, "SELECT rows FROM v").await?.as_deref() != Some("1") {
        return Err("a view keeps its last answer".into());
    }
    kafka.restart().await?;
    wait_for(&client, status, is("running")).await.map_err(|why| server.with_log(why))?;
    kafka.send("t", 0, None, "{\"n\":2}")?;
    kafka.flush()?;
    wait_for(&client, "SELECT rows FROM v", is("2")).await.map_err(|why| server.with_log(why))
}

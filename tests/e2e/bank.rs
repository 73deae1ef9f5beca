//! A bank that only moves money around: whatever is read, at whatever moment, adds up to the same sum.
//!
//! `BANK_TRANSFERS` says how many transfers are made (4,000), `BANK_WRITERS` by how many sessions at a time. One transaction in four clears
//! [`CLEARED`] transfers at once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::{join_all, try_join};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;

use crate::client::{message, rows, run, value};
use crate::compare::View;
use crate::server::Server;
use crate::{Failure, Outcome, Test, setting};

const ACCOUNTS: i64 = 1_000;
const BRANCHES: i64 = 10;
const BALANCE: i64 = 1_000;
const CLEARED: usize = 32;

/// The views, each with its query; later ones read earlier ones.
const VIEWS: [(&str, &str); 5] = [
    ("per_branch", "SELECT branch, sum(balance) AS total, count(*) AS accounts FROM account GROUP BY branch"),
    ("whole", "SELECT sum(balance) AS total FROM account"),
    ("whole_of_branches", "SELECT sum(total) AS total FROM per_branch"),
    ("richest", "SELECT branch, max(balance) AS most, min(balance) AS least FROM account GROUP BY branch"),
    ("joined", "SELECT p.branch, p.total, p.accounts, r.most, r.least FROM per_branch p JOIN richest r ON p.branch = r.branch"),
];

/// All ways to see the sum, each in one SELECT; every row's every column must be the bank's sum.
const READS: [&str; 6] = [
    "SELECT total FROM whole",
    "SELECT total FROM whole_of_branches",
    "SELECT sum(total) FROM per_branch",
    "SELECT sum(total) FROM joined",
    "SELECT w.total, o.total FROM whole w CROSS JOIN whole_of_branches o",
    "SELECT (SELECT sum(balance) FROM account), (SELECT total FROM whole), (SELECT sum(total) FROM per_branch), \
     (SELECT total FROM whole_of_branches), (SELECT sum(total) FROM joined)",
];

/// With one worker and with three.
pub(crate) fn tests() -> Vec<Test> {
    [1, 3].into_iter().map(|workers| Test::new(format!("bank/{workers}-workers"), move || bank(workers))).collect()
}

async fn bank(workers: usize) -> Outcome {
    let server = Server::start(workers).await?;
    let client = server.connect().await?;
    run(&client, "CREATE TABLE account (id BIGINT PRIMARY KEY, branch INT NOT NULL, balance BIGINT NOT NULL)").await?;
    let accounts: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {}, {BALANCE})", id % BRANCHES)).collect();
    run(&client, &format!("INSERT INTO account VALUES {}", accounts.join(", "))).await?;
    let mut views = Vec::new();
    for (name, query) in VIEWS {
        views.push(View::create(&client, name, query).await?);
    }
    let left = Rc::new(Cell::new(setting("BANK_TRANSFERS", 4_000_i64)));
    let mut writers = Vec::new();
    for seed in 0..setting("BANK_WRITERS", 8) {
        writers.push(write(server.connect().await?, seed, left.clone()));
    }
    let writing = async { join_all(writers).await.into_iter().collect::<Result<Vec<()>, Failure>>() };
    let readers = try_join(read(server.connect().await?, left.clone(), false), read(server.connect().await?, left.clone(), true));
    try_join(writing, readers).await.map_err(|failure| server.with_log(failure))?;
    for view in &views {
        view.check(&client).await?;
    }
    sums_hold(&client).await
}

/// Transfers money until none is left to make. A transfer that had to give way to another is tried again.
async fn write(client: Client, seed: u64, left: Rc<Cell<i64>>) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    while left.get() > 0 {
        let form = rng.random_range(0..4);
        let count = if form == 3 { CLEARED } else { 1 };
        left.set(left.get() - i64::try_from(count)?);
        let transfers = (0..count).map(|_| Transfer::random(&mut rng)).collect();
        let transaction = Transaction { transfers, form };
        while let Err(error) = transaction.make(&client).await {
            let code = error.code().map(|code| code.code().to_owned());
            if !matches!(code.as_deref(), Some("55P03" | "40001")) {
                // Nobody else goes on: the failure is what counts.
                left.set(0);
                return Err(format!("a transfer failed: {}", message(&error)).into());
            }
            run(&client, "ROLLBACK").await?;
        }
    }
    Ok(())
}

struct Transfer {
    from: i64,
    to: i64,
    amount: i64,
}

impl Transfer {
    fn random(rng: &mut StdRng) -> Transfer {
        Transfer { from: rng.random_range(0..ACCOUNTS), to: rng.random_range(0..ACCOUNTS), amount: rng.random_range(1..100) }
    }

    fn statements(&self) -> [String; 2] {
        let Transfer { from, to, amount } = self;
        [(from, "-"), (to, "+")].map(|(id, sign)| format!("UPDATE account SET balance = balance {sign} {amount} WHERE id = {id}"))
    }
}

struct Transaction {
    transfers: Vec<Transfer>,
    form: u32,
}

impl Transaction {
    /// As one statement, as one round trip, or statement by statement.
    async fn make(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        match self.form {
            0 | 3 => client.batch_execute(&self.cleared()).await,
            1 => {
                let statements: Vec<String> = self.transfers.iter().flat_map(Transfer::statements).collect();
                client.batch_execute(&format!("BEGIN; {}; COMMIT", statements.join("; "))).await
            }
            _ => {
                client.batch_execute("BEGIN").await?;
                for statement in self.transfers.iter().flat_map(Transfer::statements) {
                    client.batch_execute(&statement).await?;
                }
                client.batch_execute("COMMIT").await
            }
        }
    }

    /// All transfers in one statement, each account changed by what comes and goes.
    fn cleared(&self) -> String {
        let mut changes = BTreeMap::<i64, i64>::new();
        for Transfer { from, to, amount } in &self.transfers {
            *changes.entry(*from).or_default() -= amount;
            *changes.entry(*to).or_default() += amount;
        }
        let changes: Vec<String> = changes.iter().map(|(id, change)| format!("({id}, {change})")).collect();
        let changes = changes.join(", ");
        format!("UPDATE account SET balance = balance + change FROM (VALUES {changes}) AS c (account, change) WHERE id = account")
    }
}

/// Reads the sum in every way until the writers are done; with `transactions`, several reads share one epoch.
async fn read(client: Client, left: Rc<Cell<i64>>, transactions: bool) -> Outcome {
    while left.get() > 0 {
        if transactions {
            run(&client, "BEGIN").await?;
            let first = rows(&client, "SELECT * FROM per_branch ORDER BY branch").await?;
            sums_hold(&client).await?;
            let again = rows(&client, "SELECT * FROM per_branch ORDER BY branch").await?;
            run(&client, "COMMIT").await?;
            if first != again {
                return Err(format!("one transaction saw two epochs:\n{first:?}\n{again:?}").into());
            }
        } else {
            sums_hold(&client).await?;
        }
    }
    let accounts = value(&client, "SELECT sum(accounts) FROM joined").await?;
    if accounts.as_deref() == Some("1000") { Ok(()) } else { Err(format!("{accounts:?} accounts instead of 1000").into()) }
}

async fn sums_hold(client: &Client) -> Outcome {
    let expected = (ACCOUNTS * BALANCE).to_string();
    for sql in READS {
        let rows = rows(client, sql).await?;
        if rows.len() != 1 || rows[0].iter().any(|sum| sum.as_deref() != Some(&expected)) {
            return Err(format!("money was made or lost: {rows:?} instead of {expected}\n[SQL] {sql}").into());
        }
    }
    Ok(())
}

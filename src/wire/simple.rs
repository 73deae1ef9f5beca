//! The simple protocol: one text, any number of statements, all results in text.

use std::sync::Arc;

use crate::engine::Outcome;
use crate::error::Result;
use crate::sql::Parsed;
use crate::wire::connection::{Connection, placed};
use crate::wire::encode::Format;
use crate::wire::frame::Failure;
use crate::wire::message::read_text;
use crate::wire::rows::{Cursor, put_tag, row_description, types_of};

impl Connection {
    /// Query: everything it says, then ReadyForQuery. Only the end of the connection comes back as an error.
    pub(super) async fn simple_query(&mut self, body: &[u8]) -> Result<(), Failure> {
        // As in PostgreSQL, a simple query takes the place of the unnamed statement and portal.
        self.statements.remove("");
        self.portals.remove("");
        let ran = self.run_script(body).await;
        let ok = ran.is_ok();
        match ran {
            Err(Failure::Error(error)) => self.put_error(&error),
            other => other?,
        }
        self.end_implicit(ok).await;
        self.put_ready();
        self.channel.flush().await
    }

    async fn run_script(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.session.begin_message();
        let statements = self.session.parse(read_text(body)?).await?;
        if statements.is_empty() {
            self.channel.put_bare(b'I');
        }
        for statement in &statements {
            // Again after a COMMIT among them: what follows it is one transaction, too.
            if statements.len() > 1 {
                self.session.begin_implicit();
                self.implicit = true;
            }
            self.run_statement(statement).await?;
        }
        Ok(())
    }

    async fn run_statement(&mut self, statement: &Arc<Parsed>) -> Result<(), Failure> {
        self.session.begin_statement();
        match self.run(statement, None, Vec::new()).await? {
            Outcome::Rows { schema, rows, tag } => {
                let types = types_of(&schema);
                let formats: Arc<[Format]> = std::iter::repeat_n(Format::Text, types.len()).collect();
                self.channel.put(&row_description(&schema, &types, &formats));
                let mut cursor = Cursor::new(rows, types, formats, tag);
                let interrupt = self.session.interrupt();
                let sent = cursor.send(&mut self.channel, &self.style, &interrupt, None).await;
                let sent = sent.map_err(|failure| placed(failure, statement))?;
                self.put_notices();
                cursor.put_complete(sent, &mut self.channel.out);
                Ok(())
            }
            other => self.deliver(other).await,
        }
    }

    /// What both protocols do the same way: everything but rows.
    pub(super) async fn deliver(&mut self, outcome: Outcome) -> Result<(), Failure> {
        match outcome {
            Outcome::Empty => self.channel.put_bare(b'I'),
            Outcome::Done(tag) => put_tag(format_args!("{tag}"), &mut self.channel.out),
            Outcome::CopyIn { columns, format, target } => self.copy_in(&columns, format, target).await?,
            Outcome::CopyOut { schema, rows, format } => self.copy_out(&schema, rows, &format).await?,
            Outcome::Rows { .. } => unreachable!("rows are sent where their columns were described"),
        }
        Ok(())
    }
}

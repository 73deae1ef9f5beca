//! COPY between client and engine: the messages around the data.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pgwire::messages::copy::{CopyInResponse, CopyOutResponse};

use crate::engine::{CopyTarget, Interrupt, RowStream};
use crate::error::{Error, Kind, Result};
use crate::types::{CopyFormat, CopyKind};
use crate::wire::connection::Connection;
use crate::wire::copy_decode::CopyDecoder;
use crate::wire::copy_encode::CopyWriter;
use crate::wire::encode::Format;
use crate::wire::frame::Failure;
use crate::wire::message::read_text;
use crate::wire::rows::{Cursor, put_complete, types_of};

/// A message of COPY data is decoded in pieces of this size, so that one of many megabytes does not become as many rows at once.
const PIECE_BYTES: usize = 1 << 20;

/// The format of all columns in the messages that begin a COPY.
fn format_of(kind: CopyKind) -> Format {
    if kind == CopyKind::Binary { Format::Binary } else { Format::Text }
}

impl Connection {
    /// COPY … FROM STDIN: rows from the client until it says that it is done.
    pub(super) async fn copy_in(&mut self, columns: &SchemaRef, format: CopyFormat, target: CopyTarget) -> Result<(), Failure> {
        let (code, count) = (format_of(format.kind).code(), columns.fields().len());
        self.channel.put(&CopyInResponse::new(code as i8, count as i16, vec![code; count]));
        self.channel.flush().await?;
        let interrupt = self.session.interrupt();
        let mut received = self.receive(CopyDecoder::new(columns, format, self.style.time_zone), &target, &interrupt).await;
        if received.is_ok() {
            let finished = self.session.copy_end(&target).await;
            received = received.and_then(|rows| Ok(finished.map(|()| rows)?));
        }
        match received {
            Ok(rows) => {
                self.put_notices();
                put_complete("COPY", rows, &mut self.channel.out);
                Ok(())
            }
            Err(failure) => {
                self.session.copy_abort(&target);
                Err(failure)
            }
        }
    }

    async fn receive(&mut self, mut decoder: CopyDecoder, target: &CopyTarget, interrupt: &Interrupt) -> Result<u64, Failure> {
        let (mut ready, mut rows) = (Vec::new(), 0);
        loop {
            let frame = self.channel.next_of_copy(interrupt).await?;
            match frame.kind {
                b'd' => {
                    for piece in frame.body.chunks(PIECE_BYTES) {
                        decoder.feed(piece, &mut ready)?;
                        rows += self.store(&mut ready, target, interrupt).await?;
                    }
                }
                b'c' => {
                    decoder.finish(&mut ready)?;
                    return Ok(rows + self.store(&mut ready, target, interrupt).await?);
                }
                b'f' => {
                    let text = format!("COPY from stdin failed: {}", read_text(&frame.body)?);
                    return Err(Error::new(Kind::Canceled, text).into());
                }
                // Drivers that send them before they know that a COPY has begun.
                b'H' | b'S' => {}
                b'X' => return Err(Failure::Gone),
                other => {
                    let text = format!("unexpected message type 0x{other:02X} during COPY from stdin");
                    return Err(Error::new(Kind::Protocol, text).into());
                }
            }
        }
    }

    async fn store(&mut self, ready: &mut Vec<RecordBatch>, target: &CopyTarget, interrupt: &Interrupt) -> Result<u64, Failure> {
        let mut rows = 0;
        for batch in ready.drain(..) {
            rows += self.channel.attend(interrupt, self.session.copy_in(target, batch)).await?;
        }
        Ok(rows)
    }

    /// COPY … TO STDOUT: rows to the client.
    pub(super) async fn copy_out(&mut self, schema: &SchemaRef, rows: RowStream, format: &CopyFormat) -> Result<(), Failure> {
        let (types, wire_format) = (types_of(schema), format_of(format.kind));
        let code = wire_format.code();
        self.channel.put(&CopyOutResponse::new(code as i8, types.len() as i16, vec![code; types.len()]));
        let mut writer = CopyWriter::new(schema, &types, format);
        writer.put_start(&mut self.channel.out);
        let formats: Arc<[Format]> = std::iter::repeat_n(wire_format, types.len()).collect();
        let mut cursor = Cursor::new(rows, Arc::clone(&types), formats, "COPY");
        let interrupt = self.session.interrupt();
        let sent = cursor.send_with(&mut writer, &mut self.channel, &self.style, &interrupt, None).await?;
        writer.put_end(&mut self.channel.out);
        self.channel.put_bare(b'c');
        self.put_notices();
        cursor.put_complete(sent, &mut self.channel.out);
        Ok(())
    }
}

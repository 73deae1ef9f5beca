//! COPY: a table's lines in, any rows out.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};

use crate::catalog::Column;
use crate::engine::dml::writable;
use crate::engine::outcome::{CopyTarget, Outcome};
use crate::engine::session::Session;
use crate::engine::write::write_complete;
use crate::error::{Error, Kind, Result};
use crate::plan::schema_of;
use crate::sql::{CopySubject, Name, quote_ident};
use crate::state::Draft;
use crate::types::{CopyFormat, Running, all_nullable};

impl Session {
    /// COPY … FROM STDIN: says which columns the lines have.
    pub(crate) async fn copy_from(&mut self, name: &Name, columns: &[String], format: &CopyFormat) -> Result<Outcome> {
        let object = self.find(name)?;
        writable(&object).map_err(|error| error.at(name.position))?;
        self.hold_table(&self.engine.catalog(), object.id).await?;
        let object = self.engine.catalog().get(object.id).cloned().unwrap_or(object);
        let table = writable(&object)?;
        let positions: Vec<usize> = if columns.is_empty() {
            (0..table.columns.len()).filter(|position| table.columns[*position].generated.is_none()).collect()
        } else {
            let position = |column: &String| {
                table.columns.iter().position(|known| known.name == *column).ok_or_else(|| {
                    Error::new(Kind::UndefinedColumn, format!("column \"{column}\" of relation \"{}\" does not exist", object.name))
                })
            };
            columns.iter().map(position).collect::<Result<_>>()?
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = positions.iter().find(|position| !seen.insert(**position)) {
            let message = format!("column \"{}\" specified more than once", table.columns[*twice].name);
            return Err(Error::new(Kind::DuplicateColumn, message));
        }
        if let Some(generated) = positions.iter().map(|position| &table.columns[*position]).find(|column| column.generated.is_some()) {
            return Err(Error::new(Kind::InvalidColumnReference, format!("column \"{}\" is a generated column", generated.name)));
        }
        let wanted: Vec<Column> = positions.iter().map(|position| table.columns[*position].clone()).collect();
        let target = CopyTarget { table: object.id, columns: positions };
        Ok(Outcome::CopyIn { columns: schema_of(&wanted), format: format.clone(), target })
    }

    /// Takes rows of a COPY. May be called several times; nothing is visible before the transaction ends.
    pub async fn copy_in(&mut self, target: &CopyTarget, rows: RecordBatch) -> Result<u64> {
        let written = self.copy_rows(target, &rows).await;
        if written.is_err() {
            self.fail_transaction();
        }
        written
    }

    async fn copy_rows(&mut self, target: &CopyTarget, rows: &RecordBatch) -> Result<u64> {
        let catalog = self.engine.catalog();
        let object =
            catalog.get(target.table).cloned().ok_or_else(|| Error::new(Kind::UndefinedTable, "the table was dropped meanwhile"))?;
        let table = writable(&object)?;
        let plain: Vec<Column> = table.columns.iter().filter(|column| column.generated.is_none()).cloned().collect();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(plain.len());
        for (position, column) in table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none()) {
            arrays.push(match target.columns.iter().position(|given| *given == position) {
                Some(given) => Arc::clone(rows.column(given)),
                None => self.filled(column, rows)?,
            });
        }
        let mut batch = RecordBatch::try_new(all_nullable(&schema_of(&plain)), arrays)?;
        if plain.len() < table.columns.len() {
            let projection = self.engine.generated_projection(&plain, &table.columns)?;
            let arrays = projection.iter().map(|scalar| scalar.array(&batch)).collect::<Result<Vec<_>>>()?;
            batch = RecordBatch::try_new(all_nullable(&schema_of(&table.columns)), arrays)?;
        }
        let (object, table, now) = (Arc::clone(&object), table.clone(), self.engine.wall.now_micros());
        let write = move |draft: &mut Draft, running: &Running| write_complete(draft, (&object, &table), &batch, now, running);
        Ok(self.change(target.table, rows.num_rows(), write).await? as u64)
    }

    /// The client has sent its last row.
    pub async fn copy_end(&mut self, _target: &CopyTarget) -> Result<()> {
        let failed = self.in_failed_transaction();
        let ended = self.end_single(!failed).await;
        self.note_done();
        ended
    }

    /// The client gave up, or a line was wrong: nothing of it stays.
    pub fn copy_abort(&mut self, _target: &CopyTarget) {
        self.fail_transaction();
        self.abandon_statement();
    }

    /// COPY … TO STDOUT.
    pub(crate) async fn copy_to(&mut self, subject: &CopySubject, format: &CopyFormat, text: &str) -> Result<Outcome> {
        let (schema, rows) = match subject {
            CopySubject::Query(query) => self.run_query(query, text, &[], &[]).await?,
            CopySubject::Relation { name, columns } => {
                let object = self.find(name)?;
                let listed = if columns.is_empty() {
                    "*".to_owned()
                } else {
                    columns.iter().map(|column| quote_ident(column)).collect::<Vec<_>>().join(", ")
                };
                let select = format!("SELECT {listed} FROM {}.{}", quote_ident(&object.schema), quote_ident(&object.name));
                let query = crate::plan::parse_query(&select)?;
                self.run_query(&query, &select, &[], &[]).await?
            }
        };
        Ok(Outcome::CopyOut { schema, rows, format: format.clone() })
    }

    /// A column that the lines do not give: its default.
    fn filled(&self, column: &Column, rows: &RecordBatch) -> Result<ArrayRef> {
        let Some(default) = &column.default else { return Ok(new_null_array(&column.sql_type.arrow(), rows.num_rows())) };
        self.engine.default_expression(default, &column.sql_type, self.now_micros())?.array(rows)
    }
}

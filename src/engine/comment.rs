//! COMMENT ON: a text that the catalog keeps beside an object or one of its columns.

use std::sync::Arc;

use crate::catalog::{DEFAULT_SCHEMA, Object, column_number};
use crate::engine::alter::undefined_column;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::sql::{DropKind, Name};

impl Session {
    pub(crate) async fn comment(&mut self, kind: Option<DropKind>, name: &Name, column: Option<&str>, text: Option<&str>) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        let _one_at_a_time = engine.ddl.lock().await;
        let object = self.commented(kind, name)?;
        let number = match column {
            None => 0,
            Some(column) => {
                let position = object.columns().unwrap_or_default().iter().position(|known| known.name == column);
                column_number(position.ok_or_else(|| undefined_column(&object, column))?)
            }
        };
        let mut object = Object::clone(&object);
        match text {
            Some(text) => drop(object.comments.insert(number, text.to_owned())),
            None => drop(object.comments.remove(&number)),
        }
        engine.install(&[object])
    }

    fn commented(&self, kind: Option<DropKind>, name: &Name) -> Result<Arc<Object>> {
        if kind == Some(DropKind::Schema) {
            if name.name == DEFAULT_SCHEMA {
                return Err(Error::not_supported("the comment on schema \"public\" cannot be changed")
                    .hint("Use a schema of your own.")
                    .at(name.position));
            }
            let found = self.engine.catalog().find_in("", &name.name).cloned();
            return found
                .ok_or_else(|| Error::new(Kind::UndefinedSchema, format!("schema \"{}\" does not exist", name.name)).at(name.position));
        }
        if kind == Some(DropKind::Function) {
            return self.find_function(name);
        }
        let object = self.find(name)?;
        match kind {
            Some(kind) if !kind.is(&object) => {
                Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a {}", object.name, kind.name())).at(name.position))
            }
            None if object.columns().is_none() => {
                Err(Error::new(Kind::WrongObjectType, format!("\"{}\" has no columns", object.name)).at(name.position))
            }
            _ => Ok(object),
        }
    }
}

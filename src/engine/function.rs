//! CREATE FUNCTION: an expression under a name, which the planner puts in the place of its calls.

use std::sync::Arc;

use crate::catalog::{Argument, Catalog, Function, Object, ObjectKind};
use crate::engine::dependants::Anew;
use crate::engine::replace::Replacement;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::plan::{NoSystemRelations, Scope, sql_type};
use crate::sql::{CreateFunction, Name, Parsed, Volatility, quote_ident};

impl Session {
    pub(crate) async fn create_function(&mut self, create: &CreateFunction, parsed: &Parsed) -> Result<()> {
        let engine = Arc::clone(&self.engine);
        {
            let _one_at_a_time = engine.ddl.lock().await;
            let schema = self.creation_schema(&create.name)?;
            let old = engine.catalog().find_function(Some(&schema), &create.name.name, &[]).cloned();
            match old {
                Some(_) if create.or_replace => {}
                Some(_) => {
                    let message = format!("function \"{}\" already exists", create.name.name);
                    return Err(Error::new(Kind::DuplicateFunction, message)
                        .hint("There is one function of a name; CREATE OR REPLACE FUNCTION changes it.")
                        .at(create.name.position));
                }
                None => {
                    let mut object = self.function_definition(create, parsed, schema)?;
                    object.id = engine.new_id()?;
                    return engine.install(&[object]);
                }
            }
        }
        self.replace(&mut |session| session.function_replacement(create, parsed)).await.map(drop)
    }

    fn function_replacement(&mut self, create: &CreateFunction, parsed: &Parsed) -> Result<Option<Replacement>> {
        let schema = self.creation_schema(&create.name)?;
        let Some(old) = self.engine.catalog().find_function(Some(&schema), &create.name.name, &[]).cloned() else {
            return Err(Error::new(Kind::SerializationFailure, "the function was dropped meanwhile").hint("Try again."));
        };
        let new = self.function_definition(create, parsed, schema)?;
        if let (ObjectKind::Function(old), ObjectKind::Function(new)) = (&old.kind, &new.kind) {
            let types = |function: &Function| function.arguments.iter().map(|argument| argument.sql_type.clone()).collect::<Vec<_>>();
            if old.returns != new.returns || types(old) != types(new) {
                return Err(Error::new(Kind::InvalidFunctionDefinition, "cannot change return type or arguments of existing function")
                    .hint(format!("Use DROP FUNCTION {} first.", create.name.name))
                    .at(create.name.position));
            }
        }
        self.replacement(&old, Anew { object: new, plan: None }, create.name.position).map(Some)
    }

    /// The function as the catalog is to have it, with the number of the one that it replaces.
    fn function_definition(&mut self, create: &CreateFunction, parsed: &Parsed, schema: String) -> Result<Object> {
        let catalog = self.engine.catalog();
        if self.engine.planner.has_function(&create.name.name) {
            let message = format!("function \"{}\" already exists", create.name.name);
            return Err(Error::new(Kind::DuplicateFunction, message).hint("It is built in: choose another name.").at(create.name.position));
        }
        let (search_path, body) = (self.settings.search_path(), create.body.as_ref().map(ToString::to_string).unwrap_or_default());
        let arguments = create.arguments.iter().map(|argument| {
            Ok(Argument {
                name: argument.name.clone(),
                sql_type: sql_type(&argument.data_type)?,
                data_type: argument.data_type.to_string(),
                default: argument.default.as_ref().map(ToString::to_string),
            })
        });
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        check_arguments(&arguments, &create.name)?;
        let function = Function {
            arguments,
            returns: sql_type(&create.returns)?,
            return_type: create.returns.to_string(),
            expression: body,
            source: create.source.clone(),
            volatility: match create.volatility {
                Volatility::Immutable => 'i',
                Volatility::Stable => 's',
                Volatility::Volatile => 'v',
            },
            strict: create.strict,
            search_path: search_path.clone(),
        };
        let id = catalog.find_function(Some(&schema), &create.name.name, &[]).map_or(0, |old| old.id);
        let mut object = Object {
            id,
            schema,
            name: create.name.name.clone(),
            sql: parsed.text.clone(),
            depends_on: Vec::new(),
            kind: ObjectKind::Function(function),
            comments: Default::default(),
        };
        let mut with_it = Catalog::clone(&catalog);
        with_it.insert(object.clone());
        let ObjectKind::Function(function) = &object.kind else { return Ok(object) };
        let nulls: Vec<String> = function.arguments.iter().map(|argument| format!("CAST(NULL AS {})", argument.data_type)).collect();
        let call = format!("SELECT {}.{}({})", quote_ident(&object.schema), quote_ident(&object.name), nulls.join(", "));
        let scope = Scope { catalog: &with_it, search_path: &search_path, relations: &NoSystemRelations, text: "" };
        let bound = self.engine.planner.query(&crate::plan::parse_query(&call)?, &scope, &[])?;
        object.depends_on = bound.depends_on.into_iter().filter(|dependency| *dependency != id).collect();
        Ok(object)
    }
}

/// Each argument has a name of its own, and behind one with a default all have one.
fn check_arguments(arguments: &[Argument], name: &Name) -> Result<()> {
    for (number, argument) in arguments.iter().enumerate() {
        if argument.name.is_some() && arguments[..number].iter().any(|other| other.name == argument.name) {
            let message = format!("parameter name \"{}\" used more than once", argument.name.as_deref().unwrap_or_default());
            return Err(Error::new(Kind::InvalidFunctionDefinition, message).at(name.position));
        }
        if argument.default.is_none() && arguments[..number].iter().any(|other| other.default.is_some()) {
            let message = "input parameters after one with a default value must also have defaults";
            return Err(Error::new(Kind::InvalidFunctionDefinition, message).at(name.position));
        }
    }
    Ok(())
}

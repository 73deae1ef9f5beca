//! Numbers of objects ↔ names: what `regclass`, `regnamespace` and `regrole` do, and which system relations there are.

use super::declared::Declared;
use super::facts::Facts;
use super::{information_schema, own, pg_catalog};
use crate::catalog::{DEFAULT_SCHEMA, Object, ObjectKind};
use crate::types::ObjectId;

/// The number of `pg_catalog`.
pub(super) const PG_CATALOG: ObjectId = 11;
/// The number of `public`.
pub(super) const PUBLIC: ObjectId = 2200;
/// The number of `information_schema`.
pub(super) const INFORMATION_SCHEMA: ObjectId = 13_207;
/// The number of `tidemill`.
pub(super) const TIDEMILL: ObjectId = 13_208;
/// The role that owns everything: PostgreSQL's number of the first superuser.
pub(super) const OWNER: ObjectId = 10;
/// The name of that role.
pub(super) const OWNER_NAME: &str = "tidemill";
/// The number of the one database.
pub(super) const DATABASE: ObjectId = 5;

/// What is added to a table's number for that of its primary key's index. Objects are counted from 16,384 upwards and do not get there.
const INDEX_OFFSET: ObjectId = 0x4000_0000;
/// The same for the rule of a view, which `pg_depend` needs.
const RULE_OFFSET: ObjectId = 0x5000_0000;
/// The same for the constraint behind a primary key.
const CONSTRAINT_OFFSET: ObjectId = 0x6000_0000;

/// All system relations.
pub fn relations() -> impl Iterator<Item = &'static Declared> {
    pg_catalog::RELATIONS.iter().chain(information_schema::RELATIONS).chain(own::RELATIONS)
}

/// The number of a schema.
pub(super) fn namespace(facts: &Facts, name: &str) -> ObjectId {
    match name {
        "pg_catalog" => PG_CATALOG,
        DEFAULT_SCHEMA => PUBLIC,
        "information_schema" => INFORMATION_SCHEMA,
        "tidemill" => TIDEMILL,
        other => facts.catalog.find_in("", other).map_or(0, |object| object.id),
    }
}

/// All schemas: number and name.
pub(super) fn namespaces(facts: &Facts) -> Vec<(ObjectId, String)> {
    let system = [(PG_CATALOG, "pg_catalog"), (PUBLIC, DEFAULT_SCHEMA), (INFORMATION_SCHEMA, "information_schema"), (TIDEMILL, "tidemill")];
    let own = facts.catalog.objects().filter(|object| matches!(object.kind, ObjectKind::Schema) && object.name != DEFAULT_SCHEMA);
    system.into_iter().map(|(oid, name)| (oid, name.to_owned())).chain(own.map(|object| (object.id, object.name.clone()))).collect()
}

/// The number of the index behind a table's primary key.
pub(super) fn index_of(table: ObjectId) -> ObjectId {
    table | INDEX_OFFSET
}

/// The number of a primary key's constraint.
pub(super) fn constraint_of(table: ObjectId) -> ObjectId {
    table | CONSTRAINT_OFFSET
}

/// The number of a view's rule.
pub(super) fn rule_of(view: ObjectId) -> ObjectId {
    view | RULE_OFFSET
}

/// The name of the index and constraint behind a table's primary key.
pub(super) fn key_name(table: &Object) -> String {
    format!("{}_pkey", table.name)
}

/// The table whose primary key has this index, or this constraint.
pub(super) fn table_of_key(facts: &Facts, oid: i64) -> Option<&Object> {
    let oid = ObjectId::try_from(oid).ok()?;
    let id = match oid & 0x7000_0000 {
        INDEX_OFFSET => oid & !INDEX_OFFSET,
        CONSTRAINT_OFFSET => oid & !CONSTRAINT_OFFSET,
        _ => return None,
    };
    facts.catalog.get(id).map(AsRef::as_ref).filter(|object| !key(object).is_empty())
}

/// An index: that of a primary key, or one that a user made.
pub(super) struct IndexFacts<'a> {
    pub(super) oid: ObjectId,
    pub(super) name: String,
    pub(super) table: &'a Object,
    /// Positions of the columns that find rows.
    pub(super) columns: &'a [usize],
    /// Positions of those that INCLUDE names.
    pub(super) include: &'a [usize],
    pub(super) primary: bool,
}

impl IndexFacts<'_> {
    /// All its columns, in order.
    pub(super) fn all_columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().chain(self.include).copied()
    }
}

/// All indexes.
pub(super) fn indexes(facts: &Facts) -> impl Iterator<Item = IndexFacts<'_>> {
    let keys = user_relations(facts).filter(|object| !key(object).is_empty()).map(|table| IndexFacts {
        oid: index_of(table.id),
        name: key_name(table),
        table,
        columns: key(table),
        include: &[],
        primary: true,
    });
    let made = facts.catalog.objects().filter_map(|object| {
        let ObjectKind::Index(index) = &object.kind else { return None };
        let table = facts.catalog.get(index.relation)?;
        Some(IndexFacts {
            oid: object.id,
            name: object.name.clone(),
            table,
            columns: &index.columns,
            include: &index.include,
            primary: false,
        })
    });
    keys.chain(made)
}

/// The positions of a table's primary key; empty without one.
pub(super) fn key(object: &Object) -> &[usize] {
    match &object.kind {
        ObjectKind::Table(table) => &table.key,
        _ => &[],
    }
}

/// The objects that are relations.
pub(super) fn user_relations(facts: &Facts) -> impl Iterator<Item = &Object> {
    facts.catalog.objects().map(AsRef::as_ref).filter(|object| object.columns().is_some())
}

/// Schema and name of a relation or an index.
pub(super) fn relation_name(facts: &Facts, oid: i64) -> Option<(String, String)> {
    if let Some(table) = table_of_key(facts, oid) {
        return Some((table.schema.clone(), key_name(table)));
    }
    let oid = ObjectId::try_from(oid).ok()?;
    if let Some(object) = facts.catalog.get(oid).filter(|object| object.columns().is_some() || matches!(object.kind, ObjectKind::Index(_)))
    {
        return Some((object.schema.clone(), object.name.clone()));
    }
    relations().find(|declared| declared.oid == oid).map(|declared| (declared.schema.to_owned(), declared.name.to_owned()))
}

/// Whether a relation is found by its name alone.
pub(super) fn is_visible(facts: &Facts, oid: i64) -> Option<bool> {
    let (_, name) = relation_name(facts, oid)?;
    Some(relation_oid(facts, &quote_ident(&name)) == Some(oid))
}

/// The schemas in which names are looked for: `pg_catalog` first unless the path says otherwise.
pub(super) fn effective_path(facts: &Facts) -> Vec<String> {
    let existing = facts
        .search_path
        .iter()
        .filter(|schema| facts.catalog.has_schema(schema) || matches!(schema.as_str(), "pg_catalog" | "information_schema" | "tidemill"));
    let implicit = !facts.search_path.iter().any(|schema| schema == "pg_catalog");
    implicit.then(|| "pg_catalog".to_owned()).into_iter().chain(existing.cloned()).collect()
}

/// The number of the relation that a text names, as `'schema.name'::regclass` does: a number, or a name with or without schema.
pub(super) fn relation_oid(facts: &Facts, text: &str) -> Option<i64> {
    if let Ok(number) = text.trim().parse() {
        return Some(number);
    }
    let parts = identifiers(text)?;
    let find = |schema: &str, name: &str| {
        let named = |object: &&std::sync::Arc<Object>| object.columns().is_some() || matches!(object.kind, ObjectKind::Index(_));
        let object = facts.catalog.find_in(schema, name).filter(named).map(|object| object.id);
        let system = || relations().find(|declared| declared.schema == schema && declared.name == name).map(|declared| declared.oid);
        let index = || user_relations(facts).find(|table| table.schema == schema && !key(table).is_empty() && key_name(table) == name);
        object.or_else(system).or_else(|| index().map(|table| index_of(table.id))).map(i64::from)
    };
    match parts.as_slice() {
        [name] => effective_path(facts).iter().find_map(|schema| find(schema, name)),
        [schema, name] | [_, schema, name] => find(schema, name),
        _ => None,
    }
}

/// A relation's name as `regclass` prints it: with its schema unless it is found without.
pub(super) fn relation_text(facts: &Facts, oid: i64) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    match relation_name(facts, oid) {
        None => oid.to_string(),
        Some((_, name)) if is_visible(facts, oid) == Some(true) => quote_ident(&name),
        Some((schema, name)) => format!("{}.{}", quote_ident(&schema), quote_ident(&name)),
    }
}

/// The roles there are: number and name. Everyone who is connected has one.
pub(super) fn roles(facts: &Facts) -> Vec<(ObjectId, String)> {
    let mut names: Vec<&str> = facts.sessions.iter().map(|session| session.user.as_str()).chain([facts.user.as_str()]).collect();
    names.retain(|name| !name.is_empty() && *name != OWNER_NAME);
    names.sort_unstable();
    names.dedup();
    let others = names.into_iter().map(|name| (role_oid(name), name.to_owned()));
    [(OWNER, OWNER_NAME.to_owned())].into_iter().chain(others).collect()
}

/// The number of a role: the same whenever it connects, so made from its name (FNV-1a).
pub(super) fn role_oid(name: &str) -> ObjectId {
    if name == OWNER_NAME {
        return OWNER;
    }
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    0x2000_0000 | (hash >> 4)
}

/// A name as SQL writes it: in quotes where it needs them.
pub(super) fn quote_ident(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(at, c)| c == '_' || c.is_ascii_lowercase() || (at > 0 && c.is_ascii_digit()));
    // The reserved words of PostgreSQL 15 that people call things by.
    let reserved = matches!(
        name,
        "all"
            | "analyse"
            | "analyze"
            | "and"
            | "any"
            | "array"
            | "as"
            | "asc"
            | "both"
            | "case"
            | "cast"
            | "check"
            | "collate"
            | "column"
            | "constraint"
            | "create"
            | "default"
            | "desc"
            | "distinct"
            | "do"
            | "else"
            | "end"
            | "except"
            | "false"
            | "fetch"
            | "for"
            | "foreign"
            | "from"
            | "grant"
            | "group"
            | "having"
            | "in"
            | "initially"
            | "intersect"
            | "into"
            | "join"
            | "left"
            | "limit"
            | "not"
            | "null"
            | "offset"
            | "on"
            | "only"
            | "or"
            | "order"
            | "primary"
            | "references"
            | "right"
            | "select"
            | "table"
            | "then"
            | "to"
            | "true"
            | "union"
            | "unique"
            | "user"
            | "using"
            | "when"
            | "where"
            | "window"
            | "with"
    );
    if plain && !name.is_empty() && !reserved { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The parts of a dotted name; `None` if it is not one.
pub(super) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut inner = quoted;
            loop {
                let end = inner.find('"')?;
                name.push_str(&inner[..end]);
                inner = &inner[end + 1..];
                // Two quotes are one.
                match inner.strip_prefix('"') {
                    Some(more) => inner = more,
                    None => break,
                }
                name.push('"');
            }
            (part, rest) = (name, inner);
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].trim().to_lowercase();
            rest = &rest[end..];
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None if rest.trim().is_empty() => return Some(parts),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{identifiers, quote_ident};

    #[test]
    fn names_are_split_and_quoted() {
        assert_eq!(identifiers("App.\"My Table\""), Some(vec!["app".to_owned(), "My Table".to_owned()]));
        assert_eq!(identifiers("a..b"), None);
        assert_eq!(quote_ident("My Table"), "\"My Table\"");
        assert_eq!(quote_ident("bid_2"), "bid_2");
        assert_eq!(quote_ident("order"), "\"order\"");
    }
}

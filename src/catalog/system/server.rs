//! What belongs to the server rather than to an object: databases, roles, settings, sessions.

use super::declared::Rows;
use super::describe;
use super::facts::Facts;
use super::names::{DATABASE, OWNER, PG_CATALOG, role_oid, roles};
use super::value::Value;

/// The number of UTF8 among PostgreSQL's encodings.
const UTF8: i32 = 6;
/// The tablespace `pg_default`.
const TABLESPACE: i32 = 1663;

pub(super) fn databases(facts: &Facts, rows: &mut Rows) {
    rows.push([
        ("oid", DATABASE.into()),
        ("datname", facts.database.as_str().into()),
        ("datdba", OWNER.into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", 'c'.into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", TABLESPACE.into()),
        ("datcollate", "C".into()),
        ("datctype", "C".into()),
    ]);
}

pub(super) fn roles_rows(facts: &Facts, rows: &mut Rows) {
    for (oid, name) in roles(facts) {
        rows.push([
            ("oid", oid.into()),
            ("rolname", name.into()),
            ("rolsuper", true.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", false.into()),
            ("rolcreatedb", false.into()),
            ("rolcanlogin", true.into()),
            ("rolreplication", false.into()),
            ("rolconnlimit", (-1).into()),
            ("rolbypassrls", true.into()),
        ]);
    }
}

pub(super) fn users(facts: &Facts, rows: &mut Rows) {
    for (oid, name) in roles(facts) {
        rows.push([
            ("usename", name.into()),
            ("usesysid", oid.into()),
            ("usecreatedb", false.into()),
            ("usesuper", true.into()),
            ("userepl", false.into()),
            ("usebypassrls", true.into()),
        ]);
    }
}

pub(super) fn settings(facts: &Facts, rows: &mut Rows) {
    for (name, value, about) in &facts.settings {
        rows.push([
            ("name", name.as_str().into()),
            ("setting", value.as_str().into()),
            ("category", "Tidemill".into()),
            ("short_desc", about.as_str().into()),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", "session".into()),
            ("reset_val", value.as_str().into()),
            ("pending_restart", false.into()),
        ]);
    }
}

pub(super) fn access_methods(_facts: &Facts, rows: &mut Rows) {
    for (oid, name, handler, kind) in [(2, "heap", "heap_tableam_handler", 't'), (403, "btree", "bthandler", 'i')] {
        rows.push([("oid", oid.into()), ("amname", name.into()), ("amhandler", handler.into()), ("amtype", kind.into())]);
    }
}

pub(super) fn collations(_facts: &Facts, rows: &mut Rows) {
    for (oid, name, provider, encoding, locale) in
        [(100, "default", 'd', -1, None), (950, "C", 'c', -1, Some("C")), (951, "POSIX", 'c', -1, Some("POSIX"))]
    {
        rows.push([
            ("oid", oid.into()),
            ("collname", name.into()),
            ("collnamespace", PG_CATALOG.into()),
            ("collowner", OWNER.into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", encoding.into()),
            ("collcollate", locale.into()),
            ("collctype", locale.into()),
        ]);
    }
}

pub(super) fn languages(_facts: &Facts, rows: &mut Rows) {
    for (oid, name, trusted) in [(12, "internal", false), (14, "sql", true)] {
        rows.push([("oid", oid.into()), ("lanname", name.into()), ("lanowner", OWNER.into()), ("lanpltrusted", trusted.into())]);
    }
}

pub(super) fn tablespaces(_facts: &Facts, rows: &mut Rows) {
    for (oid, name) in [(TABLESPACE, "pg_default"), (1664, "pg_global")] {
        rows.push([("oid", oid.into()), ("spcname", name.into()), ("spcowner", OWNER.into())]);
    }
}

pub(super) fn activity(facts: &Facts, rows: &mut Rows) {
    for session in &facts.sessions {
        let (address, port) = match session.peer.rsplit_once(':') {
            Some((address, port)) => (Some(address.trim_matches(['[', ']'])), port.parse::<i64>().ok()),
            None => (None, None),
        };
        rows.push([
            ("datid", DATABASE.into()),
            ("datname", facts.database.as_str().into()),
            ("pid", session.process_id.into()),
            ("usesysid", role_oid(&session.user).into()),
            ("usename", session.user.as_str().into()),
            ("application_name", session.application.as_str().into()),
            ("client_addr", address.into()),
            ("client_port", port.into()),
            ("backend_start", Value::Time(session.connected_micros)),
            ("state", if session.active { "active" } else { "idle" }.into()),
            ("query", session.query.as_str().into()),
            ("backend_type", "client backend".into()),
        ]);
    }
}

pub(super) fn descriptions(facts: &Facts, rows: &mut Rows) {
    // `pg_class` 2615 is the class of namespaces.
    for (oid, class, text) in [(2200, 2615, "standard public schema"), (11, 2615, "system catalog schema")] {
        rows.push([("objoid", oid.into()), ("classoid", class.into()), ("description", text.into())]);
    }
    for object in facts.catalog.objects() {
        for (number, text) in &object.comments {
            let class = describe::class_of(object);
            let place = ("objsubid", i64::from(*number).into());
            rows.push([("objoid", object.id.into()), ("classoid", class.into()), place, ("description", text.as_str().into())]);
        }
    }
}

pub(super) fn time_zones(_facts: &Facts, rows: &mut Rows) {
    for zone in chrono_tz::TZ_VARIANTS {
        rows.push([("name", zone.name().into())]);
    }
}

//! The relations of `pg_catalog`, each declared once: its number and columns are PostgreSQL 15's, its rows are ours.
//!
//! `rows: None`: a relation that has no rows here, since we have no such things.

use super::declared::Declared;
use super::{listings, objects, procedures, server, types};

/// All of them.
pub(super) const RELATIONS: &[Declared] = &[
    Declared {
        schema: "pg_catalog",
        name: "pg_aggregate",
        oid: 2600,
        kind: 'r',
        columns: "aggfnoid text!, aggkind char!, aggnumdirectargs int2!, aggtransfn text!, aggfinalfn text!, aggcombinefn text!, aggserialfn \
          text!, aggdeserialfn text!, aggmtransfn text!, aggminvtransfn text!, aggmfinalfn text!, aggfinalextra bool!, aggmfinalextra \
          bool!, aggfinalmodify char!, aggmfinalmodify char!, aggsortop oid!, aggtranstype oid!, aggtransspace int4!, aggmtranstype \
          oid!, aggmtransspace int4!, agginitval text, aggminitval text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_am",
        oid: 2601,
        kind: 'r',
        columns: "oid oid!, amname name!, amhandler text!, amtype char!",
        rows: Some(server::access_methods),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_amop",
        oid: 2602,
        kind: 'r',
        columns: "oid oid!, amopfamily oid!, amoplefttype oid!, amoprighttype oid!, amopstrategy int2!, amoppurpose char!, amopopr oid!, \
          amopmethod oid!, amopsortfamily oid!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_amproc",
        oid: 2603,
        kind: 'r',
        columns: "oid oid!, amprocfamily oid!, amproclefttype oid!, amprocrighttype oid!, amprocnum int2!, amproc text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_attrdef",
        oid: 2604,
        kind: 'r',
        columns: "oid oid!, adrelid oid!, adnum int2!, adbin text!",
        rows: Some(objects::defaults),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_attribute",
        oid: 1249,
        kind: 'r',
        columns: "attrelid oid!, attname name!, atttypid oid!, attstattarget int4!, attlen int2!, attnum int2!, attndims int4!, attcacheoff \
          int4!, atttypmod int4!, attbyval bool!, attalign char!, attstorage char!, attcompression char!, attnotnull bool!, atthasdef \
          bool!, atthasmissing bool!, attidentity char!, attgenerated char!, attisdropped bool!, attislocal bool!, attinhcount int4!, \
          attcollation oid!, attacl text[], attoptions text[], attfdwoptions text[], attmissingval text",
        rows: Some(objects::attributes),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_auth_members",
        oid: 1261,
        kind: 'r',
        columns: "roleid oid!, member oid!, grantor oid!, admin_option bool!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_authid",
        oid: 1260,
        kind: 'r',
        columns: "oid oid!, rolname name!, rolsuper bool!, rolinherit bool!, rolcreaterole bool!, rolcreatedb bool!, rolcanlogin bool!, \
          rolreplication bool!, rolbypassrls bool!, rolconnlimit int4!, rolpassword text, rolvaliduntil timestamptz",
        rows: Some(server::roles_rows),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_available_extension_versions",
        oid: 12085,
        kind: 'v',
        columns: "name name, version text, installed bool, superuser bool, trusted bool, relocatable bool, schema name, requires name[], comment \
          text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_available_extensions",
        oid: 12081,
        kind: 'v',
        columns: "name name, default_version text, installed_version text, comment text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_cast",
        oid: 2605,
        kind: 'r',
        columns: "oid oid!, castsource oid!, casttarget oid!, castfunc oid!, castcontext char!, castmethod char!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_class",
        oid: 1259,
        kind: 'r',
        columns: "oid oid!, relname name!, relnamespace oid!, reltype oid!, reloftype oid!, relowner oid!, relam oid!, relfilenode oid!, \
          reltablespace oid!, relpages int4!, reltuples float4!, relallvisible int4!, reltoastrelid oid!, relhasindex bool!, relisshared \
          bool!, relpersistence char!, relkind char!, relnatts int2!, relchecks int2!, relhasrules bool!, relhastriggers bool!, \
          relhassubclass bool!, relrowsecurity bool!, relforcerowsecurity bool!, relispopulated bool!, relreplident char!, \
          relispartition bool!, relrewrite oid!, relfrozenxid oid!, relminmxid oid!, relacl text[], reloptions text[], relpartbound text",
        rows: Some(objects::classes),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_collation",
        oid: 3456,
        kind: 'r',
        columns: "oid oid!, collname name!, collnamespace oid!, collowner oid!, collprovider char!, collisdeterministic bool!, collencoding \
          int4!, collcollate text, collctype text, colliculocale text, collversion text",
        rows: Some(server::collations),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_constraint",
        oid: 2606,
        kind: 'r',
        columns: "oid oid!, conname name!, connamespace oid!, contype char!, condeferrable bool!, condeferred bool!, convalidated bool!, \
          conrelid oid!, contypid oid!, conindid oid!, conparentid oid!, confrelid oid!, confupdtype char!, confdeltype char!, \
          confmatchtype char!, conislocal bool!, coninhcount int4!, connoinherit bool!, conkey int2[], confkey int2[], conpfeqop oid[], \
          conppeqop oid[], conffeqop oid[], confdelsetcols int2[], conexclop oid[], conbin text",
        rows: Some(objects::constraints),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_conversion",
        oid: 2607,
        kind: 'r',
        columns: "oid oid!, conname name!, connamespace oid!, conowner oid!, conforencoding int4!, contoencoding int4!, conproc text!, \
          condefault bool!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_database",
        oid: 1262,
        kind: 'r',
        columns: "oid oid!, datname name!, datdba oid!, encoding int4!, datlocprovider char!, datistemplate bool!, datallowconn bool!, \
          datconnlimit int4!, datfrozenxid oid!, datminmxid oid!, dattablespace oid!, datcollate text!, datctype text!, daticulocale \
          text, datcollversion text, datacl text[]",
        rows: Some(server::databases),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_db_role_setting",
        oid: 2964,
        kind: 'r',
        columns: "setdatabase oid!, setrole oid!, setconfig text[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_default_acl",
        oid: 826,
        kind: 'r',
        columns: "oid oid!, defaclrole oid!, defaclnamespace oid!, defaclobjtype char!, defaclacl text[]!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_depend",
        oid: 2608,
        kind: 'r',
        columns: "classid oid!, objid oid!, objsubid int4!, refclassid oid!, refobjid oid!, refobjsubid int4!, deptype char!",
        rows: Some(objects::dependencies),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_description",
        oid: 2609,
        kind: 'r',
        columns: "objoid oid!, classoid oid!, objsubid int4!, description text!",
        rows: Some(server::descriptions),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_enum",
        oid: 3501,
        kind: 'r',
        columns: "oid oid!, enumtypid oid!, enumsortorder float4!, enumlabel name!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_event_trigger",
        oid: 3466,
        kind: 'r',
        columns: "oid oid!, evtname name!, evtevent name!, evtowner oid!, evtfoid oid!, evtenabled char!, evttags text[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_extension",
        oid: 3079,
        kind: 'r',
        columns: "oid oid!, extname name!, extowner oid!, extnamespace oid!, extrelocatable bool!, extversion text!, extconfig oid[], \
          extcondition text[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_foreign_data_wrapper",
        oid: 2328,
        kind: 'r',
        columns: "oid oid!, fdwname name!, fdwowner oid!, fdwhandler oid!, fdwvalidator oid!, fdwacl text[], fdwoptions text[]",
        rows: Some(listings::foreign_data_wrappers),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_foreign_server",
        oid: 1417,
        kind: 'r',
        columns: "oid oid!, srvname name!, srvowner oid!, srvfdw oid!, srvtype text, srvversion text, srvacl text[], srvoptions text[]",
        rows: Some(listings::foreign_servers),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_foreign_table",
        oid: 3118,
        kind: 'r',
        columns: "ftrelid oid!, ftserver oid!, ftoptions text[]",
        rows: Some(listings::foreign_tables),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_index",
        oid: 2610,
        kind: 'r',
        columns: "indexrelid oid!, indrelid oid!, indnatts int2!, indnkeyatts int2!, indisunique bool!, indnullsnotdistinct bool!, indisprimary \
          bool!, indisexclusion bool!, indimmediate bool!, indisclustered bool!, indisvalid bool!, indcheckxmin bool!, indisready bool!, \
          indislive bool!, indisreplident bool!, indkey int2[]!, indcollation oid[]!, indclass oid[]!, indoption int2[]!, indexprs text, \
          indpred text",
        rows: Some(objects::index_rows),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_indexes",
        oid: 12043,
        kind: 'v',
        columns: "schemaname name, tablename name, indexname name, tablespace name, indexdef text",
        rows: Some(listings::index_rows),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_inherits",
        oid: 2611,
        kind: 'r',
        columns: "inhrelid oid!, inhparent oid!, inhseqno int4!, inhdetachpending bool!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_init_privs",
        oid: 3394,
        kind: 'r',
        columns: "objoid oid!, classoid oid!, objsubid int4!, privtype char!, initprivs text[]!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_language",
        oid: 2612,
        kind: 'r',
        columns: "oid oid!, lanname name!, lanowner oid!, lanispl bool!, lanpltrusted bool!, lanplcallfoid oid!, laninline oid!, lanvalidator \
          oid!, lanacl text[]",
        rows: Some(server::languages),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_largeobject_metadata",
        oid: 2995,
        kind: 'r',
        columns: "oid oid!, lomowner oid!, lomacl text[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_locks",
        oid: 12073,
        kind: 'v',
        columns: "locktype text, database oid, relation oid, page int4, tuple int2, virtualxid text, transactionid oid, classid oid, objid oid, \
          objsubid int2, virtualtransaction text, pid int4, mode text, granted bool, fastpath bool, waitstart timestamptz",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_matviews",
        oid: 12038,
        kind: 'v',
        columns: "schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes bool, ispopulated bool, definition text",
        rows: Some(listings::materialized_views),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_namespace",
        oid: 2615,
        kind: 'r',
        columns: "oid oid!, nspname name!, nspowner oid!, nspacl text[]",
        rows: Some(objects::namespaces_rows),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_opclass",
        oid: 2616,
        kind: 'r',
        columns: "oid oid!, opcmethod oid!, opcname name!, opcnamespace oid!, opcowner oid!, opcfamily oid!, opcintype oid!, opcdefault bool!, \
          opckeytype oid!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_operator",
        oid: 2617,
        kind: 'r',
        columns: "oid oid!, oprname name!, oprnamespace oid!, oprowner oid!, oprkind char!, oprcanmerge bool!, oprcanhash bool!, oprleft oid!, \
          oprright oid!, oprresult oid!, oprcom oid!, oprnegate oid!, oprcode text!, oprrest text!, oprjoin text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_opfamily",
        oid: 2753,
        kind: 'r',
        columns: "oid oid!, opfmethod oid!, opfname name!, opfnamespace oid!, opfowner oid!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_partitioned_table",
        oid: 3350,
        kind: 'r',
        columns: "partrelid oid!, partstrat char!, partnatts int2!, partdefid oid!, partattrs int2[]!, partclass oid[]!, partcollation oid[]!, \
          partexprs text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_policies",
        oid: 12018,
        kind: 'v',
        columns: "schemaname name, tablename name, policyname name, permissive text, roles name[], cmd text, qual text, with_check text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_policy",
        oid: 3256,
        kind: 'r',
        columns: "oid oid!, polname name!, polrelid oid!, polcmd char!, polpermissive bool!, polroles oid[]!, polqual text, polwithcheck text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_prepared_xacts",
        oid: 12090,
        kind: 'v',
        columns: "transaction oid, gid text, prepared timestamptz, owner name, database name",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_proc",
        oid: 1255,
        kind: 'r',
        columns: "oid oid!, proname name!, pronamespace oid!, proowner oid!, prolang oid!, procost float4!, prorows float4!, provariadic oid!, \
          prosupport text!, prokind char!, prosecdef bool!, proleakproof bool!, proisstrict bool!, proretset bool!, provolatile char!, \
          proparallel char!, pronargs int2!, pronargdefaults int2!, prorettype oid!, proargtypes oid[]!, proallargtypes oid[], \
          proargmodes char[], proargnames text[], proargdefaults text, protrftypes oid[], prosrc text!, probin text, prosqlbody text, \
          proconfig text[], proacl text[]",
        rows: Some(procedures::procedures),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_publication",
        oid: 6104,
        kind: 'r',
        columns: "oid oid!, pubname name!, pubowner oid!, puballtables bool!, pubinsert bool!, pubupdate bool!, pubdelete bool!, pubtruncate \
          bool!, pubviaroot bool!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_publication_namespace",
        oid: 6237,
        kind: 'r',
        columns: "oid oid!, pnpubid oid!, pnnspid oid!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_publication_rel",
        oid: 6106,
        kind: 'r',
        columns: "oid oid!, prpubid oid!, prrelid oid!, prqual text, prattrs int2[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_publication_tables",
        oid: 12068,
        kind: 'v',
        columns: "pubname name, schemaname name, tablename name, attnames name[], rowfilter text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_range",
        oid: 3541,
        kind: 'r',
        columns: "rngtypid oid!, rngsubtype oid!, rngmultitypid oid!, rngcollation oid!, rngsubopc oid!, rngcanonical text!, rngsubdiff text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_replication_slots",
        oid: 12257,
        kind: 'v',
        columns: "slot_name name, plugin name, slot_type text, datoid oid, database name, temporary bool, active bool, active_pid int4, xmin \
          oid, catalog_xmin oid, restart_lsn text, confirmed_flush_lsn text, wal_status text, safe_wal_size int8, two_phase bool",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_rewrite",
        oid: 2618,
        kind: 'r',
        columns: "oid oid!, rulename name!, ev_class oid!, ev_type char!, ev_enabled char!, is_instead bool!, ev_qual text!, ev_action text!",
        rows: Some(objects::rewrites),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_roles",
        oid: 12000,
        kind: 'v',
        columns: "rolname name, rolsuper bool, rolinherit bool, rolcreaterole bool, rolcreatedb bool, rolcanlogin bool, rolreplication bool, \
          rolconnlimit int4, rolpassword text, rolvaliduntil timestamptz, rolbypassrls bool, rolconfig text[], oid oid",
        rows: Some(server::roles_rows),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_seclabel",
        oid: 3596,
        kind: 'r',
        columns: "objoid oid!, classoid oid!, objsubid int4!, provider text!, label text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_seclabels",
        oid: 12099,
        kind: 'v',
        columns: "objoid oid, classoid oid, objsubid int4, objtype text, objnamespace oid, objname text, provider text, label text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_sequence",
        oid: 2224,
        kind: 'r',
        columns: "seqrelid oid!, seqtypid oid!, seqstart int8!, seqincrement int8!, seqmax int8!, seqmin int8!, seqcache int8!, seqcycle bool!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_sequences",
        oid: 12048,
        kind: 'v',
        columns: "schemaname name, sequencename name, sequenceowner name, data_type oid, start_value int8, min_value int8, max_value int8, \
          increment_by int8, cycle bool, cache_size int8, last_value int8",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_settings",
        oid: 12104,
        kind: 'v',
        columns: "name text, setting text, unit text, category text, short_desc text, extra_desc text, context text, vartype text, source text, \
          min_val text, max_val text, enumvals text[], boot_val text, reset_val text, sourcefile text, sourceline int4, pending_restart \
          bool",
        rows: Some(server::settings),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_shadow",
        oid: 12005,
        kind: 'v',
        columns: "usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool, passwd text, valuntil \
          timestamptz, useconfig text[]",
        rows: Some(server::users),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_shdepend",
        oid: 1214,
        kind: 'r',
        columns: "dbid oid!, classid oid!, objid oid!, objsubid int4!, refclassid oid!, refobjid oid!, deptype char!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_shdescription",
        oid: 2396,
        kind: 'r',
        columns: "objoid oid!, classoid oid!, description text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_shseclabel",
        oid: 3592,
        kind: 'r',
        columns: "objoid oid!, classoid oid!, provider text!, label text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_stat_activity",
        oid: 12222,
        kind: 'v',
        columns: "datid oid, datname name, pid int4, leader_pid int4, usesysid oid, usename name, application_name text, client_addr text, \
          client_hostname text, client_port int4, backend_start timestamptz, xact_start timestamptz, query_start timestamptz, \
          state_change timestamptz, wait_event_type text, wait_event text, state text, backend_xid oid, backend_xmin oid, query_id int8, \
          query text, backend_type text",
        rows: Some(server::activity),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_stat_all_tables",
        oid: 12142,
        kind: 'v',
        columns: "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan int8, idx_tup_fetch int8, n_tup_ins int8, \
          n_tup_upd int8, n_tup_del int8, n_tup_hot_upd int8, n_live_tup int8, n_dead_tup int8, n_mod_since_analyze int8, \
          n_ins_since_vacuum int8, last_vacuum timestamptz, last_autovacuum timestamptz, last_analyze timestamptz, last_autoanalyze \
          timestamptz, vacuum_count int8, autovacuum_count int8, analyze_count int8, autoanalyze_count int8",
        rows: Some(listings::table_statistics),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_stat_database",
        oid: 12266,
        kind: 'v',
        columns: "datid oid, datname name, numbackends int4, xact_commit int8, xact_rollback int8, blks_read int8, blks_hit int8, tup_returned \
          int8, tup_fetched int8, tup_inserted int8, tup_updated int8, tup_deleted int8, conflicts int8, temp_files int8, temp_bytes \
          int8, deadlocks int8, checksum_failures int8, checksum_last_failure timestamptz, blk_read_time float8, blk_write_time float8, \
          session_time float8, active_time float8, idle_in_transaction_time float8, sessions int8, sessions_abandoned int8, \
          sessions_fatal int8, sessions_killed int8, stats_reset timestamptz",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_stat_replication",
        oid: 12227,
        kind: 'v',
        columns: "pid int4, usesysid oid, usename name, application_name text, client_addr text, client_hostname text, client_port int4, \
          backend_start timestamptz, backend_xmin oid, state text, sent_lsn text, write_lsn text, flush_lsn text, replay_lsn text, \
          write_lag text, flush_lag text, replay_lag text, sync_priority int4, sync_state text, reply_time timestamptz",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_stat_user_indexes",
        oid: 12192,
        kind: 'v',
        columns: "relid oid, indexrelid oid, schemaname name, relname name, indexrelname name, idx_scan int8, idx_tup_read int8, idx_tup_fetch \
          int8",
        rows: Some(listings::index_statistics),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_stat_user_tables",
        oid: 12161,
        kind: 'v',
        columns: "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan int8, idx_tup_fetch int8, n_tup_ins int8, \
          n_tup_upd int8, n_tup_del int8, n_tup_hot_upd int8, n_live_tup int8, n_dead_tup int8, n_mod_since_analyze int8, \
          n_ins_since_vacuum int8, last_vacuum timestamptz, last_autovacuum timestamptz, last_analyze timestamptz, last_autoanalyze \
          timestamptz, vacuum_count int8, autovacuum_count int8, analyze_count int8, autoanalyze_count int8",
        rows: Some(listings::table_statistics),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_statio_user_tables",
        oid: 12179,
        kind: 'v',
        columns: "relid oid, schemaname name, relname name, heap_blks_read int8, heap_blks_hit int8, idx_blks_read int8, idx_blks_hit int8, \
          toast_blks_read int8, toast_blks_hit int8, tidx_blks_read int8, tidx_blks_hit int8",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_statistic_ext",
        oid: 3381,
        kind: 'r',
        columns: "oid oid!, stxrelid oid!, stxname name!, stxnamespace oid!, stxowner oid!, stxstattarget int4!, stxkeys int2[]!, stxkind \
          char[]!, stxexprs text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_subscription",
        oid: 6100,
        kind: 'r',
        columns: "oid oid!, subdbid oid!, subskiplsn text!, subname name!, subowner oid!, subenabled bool!, subbinary bool!, substream bool!, \
          subtwophasestate char!, subdisableonerr bool!, subconninfo text!, subslotname name, subsynccommit text!, subpublications \
          text[]!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_tables",
        oid: 12033,
        kind: 'v',
        columns: "schemaname name, tablename name, tableowner name, tablespace name, hasindexes bool, hasrules bool, hastriggers bool, \
          rowsecurity bool",
        rows: Some(listings::tables),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_tablespace",
        oid: 1213,
        kind: 'r',
        columns: "oid oid!, spcname name!, spcowner oid!, spcacl text[], spcoptions text[]",
        rows: Some(server::tablespaces),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_timezone_names",
        oid: 12126,
        kind: 'v',
        columns: "name text, abbrev text, utc_offset text, is_dst bool",
        rows: Some(server::time_zones),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_transform",
        oid: 3576,
        kind: 'r',
        columns: "oid oid!, trftype oid!, trflang oid!, trffromsql text!, trftosql text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_trigger",
        oid: 2620,
        kind: 'r',
        columns: "oid oid!, tgrelid oid!, tgparentid oid!, tgname name!, tgfoid oid!, tgtype int2!, tgenabled char!, tgisinternal bool!, \
          tgconstrrelid oid!, tgconstrindid oid!, tgconstraint oid!, tgdeferrable bool!, tginitdeferred bool!, tgnargs int2!, tgattr \
          int2[]!, tgargs bytea!, tgqual text, tgoldtable name, tgnewtable name",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_ts_config",
        oid: 3602,
        kind: 'r',
        columns: "oid oid!, cfgname name!, cfgnamespace oid!, cfgowner oid!, cfgparser oid!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_ts_config_map",
        oid: 3603,
        kind: 'r',
        columns: "mapcfg oid!, maptokentype int4!, mapseqno int4!, mapdict oid!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_ts_dict",
        oid: 3600,
        kind: 'r',
        columns: "oid oid!, dictname name!, dictnamespace oid!, dictowner oid!, dicttemplate oid!, dictinitoption text",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_ts_parser",
        oid: 3601,
        kind: 'r',
        columns: "oid oid!, prsname name!, prsnamespace oid!, prsstart text!, prstoken text!, prsend text!, prsheadline text!, prslextype text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_ts_template",
        oid: 3764,
        kind: 'r',
        columns: "oid oid!, tmplname name!, tmplnamespace oid!, tmplinit text!, tmpllexize text!",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_type",
        oid: 1247,
        kind: 'r',
        columns: "oid oid!, typname name!, typnamespace oid!, typowner oid!, typlen int2!, typbyval bool!, typtype char!, typcategory char!, \
          typispreferred bool!, typisdefined bool!, typdelim char!, typrelid oid!, typsubscript text!, typelem oid!, typarray oid!, \
          typinput text!, typoutput text!, typreceive text!, typsend text!, typmodin text!, typmodout text!, typanalyze text!, typalign \
          char!, typstorage char!, typnotnull bool!, typbasetype oid!, typtypmod int4!, typndims int4!, typcollation oid!, typdefaultbin \
          text, typdefault text, typacl text[]",
        rows: Some(types::types),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_user",
        oid: 12014,
        kind: 'v',
        columns: "usename name, usesysid oid, usecreatedb bool, usesuper bool, userepl bool, usebypassrls bool, passwd text, valuntil \
          timestamptz, useconfig text[]",
        rows: Some(server::users),
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_user_mapping",
        oid: 1418,
        kind: 'r',
        columns: "oid oid!, umuser oid!, umserver oid!, umoptions text[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_user_mappings",
        oid: 12327,
        kind: 'v',
        columns: "umid oid, srvid oid, srvname name, umuser oid, usename name, umoptions text[]",
        rows: None,
    },
    Declared {
        schema: "pg_catalog",
        name: "pg_views",
        oid: 12028,
        kind: 'v',
        columns: "schemaname name, viewname name, viewowner name, definition text",
        rows: Some(listings::views),
    },
];

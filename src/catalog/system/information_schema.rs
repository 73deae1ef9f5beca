//! The views of `information_schema`, each declared once: names and columns are PostgreSQL 15's.

use super::declared::Declared;
use super::standard as view;

/// All of them.
pub(super) const RELATIONS: &[Declared] = &[
    Declared {
        schema: "information_schema",
        name: "applicable_roles",
        oid: 13236,
        kind: 'v',
        columns: "grantee name, role_name name, is_grantable text",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "character_sets",
        oid: 13250,
        kind: 'v',
        columns: "character_set_catalog name, character_set_schema name, character_set_name name, character_repertoire name, form_of_use name, \
          default_collate_catalog name, default_collate_schema name, default_collate_name name",
        rows: Some(view::character_sets),
    },
    Declared {
        schema: "information_schema",
        name: "check_constraints",
        oid: 13260,
        kind: 'v',
        columns: "constraint_catalog name, constraint_schema name, constraint_name name, check_clause text",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "column_privileges",
        oid: 13285,
        kind: 'v',
        columns: "grantor name, grantee name, table_catalog name, table_schema name, table_name name, column_name name, privilege_type text, \
          is_grantable text",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "columns",
        oid: 13295,
        kind: 'v',
        columns: "table_catalog name, table_schema name, table_name name, column_name name, ordinal_position int4, column_default text, \
          is_nullable text, data_type text, character_maximum_length int4, character_octet_length int4, numeric_precision int4, \
          numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, interval_type text, interval_precision int4, \
          character_set_catalog name, character_set_schema name, character_set_name name, collation_catalog name, collation_schema name, \
          collation_name name, domain_catalog name, domain_schema name, domain_name name, udt_catalog name, udt_schema name, udt_name \
          name, scope_catalog name, scope_schema name, scope_name name, maximum_cardinality int4, dtd_identifier name, \
          is_self_referencing text, is_identity text, identity_generation text, identity_start text, identity_increment text, \
          identity_maximum text, identity_minimum text, identity_cycle text, is_generated text, generation_expression text, is_updatable \
          text",
        rows: Some(view::columns),
    },
    Declared {
        schema: "information_schema",
        name: "constraint_column_usage",
        oid: 13300,
        kind: 'v',
        columns: "table_catalog name, table_schema name, table_name name, column_name name, constraint_catalog name, constraint_schema name, \
          constraint_name name",
        rows: Some(view::constraint_column_usage),
    },
    Declared {
        schema: "information_schema",
        name: "constraint_table_usage",
        oid: 13305,
        kind: 'v',
        columns: "table_catalog name, table_schema name, table_name name, constraint_catalog name, constraint_schema name, constraint_name name",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "domains",
        oid: 13320,
        kind: 'v',
        columns: "domain_catalog name, domain_schema name, domain_name name, data_type text, character_maximum_length int4, \
          character_octet_length int4, character_set_catalog name, character_set_schema name, character_set_name name, collation_catalog \
          name, collation_schema name, collation_name name, numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, \
          datetime_precision int4, interval_type text, interval_precision int4, domain_default text, udt_catalog name, udt_schema name, \
          udt_name name, scope_catalog name, scope_schema name, scope_name name, maximum_cardinality int4, dtd_identifier name",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "element_types",
        oid: 13493,
        kind: 'v',
        columns: "object_catalog name, object_schema name, object_name name, object_type text, collection_type_identifier name, data_type text, \
          character_maximum_length int4, character_octet_length int4, character_set_catalog name, character_set_schema name, \
          character_set_name name, collation_catalog name, collation_schema name, collation_name name, numeric_precision int4, \
          numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, interval_type text, interval_precision int4, \
          domain_default text, udt_catalog name, udt_schema name, udt_name name, scope_catalog name, scope_schema name, scope_name name, \
          maximum_cardinality int4, dtd_identifier name",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "enabled_roles",
        oid: 13325,
        kind: 'v',
        columns: "role_name name",
        rows: Some(view::enabled_roles),
    },
    Declared {
        schema: "information_schema",
        name: "information_schema_catalog_name",
        oid: 13227,
        kind: 'v',
        columns: "catalog_name name",
        rows: Some(view::catalog_name_row),
    },
    Declared {
        schema: "information_schema",
        name: "key_column_usage",
        oid: 13329,
        kind: 'v',
        columns: "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog name, table_schema name, table_name name, \
          column_name name, ordinal_position int4, position_in_unique_constraint int4",
        rows: Some(view::key_column_usage),
    },
    Declared {
        schema: "information_schema",
        name: "parameters",
        oid: 13334,
        kind: 'v',
        columns: "specific_catalog name, specific_schema name, specific_name name, ordinal_position int4, parameter_mode text, is_result text, \
          as_locator text, parameter_name name, data_type text, character_maximum_length int4, character_octet_length int4, \
          character_set_catalog name, character_set_schema name, character_set_name name, collation_catalog name, collation_schema name, \
          collation_name name, numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, \
          interval_type text, interval_precision int4, udt_catalog name, udt_schema name, udt_name name, scope_catalog name, \
          scope_schema name, scope_name name, maximum_cardinality int4, dtd_identifier name, parameter_default text",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "referential_constraints",
        oid: 13339,
        kind: 'v',
        columns: "constraint_catalog name, constraint_schema name, constraint_name name, unique_constraint_catalog name, \
          unique_constraint_schema name, unique_constraint_name name, match_option text, update_rule text, delete_rule text",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "role_table_grants",
        oid: 13421,
        kind: 'v',
        columns: "grantor name, grantee name, table_catalog name, table_schema name, table_name name, privilege_type text, is_grantable text, \
          with_hierarchy text",
        rows: Some(view::table_privileges),
    },
    Declared {
        schema: "information_schema",
        name: "routines",
        oid: 13377,
        kind: 'v',
        columns: "specific_catalog name, specific_schema name, specific_name name, routine_catalog name, routine_schema name, routine_name name, \
          routine_type text, module_catalog name, module_schema name, module_name name, udt_catalog name, udt_schema name, udt_name \
          name, data_type text, character_maximum_length int4, character_octet_length int4, character_set_catalog name, \
          character_set_schema name, character_set_name name, collation_catalog name, collation_schema name, collation_name name, \
          numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, interval_type text, \
          interval_precision int4, type_udt_catalog name, type_udt_schema name, type_udt_name name, scope_catalog name, scope_schema \
          name, scope_name name, maximum_cardinality int4, dtd_identifier name, routine_body text, routine_definition text, \
          external_name text, external_language text, parameter_style text, is_deterministic text, sql_data_access text, is_null_call \
          text, sql_path text, schema_level_routine text, max_dynamic_result_sets int4, is_user_defined_cast text, \
          is_implicitly_invocable text, security_type text, to_sql_specific_catalog name, to_sql_specific_schema name, \
          to_sql_specific_name name, as_locator text, created timestamptz, last_altered timestamptz, new_savepoint_level text, \
          is_udt_dependent text, result_cast_from_data_type text, result_cast_as_locator text, result_cast_char_max_length int4, \
          result_cast_char_octet_length int4, result_cast_char_set_catalog name, result_cast_char_set_schema name, \
          result_cast_char_set_name name, result_cast_collation_catalog name, result_cast_collation_schema name, \
          result_cast_collation_name name, result_cast_numeric_precision int4, result_cast_numeric_precision_radix int4, \
          result_cast_numeric_scale int4, result_cast_datetime_precision int4, result_cast_interval_type text, \
          result_cast_interval_precision int4, result_cast_type_udt_catalog name, result_cast_type_udt_schema name, \
          result_cast_type_udt_name name, result_cast_scope_catalog name, result_cast_scope_schema name, result_cast_scope_name name, \
          result_cast_maximum_cardinality int4, result_cast_dtd_identifier name",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "schemata",
        oid: 13382,
        kind: 'v',
        columns: "catalog_name name, schema_name name, schema_owner name, default_character_set_catalog name, default_character_set_schema name, \
          default_character_set_name name, sql_path text",
        rows: Some(view::schemata),
    },
    Declared {
        schema: "information_schema",
        name: "sequences",
        oid: 13386,
        kind: 'v',
        columns: "sequence_catalog name, sequence_schema name, sequence_name name, data_type text, numeric_precision int4, \
          numeric_precision_radix int4, numeric_scale int4, start_value text, minimum_value text, maximum_value text, increment text, \
          cycle_option text",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "table_constraints",
        oid: 13411,
        kind: 'v',
        columns: "constraint_catalog name, constraint_schema name, constraint_name name, table_catalog name, table_schema name, table_name name, \
          constraint_type text, is_deferrable text, initially_deferred text, enforced text, nulls_distinct text",
        rows: Some(view::table_constraints),
    },
    Declared {
        schema: "information_schema",
        name: "table_privileges",
        oid: 13416,
        kind: 'v',
        columns: "grantor name, grantee name, table_catalog name, table_schema name, table_name name, privilege_type text, is_grantable text, \
          with_hierarchy text",
        rows: Some(view::table_privileges),
    },
    Declared {
        schema: "information_schema",
        name: "tables",
        oid: 13425,
        kind: 'v',
        columns: "table_catalog name, table_schema name, table_name name, table_type text, self_referencing_column_name name, \
          reference_generation text, user_defined_type_catalog name, user_defined_type_schema name, user_defined_type_name name, \
          is_insertable_into text, is_typed text, commit_action text",
        rows: Some(view::tables),
    },
    Declared {
        schema: "information_schema",
        name: "triggers",
        oid: 13440,
        kind: 'v',
        columns: "trigger_catalog name, trigger_schema name, trigger_name name, event_manipulation text, event_object_catalog name, \
          event_object_schema name, event_object_table name, action_order int4, action_condition text, action_statement text, \
          action_orientation text, action_timing text, action_reference_old_table name, action_reference_new_table name, \
          action_reference_old_row name, action_reference_new_row name, created timestamptz",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "view_column_usage",
        oid: 13468,
        kind: 'v',
        columns: "view_catalog name, view_schema name, view_name name, table_catalog name, table_schema name, table_name name, column_name name",
        rows: None,
    },
    Declared {
        schema: "information_schema",
        name: "view_table_usage",
        oid: 13478,
        kind: 'v',
        columns: "view_catalog name, view_schema name, view_name name, table_catalog name, table_schema name, table_name name",
        rows: Some(view::view_table_usage),
    },
    Declared {
        schema: "information_schema",
        name: "views",
        oid: 13483,
        kind: 'v',
        columns: "table_catalog name, table_schema name, table_name name, view_definition text, check_option text, is_updatable text, \
          is_insertable_into text, is_trigger_updatable text, is_trigger_deletable text, is_trigger_insertable_into text",
        rows: Some(view::views),
    },
];

#!/usr/bin/env bash
# psql: statements, catalogue commands, errors with a caret, COPY, cancel. The names of what it makes start with psql_.
set -uo pipefail
status=0

ask() { psql -X -q -At -v ON_ERROR_STOP=1 "$@"; }

# expect name wanted found
expect() {
    if [[ "$3" == "$2" ]]; then echo "ok psql/$1"; else echo "not ok psql/$1: wanted «$2», got «${3//$'\n'/ ⏎ }»"; status=1; fi
}
# contains name part found
contains() {
    if [[ "$3" == *"$2"* ]]; then echo "ok psql/$1"; else echo "not ok psql/$1: no «$2» in «${3//$'\n'/ ⏎ }»"; status=1; fi
}

ask -c "CREATE TABLE psql_t (id BIGINT PRIMARY KEY, name TEXT, price NUMERIC(10,2))" -c "CREATE MATERIALIZED VIEW psql_v AS SELECT count(*) AS c FROM psql_t" ||
    { echo "not ok psql/create: see above"; exit 1; }

expect select "1|x|t" "$(ask -c "SELECT 1, 'x', true" 2>&1)"
expect several $'1\n2' "$(ask -c "SELECT 1" -c "SELECT 2" 2>&1)"
expect null "~" "$(ask -P 'null=~' -c "SELECT NULL::int" 2>&1)"
contains version "PostgreSQL 15" "$(ask -c "SELECT version()" 2>&1)"
contains tag "INSERT 0 2" "$(psql -X -c "INSERT INTO psql_t VALUES (1, 'one', 1.5), (2, NULL, 2)" 2>&1)"
expect numeric $'1|one|1.50\n2||2.00' "$(ask -c "SELECT * FROM psql_t ORDER BY id" 2>&1)"
expect variable "one" "$(ask -v key=1 2>&1 <<<"SELECT name FROM psql_t WHERE id = :key;")"

expect backslash 'a\|1' "$(ask 2>&1 <<<"SELECT 'a\\', 1;")"

contains d "psql_t" "$(ask -c '\d' 2>&1)"
contains dt "psql_t" "$(ask -c '\dt' 2>&1)"
contains d-table "bigint" "$(ask -c '\d psql_t' 2>&1)"
contains dm "psql_v" "$(ask -c '\dm' 2>&1)"
contains d-view "c" "$(ask -c '\d psql_v' 2>&1)"
expect d-quoted "c|integer|||" "$(ask -c 'CREATE TABLE "psql""q" ("c" INT)' -c '\d "psql""q"' -c 'DROP TABLE "psql""q"' 2>&1 | grep '^c|')"
expect db "pg_default" "$(ask -c '\db' 2>&1 | cut -d'|' -f1 | head -1)"
expect df "" "$(ask -c '\df' 2>&1)"
expect dO "" "$(ask -c '\dO psql_*' 2>&1)"
contains dn "public" "$(ask -c '\dn' 2>&1)"
contains l "tidemill" "$(ask -c '\l' 2>&1)"
contains du "tidemill" "$(ask -c '\du' 2>&1)"
contains conninfo "tidemill" "$(ask -c '\conninfo' 2>&1)"

error="$(psql -X -c "SELECT nope FROM psql_t" 2>&1)"
contains error 'column "nope" does not exist' "$error"
contains caret "               ^" "$error"$'\n'
contains sqlstate "42P01" "$(psql -X -v VERBOSITY=verbose -c "SELECT * FROM psql_nope" 2>&1)"

expect transaction "0" "$(ask 2>&1 <<'SQL'
BEGIN;
INSERT INTO psql_t VALUES (50, 'gone', 0);
ROLLBACK;
SELECT count(*) FROM psql_t WHERE id = 50;
SQL
)"

ask -c "\\copy psql_t FROM STDIN (FORMAT csv)" <<<$'3,"three, quoted",3\n4,,4' || status=1
expect copy-in "three, quoted" "$(ask -c "SELECT name FROM psql_t WHERE id = 3" 2>&1)"
expect copy-out $'3,"three, quoted",3.00\n4,,4.00' "$(ask -c "\\copy (SELECT * FROM psql_t WHERE id > 2 ORDER BY id) TO STDOUT (FORMAT csv)" 2>&1)"
expect copy-text $'3\tthree, quoted\t3.00\n4\t\\N\t4.00' "$(ask -c "COPY (SELECT * FROM psql_t WHERE id > 2 ORDER BY id) TO STDOUT" 2>&1)"

expect fetch-count "1000" "$(ask -v FETCH_COUNT=100 -c "SELECT a.n FROM (SELECT 1 AS n) AS a CROSS JOIN (SELECT * FROM generate_series(1, 1000)) AS b" 2>&1 | grep -c '^1$')"

# Ctrl-C in psql sends a cancel request on a connection of its own. A scan of a hundred thousand million rows does not end by itself.
query="SELECT count(*) FROM generate_series(1, 100000000000) AS a(x) WHERE a.x = -1"
started=$SECONDS
cancelled="$(psql -X -c "$query" 2>&1 & client=$!; sleep 2; kill -INT $client; wait $client)"
contains cancel "canceling statement due to user request" "$cancelled"
if [[ $((SECONDS - started)) -gt 30 ]]; then echo "not ok psql/cancel-soon: took $((SECONDS - started)) s"; status=1; fi

ask -c "DROP MATERIALIZED VIEW psql_v" -c "DROP TABLE psql_t" || status=1
exit $status

#!/usr/bin/env bash
# Real clients against a server: PGHOST and PGPORT say where it is (scripts/with-server sets them).
# Prints `ok name`, `not ok name: reason` or `SKIP name: why` for each test; fails if one is not ok.
#
#   scripts/with-server tests/clients/run.sh [psql|pgbench|psycopg|asyncpg|jdbc|node …]
#
# Drivers are pinned beside this file and installed once, into ${TIDEMILL_CACHE:-~/.cache/tidemill}/clients.
set -uo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}/clients"
: "${PGHOST:?PGHOST and PGPORT say where the server is: use scripts/with-server}" "${PGPORT:?}"
export PGHOST PGPORT PGUSER="${PGUSER:-tidemill}" PGDATABASE="${PGDATABASE:-tidemill}" PGSSLMODE=disable
export PGCONNECT_TIMEOUT=10
mkdir -p "$cache"
status=0

# How long one client's tests may take altogether: a client that waits for ever is a failure.
limit=180

# Whether a folder was filled from exactly this file; if not, it is emptied and filled by the command.
installed() { # folder file command…
    local folder="$1" file="$2"
    shift 2
    cmp -s "$file" "$folder/.installed" && return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    "$@" >"$folder.log" 2>&1 && cp "$file" "$folder/.installed"
}

skip() { echo "SKIP $1: $2"; }

# Runs a client's program, which tells its own results; ending badly without a word is one more failure.
run() { # name command…
    local name="$1" output code=0
    shift
    output="$(timeout "$limit" "$@" 2>&1)" || code=$?
    printf '%s\n' "$output"
    if grep -q '^not ok ' <<<"$output"; then status=1; fi
    if [[ $code -ne 0 ]] && ! grep -q '^not ok ' <<<"$output"; then
        if [[ $code -eq 124 ]]; then echo "not ok $name: no end within $limit s"; else echo "not ok $name: exit code $code"; fi
        status=1
    fi
}

test_psql() {
    command -v psql >/dev/null || { skip psql "psql is not installed (Debian: postgresql-client)"; return; }
    run psql bash "$here/psql.sh"
}

# PostgreSQL's own benchmark, as it comes: its tables are filled by COPY and get their keys afterwards.
test_pgbench() {
    command -v pgbench >/dev/null || { skip pgbench "pgbench is not installed (Debian: postgresql-contrib)"; return; }
    run pgbench bash "$here/pgbench.sh"
}

python_ready() {
    command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || { why="python3 with venv is not installed"; return 1; }
    make_venv() { python3 -m venv "$cache/python" && "$cache/python/bin/pip" install --quiet -r "$here/requirements.txt"; }
    installed "$cache/python" "$here/requirements.txt" make_venv || { why="pip could not install the drivers, see $cache/python.log"; return 1; }
}
test_psycopg() { if python_ready; then run psycopg "$cache/python/bin/python" "$here/psycopg_test.py"; else skip psycopg "$why"; fi; }
test_asyncpg() { if python_ready; then run asyncpg "$cache/python/bin/python" "$here/asyncpg_test.py"; else skip asyncpg "$why"; fi; }

test_jdbc() {
    command -v javac >/dev/null || { skip jdbc "javac is not installed (Debian: openjdk-17-jdk-headless)"; return; }
    command -v mvn >/dev/null || { skip jdbc "mvn is not installed (Debian: maven)"; return; }
    installed "$cache/jdbc" "$here/pom.xml" \
        mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/jdbc" ||
        { skip jdbc "maven could not fetch the driver, see $cache/jdbc.log"; return; }
    javac -d "$cache/jdbc" -cp "$cache/jdbc/*" "$here/JdbcTest.java" || { echo "not ok jdbc: does not compile"; status=1; return; }
    run jdbc java -XX:TieredStopAtLevel=1 -cp "$cache/jdbc:$cache/jdbc/*" JdbcTest
}

test_node() {
    command -v node >/dev/null && command -v npm >/dev/null || { skip node "node or npm is not installed"; return; }
    npm_install() { cp "$here/package.json" "$cache/node/" && npm install --prefix "$cache/node" --no-audit --no-fund --silent; }
    installed "$cache/node" "$here/package.json" npm_install || { skip node "npm could not install the drivers, see $cache/node.log"; return; }
    NODE_PATH="$cache/node/node_modules" run node node "$here/node_test.js"
}

clients=("$@")
[[ ${#clients[@]} -eq 0 ]] && clients=(psql pgbench psycopg asyncpg jdbc node)
for client in "${clients[@]}"; do
    declare -F "test_$client" >/dev/null || { echo "run.sh: there is no client \"$client\"" >&2; exit 2; }
    why=""
    "test_$client"
done
exit "$status"

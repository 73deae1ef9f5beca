#!/usr/bin/env bash
# The Nexmark queries against a judge: PGHOST and PGPORT say where the server is (scripts/with-server sets them). DuckDB answers the same
# questions about the same events, in SQL of its own (judge/). Prints `ok name`, `not ok name: reason` or `SKIP name: why`.
#
#   scripts/with-server tests/nexmark/run.sh [q5 q7 …]
#
# The judge is pinned beside this file and installed once, into ${TIDEMILL_CACHE:-~/.cache/tidemill}/nexmark.
set -uo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${TIDEMILL_CACHE:-$HOME/.cache/tidemill}/nexmark"
bin="${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$HOME/.cache/tidemill/target}/debug/tidemill}"
: "${PGHOST:?PGHOST and PGPORT say where the server is: use scripts/with-server}" "${PGPORT:?}"
# Of 100 events per second of event time: a bit over three minutes each from midnight, in the morning, and across the next midnight.
events=20000
starts=(0 3000000 8630000)

skip() {
    echo "SKIP nexmark: $1. The Nexmark queries were NOT compared with the judge's answers."
    exit 0
}

command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || skip "python3 with venv is not installed"
if ! cmp -s "$here/requirements.txt" "$cache/.installed"; then
    rm -rf "$cache"
    mkdir -p "$cache"
    { python3 -m venv "$cache" && "$cache/bin/pip" install --quiet -r "$here/requirements.txt"; } >"$cache.log" 2>&1 ||
        skip "pip could not install DuckDB, see $cache.log"
    cp "$here/requirements.txt" "$cache/.installed"
fi

files="$(mktemp -d)"
trap 'rm -rf "$files"' EXIT
for table in person auction bid; do
    for start in "${starts[@]}"; do
        "$bin" generate nexmark --table "$table" --start "$start" --events "$events" --event-rate 100 --seed 22 --to - 2>/dev/null ||
            { echo "not ok nexmark: the events could not be made"; exit 1; }
    done >"$files/$table.jsonl"
done
"$cache/bin/python" "$here/compare.py" "$files" "$@"

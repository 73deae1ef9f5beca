#!/usr/bin/env bash
# pgbench: fills its tables, runs its transactions in all three protocols, and what it has written adds up.
set -uo pipefail
status=0

ask() { psql -X -q -At -v ON_ERROR_STOP=1 "$@"; }

# expect name wanted found
expect() {
    if [[ "$3" == "$2" ]]; then echo "ok pgbench/$1"; else echo "not ok pgbench/$1: wanted «$2», got «${3//$'\n'/ ⏎ }»"; status=1; fi
}

output="$(pgbench -i -s 1 -q 2>&1)" || { echo "not ok pgbench/initialize: ${output//$'\n'/ ⏎ }"; exit 1; }
expect initialize "100000|10|1" "$(ask -c "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_tellers), (SELECT count(*) FROM pgbench_branches)")"

done_so_far=0
for protocol in simple extended prepared; do
    output="$(pgbench -n -c 2 -j 1 -t 100 -M "$protocol" 2>&1)" || { echo "not ok pgbench/$protocol: ${output//$'\n'/ ⏎ }"; status=1; continue; }
    done_so_far=$((done_so_far + 200))
    expect "$protocol" "$done_so_far|t" "$(ask -c "SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts)
        AND sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers) AND sum(delta) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_history")"
done
output="$(pgbench -n -S -c 2 -j 1 -t 500 -M prepared 2>&1)" || { echo "not ok pgbench/select: ${output//$'\n'/ ⏎ }"; status=1; }
ask -c "DROP TABLE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history" || status=1
exit $status

"""A Nexmark query in Flink SQL over files of JSON lines: how many seconds it takes, as one line of JSON.

usage: run.py FOLDER SMALL_FOLDER QUERY        in each folder: person.jsonl, auction.jsonl, bid.jsonl

A cluster in one Java process, parallelism 2, results into Flink's blackhole. Flink gets what its users give it for throughput: objects are
reused, aggregates gather small batches (as the suite's own guide has it), state is on the heap, there are no checkpoints. The query runs on
the small files first, so that the compiler has seen it. The clock is the job's own: neither Java's start nor planning counts.
"""

import json
import pathlib
import sys
import tempfile

from pyflink.table import EnvironmentSettings, TableDescriptor, TableEnvironment

HERE = pathlib.Path(__file__).parent

# As the suite's tables have them, with its lag of four seconds.
COLUMNS = {
    "person": "id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING, date_time TIMESTAMP(3), extra STRING",
    "auction": "id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), "
               "expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING",
    "bid": "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING",
}

# What q13 knows about auctions: as many rows as `tidemill bench nexmark` gives it.
SIDE_INPUT_ROWS = 10_000

SETTINGS = {
    "parallelism.default": "2",
    "pipeline.object-reuse": "true",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.distinct-agg.split.enabled": "true",
    "rest.port": "0",
}


def main():
    files, small, name = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as side_input:
        for key in range(SIDE_INPUT_ROWS):
            side_input.write(json.dumps({"key": key, "value": str(key)}) + "\n")
        side_input.flush()
        run(small, name, side_input.name)
        print(json.dumps({"query": name, "seconds": run(files, name, side_input.name)}))


def run(folder, name, side_input):
    """Seconds."""
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in SETTINGS.items():
        tables.get_config().set(key, value)
    for table, columns in COLUMNS.items():
        path = (folder.resolve() / f"{table}.jsonl").as_uri()
        tables.execute_sql(f"CREATE TABLE {table} ({columns}, WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND) "
                           f"WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')")
    tables.execute_sql("CREATE TABLE side_input (`key` BIGINT, `value` STRING) "
                       f"WITH ('connector' = 'filesystem', 'path' = 'file://{side_input}', 'format' = 'json')")
    query = tables.sql_query((HERE / "queries" / f"{name}.sql").read_text())
    job = query.execute_insert(TableDescriptor.for_connector("blackhole").build())
    job.wait()
    return job.get_job_client().get_job_execution_result().result().get_net_runtime() / 1000


main()

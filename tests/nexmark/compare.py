"""Compares the Nexmark queries as views of Tidemill with a judge's answers, as multisets of rows.

usage: compare.py FOLDER [query ...]        FOLDER: person.jsonl, auction.jsonl, bid.jsonl, as `tidemill generate nexmark` makes them

Each query runs in several ways, which must not differ:

    in order        the events as they are, without watermarks
    out of order    each up to four seconds too late, with watermarks that allow for that: closed windows leave the state
    on close        the same, and every window comes out once, when it is over
    by the clock    windows of the time at which rows arrive

The judge is DuckDB, which has all events at once; its queries (judge/) are written from what the suite says, not from ours.
"""

import collections
import datetime
import decimal
import json
import pathlib
import random
import sys
import time

import duckdb
import psycopg

HERE = pathlib.Path(__file__).parent
QUERIES = HERE.parent.parent / "sql" / "nexmark"

COLUMNS = {
    "person": {"id": "BIGINT", "name": "VARCHAR", "email_address": "VARCHAR", "credit_card": "VARCHAR", "city": "VARCHAR", "state": "VARCHAR",
               "date_time": "TIMESTAMP", "extra": "VARCHAR"},
    "auction": {"id": "BIGINT", "item_name": "VARCHAR", "description": "VARCHAR", "initial_bid": "BIGINT", "reserve": "BIGINT",
                "date_time": "TIMESTAMP", "expires": "TIMESTAMP", "seller": "BIGINT", "category": "BIGINT", "extra": "VARCHAR"},
    "bid": {"auction": "BIGINT", "bidder": "BIGINT", "price": "BIGINT", "channel": "VARCHAR", "url": "VARCHAR", "date_time": "TIMESTAMP",
            "extra": "VARCHAR"},
}

# What the queries over windows are when each window comes out once. The others say nothing about windows.
ON_CLOSE = ["q5", "q7", "q8", "q11", "hop_count"]

# What each query's view is asked, where it is not all that it holds. q12: which window a bid falls into depends on the machine.
BY_CLOCK = {"q12": "SELECT bidder, sum(bids) FROM q12 WHERE window_end = window_start + INTERVAL '10 seconds' GROUP BY bidder"}

DELAY_S = 4
PATIENCE_S = 120


def main():
    folder = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:] or sorted((path.stem for path in (HERE / "judge").glob("*.sql")), key=lambda name: (len(name), name))
    expected = judge(folder, wanted)
    late, closing = disordered(folder)
    watermark = dict.fromkeys(COLUMNS, f", WATERMARK FOR date_time AS date_time - INTERVAL '{DELAY_S} seconds'")
    by_event = [name for name in wanted if name not in BY_CLOCK]
    ways = [("in order", folder, {}, by_event, ""), ("out of order", late, watermark, by_event, ""),
            ("on close", closing, watermark, [name for name in wanted if name in ON_CLOSE], "EMIT ON WINDOW CLOSE"),
            ("by the clock", folder, {"bid": ", p_time TIMESTAMPTZ AS PROCTIME()"}, [name for name in wanted if name in BY_CLOCK], "")]
    failures = 0
    for way, files, more, names, close in ways:
        try:
            found = views(files, more, names, close) if names else {}
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFunction) as error:
            print(f"SKIP nexmark {' '.join(names)}, {way}: {error.diag.message_primary}")
            continue
        for name in names:
            verdict = compare(found[name], expected[name])
            failures += verdict is not None
            print(f"ok nexmark {name}, {way}: {len(expected[name])} rows" if verdict is None else f"not ok nexmark {name}, {way}: {verdict}")
    sys.exit(1 if failures else 0)


def judge(folder, names):
    """The rows that DuckDB gives."""
    database = duckdb.connect()
    for table, columns in COLUMNS.items():
        database.execute(f"CREATE TABLE {table} AS FROM read_json('{folder / table}.jsonl', format = 'newline_delimited', columns = {columns})")
    return {name: database.execute((HERE / "judge" / f"{name}.sql").read_text()).fetchall() for name in names}


def disordered(folder):
    """Two folders with the same events, each up to DELAY_S too late. In the second one more of each kind, an hour later, closes all windows."""
    late, closing = folder / "late", folder / "closing"
    late.mkdir()
    closing.mkdir()
    for seed, (table, columns) in enumerate(COLUMNS.items()):
        rng = random.Random(seed)
        lines = (folder / f"{table}.jsonl").read_text().splitlines(keepends=True)
        at = [datetime.datetime.fromisoformat(json.loads(line)["date_time"]) for line in lines]
        order = sorted(range(len(lines)), key=lambda index: at[index].timestamp() + rng.random() * DELAY_S * 0.99)
        text = "".join(lines[index] for index in order)
        values = {"BIGINT": 0, "TIMESTAMP": str(at[-1] + datetime.timedelta(hours=1)), "VARCHAR": ""}
        (late / f"{table}.jsonl").write_text(text)
        (closing / f"{table}.jsonl").write_text(text + json.dumps({name: values[kind] for name, kind in columns.items()}) + "\n")
    return late, closing


def views(folder, more, names, close):
    """The rows of each query as a view. `more`: what stands behind the columns of each table."""
    with psycopg.connect("", autocommit=True) as client:
        client.execute("DROP TABLE IF EXISTS settled CASCADE")
        for table in COLUMNS:
            client.execute(f"DROP SOURCE IF EXISTS {table} CASCADE")
        client.execute("DROP TABLE IF EXISTS side_input CASCADE")
        client.execute("CREATE TABLE side_input (key BIGINT PRIMARY KEY, value TEXT)")
        client.execute("INSERT INTO side_input SELECT n, n::text FROM generate_series(0, 9999) AS s(n)")
        client.execute("CREATE TABLE settled (n INT)")
        rows = {}
        for table, columns in COLUMNS.items():
            path = folder / f"{table}.jsonl"
            rows[table] = sum(1 for _ in path.open())
            declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            client.execute(f"CREATE SOURCE {table} ({declared}{more.get(table, '')}) "
                           f"WITH (connector = 'file', path = '{path}', follow = 'false') FORMAT PLAIN ENCODE JSON")
        for name in names:
            client.execute(f"CREATE MATERIALIZED VIEW {name} AS {(QUERIES / f'{name}.sql').read_text()} {close}")
        # One that reads all three, so that all three are read.
        client.execute("CREATE MATERIALIZED VIEW everything AS SELECT (SELECT count(*) FROM person) AS p, (SELECT count(*) FROM auction) AS a, "
                       "(SELECT count(*) FROM bid) AS b")
        settle(client, rows)
        return {name: client.execute(BY_CLOCK.get(name, f"SELECT * FROM {name}")).fetchall() for name in names}


def settle(client, rows):
    """Waits until every view has all rows: what is written after the sources' last row is seen when every view has come so far."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        delivered = dict(client.execute("SELECT name, rows FROM tidemill.sources").fetchall())
        if all((delivered.get(table) or 0) >= count for table, count in rows.items()):
            break
        if time.monotonic() > deadline:
            sys.exit(f"not ok nexmark: the sources have delivered {delivered}, not {rows}")
        time.sleep(0.05)
    client.execute("INSERT INTO settled VALUES (1)")
    client.execute("SELECT count(*) FROM settled").fetchall()
    failed = client.execute("SELECT name, failure FROM tidemill.progress WHERE failure IS NOT NULL").fetchall()
    if failed:
        sys.exit(f"not ok nexmark: {failed}")


def compare(found, expected):
    """None if both hold the same rows equally often, else what differs."""
    found, expected = (collections.Counter(tuple(map(plain, row)) for row in rows) for rows in (found, expected))
    missing, extra = expected - found, found - expected
    if not missing and not extra:
        return None
    example = "; ".join(f"{word} {list(rows)[:2]}" for word, rows in [("missing", missing), ("too many", extra)] if rows)
    return f"{missing.total()} rows missing, {extra.total()} too many of {expected.total()}: {example}"


def plain(value):
    """Numbers of all types as one text: whole ones exactly, others of twelve digits, since averages are floats in one engine only."""
    if isinstance(value, (int, float, decimal.Decimal)):
        return str(int(value)) if value == int(value) else f"{float(value):.12g}"
    return value


main()

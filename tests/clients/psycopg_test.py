"""psycopg 3: parameters in text and binary, prepared statements, server-side cursors, COPY, pipeline, transactions, cancel."""

import datetime
import decimal
import os
import threading
import time
import uuid

import psycopg
import psycopg.sql
from psycopg import errors

# Against another server than Tidemill (to test the tests) views are not up to date.
OTHER = bool(os.environ.get("CLIENTS_OTHER_SERVER"))

TESTS = []


def test(function):
    TESTS.append(function)
    return function


@test
def parameters(connection):
    row = connection.execute("SELECT %s::int, %s::text, %s::bool, %s::float8", (7, "seven", True, 0.5)).fetchone()
    assert row == (7, "seven", True, 0.5), row


@test
def types(connection):
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        values = (
            1, 2**40, decimal.Decimal("12.340"), "text", b"\x00\xff", True, None,
            datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30, 15, 250000),
            uuid.UUID("12345678-1234-5678-1234-567812345678"), [1, 2, 3],
        )
        cursor.execute(
            "SELECT %s::int, %s::bigint, %s::numeric(10,3), %s::text, %s::bytea, %s::bool, NULL::int, %s::date, %s::timestamp, %s::uuid, %s::int[]",
            tuple(value for value in values if value is not None),
        )
        row = cursor.fetchone()
        assert row == values, f"binary={binary}: {row}"


@test
def time_zone(connection):
    moment = datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.timezone.utc)
    for binary in (False, True):
        row = connection.cursor(binary=binary).execute("SELECT %s::timestamptz", (moment,)).fetchone()
        assert row[0] == moment, f"binary={binary}: {row}"


@test
def smaller_integers(connection):
    """psycopg sends a small int as int2: the server must take it where it wants a bigint."""
    connection.execute("CREATE TABLE psycopg_small (id BIGINT PRIMARY KEY, n INT)")
    connection.execute("INSERT INTO psycopg_small VALUES (%s, %s)", (1, 10))
    for binary in ("%s", "%b"):
        row = connection.execute(f"SELECT n FROM psycopg_small WHERE id = {binary}", (1,)).fetchone()
        assert row == (10,), row
    connection.execute("DROP TABLE psycopg_small")


@test
def prepared(connection):
    for key in range(20):
        assert connection.execute("SELECT %s::int + 1", (key,), prepare=True).fetchone() == (key + 1,)


@test
def prepared_both_ways(connection):
    """PREPARE and the protocol share their names."""
    connection.execute("SELECT %s::int + 1", (1,), prepare=True)
    assert connection.execute("EXECUTE _pg3_0(41)").fetchone() == (42,)
    try:
        connection.execute("PREPARE _pg3_0 AS SELECT 1")
        raise AssertionError("a name was taken twice")
    except errors.DuplicatePreparedStatement:
        pass
    connection.execute("PREPARE mine (int) AS SELECT $1 * 10")
    assert connection.pgconn.exec_prepared(b"mine", [b"7"]).get_value(0, 0) == b"70"
    connection.execute("DEALLOCATE mine")
    assert b"does not exist" in connection.pgconn.exec_prepared(b"mine", [b"7"]).error_message


@test
def read_your_writes(connection):
    connection.execute("CREATE TABLE psycopg_t (id INT PRIMARY KEY, n INT)")
    connection.execute("CREATE MATERIALIZED VIEW psycopg_v AS SELECT sum(n) AS total FROM psycopg_t")
    total = 0
    for key in range(20):
        connection.execute("INSERT INTO psycopg_t VALUES (%s, %s)", (key, key))
        total += key
        if not OTHER:
            assert connection.execute("SELECT total FROM psycopg_v").fetchone()[0] == total
    connection.execute("DROP TABLE psycopg_t CASCADE")


@test
def transactions(connection):
    connection.execute("CREATE TABLE psycopg_t (id INT PRIMARY KEY)")
    try:
        with connection.transaction():
            connection.execute("INSERT INTO psycopg_t VALUES (1)")
            raise RuntimeError("roll back")
    except RuntimeError:
        pass
    assert connection.execute("SELECT count(*) FROM psycopg_t").fetchone() == (0,)
    with connection.transaction():
        connection.execute("INSERT INTO psycopg_t VALUES (1)")
        assert connection.execute("SELECT count(*) FROM psycopg_t").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM psycopg_t").fetchone() == (1,)
    connection.execute("DROP TABLE psycopg_t")


@test
def savepoints(connection):
    connection.execute("CREATE TABLE psycopg_s (id INT PRIMARY KEY)")
    with connection.transaction():
        connection.execute("INSERT INTO psycopg_s VALUES (1)")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO psycopg_s VALUES (2)")
                connection.execute("SELECT nope")
        except errors.UndefinedColumn:
            pass
        with connection.transaction():
            connection.execute("INSERT INTO psycopg_s VALUES (3)")
    assert connection.execute("SELECT id FROM psycopg_s ORDER BY id").fetchall() == [(1,), (3,)]
    connection.execute("DROP TABLE psycopg_s")


@test
def exact_numbers(connection):
    """psycopg says that a Decimal is a numeric, and not how many digits it has."""
    value = decimal.Decimal("0.123456789012345")
    connection.execute("CREATE TABLE psycopg_n (a NUMERIC(30, 15), price NUMERIC(10, 2))")
    for place in ("%s", "%b", "%t"):
        connection.execute("DELETE FROM psycopg_n")
        connection.execute(f"INSERT INTO psycopg_n VALUES ({place}, {place})", (value, decimal.Decimal("2.005")))
        assert connection.execute(f"SELECT a, price FROM psycopg_n WHERE a = {place}", (value,)).fetchone() == (value, decimal.Decimal("2.01"))
    connection.execute("DROP TABLE psycopg_n")


@test
def backslashes(connection):
    """Bytes in text are written with backslashes, which a server doubles that has no standard strings."""
    value = b"\x00\\'\xff"
    for place in ("%s", "%b", "%t"):
        assert connection.execute(f"SELECT {place}::bytea", (value,)).fetchone() == (value,)
    assert psycopg.sql.Literal(value).as_string(connection).startswith("'")
    assert connection.execute(psycopg.sql.SQL("SELECT {}").format(psycopg.sql.Literal(value))).fetchone() == (value,)
    cursor = psycopg.ClientCursor(connection)
    assert cursor.execute("SELECT %s, %s", (value, "a\\")).fetchone() == (value, "a\\")


@test
def failed_transaction(connection):
    connection.execute("BEGIN")
    for statement, error in (("SELECT nope", errors.UndefinedColumn), ("SELECT 1", errors.InFailedSqlTransaction)):
        try:
            connection.execute(statement)
            raise AssertionError(f"{statement} worked")
        except error:
            pass
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT 1").fetchone() == (1,)


@test
def server_cursor(connection):
    with connection.transaction():
        with connection.cursor(name="numbers") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT * FROM generate_series(1, 1000) AS g(n) ORDER BY n")
            assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
            assert sum(row[0] for row in cursor) == 500500 - 6


@test
def server_cursor_parameters(connection):
    """They keep the types that the driver declares: beside an integer column 1.5 was 1."""
    for value, found in ((1.5, [(2,), (3,)]), (2, [(2,), (3,)])):
        with connection.transaction(), connection.cursor(name="above") as cursor:
            cursor.execute("SELECT n FROM generate_series(1, 3) AS g(n) WHERE n >= %s ORDER BY n", (value,))
            assert cursor.fetchall() == found
    with connection.transaction(), connection.cursor(name="plain") as cursor:
        cursor.execute("SELECT %s", (5,))
        assert cursor.fetchall() == [(5,)]


@test
def copy(connection):
    connection.execute("CREATE TABLE psycopg_copy (id INT, name TEXT)")
    rows = [(key, f"tab\tand\\ {key}" if key % 3 else None) for key in range(500)]
    with connection.cursor().copy("COPY psycopg_copy (id, name) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    with connection.cursor().copy("COPY (SELECT id, name FROM psycopg_copy ORDER BY id) TO STDOUT") as copy:
        copy.set_types(["int4", "text"])
        assert list(copy.rows()) == rows
    connection.execute("DROP TABLE psycopg_copy")


@test
def copy_that_fails(connection):
    connection.execute("CREATE TABLE psycopg_copy (id INT)")
    try:
        with connection.cursor().copy("COPY psycopg_copy FROM STDIN") as copy:
            copy.write(b"1\nnot a number\n")
        raise AssertionError("it worked")
    except errors.InvalidTextRepresentation:
        pass
    assert connection.execute("SELECT count(*) FROM psycopg_copy").fetchone() == (0,)
    connection.execute("DROP TABLE psycopg_copy")


@test
def pipeline(connection):
    connection.execute("CREATE TABLE psycopg_pipe (id INT PRIMARY KEY)")
    with connection.pipeline():
        for key in range(100):
            connection.execute("INSERT INTO psycopg_pipe VALUES (%s)", (key,))
        cursor = connection.execute("SELECT count(*) FROM psycopg_pipe")
    assert cursor.fetchone() == (100,)
    connection.execute("DROP TABLE psycopg_pipe")


@test
def executemany(connection):
    connection.execute("CREATE TABLE psycopg_many (id INT PRIMARY KEY, n NUMERIC(10,2))")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO psycopg_many VALUES (%s, %s)", [(key, decimal.Decimal(key) / 4) for key in range(100)])
    assert connection.execute("SELECT sum(n) FROM psycopg_many").fetchone() == (decimal.Decimal("1237.50"),)
    connection.execute("DROP TABLE psycopg_many")


@test
def constraint(connection):
    connection.execute("CREATE TABLE psycopg_not_null (id INT NOT NULL)")
    try:
        connection.execute("INSERT INTO psycopg_not_null VALUES (NULL)")
        raise AssertionError("NULL was taken")
    except errors.NotNullViolation:
        pass
    connection.execute("DROP TABLE psycopg_not_null")


@test
def notices(connection):
    """Each with PostgreSQL's severity and code, and only those that the session wants to hear."""
    heard = []
    connection.add_notice_handler(lambda told: heard.append((told.severity, told.sqlstate)))
    statements = ["CREATE TABLE psycopg_told (id INT)", "CREATE TABLE IF NOT EXISTS psycopg_told (id INT)", "BEGIN", "BEGIN", "COMMIT", "COMMIT"]
    all_of_them = [("NOTICE", "42P07"), ("WARNING", "25001"), ("WARNING", "25P01")]
    for level, expected in (("notice", all_of_them), ("warning", all_of_them[1:]), ("error", [])):
        connection.execute(f"SET client_min_messages = {level}")
        heard.clear()
        for statement in statements:
            connection.execute(statement)
        assert heard == expected, f"{level}: {heard}"
        connection.execute("DROP TABLE psycopg_told")


@test
def tags(connection):
    """What a statement says it has done."""
    said = [
        ("CREATE TABLE psycopg_tags AS SELECT * FROM generate_series(1, 3) AS n", "SELECT 3"),
        ("CREATE TABLE psycopg_empty AS SELECT 1 AS n WITH NO DATA", "CREATE TABLE AS"),
        ("INSERT INTO psycopg_tags VALUES (4), (5)", "INSERT 0 2"),
        ("DELETE FROM psycopg_tags WHERE n > 3", "DELETE 2"),
        ("SELECT * FROM psycopg_tags", "SELECT 3"),
        ("DROP TABLE psycopg_tags", "DROP TABLE"),
        ("DROP TABLE psycopg_empty", "DROP TABLE"),
    ]
    for statement, tag in said:
        assert connection.execute(statement).statusmessage == tag, statement


@test
def cancel(connection):
    threading.Timer(1.0, connection.cancel).start()
    started = time.monotonic()
    try:
        connection.execute("SELECT count(*) FROM generate_series(1, 100000000000) AS a(x) WHERE a.x = -1")
        raise AssertionError("it came to an end")
    except errors.QueryCanceled:
        assert time.monotonic() - started < 20, "the cancel took its time"
    assert connection.execute("SELECT 1").fetchone() == (1,)


failed = False
for function in TESTS:
    try:
        with psycopg.connect(autocommit=True) as connection:
            function(connection)
        print(f"ok psycopg/{function.__name__}", flush=True)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
        failed = True
        print(f"not ok psycopg/{function.__name__}: {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)
raise SystemExit(failed)

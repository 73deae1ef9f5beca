// node-postgres: parameters, named statements, cursors, transactions, several statements, errors, a pool, COPY both ways, cancel by timeout and by request.
const assert = require("assert");
const net = require("net");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const copy = require("pg-copy-streams");
const { Readable } = require("stream");
const { pipeline } = require("stream/promises");

const tests = {
  async parameters(client) {
    const { rows } = await client.query("SELECT $1::int AS a, $2::text AS b, $3::bool AS c", [7, "seven", true]);
    assert.deepStrictEqual(rows, [{ a: 7, b: "seven", c: true }]);
  },
  async types(client) {
    const { rows } = await client.query(
      "SELECT 1::bigint AS big, 1.50::numeric(5,2) AS exact, NULL::text AS nothing, '\\x00ff'::bytea AS bytes, " +
        "'2024-02-29 12:00:00+00'::timestamptz AS moment, ARRAY[1,2,3] AS list, '{\"a\": [1]}'::jsonb AS document");
    const [row] = rows;
    assert.strictEqual(row.big, "1");
    assert.strictEqual(row.exact, "1.50");
    assert.strictEqual(row.nothing, null);
    assert.deepStrictEqual(row.bytes, Buffer.from([0, 255]));
    assert.strictEqual(row.moment.toISOString(), "2024-02-29T12:00:00.000Z");
    assert.deepStrictEqual(row.list.map(Number), [1, 2, 3]);
    assert.deepStrictEqual(row.document, { a: [1] });
  },
  async binary(client) {
    const { rows } = await client.query({ text: "SELECT 42::int AS n, 'x'::text AS t", binary: true });
    assert.deepStrictEqual(rows, [{ n: 42, t: "x" }]);
  },
  async named(client) {
    for (let key = 0; key < 20; key++) {
      const { rows } = await client.query({ name: "next", text: "SELECT $1::int + 1 AS n", values: [key] });
      assert.strictEqual(rows[0].n, key + 1);
    }
  },
  async several(client) {
    const results = await client.query("SELECT 1 AS a; SELECT 2 AS b");
    assert.deepStrictEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  },
  async transaction(client) {
    await client.query("CREATE TABLE node_t (id INT PRIMARY KEY)");
    await client.query("BEGIN");
    await client.query("INSERT INTO node_t VALUES ($1)", [1]);
    await client.query("ROLLBACK");
    assert.strictEqual((await client.query("SELECT count(*) AS c FROM node_t")).rows[0].c, "0");
    const inserted = await client.query("INSERT INTO node_t VALUES ($1), ($2)", [1, 2]);
    assert.strictEqual(inserted.rowCount, 2);
    await client.query("DROP TABLE node_t");
  },
  async cursor(client) {
    const cursor = client.query(new Cursor("SELECT n FROM generate_series(1, 1000) AS g(n) ORDER BY n"));
    assert.deepStrictEqual((await cursor.read(2)).map((row) => Number(row.n)), [1, 2]);
    let left = 0;
    for (let rows = await cursor.read(300); rows.length > 0; rows = await cursor.read(300)) left += rows.length;
    assert.strictEqual(left, 998);
    await cursor.close();
  },
  async cursor_closed_early(client) {
    const cursor = client.query(new Cursor("SELECT n FROM generate_series(1, 100000) AS g(n)"));
    assert.strictEqual((await cursor.read(10)).length, 10);
    await cursor.close();
    assert.strictEqual((await client.query("SELECT 1 AS a")).rows[0].a, 1);
  },
  async error(client) {
    await assert.rejects(client.query("SELECT nope"), { code: "42703" });
    await assert.rejects(client.query("SELECT $1::int", ["x"]), { code: "22P02" });
    assert.strictEqual((await client.query("SELECT 1 AS a")).rows[0].a, 1);
  },
  async pool() {
    const pool = new Pool({ max: 4, ssl: false });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, key) => pool.query("SELECT $1::int AS n", [key])));
    assert.deepStrictEqual(answers.map((answer) => answer.rows[0].n), Array.from({ length: 50 }, (_, key) => key));
    await pool.end();
  },
  async copy(client) {
    await client.query("CREATE TABLE node_copy (id INT PRIMARY KEY, name TEXT)");
    const sent = client.query(copy.from("COPY node_copy FROM STDIN (FORMAT csv)"));
    await pipeline(Readable.from(Array.from({ length: 1000 }, (_, key) => `${key},"row, ${key}"\n`)), sent);
    assert.strictEqual(sent.rowCount, 1000);
    const pieces = [];
    for await (const piece of client.query(copy.to("COPY (SELECT * FROM node_copy WHERE id > 997 ORDER BY id) TO STDOUT"))) pieces.push(piece);
    assert.strictEqual(Buffer.concat(pieces).toString(), "998\trow, 998\n999\trow, 999\n");
    const twice = client.query(copy.from("COPY node_copy FROM STDIN (FORMAT csv)"));
    await assert.rejects(pipeline(Readable.from(["5000,x\n", "nothing\n"]), twice), { code: "22P04" });
    assert.strictEqual((await client.query("SELECT count(*) AS c FROM node_copy")).rows[0].c, "1000");
    await client.query("DROP TABLE node_copy");
  },
  async cancel(client) {
    const running = client.query("SELECT count(*) FROM generate_series(1, 100000000000) AS a(x) WHERE a.x = -1");
    let over = false;
    const ended = assert.rejects(running, { code: "57014" }).finally(() => { over = true; });
    // A request that comes before the statement does is forgotten, so there is another. Each is dealt with before anything else is asked.
    while (!over) await requestCancel(client);
    await ended;
    assert.strictEqual((await client.query("SELECT 1 AS a")).rows[0].a, 1);
  },
  async statement_timeout(client) {
    await client.query("SET statement_timeout = 1000");
    await assert.rejects(
      client.query("SELECT count(*) FROM generate_series(1, 100000000000) AS a(x) WHERE a.x = -1"),
      { code: "57014" });
    assert.strictEqual((await client.query("SELECT 1 AS a")).rows[0].a, 1);
  },
};

// What libpq's PQcancel does: a connection of its own that says which session's statement is to end. The server closes it when it has done so.
function requestCancel(client) {
  const request = Buffer.alloc(16);
  [16, 80877102, client.processID, client.secretKey].forEach((number, place) => request.writeInt32BE(number, place * 4));
  return new Promise((dealt, failed) => {
    const socket = net.connect(Number(process.env.PGPORT), process.env.PGHOST, () => socket.end(request));
    socket.on("error", failed).on("close", dealt).resume();
  });
}

(async () => {
  let failed = false;
  for (const [name, run] of Object.entries(tests)) {
    const client = new Client({ ssl: false });
    try {
      await client.connect();
      await run(client);
      console.log(`ok node/${name}`);
    } catch (error) {
      failed = true;
      console.log(`not ok node/${name}: ${String(error.message).split("\n")[0]}`);
    } finally {
      await client.end().catch(() => {});
    }
  }
  process.exit(failed ? 1 : 0);
})();

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.LocalDateTime;
import java.util.Properties;
import org.postgresql.PGConnection;

/** JDBC: prepared statements (named on the server after a few uses), binary results, fetch size, batches, COPY, metadata, cancel. */
public final class JdbcTest {
    private interface Test { void run(Connection connection) throws Exception; }

    private static boolean failed;

    private static Connection connect() throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("sslmode", "disable");
        // Named statements from the second use on, and with them binary results.
        properties.setProperty("prepareThreshold", "2");
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    private static void test(String name, Test test) {
        try (Connection connection = connect()) {
            test.run(connection);
            System.out.println("ok jdbc/" + name);
        } catch (Throwable error) {
            failed = true;
            System.out.println("not ok jdbc/" + name + ": " + String.valueOf(error.getMessage()).lines().findFirst().orElse(""));
        }
    }

    private static void equal(Object wanted, Object found) {
        if (!java.util.Objects.equals(wanted, found)) throw new AssertionError("wanted " + wanted + ", got " + found);
    }

    private static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) { statement.execute(sql); }
    }

    private static void prepared(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::bigint + 1, ?::text, ?::numeric(10,2), ?::timestamp, ?::bool")) {
            for (int key = 0; key < 10; key++) {
                LocalDateTime time = LocalDateTime.of(2024, 2, 29, 12, 30, 15, 250_000_000);
                statement.setLong(1, key);
                statement.setString(2, "n" + key);
                statement.setBigDecimal(3, new BigDecimal("12.50"));
                statement.setTimestamp(4, Timestamp.valueOf(time));
                statement.setBoolean(5, true);
                try (ResultSet rows = statement.executeQuery()) {
                    equal(true, rows.next());
                    equal(key + 1L, rows.getLong(1));
                    equal("n" + key, rows.getString(2));
                    equal(new BigDecimal("12.50"), rows.getBigDecimal(3));
                    equal(time, rows.getTimestamp(4).toLocalDateTime());
                    equal(true, rows.getBoolean(5));
                }
            }
        }
    }

    /** setInt where the column is bigint: JDBC declares int4. */
    private static void declaredTypes(Connection connection) throws SQLException {
        run(connection, "CREATE TABLE jdbc_t (id BIGINT PRIMARY KEY, name TEXT)");
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_t VALUES (?, ?)");
                PreparedStatement select = connection.prepareStatement("SELECT name FROM jdbc_t WHERE id = ?")) {
            for (int key = 0; key < 5; key++) {
                insert.setInt(1, key);
                insert.setString(2, "n" + key);
                equal(1, insert.executeUpdate());
                select.setInt(1, key);
                try (ResultSet rows = select.executeQuery()) {
                    equal(true, rows.next());
                    equal("n" + key, rows.getString(1));
                }
            }
        }
        run(connection, "DROP TABLE jdbc_t");
    }

    private static void fetchSize(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(64);
            long total = 0;
            try (ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 1000) AS g(n)")) {
                while (rows.next()) total += rows.getLong(1);
            }
            equal(500_500L, total);
        }
        connection.commit();
    }

    private static void batch(Connection connection) throws SQLException {
        run(connection, "CREATE TABLE jdbc_batch (id INT PRIMARY KEY, n BIGINT)");
        connection.setAutoCommit(false);
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc_batch VALUES (?, ?)")) {
            for (int key = 0; key < 300; key++) {
                insert.setInt(1, key);
                insert.setLong(2, key * 2L);
                insert.addBatch();
            }
            equal(300, insert.executeBatch().length);
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT count(*), sum(n) FROM jdbc_batch")) {
            rows.next();
            equal(300L, rows.getLong(1));
            equal(89_700L, rows.getLong(2));
        }
        run(connection, "DROP TABLE jdbc_batch");
    }

    private static void rollback(Connection connection) throws SQLException {
        run(connection, "CREATE TABLE jdbc_t (id INT PRIMARY KEY)");
        connection.setAutoCommit(false);
        run(connection, "INSERT INTO jdbc_t VALUES (1)");
        connection.rollback();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT count(*) FROM jdbc_t")) {
            rows.next();
            equal(0, rows.getInt(1));
        }
        run(connection, "DROP TABLE jdbc_t");
    }

    private static void nulls(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::int, ?::text")) {
            statement.setNull(1, java.sql.Types.INTEGER);
            statement.setString(2, null);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                rows.getInt(1);
                equal(true, rows.wasNull());
                equal(null, rows.getString(2));
            }
        }
    }

    private static void copy(Connection connection) throws Exception {
        run(connection, "CREATE TABLE jdbc_copy (id INT, name TEXT)");
        var manager = connection.unwrap(PGConnection.class).getCopyAPI();
        equal(2L, manager.copyIn("COPY jdbc_copy FROM STDIN (FORMAT csv)", new java.io.StringReader("1,one\n2,\"t,wo\"\n")));
        var out = new java.io.StringWriter();
        manager.copyOut("COPY (SELECT * FROM jdbc_copy ORDER BY id) TO STDOUT (FORMAT csv)", out);
        equal("1,one\n2,\"t,wo\"\n", out.toString());
        run(connection, "DROP TABLE jdbc_copy");
    }

    /** What BI tools ask first. */
    private static void metadata(Connection connection) throws SQLException {
        run(connection, "CREATE TABLE jdbc_meta (id BIGINT PRIMARY KEY, name TEXT)");
        try (ResultSet tables = connection.getMetaData().getTables(null, "public", "jdbc_meta", null)) {
            equal(true, tables.next());
            equal("TABLE", tables.getString("TABLE_TYPE"));
        }
        try (ResultSet columns = connection.getMetaData().getColumns(null, "public", "jdbc_meta", null)) {
            equal(true, columns.next());
            equal("id", columns.getString("COLUMN_NAME"));
            equal("int8", columns.getString("TYPE_NAME"));
            equal(true, columns.next());
            equal("name", columns.getString("COLUMN_NAME"));
        }
        run(connection, "DROP TABLE jdbc_meta");
    }

    private static void error(Connection connection) throws SQLException {
        try {
            run(connection, "SELECT nope");
            throw new AssertionError("it worked");
        } catch (SQLException found) {
            equal("42703", found.getSQLState());
        }
        run(connection, "SELECT 1");
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            new Thread(() -> {
                try {
                    Thread.sleep(1_000);
                    statement.cancel();
                } catch (Exception ignored) {
                    // The query then runs into the whole run's time limit.
                }
            }).start();
            statement.executeQuery("SELECT count(*) FROM generate_series(1, 100000000000) AS a(x) WHERE a.x = -1");
            throw new AssertionError("it came to an end");
        } catch (SQLException found) {
            equal("57014", found.getSQLState());
        }
        run(connection, "SELECT 1");
    }

    public static void main(String[] arguments) {
        test("prepared", JdbcTest::prepared);
        test("declared-types", JdbcTest::declaredTypes);
        test("fetch-size", JdbcTest::fetchSize);
        test("batch", JdbcTest::batch);
        test("rollback", JdbcTest::rollback);
        test("nulls", JdbcTest::nulls);
        test("copy", JdbcTest::copy);
        test("metadata", JdbcTest::metadata);
        test("error", JdbcTest::error);
        test("cancel", JdbcTest::cancel);
        System.exit(failed ? 1 : 0);
    }
}

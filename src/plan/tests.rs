//! Stories of planning: SQL in, incremental plans, names and errors out.

use std::sync::Arc;

use super::{Bound, NoSystemRelations, Planner, PlannerOptions, Scope, explain};
use crate::catalog::{Catalog, Column, IndexOf, Object, ObjectKind, Table, View};
use crate::error::{Error, Kind, Result};
use crate::serve::{PointQuery, PointValue};
use crate::sql::{Statement, parse};
use crate::types::{OnConflict, SqlType};

fn column(name: &str, sql_type: SqlType) -> Column {
    Column { name: name.to_owned(), sql_type, not_null: false, default: None, generated: None, include: None }
}

fn object(id: u32, name: &str, kind: ObjectKind) -> Object {
    Object {
        id,
        schema: "public".to_owned(),
        name: name.to_owned(),
        sql: String::new(),
        depends_on: Vec::new(),
        kind,
        comments: Default::default(),
    }
}

fn table(columns: Vec<Column>, key: Vec<usize>, append_only: bool) -> ObjectKind {
    ObjectKind::Table(Table {
        columns,
        key,
        on_conflict: OnConflict::Overwrite,
        append_only,
        connector: None,
        event_time: None,
        retention: None,
    })
}

fn catalog() -> Catalog {
    let account = vec![
        column("id", SqlType::Int8),
        column("owner", SqlType::Text),
        column("balance", SqlType::Numeric(12, 2)),
        Column { generated: Some("balance * 100".to_owned()), ..column("cents", SqlType::Int8) },
        Column { default: Some("'new'".to_owned()), ..column("state", SqlType::Varchar(Some(8))) },
    ];
    let bid = vec![column("auction", SqlType::Int8), column("price", SqlType::Int8), column("ts", SqlType::Timestamp)];
    let rich = View {
        columns: vec![column("number", SqlType::Int8)],
        query: "SELECT id FROM account WHERE balance > 1000".to_owned(),
        search_path: vec!["public".to_owned()],
        key: None,
        append_only: false,
        options: Default::default(),
        lows: Default::default(),
        covering: None,
        growth: Default::default(),
    };
    Catalog::new([
        object(1, "account", table(account, vec![0], false)),
        object(2, "bid", table(bid, Vec::new(), true)),
        object(3, "rich", ObjectKind::View(rich)),
    ])
}

/// Runs `with` on the parts of a statement that all tests need.
fn plan<T>(sql: &str, with: impl Fn(&Planner, &Statement, &Scope<'_>) -> Result<T>) -> Result<T> {
    let (catalog, path) = (catalog(), ["public".to_owned()]);
    let planner = Planner::new(&PlannerOptions::default()).unwrap();
    let scope = Scope { catalog: &catalog, search_path: &path, relations: &NoSystemRelations, text: sql };
    with(&planner, &parse(sql).unwrap()[0].statement, &scope)
}

/// The point query that a query is, by the key of `account`.
fn point_of(bound: &Bound) -> Option<PointQuery> {
    let key = |_| vec![IndexOf { name: "account_pkey".to_owned(), number: None, columns: vec![0] }];
    crate::serve::point_query(bound, &key)
}

fn bound(sql: &str) -> Result<Bound> {
    plan(sql, |planner, statement, scope| match statement {
        Statement::Query(query) => planner.query(query, scope, &[]),
        Statement::Insert(insert) => planner.insert(insert, scope, &[]).map(|change| change.rows),
        Statement::Update(update) => planner.update(update, scope, &[]).map(|change| change.rows),
        Statement::Delete(delete) => planner.delete(delete, scope, &[]).map(|change| change.rows),
        other => panic!("{other:?}"),
    })
}

fn view(sql: &str) -> Result<String> {
    plan(sql, |planner, statement, scope| match statement {
        Statement::Query(query) => Ok(explain(&planner.view(&planner.query(query, scope, &[])?, scope.catalog)?, scope.catalog)),
        other => panic!("{other:?}"),
    })
}

fn names(sql: &str) -> Vec<String> {
    bound(sql).unwrap().schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn error(sql: &str) -> Error {
    bound(sql).map(|bound| bound.schema).unwrap_err()
}

fn told(sql: &str) -> (Kind, String) {
    let error = error(sql);
    (error.kind(), error.message().to_owned())
}

#[test]
fn columns_are_called_as_in_postgresql() {
    assert_eq!(names("SELECT 1, 1, count(*), sum(a.id) FROM account a"), ["?column?", "?column?", "count", "sum"]);
    assert_eq!(names("SELECT a.id, b.id, a.id + 1 FROM account a JOIN account b ON a.id = b.id"), ["id", "id", "?column?"]);
    assert_eq!(names("SELECT *, auction FROM bid"), ["auction", "price", "ts", "auction"]);
    assert_eq!(
        names("SELECT id::text, 1::int, CASE WHEN true THEN 1 END, coalesce(id, 0) FROM account"),
        ["id", "int4", "case", "coalesce"]
    );
    assert_eq!(names("SELECT count FROM (SELECT count(*) FROM bid) x"), ["count"]);
    assert_eq!(names("SELECT * FROM rich"), ["number"]);
}

#[test]
fn an_unnamed_aggregate_can_be_ordered_by_its_name() {
    assert_eq!(names("SELECT auction, count(*) FROM bid GROUP BY auction ORDER BY count DESC"), ["auction", "count"]);
}

#[test]
fn a_view_depends_on_what_is_below_it() {
    assert_eq!(bound("SELECT * FROM rich").unwrap().depends_on, [1, 3]);
}

#[test]
fn a_group_by_is_moved_by_its_key() {
    let text = view("SELECT auction, count(*), sum(price + 1) FROM bid WHERE price > 10 GROUP BY auction").unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("Aggregate by (auction): count(*), sum("), "{text}");
    assert!(lines[0].contains("[changing, key (auction), partitioned by (auction)]  state: one entry per group"), "{text}");
    assert!(lines[1].starts_with("Exchange by (auction)"), "{text}");
    assert!(lines[2].starts_with("Combine by (auction): count(*), sum("), "{text}");
    assert!(lines[3].starts_with("Map (auction, "), "{text}");
    assert!(lines[3].contains("where price > 10"), "{text}");
    assert!(lines[4].starts_with("Import bid (auction, price)"), "{text}");
    assert_eq!(lines.len(), 5, "{text}");
}

#[test]
fn a_projection_of_an_append_only_table_needs_no_exchange() {
    let text = view("SELECT price * 2 AS twice FROM bid ORDER BY price").unwrap();
    assert!(text.starts_with("Map (price * 2 as twice)  [append-only]  stateless\n"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_join_on_a_key_keeps_the_other_sides_key() {
    let text = view("SELECT b.id, a.price FROM bid a JOIN account b ON a.auction = b.id AND a.price < b.balance").unwrap();
    assert!(text.contains("Join on auction = id and"), "{text}");
    assert_eq!(text.matches("Exchange by (").count(), 3, "{text}");
    assert!(text.contains("state: both inputs"), "{text}");
}

#[test]
fn a_join_of_two_keys_keeps_nothing() {
    let text = view("SELECT b.id, a.owner FROM account a JOIN account b ON a.id = b.id AND a.balance < b.balance").unwrap();
    let found = "account finds account by account_pkey (id); account finds account by account_pkey (id)  [changing, key (id)]  stateless";
    assert!(text.contains("Delta join on id = id and balance < balance: ") && text.contains(found), "{text}");
}

#[test]
fn joins_are_explained_with_what_they_keep() {
    let first = |sql: &str| view(sql).unwrap().lines().map(str::trim).find(|line| line.contains("oin")).unwrap().to_owned();
    let left = first("SELECT a.id, a.owner, b.price FROM account a LEFT JOIN bid b ON a.id = b.auction");
    assert!(left.starts_with("Left join on id = auction  [changing, partitioned by (id)]  state: both inputs, and how many"), "{left}");
    let full = first("SELECT a.id, b.price FROM account a FULL JOIN bid b ON a.id = b.auction");
    assert!(full.starts_with("Full join on id = auction  [changing]"), "{full}");
    let semi = first("SELECT id FROM account WHERE id IN (SELECT auction FROM bid WHERE price > 5)");
    assert!(semi.starts_with("Semi join on id = auction  [changing, key (id), partitioned by (id)]  state: left rows"), "{semi}");
    let anti = first("SELECT id FROM account WHERE id NOT IN (SELECT auction FROM bid)");
    assert!(anti.starts_with("Anti join (NOT IN) on id = auction  [changing, key (id), on one worker]"), "{anti}");
    let mark = first("SELECT id FROM account WHERE balance > 5 OR EXISTS (SELECT 1 FROM bid WHERE auction = id)");
    assert!(mark.starts_with("Mark join on id = auction"), "{mark}");
    let cross = first("SELECT a.id, b.price FROM account a, bid b WHERE a.id < b.price");
    assert!(cross.starts_with("Join by nested loops on price > id"), "{cross}");
    let average = first("SELECT price FROM bid WHERE price > (SELECT avg(price) FROM bid)");
    assert!(average.contains("by nested loops on"), "{average}");
}

#[test]
fn windows_become_one_node() {
    let text =
        view("SELECT window_start, window_end, count(*) FROM HOP(bid, ts, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY 1, 2")
            .unwrap();
    assert!(text.contains("Hop on window_start for 10 s every 2 s"), "{text}");
    assert!(text.contains("Tumble on ts for 2 s"), "{text}");
    let text = view("SELECT window_start, count(*) FROM TUMBLE(bid, ts, INTERVAL '10 seconds') GROUP BY window_start").unwrap();
    assert!(text.contains("tumble_start"), "{text}");
}

#[test]
fn union_and_distinct_are_maintained() {
    let text = view("SELECT auction FROM bid UNION SELECT id FROM account").unwrap();
    assert!(text.contains("Distinct (auction)") && text.contains("Union of 2"), "{text}");
}

#[test]
fn a_limit_is_a_top_n_and_each_worker_has_its_candidates() {
    let text = view("SELECT auction, price FROM bid ORDER BY price * 2 DESC, ts LIMIT 3 OFFSET 1").unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines[1].contains("TopN order by price * 2 desc, ts: row_number <= 4, without the first 1"), "{text}");
    assert!(lines[1].ends_with("state: the first rows of each group"), "{text}");
    assert!(lines[2].starts_with("Exchange to one worker"), "{text}");
    assert!(lines[3].starts_with("Candidates order by"), "{text}");
    let text = view("SELECT id FROM account LIMIT 1").unwrap();
    assert!(text.contains("[changing, one row") && text.contains("state: every row") && !text.contains("Candidates"), "{text}");
}

#[test]
fn a_place_that_is_compared_is_a_top_n() {
    let ranked = |ranking: &str, condition: &str, columns: &str| {
        let sql = format!(
            "SELECT {columns} FROM (SELECT *, {ranking}() OVER (PARTITION BY auction ORDER BY price DESC) AS r FROM bid) b WHERE {condition}"
        );
        view(&sql).unwrap()
    };
    let text = ranked("row_number", "r <= 3", "price");
    assert!(text.contains("TopN by (auction) order by price desc: row_number <= 3  ["), "{text}");
    let text = ranked("rank", "r < 3 AND price > 5", "price, r");
    assert!(text.contains("order by price desc: rank <= 2, with the place") && text.contains("price > 5"), "{text}");
    let text = ranked("dense_rank", "2 = r", "price");
    assert!(text.contains(": dense_rank <= 2, with the place") && text.contains("where"), "{text}");
    assert!(!text.contains("key ("), "peers share a place: {text}");
    let text = ranked("rank", "r <= 2", "auction, r");
    assert!(!text.contains("key ("), "peers share a place: {text}");
    let text = ranked("row_number", "r <= 2", "auction, r");
    assert!(text.contains("key (auction, row_number)"), "{text}");
    let text = ranked("row_number", "r = 1", "auction, price");
    assert!(text.contains(": row_number <= 1  [changing, key (auction), partitioned by (auction)]"), "{text}");
    let text = view("SELECT DISTINCT ON (auction) auction, price FROM bid ORDER BY auction, ts DESC").unwrap();
    assert!(text.contains("TopN by (auction) order by auction, ts desc: row_number <= 1"), "{text}");
    assert!(text.contains("key (auction)"), "{text}");
}

#[test]
fn window_functions_say_how_far_a_change_reaches() {
    let text = view(
        "SELECT auction, lag(price) OVER (PARTITION BY auction ORDER BY ts) AS l, sum(price) OVER (PARTITION BY auction ORDER BY ts) AS s,
         ntile(2) OVER (ORDER BY ts DESC) AS n FROM bid",
    )
    .unwrap();
    assert!(text.contains("Window by (auction) order by ts: lag("), "{text}");
    assert!(text.contains("near the change; sum(") && text.contains("from the change on  [changing, "), "{text}");
    assert!(text.contains("Window order by ts desc: ntile(") && text.contains("the whole partition"), "{text}");
    assert!(text.contains("Exchange by (auction)") && text.contains("Exchange to one worker"), "{text}");
    assert_eq!(text.matches("state: every row and its results").count(), 2, "{text}");
}

#[test]
fn ties_are_a_rank() {
    let text = view("SELECT price FROM bid ORDER BY price FETCH FIRST 3 ROWS WITH TIES").unwrap();
    assert!(text.contains("TopN order by price: rank <= 3  [") && text.contains("Candidates order by price: rank <= 3"), "{text}");
    assert_eq!(told("SELECT price FROM bid FETCH FIRST 3 ROWS WITH TIES").0, Kind::Syntax);
}

#[test]
fn every_aggregate_tells_its_class() {
    let text =
        view("SELECT id, stddev(balance), max(balance), median(balance), first_value(owner ORDER BY id) FROM account GROUP BY id").unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.contains("; linear: stddev(balance)"), "{text}");
    assert!(
        first.contains("; ordered, with all values since rows may be retracted: max(balance), first_value(owner ORDER BY id)"),
        "{text}"
    );
    assert!(first.contains("; general, with all rows of the group: median(balance)"), "{text}");
    let text = view("SELECT approx_distinct(price), string_agg(ts::text, ',' ORDER BY price DESC), max(price) FROM bid").unwrap();
    assert!(text.contains("; general, in place: approx_distinct(price); general, with all rows of the group: string_agg("), "{text}");
    assert!(text.contains("; ordered, in place: max(price)"), "{text}");
}

#[test]
fn grouping_sets_expand_the_rows() {
    let text = view("SELECT auction, price, grouping(auction), count(*) FROM bid GROUP BY ROLLUP (auction, price)").unwrap();
    assert!(text.contains("Expand to (auction, price), (auction), ()"), "{text}");
    assert!(text.contains("Union of 2") && text.contains("Constant 1 rows"), "{text}");
    let text = view("SELECT auction, count(*) FROM bid GROUP BY GROUPING SETS ((auction), (price))").unwrap();
    assert!(text.contains("Expand to (auction), (price)") && !text.contains("Union"), "{text}");
}

#[test]
fn what_cannot_be_maintained_is_named() {
    let refused = |sql: &str| {
        let error = view(sql).unwrap_err();
        assert_eq!((error.kind(), error.hint_text().is_some()), (Kind::NotSupported, true), "{sql}: {error}");
        error.message().to_owned()
    };
    assert!(refused("SELECT now() FROM account").contains("now()"));
    let condition = "a.id = b.auction AND a.balance > (SELECT avg(balance) FROM account)";
    assert!(refused(&format!("SELECT a.id FROM account a LEFT JOIN bid b ON {condition}")).starts_with("a scalar subquery"));
}

#[test]
fn errors_speak_postgresql() {
    let near = error("SELECT ownr FROM account");
    assert_eq!((near.kind(), near.message(), near.position()), (Kind::UndefinedColumn, "column \"ownr\" does not exist", Some(8)));
    assert_eq!(near.hint_text(), Some("Did you mean \"owner\"?"));
    let missing = error("SELECT 1 FROM acount");
    assert_eq!((missing.kind(), missing.position()), (Kind::UndefinedTable, Some(15)));
    assert_eq!(told("SELECT foo(id) FROM account"), (Kind::UndefinedFunction, "function foo(bigint) does not exist".into()));
    assert_eq!(told("SELECT abs(owner) FROM account").0, Kind::UndefinedFunction);
    assert_eq!(told("SELECT owner + id FROM account WHERE owner AND id").0, Kind::UndefinedFunction);
    assert_eq!(
        told("SELECT owner, count(*) FROM account"),
        (Kind::Grouping, "column \"account.owner\" must appear in the GROUP BY clause or be used in an aggregate function".into())
    );
    assert_eq!(told("SELECT id FROM account a JOIN account b ON a.id = b.id").0, Kind::AmbiguousColumn);
    assert_eq!(told("SELECT id FROM account WHERE balance").0, Kind::DatatypeMismatch);
    assert_eq!(told("SELECT 1::nonsense").0, Kind::UndefinedObject);
    assert_eq!(told("SELECT x.id FROM account a").0, Kind::UndefinedTable);
    assert_eq!(told("SELECT 1 UNION SELECT 1, 2"), (Kind::Syntax, "each UNION query must have the same number of columns".into()));
}

#[test]
fn parameters_get_types() {
    let types = |sql: &str| bound(sql).unwrap().parameters;
    assert_eq!(types("SELECT * FROM account WHERE id = $1 AND owner = $2"), [SqlType::Int8, SqlType::Text]);
    assert_eq!(types("SELECT $1::int, $2 FROM bid LIMIT $3"), [SqlType::Int4, SqlType::Text, SqlType::Int8]);
    assert_eq!(types("INSERT INTO account (id, balance) VALUES ($1, $2)"), [SqlType::Int8, SqlType::Numeric(12, 2)]);
}

#[test]
fn an_insert_has_every_column() {
    let insert = bound("INSERT INTO account (owner, id) VALUES ('ann', 1), (DEFAULT, 2)").unwrap();
    assert_eq!(insert.schema.fields().len(), 5);
    assert_eq!(insert.plan.schema().fields().len(), 5);
    assert_eq!(told("INSERT INTO account (id) VALUES (1, 2)").0, Kind::Syntax);
    assert_eq!(told("INSERT INTO account (cents) VALUES (1)").0, Kind::GeneratedAlways);
    let mismatch = told("INSERT INTO account (id) SELECT owner FROM account");
    assert_eq!(mismatch, (Kind::DatatypeMismatch, "column \"id\" is of type bigint but expression is of type text".into()));
}

#[test]
fn an_update_gives_old_and_new_rows() {
    let update = bound("UPDATE account SET balance = balance + 1 WHERE id = $1").unwrap();
    assert_eq!((update.plan.schema().fields().len(), update.parameters), (10, vec![SqlType::Int8]));
    assert_eq!(told("DELETE FROM bid").0, Kind::WrongObjectType);
    assert_eq!(bound("DELETE FROM account WHERE owner = 'x'").unwrap().schema.fields().len(), 5);
}

#[test]
fn a_read_by_key_is_recognised() {
    let point = point_of(&bound("SELECT owner, id FROM account WHERE id = $1").unwrap()).unwrap();
    assert_eq!((point.object, point.key, point.projection), (1, vec![PointValue::Parameter(0)], vec![1, 0]));
    assert!(point_of(&bound("SELECT owner FROM account WHERE id > $1").unwrap()).is_none());
    assert!(point_of(&bound("SELECT owner FROM account WHERE id = $1 AND owner = 'x'").unwrap()).is_none());
}

#[test]
fn a_query_runs_over_rows() {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;
    use futures::StreamExt;

    let bound = bound("SELECT a.n, a.n FROM (VALUES (1), (2), (3)) a (n) WHERE a.n >= $1 ORDER BY 1 DESC").unwrap();
    let planner = Arc::new(Planner::new(&PlannerOptions::default()).unwrap());
    let (bound, none) = (Arc::new(bound), crate::serve::Providers::default());
    let limit: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![2]));
    let rows = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let mut rows = crate::serve::run(&planner, &bound, none, &[limit], 0, &tokio::runtime::Handle::current()).await.unwrap();
        rows.next().await.unwrap().unwrap()
    });
    assert_eq!(rows.column(1).as_primitive::<Int32Type>().values(), &[3, 2]);
}

#[test]
fn a_recursion_is_planned_as_a_loop() {
    let plan = view(
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT b.price FROM bid b JOIN (SELECT n + 1 AS m FROM r WHERE n < 9) x ON b.auction = x.m) \
         SELECT n FROM r WHERE n > 2",
    );
    let error = plan.unwrap_err();
    assert_eq!(error.message(), "recursive query \"r\" column 1 has type integer in non-recursive term but type bigint overall");
    let plan = view(
        "WITH RECURSIVE r(n) AS (SELECT 1::bigint UNION SELECT b.price FROM bid b JOIN (SELECT n + 1 AS m FROM r WHERE n < 9) x ON b.auction = x.m) \
         SELECT n FROM r WHERE n > 2",
    )
    .unwrap();
    let shape: Vec<&str> = plan.lines().map(|line| line.trim().split("  ").next().unwrap()).collect();
    assert_eq!(shape[1], "Recursion r (different rows, at most 1000 iterations)", "{plan}");
    assert!(plan.lines().nth(1).unwrap().contains("[append-only, key (n), partitioned by (n)]"), "{plan}");
    assert!(plan.contains("Rows of the iteration before of r (n, iteration number)"), "{plan}");
}

#[test]
fn a_query_that_comes_out_the_same_is_optimised_once() {
    let planner = Planner::new(&PlannerOptions::default()).unwrap();
    let one: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
    let optimized = |sql: &str, now: i64| {
        let bound = bound(sql).unwrap();
        let plan = bound.optimized(&planner, std::slice::from_ref(&one), now).unwrap().to_string();
        (plan, bound.optimized.get().map(|plan| plan.to_string()))
    };
    let (plan, kept) = optimized("SELECT owner FROM account WHERE id = 1 AND balance > 0", 0);
    assert!(plan.contains("partial_filters=[account.id = Int64(1)]"), "{plan}");
    assert_eq!(kept, Some(plan));
    let (plan, kept) = optimized("SELECT owner FROM account WHERE id = $1", 0);
    assert!(plan.contains("partial_filters=[account.id = Int64(1)]"), "{plan}");
    assert_eq!(kept, None);
    for (sql, expected) in [
        ("SELECT price FROM bid WHERE ts > now()::timestamp", "TimestampMicrosecond(0"),
        ("SELECT price FROM bid WHERE price IN (SELECT 1 WHERE current_date > '2020-01-01')", ""),
        ("SELECT random()", "random()"),
    ] {
        let (plan, kept) = optimized(sql, 0);
        assert!(plan.contains(expected), "{plan}");
        assert_eq!(kept, None, "{sql}");
    }
}

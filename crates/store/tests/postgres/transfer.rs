//! A database that was lived in moves from SQLite to PostgreSQL, whole and once, however
//! often it is killed on the way.

mod lived_in;
mod way_back;

use crate::server::Database;
use lived_in::{LATER, Old, by, furnish, position, seen, store_options};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tombola_core::AwardId;
use tombola_core::award::State;
use tombola_core::decision::Decision;
use tombola_core::ports::{
    Action, AwardPath as _, Catalog as _, Copy, CopyAnswer, DueQuery, Operate as _, Record,
    StoreError,
};
use tombola_core::retry::Jitter;
use tombola_store::Store;
use tombola_store::read::AuditDepth;
use tombola_store::transfer::{self, Doing, TransferError, TransferReport, Transferred};

/// Each table's rows as texts, apart from how the transfer writes them.
fn rows_of_old(old: &Path) -> BTreeMap<String, Vec<Vec<String>>> {
    let shell = Connection::open(old).unwrap();
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (table, column, of) in transfer::listed() {
        let columns = tables.entry(table.to_owned()).or_default();
        columns.push((column.to_owned(), of.to_owned()));
    }
    let read = |(table, columns): (String, Vec<(String, String)>)| {
        let names = columns.iter().map(|(name, _)| match name.as_str() {
            "user_id" => "user".to_owned(),
            name => format!("\"{}\"", name.trim_end_matches("_besides")),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let mut select = shell
            .prepare(&format!("SELECT {names} FROM {table}"))
            .unwrap();
        let rows = select.query_map([], |row| {
            let text = |(place, (_, of)): (usize, &(String, String))| match row
                .get_ref(place)
                .unwrap()
            {
                ValueRef::Null => "null".to_owned(),
                ValueRef::Integer(number) if of == "boolean" => (number == 1).to_string(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap().replace('\0', ""),
                ValueRef::Blob(bytes) => bytes
                    .iter()
                    .fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
            };
            Ok(columns.iter().enumerate().map(text).collect::<Vec<_>>())
        });
        let mut rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
        rows.sort();
        (table, rows)
    };
    tables.into_iter().map(read).collect()
}

async fn rows_of_new(new: &Client) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column, _) in transfer::listed() {
        let text = format!("coalesce(\"{column}\"::text, 'null')");
        tables.entry(table.to_owned()).or_default().push(text);
    }
    let mut all = BTreeMap::new();
    for (table, columns) in tables {
        let sql = format!("SELECT {} FROM {table}", columns.join(", "));
        let rows = new.query(&sql, &[]).await.unwrap();
        let text = |row: &tokio_postgres::Row| (0..row.len()).map(|place| row.get(place)).collect();
        let mut rows: Vec<Vec<String>> = rows.iter().map(text).collect();
        rows.sort();
        all.insert(table, rows);
    }
    all
}

/// What is to be there: the old rows, of which unfinished awards have no position and are
/// due at once where they were on their way.
fn expected(old: &Path) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut all = rows_of_old(old);
    let columns: Vec<&str> = transfer::listed()
        .filter(|it| it.0 == "delivery")
        .map(|it| it.1)
        .collect();
    let place = |name| columns.iter().position(|it| *it == name).unwrap();
    let deliveries = all.get_mut("delivery").unwrap();
    for row in deliveries.iter_mut() {
        if row[place("due_at")] == "null" {
            continue;
        }
        for name in ["topic_epoch", "partition", "offset"] {
            "null".clone_into(&mut row[place(name)]);
        }
        if ["pending", "delivering"].contains(&row[place("state")].as_str()) {
            let due: i64 = row[place("due_at")].parse().unwrap();
            row[place("due_at")] = due.min(LATER.0).to_string();
        }
    }
    deliveries.sort();
    all.get_mut("meta")
        .unwrap()
        .retain(|row| row[0] != "transfer" && row[0] != "backup_taken_at");
    all
}

async fn is_all_there(old: &Old, new: &Database) {
    let mut there = rows_of_new(&new.connect().await).await;
    there
        .get_mut("meta")
        .unwrap()
        .retain(|row| row[0] != "transfer");
    for (table, rows) in expected(&old.path()) {
        assert!(
            !rows.is_empty(),
            "{table}: the old database has no row to be moved"
        );
        assert_eq!(there[&table], rows, "{table}");
    }
}

fn ended(transferred: Result<Transferred, TransferError>) -> TransferReport {
    match transferred.unwrap() {
        Transferred::Ended(report) => *report,
        other @ (Transferred::Before | Transferred::Stopped) => panic!("{other:?}"),
    }
}

fn refusal(refused: Result<Transferred, TransferError>) -> String {
    match refused {
        Err(TransferError::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// Opened under a name that no server has, so that a transfer does not take its last
/// connections for one.
async fn open_new(new: &Database) -> Result<Arc<Store>, StoreError> {
    let mut options = new.options();
    options.config.application_name("a look");
    Store::connect(&options, store_options()).await
}

fn is_moved<T>(opened: &Result<T, StoreError>) -> bool {
    matches!(opened, Err(StoreError::Moved(_)))
}

/// Looks into each lane and hands everything out until nothing is on its way any more.
async fn finish(store: &Store, lanes: &[i64]) -> BTreeMap<AwardId, usize> {
    let mut times: BTreeMap<AwardId, usize> = BTreeMap::new();
    let now = LATER.plus(Duration::from_hours(48));
    for _ in 0..20 {
        for lane in lanes {
            let query = DueQuery {
                lane: *lane,
                after: None,
                limit: 1000,
                now,
                group: None,
                is_breaker_open: false,
            };
            for handoff in store.claim_due(query).await.unwrap().handoffs {
                let copy = Copy {
                    award: handoff.award,
                    message_id: handoff.message.message_id.clone(),
                    position: position(handoff.award),
                };
                if *lane == 0 {
                    store.deliver_local(vec![copy], now).await.unwrap();
                    continue;
                }
                let answer = store.claim(vec![copy], now).await.unwrap().remove(0);
                let CopyAnswer::Claimed(claim) = answer else {
                    continue;
                };
                *times.entry(claim.award).or_default() += 1;
                let record = Record {
                    award: claim.award,
                    lease: claim.lease,
                    decision: Decision::Delivered { receipt: None },
                    error: None,
                    lane_at: now,
                    jitter: Jitter::NONE,
                };
                store.record(vec![record], now).await.unwrap();
            }
        }
    }
    times
}

async fn states(new: &Client) -> States {
    let sql =
        "SELECT p.slug, d.state, d.award_id FROM delivery d JOIN prize p ON p.id = d.prize_id";
    let mut all: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
    for row in new.query(sql, &[]).await.unwrap() {
        all.entry((row.get(0), row.get(1)))
            .or_default()
            .insert(row.get(2));
    }
    all
}

type States = BTreeMap<(String, String), BTreeSet<i64>>;

fn of(all: &States, prize: &str, state: State) -> BTreeSet<i64> {
    let key = (prize.to_owned(), state.name().to_owned());
    all.get(&key).cloned().unwrap_or_default()
}

fn is_of_every_state(before: &States) {
    for (prize, state) in [
        ("coupon", State::Delivering),
        ("voucher", State::Delivering),
        ("coupon", State::Retryable),
        ("coupon", State::Pending),
        ("text", State::Pending),
        ("code", State::Pending),
        ("points", State::Delivered),
        ("mug", State::Held),
        ("later", State::Held),
        ("voucher", State::Dead),
        ("later", State::Cancelled),
    ] {
        assert!(
            !of(before, prize, state).is_empty(),
            "no {prize} is {}: {before:?}",
            state.name()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_moves_whole_and_what_was_unfinished_ends_once() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    let report = ended(old.move_to(&new).await);
    assert!(
        report.is_released && report.audit_from.ok && report.audit_to.ok,
        "{report:?}"
    );
    assert!(
        report.tables.iter().all(|it| it.is_equal && it.rows > 0),
        "{report:?}"
    );
    assert_eq!((report.cut, report.is_resumed), (1, false));
    is_all_there(&old, &new).await;
    assert!(is_moved(&old.open()), "the old database pays no more");

    let shell = new.connect().await;
    let before = states(&shell).await;
    let of = |prize: &str, state: State| of(&before, prize, state);
    is_of_every_state(&before);
    let store = Store::connect(&new.options(), store_options())
        .await
        .unwrap();
    assert_eq!(store.origin(), report.origin);
    shell.batch_execute("DELETE FROM pause").await.unwrap();
    let times = finish(&store, &[0, 1, 2]).await;
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    let after = states(&shell).await;
    let now = |prize: &str, state: State| self::of(&after, prize, state);
    for prize in ["coupon", "voucher", "text", "code", "points"] {
        for state in [State::Pending, State::Delivering, State::Retryable] {
            assert_eq!(now(prize, state), BTreeSet::new(), "{prize}");
        }
    }
    // Nobody knows whether that call had its effect, and its endpoint keeps no keys.
    assert!(now("voucher", State::Dead).is_superset(&of("voucher", State::Delivering)));
    assert!(now("coupon", State::Delivered).is_superset(&of("coupon", State::Delivering)));
    for award in of("coupon", State::Delivered) {
        assert!(
            !times.contains_key(&AwardId(award)),
            "{award} was delivered before"
        );
    }
    let audit = store.audit(AuditDepth::Full).await.unwrap();
    assert!(audit.ok, "{audit:?}");
    let first = store.reserve_ids(1).await.unwrap().next;
    let highest = shell
        .query_one("SELECT max(id) FROM draw", &[])
        .await
        .unwrap();
    assert!(first > highest.get(0));
    store
        .begin_import("fair", "code", by(), LATER)
        .await
        .unwrap();
    store.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_killed_after_every_chunk_loses_and_doubles_nothing() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    let mut kills = 0;
    loop {
        let mut was_copying = false;
        let run = old.move_until(&new, 50, |progress| {
            was_copying |= progress.doing == Doing::Copying;
            progress.doing == Doing::Comparing
        });
        assert_eq!(run.await.unwrap(), Transferred::Stopped);
        let opened = open_new(&new).await;
        assert!(is_moved(&opened), "it may not be served");
        if !was_copying {
            break;
        }
        kills += 1;
    }
    assert!(kills > 40, "{kills}");
    is_all_there(&old, &new).await;
    let run = old.move_until(&new, 50, |progress| progress.doing != Doing::Releasing);
    assert_eq!(run.await.unwrap(), Transferred::Stopped);
    let opened = open_new(&new).await;
    assert!(
        is_moved(&opened) && is_moved(&old.open()),
        "neither may be served"
    );
    let report = ended(old.move_to(&new).await);
    assert!(
        report.is_released && report.is_resumed && report.moved == 0,
        "{report:?}"
    );
    is_all_there(&old, &new).await;
    assert_eq!(old.move_to(&new).await.unwrap(), Transferred::Before);
    let opened = open_new(&new).await;
    opened.unwrap().close();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_went_over_before_the_old_database_was_served_again_are_thrown_away() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    let stopped = old
        .move_until(&new, 50, |progress| progress.done < 400)
        .await;
    assert_eq!(stopped.unwrap(), Transferred::Stopped);
    let store = old.open().expect("an unfinished transfer holds nobody up");
    let release = Action::Release;
    for it in seen(&old.shell())
        .into_iter()
        .filter(|it| it.prize == "later")
    {
        store
            .act(it.award, release.clone(), by(), LATER)
            .await
            .unwrap();
    }
    store.close();
    let report = ended(old.move_to(&new).await);
    assert!(report.is_released && !report.is_resumed, "{report:?}");
    is_all_there(&old, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_use_is_refused_and_not_touched() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    let served = Store::connect(&new.options(), store_options())
        .await
        .unwrap();
    let why = refusal(old.move_to(&new).await);
    assert!(why.contains("stop every process that serves it"), "{why}");
    furnish(&served).await;
    served.close();
    let shell = new.connect().await;
    let of_servers = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND application_name = 'tombola'";
    while shell
        .query_one(of_servers, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        > 0
    {
        tokio::task::yield_now().await;
    }
    let before = rows_of_new(&shell).await;
    let why = refusal(old.move_to(&new).await);
    assert!(
        why.contains("it has rows in endpoint") && why.contains("createdb"),
        "{why}"
    );
    assert_eq!(rows_of_new(&shell).await, before);
    old.open().expect("the old one is served as before").close();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_and_another_target_are_refused_after_a_transfer() {
    let (Some(new), Some(other)) = (Database::new().await, Database::new().await) else {
        return;
    };
    let (old, stranger) = (Old::lived_in().await, Old::lived_in().await);
    let stopped = old
        .move_until(&other, 50, |progress| progress.done < 400)
        .await;
    assert_eq!(stopped.unwrap(), Transferred::Stopped);
    ended(old.move_to(&new).await);
    let why = refusal(stranger.move_to(&new).await);
    assert!(why.contains("it holds another database"), "{why}");
    let why = refusal(old.move_to(&other).await);
    assert!(why.contains("was transferred to postgres://"), "{why}");
    assert!(
        is_moved(&open_new(&other).await),
        "rows of the first attempt are never served"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_is_another_on_the_other_side_is_seen_and_nothing_is_released() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    let stopped = old
        .move_until(&new, 5000, |progress| progress.doing == Doing::Copying)
        .await;
    assert_eq!(stopped.unwrap(), Transferred::Stopped);
    let shell = new.connect().await;
    let change = "UPDATE request SET fingerprint = set_byte(fingerprint, 3, 4)
                  WHERE request_key = (SELECT min(request_key) FROM request)";
    assert_eq!(shell.execute(change, &[]).await.unwrap(), 1);
    let report = ended(old.move_to(&new).await);
    assert!(!report.is_released);
    let other: Vec<_> = report.tables.iter().filter(|it| !it.is_equal).collect();
    assert_eq!((other.len(), other[0].table), (1, "request"));
    let opened = open_new(&new).await;
    assert!(is_moved(&opened));
    old.open().expect("the old one is served as before").close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_postgresql_does_not_take_names_its_row() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    let change = "UPDATE points_entry SET user = user || char(0)
                  WHERE award_id = (SELECT max(award_id) FROM points_entry)";
    assert_eq!(old.shell().execute(change, []).unwrap(), 1);
    let said = old.move_to(&new).await.unwrap_err().to_string();
    assert!(
        said.contains("points_entry [") && said.contains("U+0000"),
        "{said}"
    );
    old.open().expect("the old one is served as before").close();
}

#[tokio::test]
async fn the_list_of_what_is_moved_has_every_table_and_column_of_postgresql() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Store::connect(&new.options(), store_options())
        .await
        .unwrap();
    let sql = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL)
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
               WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p')
                 AND NOT c.relispartition AND NOT a.attisdropped
                 AND c.relname NOT IN ('migration', 'process', 'tally')
                 AND (c.relname, a.attname) <> ('allowance', 'n')";
    let rows = new.connect().await.query(sql, &[]).await.unwrap();
    let live: BTreeSet<(String, String, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let listed = transfer::listed().map(|it| (it.0.to_owned(), it.1.to_owned(), it.2.to_owned()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), live);
    old.close();
}

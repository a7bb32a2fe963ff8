//! Aim: whoever has the file and not the secrets reads nothing, and a change of the
//! secret, wherever it is cut off, loses nothing.

use super::Table;
use crate::Store;
use crate::read::AuditDepth;
use crate::read::fixture::{Fixture, GIFT, NOW, PHONE, actor, seal_keys};
use crate::seal::{Place, Sealer};
use crate::sql::OptionalExtension as _;
use tombola_core::AwardId;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{Acted, Action, Address, Catalog as _, CodesAdded, CopyAnswer};

/// What must not be found in any file.
const HIDDEN: &[&str] = &["GIFT-000", "whsec_secret", "Ann Secretive", "Hidden lane 7"];

pub(super) fn address() -> Address {
    Address {
        name: "Ann Secretive".to_owned(),
        lines: vec!["Hidden lane 7".to_owned()],
        city: "Bergen".to_owned(),
        postal_code: None,
        region: None,
        country: "NO".to_owned(),
        phone: None,
    }
}

/// A code that was given and two that are free, an address, an endpoint: gives the
/// awards of the code and of the address.
pub(super) async fn in_use(it: &Fixture) -> (AwardId, AwardId) {
    let (gift, phone) = (it.win("ann", GIFT).await, it.win("ann", PHONE).await);
    let delivered = it.deliver(gift).await;
    assert!(
        matches!(delivered, CopyAnswer::Delivered { .. }),
        "{delivered:?}"
    );
    let given = it.act(phone, Action::Address(address())).await;
    assert!(matches!(given, Acted::Done(_)), "{given:?}");
    (gift, phone)
}

pub(super) async fn change(it: &Fixture, versions: &[u8]) {
    let keys = seal_keys(versions);
    it.store
        .change_secret(keys, false, actor(), NOW)
        .await
        .unwrap();
}

/// Steps until the walk is at its end; gives the rows.
pub(super) async fn reseal(it: &Fixture) -> u64 {
    let mut rows = 0;
    for _ in 0..1000 {
        let step = it.store.reseal_step().await.unwrap();
        rows += step.rows;
        if step.is_done {
            return rows;
        }
    }
    panic!("the walk comes to no end")
}

/// The versions of all rows, by table and id.
fn versions(it: &Fixture) -> Vec<i64> {
    let conn = it.shell();
    let of = |table: &Table| {
        let sql = format!(
            "SELECT key_version FROM {} ORDER BY {}",
            table.name(),
            table.id()
        );
        let mut rows = conn.prepare_cached(&sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<Vec<i64>, _>>().unwrap()
    };
    Table::ALL.iter().flat_map(of).collect()
}

/// The address, opened with those versions apart from the store.
fn address_of(it: &Fixture, award: AwardId, versions: &[u8]) -> Option<Address> {
    let sql = "SELECT key_version, sealed FROM address WHERE award_id = ?1";
    let row = it.shell().query_row(sql, [award.0], |row| {
        Ok((row.get::<_, i32>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let (version, sealed) = row.optional().unwrap()?;
    let sealer = Sealer::new(Some(&seal_keys(versions)));
    let opened = sealer.open(Place::Address { award: award.0 }, version, &sealed);
    opened
        .ok()
        .map(|json| serde_json::from_slice(&json).unwrap())
}

pub(super) async fn content(it: &Fixture, award: AwardId) -> Option<String> {
    it.store.award_show(award).await.unwrap().unwrap().content
}

/// The words of [`HIDDEN`] that are in the file, in its log, or in a copy of both
/// that was cleaned up and closed.
fn found_in_files(it: &Fixture) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for name in ["tombola.db", "tombola.db-wal"] {
        let path = it.path().with_file_name(name);
        if let Ok(bytes) = std::fs::read(&path) {
            found.extend(words_in(&bytes, name));
            std::fs::write(copy.path().join(name), bytes).unwrap();
        }
    }
    let file = copy.path().join("tombola.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch("DELETE FROM attempt; DELETE FROM request; VACUUM")
        .unwrap();
    conn.close().unwrap();
    found.extend(words_in(&std::fs::read(file).unwrap(), "the copy"));
    found
}

fn words_in(bytes: &[u8], name: &str) -> Vec<String> {
    let is_in = |word: &&&str| {
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    let words = HIDDEN.iter().filter(is_in);
    words.map(|word| format!("{word} in {name}")).collect()
}

#[tokio::test]
async fn no_code_address_or_secret_is_in_any_byte_of_the_files() {
    let it = Fixture::sealed_fair(&[1]).await;
    in_use(&it).await;
    let removed = it.begin("fair", "gift").await;
    it.add(removed, &["GIFT-0008", "GIFT-0009"]).await;
    assert!(it.store.remove_import(Some(removed)).await.unwrap());
    assert_eq!(found_in_files(&it), [""; 0], "while it is open");
    it.store.close();
    assert_eq!(found_in_files(&it), [""; 0], "once it is closed");
}

#[tokio::test]
async fn without_secrets_the_search_of_the_files_finds_all_words() {
    let it = Fixture::fair().await;
    in_use(&it).await;
    it.store.close();
    let found = found_in_files(&it);
    assert_eq!(found.len(), 2 * HIDDEN.len(), "{found:?}");
}

#[tokio::test]
async fn plain_rows_of_an_older_database_are_read_and_then_sealed_without_a_trace() {
    let mut it = Fixture::fair().await;
    let (gift, phone) = in_use(&it).await;
    it.reopen_with(&[1]).unwrap();
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0001"));
    assert_eq!(
        it.store.endpoints().await.unwrap()[0].secrets_at(NOW),
        ["whsec_secret"]
    );
    assert!(
        it.store.seal_show().await.unwrap().is_resealing,
        "it begins by itself"
    );
    assert_eq!(reseal(&it).await, 5, "three codes, an address, an endpoint");
    assert_eq!(versions(&it), [1; 6]);
    it.store.close();
    assert_eq!(found_in_files(&it), [""; 0]);
    it.reopen_with(&[1]).unwrap();
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0001"));
    assert_eq!(address_of(&it, phone, &[1]), Some(address()));
    assert!(!it.store.seal_show().await.unwrap().is_resealing);
}

#[tokio::test]
async fn code_is_unique_beside_plain_ones_of_an_older_database() {
    let mut it = Fixture::fair().await;
    let left = it.begin("fair", "gift").await;
    it.add(left, &["LEFT-1"]).await;
    it.reopen_with(&[1]).unwrap();
    for _ in 0..2 {
        let import = it.begin("fair", "gift").await;
        let again = it.add(import, &["NEW-1", "GIFT-0002"]).await;
        assert_eq!(again, CodesAdded::Duplicate { index: 1 });
        let added = it.add(import, &["LEFT-1", "NEW-1"]).await;
        let all = CodesAdded::Added {
            added: 2,
            skipped: 0,
        };
        assert_eq!(added, all, "one that was left is in nobody's way");
        assert!(it.store.remove_import(Some(import)).await.unwrap());
        reseal(&it).await;
    }
    let plain = "SELECT plain_until FROM digest_key";
    assert_eq!(it.number(plain), 0, "no digest without a key is looked for");
}

#[tokio::test]
async fn new_database_has_nothing_to_seal_anew() {
    let mut it = Fixture::new();
    it.reopen_with(&[1]).unwrap();
    assert!(!it.store.seal_show().await.unwrap().is_resealing);
    assert!(it.store.reseal_step().await.unwrap().is_done);
}

#[tokio::test]
async fn digest_cannot_be_tested_without_the_secret_and_outlives_every_secret() {
    let it = Fixture::sealed_fair(&[1]).await;
    let digests = "SELECT group_concat(hex(digest)) FROM code ORDER BY id";
    let before = it.text(digests);
    let plain = crate::seal::CodeDigest::PLAIN.of("GIFT-0001");
    let sql = "SELECT count(*) FROM code WHERE digest = ?1";
    let guessed: i64 = it
        .shell()
        .query_row(sql, [plain], |row| row.get(0))
        .unwrap();
    assert_eq!(guessed, 0);
    change(&it, &[1, 2]).await;
    reseal(&it).await;
    assert_eq!(it.text(digests), before);
    let other = Fixture::sealed_fair(&[1]).await;
    assert_ne!(
        other.text(digests),
        before,
        "each database has a key of its own"
    );
}

#[tokio::test]
async fn new_rows_are_sealed_under_a_new_secret_at_once() {
    let it = Fixture::sealed_fair(&[1]).await;
    change(&it, &[1, 2]).await;
    let import = it.import("fair", "gift", &["NEW-1"]).await;
    let sql = format!(
        "SELECT key_version FROM code WHERE import_id = {}",
        import.0
    );
    assert_eq!(it.number(&sql), 2);
    let line = "SELECT action || ': ' || subject || ' by ' || actor FROM operator_log ORDER BY id DESC LIMIT 1 OFFSET 1";
    assert_eq!(it.text(line), "secret rotate: version 2 by ada");
}

#[tokio::test]
async fn killed_between_two_steps_the_next_process_goes_on_and_nothing_is_lost() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    let (gift, phone) = in_use(&it).await;
    let many: Vec<String> = (0..STEP_ROWS_MAX).map(|n| format!("MANY-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    it.import("fair", "gift", &many).await;
    change(&it, &[1, 2]).await;
    // A step is one table's, and at most so many rows: key, endpoint, address, codes.
    for _ in 0..7 {
        it.store.reseal_step().await.unwrap();
    }
    let done = |versions: &[i64]| versions.iter().filter(|it| **it == 2).count();
    assert_eq!(
        done(&versions(&it)),
        3 + STEP_ROWS_MAX,
        "three codes are old"
    );
    // The file and its log as a killed process leaves them.
    let killed = tempfile::tempdir().unwrap();
    for name in ["tombola.db", "tombola.db-wal"] {
        let to = killed.path().join(name);
        std::fs::copy(it.path().with_file_name(name), to).unwrap();
    }
    let path = killed.path().join("tombola.db");
    let options = crate::StoreOptions {
        seal_keys: Some(seal_keys(&[1, 2])),
        ..Default::default()
    };
    it.store.close();
    it.store = Store::open(&path, options).unwrap();
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0001"));
    assert_eq!(reseal(&it).await, 3);
    it.store.close();
    std::fs::copy(&path, it.path()).unwrap();
    it.reopen_with(&[2]).unwrap();
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0001"));
    assert_eq!(address_of(&it, phone, &[2]), Some(address()));
    assert_eq!(
        it.store.endpoints().await.unwrap()[0].secrets_at(NOW),
        ["whsec_secret"]
    );
    let audit = it.store.audit(AuditDepth::Full).await.unwrap();
    assert!(audit.ok, "{audit:?}");
}

#[tokio::test]
async fn killed_before_the_first_step_the_walk_begins_by_itself() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    in_use(&it).await;
    // `secret.key` has the new version, the database has not heard of it.
    it.reopen_with(&[1, 2]).unwrap();
    assert!(it.store.seal_show().await.unwrap().is_resealing);
    assert_eq!(reseal(&it).await, 6);
    assert_eq!(versions(&it), [2; 6]);
}

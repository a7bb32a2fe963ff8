//! One phone, a thousand users who all draw it at once.

use super::{batch, request};
use crate::read::fixture::Fixture;
use std::collections::BTreeMap;
use std::sync::Arc;
use tombola_core::ports::{AwardPath as _, DrawAnswer};

/// What a thousand simultaneous draws give under these rules: prizes, with how
/// often each was won.
async fn won_by_a_thousand(rules: &str) -> BTreeMap<String, usize> {
    let fixture = Fixture::new();
    fixture
        .put(&format!(
            "[campaign]\nslug = \"fair\"\nname = \"Fair\"\n{rules}"
        ))
        .await;
    fixture.start("fair").await;
    let mut ids = fixture.store.reserve_ids(1000).await.unwrap();
    let mut draws = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let one = request(
            &mut ids,
            &format!("u{number}"),
            &format!("key-{number:05}"),
            7 * number,
        );
        let store = Arc::clone(&fixture.store);
        draws.spawn(async move {
            store
                .commit_draws(batch(vec![one]))
                .await
                .unwrap()
                .remove(0)
        });
    }
    let mut won = BTreeMap::new();
    for answer in draws.join_all().await {
        let DrawAnswer::Drawn { draws, .. } = answer else {
            panic!("{answer:?}")
        };
        let prize = draws[0].prize.as_deref().unwrap_or("nothing");
        *won.entry(prize.to_owned()).or_default() += 1;
    }
    assert_eq!(
        fixture.number("SELECT spent FROM prize WHERE slug = 'phone'"),
        1
    );
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 1000);
    won
}

const PHONE: &str =
    "[[prize]]\nslug = \"phone\"\nname = \"A phone\"\nkind = \"text\"\ntext = \"x\"\nstock = 1\n";
const THANKS: &str =
    "[[prize]]\nslug = \"thanks\"\nname = \"Thanks\"\nkind = \"text\"\ntext = \"x\"\n";

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_phone_is_won_once_where_the_others_win_nothing() {
    let rules = format!("[odds]\non_unavailable = \"no_win\"\n{PHONE}odds = \"100%\"\n");
    assert_eq!(
        won_by_a_thousand(&rules).await,
        counts(&[("phone", 1), ("nothing", 999)])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_phone_is_won_once_where_its_share_spreads_to_nobody() {
    let rules = format!("[odds]\non_unavailable = \"spread\"\n{PHONE}odds = \"100%\"\n");
    assert_eq!(
        won_by_a_thousand(&rules).await,
        counts(&[("phone", 1), ("nothing", 999)])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_phone_is_won_once_where_its_share_spreads_to_another() {
    let rules = format!(
        "[odds]\non_unavailable = \"spread\"\n{PHONE}odds = \"99%\"\n{THANKS}odds = \"1%\"\n"
    );
    assert_eq!(
        won_by_a_thousand(&rules).await,
        counts(&[("phone", 1), ("thanks", 999)])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_phone_is_won_once_where_the_others_fall_back() {
    let rules = format!(
        "[odds]\non_unavailable = \"fallback\"\nfallback = \"thanks\"\n{PHONE}odds = \"99%\"\n{THANKS}odds = \"1%\"\n"
    );
    assert_eq!(
        won_by_a_thousand(&rules).await,
        counts(&[("phone", 1), ("thanks", 999)])
    );
}

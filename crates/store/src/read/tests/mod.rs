//! Aim: people see what is there, under the names of the contract: every row of a
//! list exactly once over its pages, phases at the instant asked, the whole way of
//! an award, and nothing that is secret.

mod awards;
mod campaigns;
mod filters;
mod health;
mod lists;
mod random;
mod reach;
mod stable;
mod ways;

use super::fixture::{Fixture, NOW, On};
use super::page::Cuts;
use super::{AwardDetail, Page, PageQuery, Place};
use proptest::prelude::{ProptestConfig, Strategy};
use proptest::test_runner::{TestCaseResult, TestRunner};
use std::fmt::Debug;
use std::future::Future;
use tombola_core::AwardId;
use tombola_core::award::Mark;
use tombola_core::limits::{PAGE_DEFAULT, PAGE_MAX};
use tombola_core::ports::{AwardPath as _, MarkOf, StoreResult};

/// All items of a list, read page by page.
async fn all<T, F>(limit: usize, mut read: impl FnMut(PageQuery) -> F) -> Vec<T>
where
    F: Future<Output = StoreResult<Page<T>>>,
{
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page = read(PageQuery {
            after,
            limit: Some(limit),
        })
        .await
        .unwrap();
        assert!(page.items.len() <= limit);
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

/// A property on random values, each in a runtime of its own. Databases on PostgreSQL are
/// dear, and the rules are the same: fewer have to do there.
fn each<V: Debug>(
    on: On,
    values: impl Strategy<Value = V>,
    holds: impl AsyncFn(V) -> TestCaseResult,
) {
    let cases = match on {
        On::Sqlite => 48,
        On::Postgres => 8,
    };
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let checked = TestRunner::new(config).run(&values, |value| {
        tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(holds(value))
    });
    checked.unwrap_or_else(|failed| panic!("{failed}"));
}

async fn refuse(it: &Fixture, award: AwardId) {
    let mark = MarkOf {
        award,
        lease: 1,
        mark: Mark::Refused,
        error: Some("too large".to_owned()),
    };
    it.store.mark_published(vec![mark], NOW).await.unwrap();
}

fn whole() -> PageQuery {
    PageQuery::default()
}

async fn show(it: &Fixture, award: AwardId) -> AwardDetail {
    it.store.award_show(award).await.unwrap().unwrap()
}

#[tokio::test]
async fn list_that_is_read_whole_is_cut_by_key_too() {
    let rows = [3, 9, 1, 7, 5_i64];
    let read = |page: PageQuery| async move { Ok(page.cut(rows.to_vec(), |it| *it)) };
    for limit in 1..=6 {
        assert_eq!(
            all(limit, read).await,
            [9, 7, 5, 3, 1],
            "in pages of {limit}"
        );
    }
}

#[test]
fn page_is_bounded_whatever_is_asked() {
    for (limit, rows) in [
        (None, PAGE_DEFAULT),
        (Some(0), 1),
        (Some(PAGE_MAX), PAGE_MAX),
        (Some(PAGE_MAX + 1), PAGE_MAX),
    ] {
        let asked = PageQuery { after: None, limit };
        // One more is asked for, to know whether there is a next page, and not shown.
        let more = i64::try_from(rows + 1).unwrap();
        let read = |_, room| {
            assert_eq!(room, more);
            Ok::<_, ()>((1..=more).rev().collect())
        };
        let page = asked.fill(Cuts::one(1, i64::MAX, false), read, |it| *it);
        let page = page.unwrap();
        assert_eq!((page.items.len(), page.next), (rows, Some(Place(2))));
    }
}

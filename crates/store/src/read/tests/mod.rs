//! Aim: people see what is there, under the names of the contract: every row of a
//! list exactly once over its pages, phases at the instant asked, the whole way of
//! an award, and nothing that is secret.

mod awards;
mod campaigns;
mod health;
mod lists;

use super::fixture::{Fixture, NOW};
use super::{AwardDetail, Page, PageQuery};
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
async fn page_is_bounded_whatever_is_asked() {
    let asked = |limit| PageQuery {
        after: Some("rubbish".to_owned()),
        limit,
    };
    assert_eq!(asked(None).below(), i64::MAX);
    let shown = [
        (None, PAGE_DEFAULT),
        (Some(0), 1),
        (Some(PAGE_MAX), PAGE_MAX),
        (Some(PAGE_MAX + 1), PAGE_MAX),
    ];
    for (limit, rows) in shown {
        // One more is asked for, to know whether there is a next page, and not shown.
        assert_eq!(asked(limit).rows(), i64::try_from(rows + 1).unwrap());
        let page = asked(limit).page((0..=rows).collect(), usize::to_string);
        assert_eq!(
            (page.items.len(), page.next),
            (rows, Some((rows - 1).to_string()))
        );
    }
}

//! A server that became a standby: after a fail-over, the old primary.

use crate::cluster::Cluster;
use crate::server::skip;
use tombola_core::ports::{AwardPath as _, StoreError};
use tombola_store::StoreOptions;
use tombola_store::postgres::{ObstacleAt, PostgresOptions, PostgresStore, obstacle};

/// The url of a database on these servers, in that order.
fn url(clusters: &[&Cluster]) -> String {
    let hosts = clusters.iter().map(|it| it.path().display().to_string());
    let hosts: Vec<_> = hosts.map(|it| it.replace('/', "%2F")).collect();
    format!("postgres://tombola@{}/postgres", hosts.join(","))
}

async fn open(clusters: &[&Cluster]) -> PostgresStore {
    let mut options = PostgresOptions::parse(&url(clusters)).unwrap();
    options.migrate = true;
    PostgresStore::open(&options, StoreOptions::default())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_became_a_standby_is_passed_over_and_who_names_it_alone_is_told_what_to_do() {
    let Some(old) = Cluster::alone() else {
        return skip();
    };
    // So that the standby has all, whenever it is promoted.
    let new = old.copy();
    old.start("-c synchronous_standby_names='*'");
    new.follow(&old);
    let before = open(&[&old, &new]).await;
    let ids = before.reserve_ids(5).await.unwrap();
    old.crash();
    new.promote();
    old.follow(&new);

    let after = open(&[&old, &new]).await;
    let more = after.reserve_ids(5).await.unwrap();
    assert_eq!(
        more.next, ids.end,
        "the new primary goes on where the old one was"
    );

    let alone = open(&[&old]).await;
    let refused = alone.reserve_ids(5).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(
        refused.to_string().contains("promote the standby"),
        "{refused}"
    );

    let place = format!("{}?target_session_attrs=read-write", url(&[&old]));
    let options = PostgresOptions::parse(&place).unwrap();
    let found = obstacle(&options).await.unwrap();
    assert_eq!(found.at, ObstacleAt::Standby, "{found:?}");
    let refused = PostgresStore::open(&options, StoreOptions::default()).await;
    let refused = refused.err().unwrap();
    assert!(
        refused.to_string().contains("promote the standby"),
        "{refused}"
    );
}

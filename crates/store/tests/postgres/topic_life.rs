//! The kept life of the topic, looked after by several processes.

use crate::server::Database;
use tombola_store::{Store, StoreOptions};

#[tokio::test]
async fn one_of_many_that_read_the_same_life_changes_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    let options = database.options();
    let store = Store::connect(&options, StoreOptions::default())
        .await
        .unwrap();
    assert_eq!(store.kept_topic_life().await.unwrap(), None);
    for round in 0..5 {
        let before = store.kept_topic_life().await.unwrap();
        let changes = (0..8).map(|process| {
            let now = format!("{round} of {process}");
            store.keep_topic_life(before.clone(), now)
        });
        let changed = futures_util::future::join_all(changes).await;
        let changed = changed
            .into_iter()
            .filter(|it| *it.as_ref().unwrap())
            .count();
        assert_eq!(changed, 1, "round {round}");
        let kept = store.kept_topic_life().await.unwrap();
        assert!(kept.unwrap().starts_with(&format!("{round} of ")));
    }
}

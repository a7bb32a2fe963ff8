//! What the database keeps of the topic's life: one row of `meta`, whose text only the
//! topic understands. Several processes look after it, so it is compared and swapped.

use crate::sql::{self, Connection, OptionalExtension as _, OrStoreError as _, params};
use crate::store::{Priority, Store};
use tombola_core::ports::StoreResult;

const NAME: &str = "topic_life";

impl Store {
    /// The life of the topic as it is kept, if it is.
    pub async fn kept_topic_life(&self) -> StoreResult<Option<String>> {
        self.read(|conn| kept(conn).or_store()).await
    }

    /// Keeps `now` if what is kept is still `before`; else `false`, and nothing is
    /// changed.
    pub async fn keep_topic_life(&self, before: Option<String>, now: String) -> StoreResult<bool> {
        self.write(Priority::Other, 1, move |conn| {
            keep(conn, before.as_deref(), &now).or_store()
        })
        .await
    }
}

fn kept(conn: &Connection) -> sql::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([NAME], |row| row.get(0))
        .optional()
}

fn keep(conn: &Connection, before: Option<&str>, now: &str) -> sql::Result<bool> {
    let rows = match before {
        None => conn
            .prepare_cached(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            )?
            .execute(params![NAME, now])?,
        Some(before) => conn
            .prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1 AND value = ?3")?
            .execute(params![NAME, now, before])?,
    };
    Ok(rows == 1)
}

#[cfg(test)]
mod tests {
    use crate::read::fixture::Fixture;

    #[tokio::test]
    async fn life_of_the_topic_is_changed_by_whoever_read_it_last() {
        let it = Fixture::fair().await;
        let keep = async |before: Option<&str>, now: &str| {
            let before = before.map(str::to_owned);
            it.store
                .keep_topic_life(before, now.to_owned())
                .await
                .unwrap()
        };
        let kept = async || it.store.kept_topic_life().await.unwrap();
        assert_eq!(kept().await, None);
        assert!(!keep(Some("a"), "b").await);
        assert!(keep(None, "a").await);
        assert!(!keep(None, "b").await, "another was first");
        assert_eq!(kept().await.as_deref(), Some("a"));
        assert!(keep(Some("a"), "c").await);
        assert!(!keep(Some("a"), "d").await, "it is not what was read");
        assert_eq!(kept().await.as_deref(), Some("c"));
    }
}

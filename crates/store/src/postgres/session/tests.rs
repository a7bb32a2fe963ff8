//! Statements that go to the server together, as their caller sees them.

use crate::conformance::server::Database;
use crate::postgres::Postgres;
use futures_util::poll;
use std::pin::pin;
use tombola_core::ports::StoreError;

/// As a join may see it: both answers are there when it looks at the later one first.
#[tokio::test(flavor = "multi_thread")]
async fn error_of_a_join_is_of_the_statement_that_failed_and_not_of_those_behind_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let mut session = postgres.take().await.unwrap();
    let work = session.begin();
    work.run("SELECT 1").await.unwrap();
    let (mut failing, mut behind) = (pin!(work.run("SELECT 1 / 0")), pin!(work.run("SELECT 1")));
    assert!(poll!(&mut failing).is_pending() && poll!(&mut behind).is_pending());
    // Answers come in order, so those two are there once this one is.
    work.run("ROLLBACK").await.unwrap();
    let joined = tokio::try_join!(biased; behind, failing);
    let error = joined.unwrap_err();
    assert!(
        matches!(&error, StoreError::Row(said) if said.contains("division by zero")),
        "{error}"
    );
}

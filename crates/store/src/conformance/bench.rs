//! What an implementation brings to the suite: itself, and eyes for what no port
//! shows.

use async_trait::async_trait;
use tombola_core::AwardId;
use tombola_core::award::Row;
use tombola_core::ports::{AwardPath, Catalog, Operate};
use tombola_core::retry::Schedule;

/// A store: the three ports that one type makes true.
pub trait Store: AwardPath + Catalog + Operate {}

impl<T: AwardPath + Catalog + Operate> Store for T {}

/// A fresh, empty store under test. Everything but [`Bench::store`] looks past the
/// ports, at what the store has written, and stands in for a person with a shell.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The store itself.
    fn store(&self) -> &dyn Store;

    /// The settings that it was opened with.
    fn schedule(&self) -> &Schedule;

    /// The delivery row of an award.
    async fn row(&self, award: AwardId) -> Option<Row>;

    /// The code that an award was given.
    async fn code_of(&self, award: AwardId) -> Option<String>;

    /// The sum of what a user was credited.
    async fn points_of(&self, user: &str) -> i64;

    /// How many messages were kept.
    async fn kept_messages(&self) -> usize;

    /// How many lines the log of an award has.
    async fn log_lines(&self, award: AwardId) -> usize;

    /// How many lines the operator log has.
    async fn operator_lines(&self) -> usize;

    /// From here on the effect of this award fails in the database by an error of
    /// its own row; every other write of the row goes well.
    async fn poison(&self, award: AwardId);

    /// From here on rows are sealed under another version of the secret; those that
    /// there are stay as they are.
    async fn change_secret(&self);
}

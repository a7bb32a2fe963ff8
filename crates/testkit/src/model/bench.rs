//! The model on the bench of the conformance suite.

use super::ModelStore;
use tombola_core::AwardId;
use tombola_core::award::Row;
use tombola_core::retry::Schedule;
use tombola_store::conformance::{Bench, Store};

#[async_trait::async_trait]
impl Bench for ModelStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    async fn row(&self, award: AwardId) -> Option<Row> {
        self.row(award)
    }

    async fn code_of(&self, award: AwardId) -> Option<String> {
        self.code_of(award).map(|(code, _)| code)
    }

    async fn points_of(&self, user: &str) -> i64 {
        self.points_of(user)
    }

    async fn kept_messages(&self) -> usize {
        self.kept().len()
    }

    async fn log_lines(&self, award: AwardId) -> usize {
        self.log_of(award).len()
    }

    async fn operator_lines(&self) -> usize {
        self.operator_log().len()
    }

    async fn poison(&self, award: AwardId) {
        self.poison(award);
    }

    /// Nothing is sealed here.
    async fn change_secret(&self) {}
}

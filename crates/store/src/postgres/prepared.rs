//! Statements that were prepared on one connection, found by their text. There is a
//! bound: what was not used for longest goes, and the server forgets it.

use std::collections::HashMap;
use tokio_postgres::Statement;

/// Statements kept ready by each connection, beside those of the hot path.
const STATEMENTS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Prepared {
    statements: HashMap<Box<str>, (Statement, u64)>,
    /// Counts the uses, and so tells which was the last.
    uses: u64,
}

impl Prepared {
    pub(super) fn get(&mut self, sql: &str) -> Option<Statement> {
        self.uses += 1;
        let (statement, used) = self.statements.get_mut(sql)?;
        *used = self.uses;
        Some(statement.clone())
    }

    pub(super) fn put(&mut self, sql: &str, statement: Statement) {
        if self.statements.len() >= STATEMENTS_MAX {
            let oldest = self.statements.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(sql, _)| sql.clone()) {
                self.statements.remove(&oldest);
            }
        }
        self.statements.insert(sql.into(), (statement, self.uses));
    }
}

//! Imports of codes in steps: all or nothing, and invisible until one update makes
//! the whole import ready.

use super::ModelStore;
use super::data::{Code, Data, Import, ImportState};
use std::collections::BTreeSet;
use tombola_core::Timestamp;
use tombola_core::campaign::Kind;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{Actor, CodesAdded, ImportBegun, ImportId, StoreError, StoreResult};

impl ModelStore {
    pub(super) fn import_begun(
        &self,
        campaign: &str,
        prize: &str,
        by: &Actor,
        now: Timestamp,
    ) -> ImportBegun {
        let mut data = self.data();
        let row = data
            .campaigns
            .get(campaign)
            .and_then(|it| it.prizes.get(prize));
        if row.is_none_or(|row| row.kind != Kind::Code) {
            return ImportBegun::NotFound;
        }
        let id = data.imports.keys().next_back().map_or(1, |last| last + 1);
        let state = ImportState::Running;
        let import = Import {
            campaign: campaign.into(),
            prize: prize.into(),
            state,
            was_ready: false,
        };
        data.imports.insert(id, import);
        data.log(by, format!("code import {campaign}/{prize}"), now);
        ImportBegun::Begun(ImportId(id))
    }

    /// A code that meets one of an older import which was never finished, or of one
    /// that is being removed, takes its place; the older import is given up. What
    /// was visible once is never free again.
    pub(super) fn codes_added(
        &self,
        import: ImportId,
        codes: Vec<String>,
        skip_duplicates: bool,
    ) -> StoreResult<CodesAdded> {
        let mut data = self.data();
        let it = data
            .imports
            .get(&import.0)
            .filter(|it| it.state == ImportState::Running);
        let campaign = it.ok_or_else(|| not_running(import))?.campaign.clone();
        let in_campaign = || data.codes.iter().filter(|code| code.campaign == campaign);
        let mut taken: BTreeSet<String> = in_campaign()
            .filter(|code| !data.may_be_replaced(code, import))
            .map(|code| code.text.clone())
            .collect();
        let (mut fresh, mut skipped) = (BTreeSet::new(), 0);
        for (index, text) in codes.iter().enumerate() {
            if taken.insert(text.clone()) {
                fresh.insert(text.clone());
            } else if skip_duplicates {
                skipped += 1;
            } else {
                return Ok(CodesAdded::Duplicate { index });
            }
        }
        let replaced: BTreeSet<i64> = in_campaign()
            .filter(|code| fresh.contains(&code.text))
            .map(|code| code.import.0)
            .collect();
        data.codes
            .retain(|code| code.campaign != campaign || !fresh.contains(&code.text));
        for older in replaced {
            data.set_import(ImportId(older), ImportState::Removed);
        }
        let added = fresh.len();
        // In the order of the file, in which they are given.
        for text in codes.into_iter().filter(|text| fresh.remove(text)) {
            let campaign = campaign.clone();
            data.codes.push(Code {
                import,
                campaign,
                text,
                award: None,
                is_voided: false,
                is_erased: false,
            });
        }
        Ok(CodesAdded::Added { added, skipped })
    }

    /// One that is ready already says the same again: the first answer may have
    /// been lost.
    /// One step. The import is invisible from the first one on; codes that were
    /// given stay what their awards have.
    pub(super) fn import_removed(&self, import: Option<ImportId>) -> bool {
        let mut data = self.data();
        let Some(target) = import.or_else(|| data.next_removable()) else {
            return true;
        };
        data.set_import(target, ImportState::Removed);
        let mut budget = STEP_ROWS_MAX;
        data.codes.retain(|code| {
            let is_removed = code.import == target && code.is_free() && budget > 0;
            budget -= usize::from(is_removed);
            !is_removed
        });
        let has_rest = data
            .codes
            .iter()
            .any(|code| code.import == target && code.is_free());
        !has_rest && (import.is_some() || data.next_removable().is_none())
    }
}

impl Data {
    /// Codes of a prize that could be given, or were.
    pub(super) fn ready_codes(&self, campaign: &str, prize: &str) -> u64 {
        count(self, |code| {
            let is_given = code.award.is_some();
            self.imports.get(&code.import.0).is_some_and(|import| {
                (is_given || import.state == ImportState::Ready)
                    && *import.campaign == *campaign
                    && *import.prize == *prize
            })
        })
    }

    fn may_be_replaced(&self, code: &Code, by: ImportId) -> bool {
        code.is_free()
            && self
                .imports
                .get(&code.import.0)
                .is_some_and(|import| match import.state {
                    ImportState::Running => code.import.0 < by.0,
                    ImportState::Ready => false,
                    ImportState::Removed => true,
                })
    }

    /// An import that was never finished, or that is being removed and still has
    /// something to remove.
    fn next_removable(&self) -> Option<ImportId> {
        let has_rest = |id: i64| {
            self.codes
                .iter()
                .any(|code| code.import.0 == id && code.is_free())
        };
        self.imports
            .iter()
            .find(|(id, import)| match import.state {
                ImportState::Running => true,
                ImportState::Ready => false,
                ImportState::Removed => has_rest(**id),
            })
            .map(|(id, _)| ImportId(*id))
    }

    /// One that was finished once; whether it is being withdrawn already or not.
    pub(super) fn import_withdrawn(
        &mut self,
        campaign: &str,
        prize: &str,
        import: ImportId,
    ) -> bool {
        let is_of = |it: &Import| *it.campaign == *campaign && *it.prize == *prize;
        match self.imports.get_mut(&import.0).filter(|it| is_of(it)) {
            Some(it) if it.was_ready => {
                it.state = ImportState::Removed;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn import_finished(&mut self, import: ImportId) -> StoreResult<u64> {
        match self.imports.get(&import.0).map(|it| it.state) {
            Some(ImportState::Running | ImportState::Ready) => {}
            Some(ImportState::Removed) | None => return Err(not_running(import)),
        }
        self.set_import(import, ImportState::Ready);
        if let Some(it) = self.imports.get_mut(&import.0) {
            it.was_ready = true;
        }
        Ok(count(self, |code| code.import == import))
    }

    fn set_import(&mut self, import: ImportId, state: ImportState) {
        if let Some(it) = self.imports.get_mut(&import.0) {
            it.state = state;
        }
    }
}

fn count(data: &Data, is_meant: impl Fn(&Code) -> bool) -> u64 {
    u64::try_from(data.codes.iter().filter(|code| is_meant(code)).count()).unwrap_or(u64::MAX)
}

fn not_running(import: ImportId) -> StoreError {
    StoreError::Row(format!("import {} does not run", import.0))
}

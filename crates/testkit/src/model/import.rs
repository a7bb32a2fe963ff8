//! Imports of codes in steps: all or nothing, and invisible until one update makes
//! the whole import ready.

use super::ModelStore;
use super::data::{Code, Data, Import};
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
        let row = data.campaigns.get(campaign).and_then(|it| it.prizes.get(prize));
        if row.is_none_or(|row| row.kind != Kind::Code) {
            return ImportBegun::NotFound;
        }
        let id = data.imports.keys().next_back().map_or(1, |last| last + 1);
        let import = Import { campaign: campaign.into(), prize: prize.into(), is_ready: false };
        data.imports.insert(id, import);
        data.log(by, format!("code import {campaign}/{prize}"), now);
        ImportBegun::Begun(ImportId(id))
    }

    pub(super) fn codes_added(
        &self,
        import: ImportId,
        codes: Vec<String>,
        skip_duplicates: bool,
    ) -> StoreResult<CodesAdded> {
        let mut data = self.data();
        let campaign = open_import(&data, import)?.campaign.clone();
        let mut known: BTreeSet<String> = data
            .codes
            .iter()
            .filter(|code| code.campaign == campaign)
            .map(|code| code.text.clone())
            .collect();
        let (mut fresh, mut skipped) = (Vec::new(), 0);
        for (index, text) in codes.into_iter().enumerate() {
            if known.insert(text.clone()) {
                fresh.push(text);
            } else if skip_duplicates {
                skipped += 1;
            } else {
                return Ok(CodesAdded::Duplicate { index });
            }
        }
        let added = fresh.len();
        data.codes.extend(fresh.into_iter().map(|text| Code {
            import,
            campaign: campaign.clone(),
            text,
            award: None,
            is_voided: false,
        }));
        Ok(CodesAdded::Added { added, skipped })
    }

    pub(super) fn import_finished(&self, import: ImportId) -> StoreResult<u64> {
        let mut data = self.data();
        open_import(&data, import)?;
        if let Some(it) = data.imports.get_mut(&import.0) {
            it.is_ready = true;
        }
        Ok(count(&data, |code| code.import == import))
    }

    /// One step: the codes first, the import with its last one, so that a removal
    /// that dies half-way is found again.
    pub(super) fn import_removed(&self, import: Option<ImportId>) -> StoreResult<bool> {
        let mut data = self.data();
        let unfinished = data.imports.iter().find(|(_, it)| !it.is_ready).map(|(id, _)| ImportId(*id));
        let Some(import) = import.or(unfinished) else { return Ok(true) };
        open_import(&data, import)?;
        let mut budget = STEP_ROWS_MAX;
        data.codes.retain(|code| {
            let is_taken = code.import == import && budget > 0;
            budget -= usize::from(is_taken);
            !is_taken
        });
        if budget > 0 {
            data.imports.remove(&import.0);
        }
        Ok(budget > 0 && data.imports.values().all(|it| it.is_ready))
    }
}

impl Data {
    /// Codes of a prize that could be given, or were.
    pub(super) fn ready_codes(&self, campaign: &str, prize: &str) -> u64 {
        count(self, |code| {
            self.imports.get(&code.import.0).is_some_and(|import| {
                import.is_ready && *import.campaign == *campaign && *import.prize == *prize
            })
        })
    }
}

fn count(data: &Data, is_meant: impl Fn(&Code) -> bool) -> u64 {
    u64::try_from(data.codes.iter().filter(|code| is_meant(code)).count()).unwrap_or(u64::MAX)
}

fn open_import(data: &Data, import: ImportId) -> StoreResult<&Import> {
    data.imports
        .get(&import.0)
        .filter(|it| !it.is_ready)
        .ok_or_else(|| StoreError::Row(format!("import {} is not open", import.0)))
}

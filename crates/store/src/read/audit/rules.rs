//! The rules of all versions, for the checks that need them.

use super::super::campaigns::rules_of;
use crate::sql::Connection;
use crate::sql::{OrStoreError as _, inconsistent};
use serde_json::{Value, json};
use std::collections::HashMap;
use tombola_core::campaign::{CampaignFile, KindSpec, Rules};
use tombola_core::ports::StoreResult;

/// Every version of every campaign.
pub(super) struct Versions {
    by_number: HashMap<(i64, i32), Rules>,
    json: String,
}

impl Versions {
    pub(super) fn load(conn: &Connection) -> StoreResult<Self> {
        let mut statement = conn
            .prepare_large("SELECT campaign_id, version, file FROM campaign_version")
            .or_store()?;
        let mut rows = statement.query([]).or_store()?;
        let mut by_number = HashMap::new();
        while let Some(row) = rows.next().or_store()? {
            let number: (i64, i32) = (row.get(0).or_store()?, row.get(1).or_store()?);
            let json: String = row.get(2).or_store()?;
            let file: CampaignFile =
                serde_json::from_str(&json).map_err(|error| inconsistent(error.to_string()))?;
            by_number.insert(number, rules_of(&file).or_store()?);
        }
        let json = Value::Array(
            by_number
                .iter()
                .flat_map(|(number, rules)| rows_of(*number, rules))
                .collect(),
        );
        Ok(Self {
            by_number,
            json: json.to_string(),
        })
    }

    /// The rules of a version.
    pub(super) fn get(&self, campaign_id: i64, version: i32) -> Option<&Rules> {
        self.by_number.get(&(campaign_id, version))
    }

    /// `[campaign id, version, prize slug, daily cap, wins by user, points]` of each
    /// prize of each version.
    pub(super) fn json(&self) -> &String {
        &self.json
    }
}

fn rows_of((campaign_id, version): (i64, i32), rules: &Rules) -> impl Iterator<Item = Value> {
    rules.prizes.iter().map(move |prize| {
        let points = match prize.spec {
            KindSpec::Points { points } => Some(points),
            KindSpec::Text { .. }
            | KindSpec::Code { .. }
            | KindSpec::Webhook { .. }
            | KindSpec::Physical { .. }
            | KindSpec::External { .. } => None,
        };
        json!([
            campaign_id,
            version,
            prize.slug,
            prize.daily_cap,
            prize.per_user_wins,
            points
        ])
    })
}

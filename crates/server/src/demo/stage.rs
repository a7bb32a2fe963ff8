//! Sets the stage: the embedded campaign, its code file and the endpoint of the
//! receiver, put in through the API as an operator would.

use super::wire::{Call, Wire, patient};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::sync::Arc;
use tombola_core::campaign::{CampaignFile, Rules, parse_toml};

const CAMPAIGN: &str = include_str!("../../../../examples/spring-festival.toml");
const CODES: &str = include_str!("../../../../examples/spring-festival-codes.csv");
/// The name that the campaign gives its endpoint.
const ENDPOINT: &str = "coupon-service";

/// The campaign that is played.
pub(crate) struct Stage {
    pub(crate) rules: Rules,
    file: CampaignFile,
}

impl Stage {
    /// Reads the embedded campaign.
    pub(crate) fn read() -> Result<Self> {
        let file = parse_toml("spring-festival.toml", CAMPAIGN)
            .map_err(|problems| anyhow::anyhow!("the embedded campaign is broken: {problems:?}"))?;
        let rules = file
            .check()
            .map_err(|problems| anyhow::anyhow!("the embedded campaign is broken: {problems:?}"))?;
        Ok(Self { rules, file })
    }

    /// Puts endpoint, campaign and codes in, and starts the campaign.
    pub(crate) async fn set(&self, wire: &Arc<dyn Wire>, url: &str, secret: &str) -> Result<()> {
        let endpoint = json!({
            "name": ENDPOINT,
            "url": url,
            "secret": secret,
            "idempotent": true,
            "conflict_means_delivered": true,
            "timeout": "1s",
            "concurrency": 32,
            "allow_private": true,
        });
        let endpoint = endpoint.to_string();
        patient(
            wire,
            Call::put(&format!("/v1/endpoints/{ENDPOINT}"), endpoint.as_bytes()),
        )
        .await?;
        let campaign = format!("/v1/campaigns/{}", self.rules.slug);
        patient(wire, Call::put(&campaign, self.file.to_json().as_bytes())).await?;
        for prize in &self.rules.prizes {
            if prize.kind() == tombola_core::campaign::Kind::Code {
                let path = format!("{campaign}/prizes/{}/codes", prize.slug);
                let codes = Call::post(&path, "demo-codes", CODES.as_bytes()).csv();
                patient(wire, codes)
                    .await
                    .context("the code file was not taken")?;
            }
        }
        for to in ["submit", "approve", "start"] {
            let body = json!({ "to": to, "reason": "demo" }).to_string();
            let path = format!("{campaign}/transitions");
            patient(
                wire,
                Call::post(&path, &format!("demo-{to}-1"), body.as_bytes()),
            )
            .await?;
        }
        Ok(())
    }

    /// Wins to expect of `answered` draws from the odds, under stock and daily cap;
    /// what cannot be given counts for the fallback. Caps per user are left out.
    pub(crate) fn expected(&self, answered: u64) -> Vec<f64> {
        let rules = &self.rules;
        let float = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let share = |weight: u64| {
            float(answered) * float(weight / 1000) / float((rules.total / 1000).max(1))
        };
        let mut over = 0.0;
        let mut expected: Vec<f64> = rules
            .prizes
            .iter()
            .map(|prize| {
                let plain = share(prize.weight);
                let cap = prize.stock.into_iter().chain(prize.daily_cap).min();
                let given = cap.map_or(plain, |cap| plain.min(float(cap)));
                over += plain - given;
                given
            })
            .collect();
        if let tombola_core::campaign::OnUnavailable::Fallback(index) = rules.on_unavailable {
            expected[index] += over;
        }
        expected
    }
}

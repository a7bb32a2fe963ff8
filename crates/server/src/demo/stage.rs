//! Sets the stage: the embedded campaign, its code file and the endpoint of the
//! receiver, put in through the API as an operator would.

use super::wire::{Call, Wire, patient};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::sync::Arc;
use tombola_core::campaign::{CampaignFile, OnUnavailable, Prize, Rules, parse_toml};

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

    /// Wins to expect, from the odds, of the answered draws of each user, under stock, daily
    /// cap and wins per user; what cannot be given counts for the fallback.
    pub(crate) fn expected(&self, draws_of_users: &[u32]) -> Vec<f64> {
        let rules = &self.rules;
        let mut over = 0.0;
        let mut expected: Vec<f64> = rules
            .prizes
            .iter()
            .map(|prize| {
                let odds = float(prize.weight / 1000) / float((rules.total / 1000).max(1));
                let of_users = draws_of_users.iter();
                let plain: f64 = of_users.clone().map(|draws| f64::from(*draws) * odds).sum();
                let to_users = prize.per_user_wins.map_or(plain, |max| {
                    of_users.map(|draws| given_to_one(*draws, odds, max)).sum()
                });
                let cap = prize.stock.into_iter().chain(prize.daily_cap).min();
                let given = cap.map_or(to_users, |cap| to_users.min(float(cap)));
                over += plain - given;
                given
            })
            .collect();
        if let OnUnavailable::Fallback(index) = rules.on_unavailable {
            expected[index] += over;
        }
        expected
    }

    /// The prize that is given instead of one that cannot be.
    pub(crate) fn fallback(&self) -> Option<&Prize> {
        match self.rules.on_unavailable {
            OnUnavailable::Fallback(index) => self.rules.prizes.get(index),
            OnUnavailable::NoWin | OnUnavailable::Spread => None,
        }
    }
}

fn float(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The mean of the wins that a user is given who has so many draws and may win no more than
/// `max`: what lacks to `max`, weighed by its chance.
fn given_to_one(draws: u32, odds: f64, max: u64) -> f64 {
    let max = u32::try_from(max).unwrap_or(u32::MAX).min(draws);
    let mut chance = (1.0 - odds).powf(f64::from(draws));
    let mut lacking = 0.0;
    for wins in 0..max {
        lacking += f64::from(max - wins) * chance;
        chance *= f64::from(draws - wins) / f64::from(wins + 1) * odds / (1.0 - odds);
    }
    f64::from(max) - lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn user_is_expected_to_be_given_no_more_wins_than_the_campaign_allows() {
        // Of two draws at one half: none, one or two wins at 1/4, 1/2, 1/4.
        for (draws, max, given) in [
            (2, 1, 0.75),
            (2, 2, 1.0),
            (2, 9, 1.0),
            (1, 1, 0.5),
            (0, 1, 0.0),
        ] {
            assert!(
                is_near(given_to_one(draws, 0.5, max), given),
                "{draws} {max}"
            );
        }
    }

    #[test]
    fn what_cannot_be_given_is_expected_of_the_fallback() {
        let stage = Stage::read().unwrap();
        let expected = stage.expected(&[16; 500]);
        let of = |slug: &str| {
            let index = stage.rules.prizes.iter().position(|it| it.slug == slug);
            expected[index.unwrap()]
        };
        for (slug, wins) in [
            ("tea-set", 50.0),
            ("tea-voucher", 400.0),
            ("ride-coupon", 480.0),
            ("cinema-seat", 100.0),
            ("golden-fortune", 500.0 * (1.0 - 0.97_f64.powi(16))),
        ] {
            assert!(is_near(of(slug), wins), "{slug}: {}", of(slug));
        }
        assert!(is_near(expected.iter().sum(), 0.755 * 8000.0));
    }
}

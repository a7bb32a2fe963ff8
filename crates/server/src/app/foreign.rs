//! Messages of another draw system: before a worker adopts any, each prize of the map has
//! to be one that can take them in.

use super::{App, ServeRole, ServeRoles};
use anyhow::{Context as _, bail};
use tombola_core::adoption::adoptable;
use tombola_engine::{Adopt, PrizeOf};

impl App {
    /// Whose messages the workers adopt, if any are.
    pub(super) fn adopt(&self) -> Option<Adopt> {
        self.0.config.delivery.adopt(self.claims().newest())
    }

    /// Says what keeps a prize of `delivery.foreign_prizes` from adopting. What is wrong
    /// with it later is told of each message that it is wrong for.
    pub async fn check_adoption(&self, roles: &ServeRoles) -> anyhow::Result<()> {
        let Some(adopt) = self.adopt().filter(|_| roles.has(ServeRole::Worker)) else {
            return Ok(());
        };
        let mut prizes: Vec<_> = adopt.prizes.iter().collect();
        prizes.sort_unstable_by_key(|(award_id, _)| *award_id);
        for (award_id, prize) in prizes {
            let named = format!("{award_id:?} = \"{}/{}\"", prize.campaign, prize.prize);
            self.check_prize(prize)
                .await
                .with_context(|| format!("`delivery.foreign_prizes`: {named}"))?;
        }
        Ok(())
    }

    async fn check_prize(&self, PrizeOf { campaign, prize }: &PrizeOf) -> anyhow::Result<()> {
        let store = self.store();
        let Some(shown) = store.campaign_show(campaign, self.now()).await? else {
            bail!("there is no campaign {campaign}: `tombola campaign apply` it before the start");
        };
        let file = store.campaign_export(campaign, Some(shown.fact.version));
        let file = file.await?.context("its version is gone")?;
        let Ok(rules) = file.check() else {
            bail!("the file of campaign {campaign} does not check");
        };
        if rules.prize(prize).is_none() {
            bail!("campaign {campaign} has no prize {prize}");
        }
        if adoptable(&rules, prize).is_err() {
            bail!(
                "whoever draws counts: take stock, daily_cap and per_user_wins from prize {prize}, \
                 and [limits] from campaign {campaign}"
            );
        }
        Ok(())
    }
}

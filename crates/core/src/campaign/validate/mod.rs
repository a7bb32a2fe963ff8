//! From what a campaign file says to the rules it stands for. Every rule of the
//! contract is checked and every problem is reported, each with its pointer and
//! its mend; `Rules` are made only where there is none.

mod kinds;
mod prizes;
mod times;
mod values;
mod weights;

use super::file::{CampaignFile, Problem, nearest};
use super::rules::{Limits, OnUnavailable, Prize, Rules};
use crate::limits::{AWARD_NAME_BYTES_MAX, PRIZES_MAX};
use jiff::tz::TimeZone;

/// The problems found so far.
#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn report(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Problem::new(path, what, mend));
    }
}

impl CampaignFile {
    /// The rules that this file stands for, or everything that is wrong with it.
    /// Nothing outside is asked: whether codes, endpoints and their names exist
    /// is known at the start of the campaign.
    pub fn check(&self) -> Result<Rules, Vec<Problem>> {
        let mut findings = Findings::default();
        let found = &mut findings;
        values::slug("/campaign/slug", "slug", &self.campaign.slug, found);
        values::name(
            "/campaign/name",
            &self.campaign.name,
            AWARD_NAME_BYTES_MAX,
            found,
        );
        let zone = times::zone(self.campaign.time_zone.as_deref(), found);
        let (starts_at, ends_at) = times::period(&self.campaign, zone.as_ref(), found);
        let limits = self.check_limits(found);
        let weights = weights::weigh(self, found);
        let prizes = self.check_prizes(zone.as_ref(), &weights.of_prizes, found);
        let on_unavailable = self.check_on_unavailable(found);
        let rules = zone
            .zip(on_unavailable)
            .map(|(zone, on_unavailable)| Rules {
                slug: self.campaign.slug.clone(),
                name: self.campaign.name.clone(),
                zone,
                starts_at,
                ends_at,
                limits,
                on_unavailable,
                prizes,
                total: weights.total,
            });
        match rules {
            Some(rules) if findings.0.is_empty() => Ok(rules),
            Some(_) | None => Err(findings.0),
        }
    }

    fn check_limits(&self, found: &mut Findings) -> Limits {
        let mut limit =
            |key: &str, value| values::count(&format!("/limits/{key}"), key, value, 1, found);
        Limits {
            per_user_total: limit("per_user_total", self.limits.per_user_total),
            per_user_per_day: limit("per_user_per_day", self.limits.per_user_per_day),
            campaign_total: limit("campaign_total", self.limits.campaign_total),
        }
    }

    fn check_prizes(
        &self,
        zone: Option<&TimeZone>,
        weights: &[u64],
        found: &mut Findings,
    ) -> Vec<Prize> {
        if self.prize.is_empty() {
            found.report("/prize", "the campaign has no prize", "add a `[[prize]]`");
        }
        if self.prize.len() > PRIZES_MAX {
            found.report(
                format!("/prize/{PRIZES_MAX}"),
                format!("{} prizes are more than {PRIZES_MAX}", self.prize.len()),
                "split the campaign in two, or join prizes",
            );
        }
        prizes::unique_slugs(&self.prize, found);
        let sections = self.prize.iter().take(PRIZES_MAX).zip(weights).enumerate();
        sections
            .filter_map(|(index, (prize, weight))| {
                prizes::Check {
                    prize,
                    index,
                    zone,
                    found,
                }
                .run(*weight)
            })
            .collect()
    }

    fn check_on_unavailable(&self, found: &mut Findings) -> Option<OnUnavailable> {
        const PATH: &str = "/odds/on_unavailable";
        let written = self.odds.on_unavailable.as_deref();
        if self.odds.fallback.is_some() && matches!(written, None | Some("no_win" | "spread")) {
            found.report(
                "/odds/fallback",
                "`fallback` names a prize that is never used",
                "write `on_unavailable = \"fallback\"`, or remove `fallback`",
            );
        }
        match written {
            None | Some("no_win") => Some(OnUnavailable::NoWin),
            Some("spread") => Some(OnUnavailable::Spread),
            Some("fallback") => self.check_fallback(found).map(OnUnavailable::Fallback),
            Some(other) => {
                let mend = match nearest(other, ["no_win", "spread", "fallback"]) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "write \"no_win\", \"spread\" or \"fallback\"".to_owned(),
                };
                let what = format!("`on_unavailable` cannot be {}", values::quoted(other));
                found.report(PATH, what, mend);
                None
            }
        }
    }

    /// The index of the fallback prize, which can always be given. A file without
    /// prizes is reported for that, not for its fallback.
    fn check_fallback(&self, found: &mut Findings) -> Option<usize> {
        const PATH: &str = "/odds/fallback";
        let Some(slug) = self.odds.fallback.as_deref() else {
            let what = "`on_unavailable = \"fallback\"` names no prize";
            found.report(
                PATH,
                what,
                "add `fallback = \"…\"` with the slug of an unlimited prize",
            );
            return None;
        };
        if self.prize.is_empty() {
            return None;
        }
        let Some(index) = self.prize.iter().position(|prize| prize.slug == slug) else {
            let known = self.prize.iter().map(|prize| prize.slug.as_str());
            let mend = match nearest(slug, known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "name the slug of a prize of this file".to_owned(),
            };
            found.report(
                PATH,
                format!("no prize has the slug {}", values::quoted(slug)),
                mend,
            );
            return None;
        };
        let prize = self.prize.get(index)?;
        let bounds = [
            ("stock", prize.stock),
            ("daily_cap", prize.daily_cap),
            ("per_user_wins", prize.per_user_wins),
        ];
        for (key, _) in bounds.into_iter().filter(|(_, bound)| bound.is_some()) {
            found.report(
                format!("/prize/{index}/{key}"),
                format!(
                    "the fallback {} can run out: it has `{key}`",
                    values::quoted(slug)
                ),
                format!("remove `{key}`, or name an unlimited prize as the fallback"),
            );
        }
        Some(index)
    }
}

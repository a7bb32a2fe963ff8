//! One prize: what every kind has.

use super::values::{self, quoted};
use super::{Findings, times};
use crate::campaign::file::{PrizeSection, nearest};
use crate::campaign::rules::{Kind, Prize, Release};
use crate::limits::{AWARD_ID_BYTES_MAX, AWARD_NAME_BYTES_MAX};
use crate::time::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Reports each slug that an earlier prize has already.
pub(super) fn unique_slugs(prizes: &[PrizeSection], found: &mut Findings) {
    let mut seen = BTreeMap::new();
    for (index, prize) in prizes
        .iter()
        .enumerate()
        .filter(|(_, prize)| !prize.slug.is_empty())
    {
        if let Some(first) = seen.insert(prize.slug.as_str(), index) {
            let what = format!(
                "prize {} has the slug {} already",
                first + 1,
                quoted(&prize.slug)
            );
            found.report(
                format!("/prize/{index}/slug"),
                what,
                "give each prize a slug of its own",
            );
        }
    }
}

/// The check of one prize.
pub(super) struct Check<'a> {
    pub(super) prize: &'a PrizeSection,
    pub(super) index: usize,
    pub(super) zone: Option<&'a TimeZone>,
    pub(super) found: &'a mut Findings,
}

impl Check<'_> {
    /// The prize with its weight; `None` only where a problem was reported.
    pub(super) fn run(mut self, weight: u64) -> Option<Prize> {
        let prize = self.prize;
        values::slug(&self.path("slug"), "slug", &prize.slug, self.found);
        values::name(
            &self.path("name"),
            &prize.name,
            AWARD_NAME_BYTES_MAX,
            self.found,
        );
        let stock = self.count("stock", prize.stock, 0);
        let daily_cap = self.count("daily_cap", prize.daily_cap, 1);
        let per_user_wins = self.count("per_user_wins", prize.per_user_wins, 1);
        let release = self.release();
        let award_id = self.award_id();
        let award_type = self.award_type();
        let spec = self.kind().and_then(|kind| {
            self.foreign_keys(kind);
            self.spec(kind)
        });
        Some(Prize {
            slug: prize.slug.clone(),
            name: prize.name.clone(),
            spec: spec?,
            weight,
            stock,
            daily_cap,
            per_user_wins,
            release: release?,
            return_stock: prize.return_stock.unwrap_or(false),
            award_id,
            award_type,
        })
    }

    pub(super) fn path(&self, key: &str) -> String {
        format!("/prize/{}/{key}", self.index)
    }

    pub(super) fn report(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.found.report(self.path(key), what, mend);
    }

    fn count(&mut self, key: &str, value: Option<i64>, least: u64) -> Option<u64> {
        values::count(&self.path(key), key, value, least, self.found)
    }

    pub(super) fn text(
        &mut self,
        key: &str,
        text: Option<&str>,
        bytes_max: usize,
    ) -> Option<String> {
        values::text(&self.path(key), key, text, bytes_max, self.found)
    }

    fn kind(&mut self) -> Option<Kind> {
        let written = self.prize.kind.as_str();
        let kind = Kind::parse(written);
        if kind.is_none() {
            let names = Kind::ALL.map(Kind::name);
            let mend = match nearest(written, names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of {}", names.join(", ")),
            };
            let what = match written {
                "" => "`kind` is missing or empty".to_owned(),
                _ => format!("no kind is called {}", quoted(written)),
            };
            self.report("kind", what, mend);
        }
        kind
    }

    fn award_id(&mut self) -> Option<String> {
        let id = self.prize.award_id.as_deref()?;
        let is_visible = id.bytes().all(|byte| byte.is_ascii_graphic());
        if id.is_empty() || id.len() > AWARD_ID_BYTES_MAX || !is_visible {
            let what = format!(
                "`award_id` is {}, and has to be 1 to {AWARD_ID_BYTES_MAX} visible ASCII characters",
                quoted(id)
            );
            self.report(
                "award_id",
                what,
                "write a shorter id without spaces, or remove it",
            );
        }
        Some(id.to_owned())
    }

    fn award_type(&mut self) -> Option<i32> {
        let written = self.prize.award_type?;
        let award_type = i32::try_from(written).ok().filter(|number| *number > 0);
        if award_type.is_none() {
            let what = format!("`award_type` is {written}, and has to be 1 to {}", i32::MAX);
            self.report("award_type", what, "write a positive number, or remove it");
        }
        award_type
    }

    fn release(&mut self) -> Option<Release> {
        match self.prize.release.as_deref() {
            None | Some("immediate") => Some(Release::Immediate),
            Some("manual") => Some(Release::Manual),
            Some(text) if text.parse::<jiff::Timestamp>().is_ok() => {
                Timestamp::parse(text).map(Release::At)
            }
            Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => times::local(
                &self.path("release"),
                "release",
                text,
                self.zone,
                self.found,
            )
            .map(Release::At),
            Some(text) => {
                let mend = match nearest(text, ["immediate", "manual"]) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "write \"immediate\", \"manual\" or a time as \"2026-02-10T00:00:00\""
                        .to_owned(),
                };
                self.report(
                    "release",
                    format!("`release` cannot be {}", quoted(text)),
                    mend,
                );
                None
            }
        }
    }
}

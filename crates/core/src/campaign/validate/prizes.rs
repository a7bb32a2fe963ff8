//! One prize: what every kind has, and what only its own kind has.

use super::values::{self, quoted};
use super::{Findings, times};
use crate::campaign::file::{PrizeSection, nearest};
use crate::campaign::rules::{Kind, KindSpec, Prize, Release};
use crate::limits::{AWARD_CONTENT_BYTES_MAX, AWARD_NAME_BYTES_MAX};
use crate::time::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

const POINTS_MAX: u32 = 1_000_000_000;
const AWARD_ID_BYTES_MAX: usize = 64;
const FILE_NAME_BYTES_MAX: usize = 255;
const CLAIM_WITHIN_DAYS: u64 = 14;
const SHIP_WITHIN_DAYS: u64 = 30;
const CONFIRM_WITHIN_DAYS: u64 = 7;

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

    fn path(&self, key: &str) -> String {
        format!("/prize/{}/{key}", self.index)
    }

    fn report(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.found.report(self.path(key), what, mend);
    }

    fn count(&mut self, key: &str, value: Option<i64>, least: u64) -> Option<u64> {
        values::count(&self.path(key), key, value, least, self.found)
    }

    fn text(&mut self, key: &str, text: Option<&str>, bytes_max: usize) -> Option<String> {
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

    /// Reports each key that belongs to another kind.
    fn foreign_keys(&mut self, kind: Kind) {
        let prize = self.prize;
        let keys: [(&str, bool, &[Kind]); 8] = [
            ("text", prize.text.is_some(), &[Kind::Text]),
            ("codes", prize.codes.is_some(), &[Kind::Code]),
            ("points", prize.points.is_some(), &[Kind::Points]),
            ("endpoint", prize.endpoint.is_some(), &[Kind::Webhook]),
            (
                "content",
                prize.content.is_some(),
                &[Kind::Webhook, Kind::External],
            ),
            (
                "claim_within",
                prize.claim_within.is_some(),
                &[Kind::Physical],
            ),
            (
                "ship_within",
                prize.ship_within.is_some(),
                &[Kind::Physical],
            ),
            (
                "confirm_within",
                prize.confirm_within.is_some(),
                &[Kind::External],
            ),
        ];
        for (key, is_present, owners) in keys {
            if is_present && !owners.contains(&kind) {
                let owners = owners.iter().map(|owner| owner.name()).collect::<Vec<_>>();
                let what = format!("`{key}` belongs to kind {}", owners.join(" and kind "));
                self.report(
                    key,
                    what,
                    format!("remove `{key}`: this prize is of kind {kind}"),
                );
            }
        }
    }

    /// What the kind carries; `None` where a key that it needs is missing.
    fn spec(&mut self, kind: Kind) -> Option<KindSpec> {
        let prize = self.prize;
        Some(match kind {
            Kind::Text => {
                self.needs("text", prize.text.is_some(), kind, "\"…\"");
                let text = self.text("text", prize.text.as_deref(), AWARD_CONTENT_BYTES_MAX)?;
                KindSpec::Text { text }
            }
            Kind::Code => KindSpec::Code {
                codes: self.codes(),
            },
            Kind::Points => {
                self.needs("points", prize.points.is_some(), kind, "10");
                KindSpec::Points {
                    points: self.points()?,
                }
            }
            Kind::Webhook => {
                self.needs("endpoint", prize.endpoint.is_some(), kind, "\"…\"");
                let endpoint = prize.endpoint.clone()?;
                values::slug(&self.path("endpoint"), "endpoint", &endpoint, self.found);
                KindSpec::Webhook {
                    endpoint,
                    content: self.content(),
                }
            }
            Kind::Physical => KindSpec::Physical {
                claim_within: self.duration(
                    "claim_within",
                    prize.claim_within.as_deref(),
                    CLAIM_WITHIN_DAYS,
                ),
                ship_within: self.duration(
                    "ship_within",
                    prize.ship_within.as_deref(),
                    SHIP_WITHIN_DAYS,
                ),
            },
            Kind::External => KindSpec::External {
                confirm_within: self.duration(
                    "confirm_within",
                    prize.confirm_within.as_deref(),
                    CONFIRM_WITHIN_DAYS,
                ),
                content: self.content(),
            },
        })
    }

    fn needs(&mut self, key: &str, is_present: bool, kind: Kind, example: &str) {
        if !is_present {
            let what = format!("a prize of kind {kind} needs `{key}`");
            self.report(key, what, format!("add `{key} = {example}`"));
        }
    }

    fn duration(
        &mut self,
        key: &str,
        text: Option<&str>,
        default_days: u64,
    ) -> std::time::Duration {
        values::duration(&self.path(key), key, text, default_days, self.found)
    }

    fn content(&mut self) -> Option<String> {
        self.text(
            "content",
            self.prize.content.as_deref(),
            AWARD_CONTENT_BYTES_MAX,
        )
    }

    fn points(&mut self) -> Option<u32> {
        let written = self.prize.points?;
        let points = u32::try_from(written)
            .ok()
            .filter(|points| (1..=POINTS_MAX).contains(points));
        if points.is_none() {
            let what = format!("`points` is {written}, and has to be 1 to {POINTS_MAX}");
            self.report("points", what, "write another number");
        }
        points
    }

    /// A plain file name: a campaign file from elsewhere must not make the
    /// command line read anything but what lies beside it.
    fn codes(&mut self) -> Option<String> {
        let codes = self.text("codes", self.prize.codes.as_deref(), FILE_NAME_BYTES_MAX)?;
        if codes.contains(['/', '\\']) || codes == "." || codes == ".." {
            let what = format!(
                "`codes` is {}, which is not a plain file name",
                quoted(&codes)
            );
            self.report("codes", what, "put the code file beside the campaign file");
        }
        Some(codes)
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

//! What only a prize of its own kind has.

use super::prizes::Check;
use super::values::{self, quoted};
use crate::campaign::rules::{Kind, KindSpec};
use crate::limits::{AWARD_CONTENT_BYTES_MAX, FILE_NAME_BYTES_MAX, POINTS_MAX};
use std::time::Duration;

const CLAIM_WITHIN_DAYS: u64 = 14;
const SHIP_WITHIN_DAYS: u64 = 30;
const CONFIRM_WITHIN_DAYS: u64 = 7;

impl Check<'_> {
    /// Reports each key that belongs to another kind.
    pub(super) fn foreign_keys(&mut self, kind: Kind) {
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
    pub(super) fn spec(&mut self, kind: Kind) -> Option<KindSpec> {
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

    fn duration(&mut self, key: &str, text: Option<&str>, default_days: u64) -> Duration {
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
}

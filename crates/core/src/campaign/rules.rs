//! One version of a campaign's rules, checked and ready to draw by. A version is
//! never edited; an edit is a new version. Nothing here can be invalid: the only
//! way to make `Rules` is `CampaignFile::check`.

use crate::time::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How a prize is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A text shown to the winner.
    Text,
    /// A unique code from an imported pool.
    Code,
    /// A credit in the points ledger.
    Points,
    /// A call to an outside endpoint.
    Webhook,
    /// A thing that is shipped to an address collected after the win.
    Physical,
    /// Another service reads the topic, delivers and confirms.
    External,
}

impl Kind {
    /// All kinds, in the order of the documents.
    pub const ALL: [Self; 6] = [
        Self::Text,
        Self::Code,
        Self::Points,
        Self::Webhook,
        Self::Physical,
        Self::External,
    ];

    /// The name in files, columns, labels and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Code => "code",
            Self::Points => "points",
            Self::Webhook => "webhook",
            Self::Physical => "physical",
            Self::External => "external",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// `awardType` on the wire unless the prize sets its own: 1 text, 2 code,
    /// 3 webhook or external, 4 physical, 5 points.
    pub const fn award_type(self) -> i32 {
        match self {
            Self::Text => 1,
            Self::Code => 2,
            Self::Webhook | Self::External => 3,
            Self::Physical => 4,
            Self::Points => 5,
        }
    }

    /// Whether the player gets a claim token with a win of this kind.
    pub const fn has_claim_token(self) -> bool {
        matches!(self, Self::Text | Self::Code | Self::Physical)
    }

    /// Whether the worker makes a call to deliver it (the award has a lane above 0).
    pub const fn is_outside(self) -> bool {
        matches!(self, Self::Webhook)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a prize of each kind carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindSpec {
    /// The text that is delivered, 1 to 4,096 bytes.
    Text { text: String },
    /// The code file beside the campaign file, read by the CLI.
    Code { codes: Option<String> },
    /// Points credited, 1 to 10^9.
    Points { points: u32 },
    /// The endpoint's name and the content sent to it.
    Webhook {
        endpoint: String,
        content: Option<String>,
    },
    /// How long the winner may take to give an address, and the operator to ship.
    Physical {
        claim_within: Duration,
        ship_within: Duration,
    },
    /// How long the other service may take to confirm.
    External {
        confirm_within: Duration,
        content: Option<String>,
    },
}

impl KindSpec {
    /// The kind that these details belong to.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text { .. } => Kind::Text,
            Self::Code { .. } => Kind::Code,
            Self::Points { .. } => Kind::Points,
            Self::Webhook { .. } => Kind::Webhook,
            Self::Physical { .. } => Kind::Physical,
            Self::External { .. } => Kind::External,
        }
    }
}

/// When the award of a prize may be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// At once.
    Immediate,
    /// By an operator.
    Manual,
    /// At this instant.
    At(Timestamp),
}

/// One prize of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prize {
    /// Unique in the campaign, `[a-z0-9-]{1,40}`.
    pub slug: String,
    /// Shown to people, 1 to 256 bytes.
    pub name: String,
    /// How it is delivered.
    pub spec: KindSpec,
    /// Its share of [`Rules::total`].
    pub weight: u64,
    /// Units to give in all; `None` is unlimited.
    pub stock: Option<u64>,
    /// Units to give per civil day of the campaign's zone.
    pub daily_cap: Option<u64>,
    /// Units one user may win.
    pub per_user_wins: Option<u64>,
    /// When its awards are delivered.
    pub release: Release,
    /// Whether a cancelled award gives its unit back to the stock by itself.
    pub return_stock: bool,
    /// `awardId` on the wire, else `<campaign>/<prize>`.
    pub award_id: Option<String>,
    /// `awardType` on the wire, else the kind's.
    pub award_type: Option<i32>,
}

impl Prize {
    /// How it is delivered.
    pub const fn kind(&self) -> Kind {
        self.spec.kind()
    }

    /// Whether it can always be given.
    pub const fn is_unlimited(&self) -> bool {
        self.stock.is_none() && self.daily_cap.is_none() && self.per_user_wins.is_none()
    }

    /// The content on the wire: what a service that reads the topic may show or
    /// act on. Never a secret: a code is taken at delivery, not carried.
    pub fn content(&self) -> Option<String> {
        match &self.spec {
            KindSpec::Text { text } => Some(text.clone()),
            KindSpec::Points { points } => Some(points.to_string()),
            KindSpec::Webhook { content, .. } | KindSpec::External { content, .. } => {
                content.clone()
            }
            KindSpec::Code { .. } | KindSpec::Physical { .. } => None,
        }
    }
}

/// What a roll gives that fell on a prize which cannot be given: out of stock,
/// over its daily cap, or over this user's `per_user_wins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// Nothing (the single-rate algorithm).
    NoWin,
    /// The shares of such prizes pass to those that can be given, in proportion;
    /// nothing keeps its declared share (the overall-rate algorithm).
    Spread,
    /// This prize, by its index, which is unlimited.
    Fallback(usize),
}

/// How often users may draw; an absent limit is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Draws of one user over the campaign's life.
    pub per_user_total: Option<u64>,
    /// Draws of one user per civil day of the campaign's zone.
    pub per_user_per_day: Option<u64>,
    /// Draws of all users.
    pub campaign_total: Option<u64>,
}

/// One checked version of a campaign.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Names the campaign.
    pub slug: String,
    /// Shown to people.
    pub name: String,
    /// The zone of its civil days.
    pub zone: TimeZone,
    /// First instant of the period, if it has one.
    pub starts_at: Option<Timestamp>,
    /// First instant after the period, if it has one.
    pub ends_at: Option<Timestamp>,
    /// How often users may draw.
    pub limits: Limits,
    /// What a roll on a prize that cannot be given gives.
    pub on_unavailable: OnUnavailable,
    /// In the order of the file. A draw stores an index's slug, never the index.
    pub prizes: Vec<Prize>,
    /// Sum of all weights and of the weight of nothing, below 2^40.
    pub total: u64,
}

impl Rules {
    /// The weight of winning nothing.
    pub fn nothing_weight(&self) -> u64 {
        self.total - self.prizes.iter().map(|prize| prize.weight).sum::<u64>()
    }

    /// The prize of that slug, with its index.
    pub fn prize(&self, slug: &str) -> Option<(usize, &Prize)> {
        self.prizes
            .iter()
            .enumerate()
            .find(|(_, prize)| prize.slug == slug)
    }

    /// Whether `at` lies in the period: from `starts_at`, before `ends_at`.
    pub fn is_within_period(&self, at: Timestamp) -> bool {
        self.starts_at.is_none_or(|start| at >= start) && self.ends_at.is_none_or(|end| at < end)
    }
}

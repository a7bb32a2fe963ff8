//! A campaign as people write it: the TOML of a campaign file, and the same
//! shape as JSON for the API and for storage. What it says is kept as written
//! here (absent keys are `None` and are not written, a required text that is
//! missing is empty); what it means is [`Rules`](super::Rules), made by
//! [`CampaignFile::check`]. Reading collects every problem, each with its place,
//! so that a file is mended in one go.

mod nearest;
mod node;
mod problem;
mod shape;

pub use nearest::nearest;
pub use problem::Problem;
pub(in crate::campaign) use problem::quoted;

use crate::limits;
use node::Node;
use serde::{Deserialize, Serialize};

/// Everything a campaign file may say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!default))]
#[serde(deny_unknown_fields, default)]
pub struct CampaignFile {
    /// `[campaign]`
    pub campaign: CampaignSection,
    /// `[limits]`
    #[serde(skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(default, with = "Option<LimitsSection>"))]
    pub limits: LimitsSection,
    /// `[odds]`
    #[serde(skip_serializing_if = "is_default")]
    #[cfg_attr(feature = "schema", schemars(default, with = "Option<OddsSection>"))]
    pub odds: OddsSection,
    /// `[[prize]]`, 1 to 200 of them.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::PRIZES_MAX)))]
    pub prize: Vec<PrizeSection>,
}

/// `[campaign]`: what it is called and when it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!default))]
#[serde(deny_unknown_fields, default)]
pub struct CampaignSection {
    /// Names it in addresses and commands, `[a-z0-9-]{1,40}`.
    #[cfg_attr(feature = "schema", schemars(length(max = limits::SLUG_BYTES_MAX), regex(pattern = "^[a-z0-9-]+$")))]
    pub slug: String,
    /// Shown to people, 1 to 256 bytes.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::AWARD_NAME_BYTES_MAX)))]
    pub name: String,
    /// IANA name of the zone of its days and times; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// First local time of the period; open from the start if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// First local time after the period; open until closed if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
}

/// `[limits]`: how often users may draw, each at least 1; absent is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!default))]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Draws of one user over the campaign's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::WEIGHT_TOTAL_MAX)))]
    pub per_user_total: Option<i64>,
    /// Draws of one user per civil day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::WEIGHT_TOTAL_MAX)))]
    pub per_user_per_day: Option<i64>,
    /// Draws of all users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::WEIGHT_TOTAL_MAX)))]
    pub campaign_total: Option<i64>,
}

/// `[odds]`: what belongs to all prizes together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!default))]
#[serde(deny_unknown_fields, default)]
pub struct OddsSection {
    /// `no_win`, `spread` or `fallback`; `no_win` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["no_win", "spread", "fallback", null])))]
    pub on_unavailable: Option<String>,
    /// The slug of an unlimited prize, with `on_unavailable = "fallback"` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = limits::SLUG_BYTES_MAX), regex(pattern = "^[a-z0-9-]+$")))]
    pub fallback: Option<String>,
    /// The weight of winning nothing, beside `weight` on every prize; 0 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = limits::WEIGHT_TOTAL_MAX)))]
    pub nothing_weight: Option<i64>,
}

/// One `[[prize]]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(!default))]
#[serde(deny_unknown_fields, default)]
pub struct PrizeSection {
    /// Unique in the campaign, `[a-z0-9-]{1,40}`.
    #[cfg_attr(feature = "schema", schemars(length(max = limits::SLUG_BYTES_MAX), regex(pattern = "^[a-z0-9-]+$")))]
    pub slug: String,
    /// Shown to people, 1 to 256 bytes.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::AWARD_NAME_BYTES_MAX)))]
    pub name: String,
    /// How it is delivered.
    #[cfg_attr(feature = "schema", schemars(with = "super::Kind"))]
    pub kind: String,
    /// In percent, as `0.01%`, at most 7 decimals; on every prize, or `weight` on every prize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub odds: Option<String>,
    /// Its share of the sum of all weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::WEIGHT_TOTAL_MAX)))]
    pub weight: Option<i64>,
    /// Units to give in all, at least 0; unlimited if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = limits::WEIGHT_TOTAL_MAX)))]
    pub stock: Option<i64>,
    /// Units to give per civil day, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::WEIGHT_TOTAL_MAX)))]
    pub daily_cap: Option<i64>,
    /// Units one user may win, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::WEIGHT_TOTAL_MAX)))]
    pub per_user_wins: Option<i64>,
    /// `immediate`, `manual`, an instant or a local time; `immediate` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether a cancelled award gives its unit back by itself; `false` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_stock: Option<bool>,
    /// `awardId` on the wire, 1 to 64 visible ASCII characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::AWARD_ID_BYTES_MAX)))]
    pub award_id: Option<String>,
    /// `awardType` on the wire, a positive 32-bit integer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = i32::MAX)))]
    pub award_type: Option<i64>,
    /// Kind text: what is delivered, 1 to 4,096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::AWARD_CONTENT_BYTES_MAX)))]
    pub text: Option<String>,
    /// Kind code: a file of codes beside the campaign file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::FILE_NAME_BYTES_MAX)))]
    pub codes: Option<String>,
    /// Kind points: how many, 1 to 10^9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::POINTS_MAX)))]
    pub points: Option<i64>,
    /// Kind webhook: the endpoint's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = limits::SLUG_BYTES_MAX), regex(pattern = "^[a-z0-9-]+$")))]
    pub endpoint: Option<String>,
    /// Kinds webhook and external: sent along, at most 4,096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = limits::AWARD_CONTENT_BYTES_MAX)))]
    pub content: Option<String>,
    /// Kind physical: time to give an address, as `14d`, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_within: Option<String>,
    /// Kind physical: time to ship, as `30d`, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ship_within: Option<String>,
    /// Kind external: time to confirm, as `7d`, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<String>,
}

fn is_default<T: Default + PartialEq>(section: &T) -> bool {
    *section == T::default()
}

/// Reads the text of a campaign file called `name`: its syntax, its keys and
/// types, and every rule of [`CampaignFile::check`]. At most 1 MiB. Problems
/// come in the order of the file, each with line and column; show them with
/// [`Problem::display_in`].
pub fn parse_toml(name: &str, text: &str) -> Result<CampaignFile, Vec<Problem>> {
    is_small_enough(name, text)?;
    let root = Node::from_toml(text).map_err(|problems| finish(problems, text))?;
    checked(&root, text)
}

/// Reads the same shape as JSON. Problems carry the pointer of the field; the
/// place only where the text is not JSON at all. `null` is the same as absent.
pub fn from_json(text: &str) -> Result<CampaignFile, Vec<Problem>> {
    is_small_enough("the body", text)?;
    let root = Node::from_json(text).map_err(|problem| vec![problem])?;
    checked(&root, text)
}

impl CampaignFile {
    /// The canonical JSON: keys in the order of the contract, absent ones left
    /// out, no spaces. Equal files give equal bytes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of texts and integers is JSON")
    }

    /// The same as a campaign file.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a struct of texts and integers is TOML")
    }
}

fn is_small_enough(name: &str, text: &str) -> Result<(), Vec<Problem>> {
    if text.len() <= limits::CAMPAIGN_FILE_BYTES_MAX {
        return Ok(());
    }
    Err(vec![Problem::new(
        "",
        format!(
            "{name} holds {} bytes, more than {}",
            text.len(),
            limits::CAMPAIGN_FILE_BYTES_MAX
        ),
        "move long content out of the file",
    )])
}

/// What the shape says and what the meaning says, together: a key that is wrong
/// in shape is left out of the second look, and what follows only from its
/// absence is not reported.
fn checked(root: &Node, text: &str) -> Result<CampaignFile, Vec<Problem>> {
    let (file, mut found) = shape::read(root);
    let shape_count = found.len();
    for problem in file.check().err().unwrap_or_default() {
        let follows = found
            .iter()
            .take(shape_count)
            .any(|(of_shape, _)| of_shape.covers(&problem));
        if !follows {
            let offset = root.offset_of(&problem.path);
            found.push((problem, offset));
        }
    }
    if found.is_empty() {
        Ok(file)
    } else {
        Err(finish(found, text))
    }
}

/// In the order of the file, with line and column for each byte offset.
fn finish(mut found: Vec<(Problem, Option<usize>)>, text: &str) -> Vec<Problem> {
    found.sort_by_key(|(_, offset)| *offset);
    let left_out = found.len().saturating_sub(limits::CAMPAIGN_PROBLEMS_MAX);
    let mut problems: Vec<Problem> = found
        .into_iter()
        .take(limits::CAMPAIGN_PROBLEMS_MAX)
        .map(|(problem, offset)| match offset {
            Some(offset) => problem.at(problem::place_of(text, offset)),
            None => problem,
        })
        .collect();
    if left_out > 0 {
        problems.push(Problem::new(
            "",
            format!("{left_out} more problems"),
            "mend these first",
        ));
    }
    problems
}

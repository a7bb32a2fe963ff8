//! Campaigns: what a campaign file says, what it is checked for, the exact odds
//! it stands for, and the states it moves through.

pub mod file;
pub mod odds;
pub mod rules;
pub mod state;
mod validate;

pub use file::{CampaignFile, Problem, parse_toml};
pub use rules::{Kind, KindSpec, Limits, OnUnavailable, Prize, Release, Rules};
pub use state::{Approval, CampaignState, Phase, Transition};

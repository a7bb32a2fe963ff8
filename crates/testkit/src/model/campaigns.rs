//! Campaigns on the model: versions beside each other, commands that move them, and
//! the live stock of their prizes.

use super::data::{Campaign, Data, PrizeRow, Version};
use std::collections::BTreeMap;
use std::sync::Arc;
use tombola_core::campaign::{
    Approval, CampaignFile, CampaignState, Kind, KindSpec, Prize, Rules, Transition, state,
};
use tombola_core::ports::{PutCampaign, Transitioned};
use tombola_core::time::CivilDay;

pub(super) fn put_campaign(data: &mut Data, file: CampaignFile, rules: Rules) -> PutCampaign {
    use CampaignState as S;
    let slug: Arc<str> = rules.slug.as_str().into();
    let Some(campaign) = data.campaigns.get_mut(&slug) else {
        let mut campaign = Campaign {
            versions: Vec::new(),
            version: 1,
            state: S::Draft,
            next: None,
            submitted_by: None,
            draws: 0,
            day: CivilDay::default(),
            prizes: BTreeMap::new(),
            allowances: BTreeMap::new(),
            wins: BTreeMap::new(),
        };
        add_version(&mut campaign, file, rules);
        data.campaigns.insert(slug, campaign);
        return PutCampaign::Applied {
            version: 1,
            is_new: true,
        };
    };
    let edited = campaign.next.map_or(campaign.state, |(_, state)| state);
    // A refused file that is put in again unchanged is meant to be looked at again.
    if edited != S::Refused && campaign.rules(campaign.newest()).file == file {
        return PutCampaign::Unchanged {
            version: campaign.newest(),
        };
    }
    let may_begin = campaign.next.is_none() && is_in_force(campaign.state);
    if !may_begin && state::after(edited, Transition::Edit).is_none() {
        return PutCampaign::NotEditable { state: edited };
    }
    let is_changed = |prize: &&Prize| {
        campaign
            .prizes
            .get(&prize.slug)
            .is_some_and(|row| row.kind != prize.kind())
    };
    if let Some(prize) = rules.prizes.iter().find(is_changed) {
        return PutCampaign::KindChanged {
            prize: prize.slug.clone(),
        };
    }
    let version = campaign.newest() + 1;
    // A campaign that users draw from goes on as it is; the new version is prepared
    // beside it.
    if is_in_force(campaign.state) {
        campaign.next = Some((version, S::Draft));
    } else {
        (campaign.version, campaign.state) = (version, S::Draft);
    }
    add_version(campaign, file, rules);
    PutCampaign::Applied {
        version,
        is_new: false,
    }
}

const fn is_in_force(state: CampaignState) -> bool {
    matches!(state, CampaignState::Started | CampaignState::Paused)
}

/// Adds a version. What was spent of a prize is carried over by its slug; the
/// stock of the file counts at once where no user can win the prize now, else from
/// the start of its version.
fn add_version(campaign: &mut Campaign, file: CampaignFile, rules: Rules) {
    let drawn_from: Vec<String> = if is_in_force(campaign.state) {
        let rules = &campaign.rules(campaign.version).rules;
        rules
            .prizes
            .iter()
            .map(|prize| prize.slug.clone())
            .collect()
    } else {
        Vec::new()
    };
    for prize in &rules.prizes {
        let row = campaign
            .prizes
            .entry(prize.slug.clone())
            .or_insert(PrizeRow {
                kind: prize.kind(),
                stock: prize.stock,
                changed: 0,
                spent: 0,
                day: CivilDay::default(),
                day_spent: 0,
            });
        if !drawn_from.contains(&prize.slug) {
            row.stock = live_stock(prize, row);
        }
    }
    campaign.versions.push(Version {
        file,
        rules: Arc::new(rules),
    });
}

fn live_stock(prize: &Prize, row: &PrizeRow) -> Option<u64> {
    prize
        .stock
        .map(|stock| stock.saturating_add_signed(row.changed).max(row.spent))
}

pub(super) fn transition(
    data: &mut Data,
    slug: &str,
    (command, approval): (Transition, Approval),
    by: &str,
) -> Transitioned {
    use Transition as T;
    let Some(campaign) = data.campaigns.get(slug) else {
        return Transitioned::NotFound;
    };
    // Where a version is prepared beside the one in force, these speak of it.
    let is_of_newest = matches!(
        command,
        T::Submit | T::Withdraw | T::Refuse | T::Edit | T::Approve | T::Start
    );
    let (version, from) = match campaign.next {
        Some(next) if is_of_newest => next,
        Some(_) | None => (campaign.version, campaign.state),
    };
    let Some(state) = state::after(from, command) else {
        return Transitioned::NotAllowed { state: from };
    };
    if command == T::Approve && !approval.allows(campaign.submitted_by.as_deref(), by) {
        return Transitioned::SamePerson;
    }
    let is_beside = version != campaign.version;
    if command == T::Start {
        // A version in force is replaced between two batches: pause first.
        if is_beside && campaign.state != CampaignState::Paused {
            return Transitioned::NotAllowed {
                state: campaign.state,
            };
        }
        let problems = problems_of_start(data, slug, version);
        if !problems.is_empty() {
            return Transitioned::NotReady { problems };
        }
    }
    let Some(campaign) = data.campaigns.get_mut(slug) else {
        return Transitioned::NotFound;
    };
    if command == T::Submit {
        campaign.submitted_by = Some(by.to_owned());
    }
    match command {
        T::Start => start(campaign, version),
        T::Reopen => {
            let before = campaign.rules(campaign.version);
            let (file, rules) = (before.file.clone(), before.rules.as_ref().clone());
            add_version(campaign, file, rules);
            (campaign.version, campaign.state) = (campaign.newest(), state);
            return Transitioned::Moved {
                state,
                version: campaign.version,
            };
        }
        T::Close => (campaign.state, campaign.next) = (state, None),
        T::Submit | T::Withdraw | T::Refuse | T::Edit | T::Approve | T::Pause | T::Resume => {
            if is_beside {
                campaign.next = Some((version, state));
            } else {
                campaign.state = state;
            }
        }
    }
    Transitioned::Moved { state, version }
}

fn start(campaign: &mut Campaign, version: i32) {
    let rules = Arc::clone(&campaign.rules(version).rules);
    for prize in &rules.prizes {
        if let Some(row) = campaign.prizes.get_mut(&prize.slug) {
            row.stock = live_stock(prize, row);
        }
    }
    (campaign.version, campaign.state, campaign.next) = (version, CampaignState::Started, None);
}

/// What a campaign needs before users may draw from it: an award that is won can be
/// delivered.
fn problems_of_start(data: &Data, slug: &str, version: i32) -> Vec<String> {
    let campaign = &data.campaigns[slug];
    let mut problems = Vec::new();
    for prize in &campaign.rules(version).rules.prizes {
        if let KindSpec::Webhook { endpoint, .. } = &prize.spec {
            let lane = data.lane_of(endpoint);
            let row = lane.and_then(|lane| data.endpoints.get(&lane));
            if !row.is_some_and(|row| row.is_enabled) {
                problems.push(format!("prize {}: put or enable {endpoint}", prize.slug));
            }
        }
        let stock = campaign
            .prizes
            .get(&prize.slug)
            .and_then(|row| live_stock(prize, row));
        let codes = data.ready_codes(slug, &prize.slug);
        if prize.kind() == Kind::Code && codes < stock.unwrap_or(1) {
            problems.push(format!(
                "prize {}: import codes, there are {codes}",
                prize.slug
            ));
        }
    }
    problems
}

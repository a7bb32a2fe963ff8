//! `Catalog` on the model: campaigns and their versions, stock, endpoints, keys.

use super::ModelStore;
use super::data::{Campaign, Data, EndpointRow, PrizeRow, Version};
use std::collections::BTreeMap;
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::{CampaignFile, CampaignState, Kind, KindSpec, Prize, Rules, Transition, state};
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::ports::{
    Actor, ApiKey, Catalog, CodesAdded, ImportBegun, ImportId, PutCampaign, StockChanged,
    StoreError, StoreResult, Transitioned,
};
use tombola_core::time::CivilDay;

#[async_trait::async_trait]
impl Catalog for ModelStore {
    async fn origin(&self) -> StoreResult<String> {
        Ok("00000000-0000-4000-8000-000000000001".to_owned())
    }

    async fn put_campaign(
        &self,
        file: CampaignFile,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutCampaign> {
        let rules = file.check().map_err(|problems| {
            StoreError::Row(format!("{} problems in a campaign file", problems.len()))
        })?;
        let mut data = self.data();
        let answer = put_campaign(&mut data, file, rules);
        if matches!(answer, PutCampaign::Applied { .. }) {
            data.log(&by, "campaign apply", now);
        }
        Ok(answer)
    }

    async fn transition(
        &self,
        campaign: &str,
        command: Transition,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Transitioned> {
        let mut data = self.data();
        let answer = transition(&mut data, campaign, command);
        if matches!(answer, Transitioned::Moved { .. }) {
            data.log(&by, format!("campaign {command} {campaign}"), now);
        }
        Ok(answer)
    }

    async fn change_stock(
        &self,
        campaign: &str,
        prize: &str,
        by_units: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<StockChanged> {
        let mut data = self.data();
        let row = data.campaigns.get_mut(campaign).and_then(|it| it.prizes.get_mut(prize));
        let Some(row) = row else { return Ok(StockChanged::NotFound) };
        let Some(stock) = row.stock else { return Ok(StockChanged::Unlimited) };
        let left = stock - row.spent;
        let Some(left) = left.checked_add_signed(by_units) else {
            return Ok(StockChanged::NotEnough { left });
        };
        let stock = row.spent + left;
        row.stock = Some(stock);
        row.changed = row.changed.saturating_add(by_units);
        data.log(&by, format!("stock {campaign}/{prize} by {by_units}"), now);
        Ok(StockChanged::Changed { stock, left })
    }

    async fn put_endpoint(
        &self,
        spec: EndpointSpec,
        new_secret: String,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Endpoint> {
        let mut data = self.data();
        let lane = data.lane_of(&spec.name).unwrap_or_else(|| {
            data.endpoints.keys().next_back().copied().unwrap_or_default() + 1
        });
        let (mut secrets, is_enabled) = data
            .endpoints
            .remove(&lane)
            .map_or((Vec::new(), true), |before| (before.secrets, before.is_enabled));
        match &spec.secret {
            Some(secret) if secrets.first() != Some(secret) => secrets.insert(0, secret.clone()),
            None if secrets.is_empty() => secrets.push(new_secret),
            Some(_) | None => {}
        }
        let row = EndpointRow { spec, secrets, is_enabled };
        let endpoint = checked(lane, &row)?;
        data.endpoints.insert(lane, row);
        data.log(&by, format!("endpoint put {}", endpoint.name), now);
        Ok(endpoint)
    }

    async fn endpoints(&self) -> StoreResult<Vec<Endpoint>> {
        self.data().endpoints.iter().map(|(lane, row)| checked(*lane, row)).collect()
    }

    async fn enable_endpoint(
        &self,
        lane: i64,
        is_enabled: bool,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let mut data = self.data();
        let Some(row) = data.endpoints.get_mut(&lane) else { return Ok(false) };
        row.is_enabled = is_enabled;
        data.log(&by, format!("endpoint {lane} enabled: {is_enabled}"), now);
        Ok(true)
    }

    async fn begin_import(
        &self,
        campaign: &str,
        prize: &str,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportBegun> {
        Ok(self.import_begun(campaign, prize, &by, now))
    }

    async fn add_codes(
        &self,
        import: ImportId,
        codes: Vec<String>,
        skip_duplicates: bool,
    ) -> StoreResult<CodesAdded> {
        self.codes_added(import, codes, skip_duplicates)
    }

    async fn finish_import(&self, import: ImportId, _now: Timestamp) -> StoreResult<u64> {
        self.import_finished(import)
    }

    async fn remove_import(&self, import: Option<ImportId>) -> StoreResult<bool> {
        Ok(self.import_removed(import))
    }

    async fn put_key(&self, key: ApiKey, by: Actor) -> StoreResult<ApiKey> {
        let mut data = self.data();
        let id = i64::try_from(data.keys.len()).unwrap_or(i64::MAX - 1) + 1;
        let key = ApiKey { id, ..key };
        data.keys.push(key.clone());
        data.log(&by, format!("key create {id}"), key.created_at);
        Ok(key)
    }

    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        Ok(self.data().keys.clone())
    }

    async fn revoke_key(&self, id: i64, by: Actor, now: Timestamp) -> StoreResult<bool> {
        let mut data = self.data();
        let Some(key) = data.keys.iter_mut().find(|key| key.id == id) else { return Ok(false) };
        key.revoked_at.get_or_insert(now);
        data.log(&by, format!("key revoke {id}"), now);
        Ok(true)
    }

    /// Only what is over goes: delivered and cancelled awards. A dead letter waits
    /// for a person, however old it is.
    async fn cleanup(&self, before: Timestamp) -> StoreResult<u64> {
        let mut data = self.data();
        let is_old = |state, ended_at: Option<Timestamp>| {
            matches!(state, State::Delivered | State::Cancelled)
                && ended_at.is_some_and(|at| at < before)
        };
        let rows = data.awards.len();
        data.awards.retain(|_, it| !is_old(it.row.state, it.ended_at));
        Ok(u64::try_from(rows - data.awards.len()).unwrap_or(u64::MAX))
    }
}

impl Data {
    pub(super) fn lane_of(&self, endpoint: &str) -> Option<i64> {
        self.endpoints.iter().find(|(_, row)| row.spec.name == endpoint).map(|(lane, _)| *lane)
    }
}

fn checked(lane: i64, row: &EndpointRow) -> StoreResult<Endpoint> {
    row.spec
        .check(lane, row.secrets.clone(), row.is_enabled)
        .map_err(|problem| StoreError::Row(problem.to_string()))
}

fn put_campaign(data: &mut Data, file: CampaignFile, rules: Rules) -> PutCampaign {
    use CampaignState as S;
    let slug: Arc<str> = rules.slug.as_str().into();
    let Some(campaign) = data.campaigns.get_mut(&slug) else {
        let mut campaign = Campaign {
            versions: Vec::new(),
            version: 1,
            state: S::Draft,
            next: None,
            draws: 0,
            prizes: BTreeMap::new(),
            allowances: BTreeMap::new(),
            wins: BTreeMap::new(),
        };
        add_version(&mut campaign, file, rules);
        data.campaigns.insert(slug, campaign);
        return PutCampaign::Applied { version: 1, is_new: true };
    };
    let edited = campaign.next.map_or(campaign.state, |(_, state)| state);
    // A refused file that is put in again unchanged is meant to be looked at again.
    if edited != S::Refused && campaign.rules(campaign.newest()).file == file {
        return PutCampaign::Unchanged { version: campaign.newest() };
    }
    let may_begin = campaign.next.is_none() && is_in_force(campaign.state);
    if !may_begin && state::after(edited, Transition::Edit).is_none() {
        return PutCampaign::NotEditable { state: edited };
    }
    let is_changed = |prize: &&Prize| {
        campaign.prizes.get(&prize.slug).is_some_and(|row| row.kind != prize.kind())
    };
    if let Some(prize) = rules.prizes.iter().find(is_changed) {
        return PutCampaign::KindChanged { prize: prize.slug.clone() };
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
    PutCampaign::Applied { version, is_new: false }
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
        rules.prizes.iter().map(|prize| prize.slug.clone()).collect()
    } else {
        Vec::new()
    };
    for prize in &rules.prizes {
        let row = campaign.prizes.entry(prize.slug.clone()).or_insert(PrizeRow {
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
    campaign.versions.push(Version { file, rules: Arc::new(rules) });
}

fn live_stock(prize: &Prize, row: &PrizeRow) -> Option<u64> {
    prize.stock.map(|stock| stock.saturating_add_signed(row.changed).max(row.spent))
}

fn transition(data: &mut Data, slug: &str, command: Transition) -> Transitioned {
    use Transition as T;
    let Some(campaign) = data.campaigns.get(slug) else { return Transitioned::NotFound };
    // Where a version is prepared beside the one in force, these speak of it.
    let is_of_newest =
        matches!(command, T::Submit | T::Withdraw | T::Refuse | T::Edit | T::Approve | T::Start);
    let (version, from) = match campaign.next {
        Some(next) if is_of_newest => next,
        Some(_) | None => (campaign.version, campaign.state),
    };
    let Some(state) = state::after(from, command) else {
        return Transitioned::NotAllowed { state: from };
    };
    let is_beside = version != campaign.version;
    if command == T::Start {
        // A version in force is replaced between two batches: pause first.
        if is_beside && campaign.state != CampaignState::Paused {
            return Transitioned::NotAllowed { state: campaign.state };
        }
        let problems = problems_of_start(data, slug, version);
        if !problems.is_empty() {
            return Transitioned::NotReady { problems };
        }
    }
    let Some(campaign) = data.campaigns.get_mut(slug) else { return Transitioned::NotFound };
    match command {
        T::Start => start(campaign, version),
        T::Reopen => {
            let before = campaign.rules(campaign.version);
            let (file, rules) = (before.file.clone(), before.rules.as_ref().clone());
            add_version(campaign, file, rules);
            (campaign.version, campaign.state) = (campaign.newest(), state);
            return Transitioned::Moved { state, version: campaign.version };
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
        let stock = campaign.prizes.get(&prize.slug).and_then(|row| live_stock(prize, row));
        let codes = data.ready_codes(slug, &prize.slug);
        if prize.kind() == Kind::Code && codes < stock.unwrap_or(1) {
            problems.push(format!("prize {}: import codes, there are {codes}", prize.slug));
        }
    }
    problems
}

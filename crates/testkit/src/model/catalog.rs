//! `Catalog` on the model: campaigns and their versions, stock, endpoints, keys.

use super::ModelStore;
use super::campaigns::{put_campaign, transition};
use super::data::{Data, EndpointRow};
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::{Approval, CampaignFile, Transition};
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::limits::SECRET_OVERLAP;
use tombola_core::ports::{
    Actor, ApiKey, Catalog, CodesAdded, ImportBegun, ImportFinished, ImportId, KeptAnswer,
    KeptRequest, NewSecret, PutCampaign, PutEndpoint, RequestKey, Resealed, SecretRotated,
    StockChanged, StoreError, StoreResult, Transitioned,
};
use tombola_core::signing::{SecretsFull, with_newest};

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
        approval: Approval,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Transitioned> {
        self.data().once(&by, now, |data| {
            let answer = transition(data, campaign, (command, approval), &by.name);
            if matches!(answer, Transitioned::Moved { .. }) {
                data.log(&by, format!("campaign {command} {campaign}"), now);
            }
            Ok(answer)
        })
    }

    async fn change_stock(
        &self,
        campaign: &str,
        prize: &str,
        by_units: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<StockChanged> {
        self.data().once(&by, now, |data| {
            Ok(data.stock_changed(campaign, prize, by_units, &by, now))
        })
    }

    async fn put_endpoint(
        &self,
        spec: EndpointSpec,
        new_secret: String,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutEndpoint> {
        let mut data = self.data();
        let lane = data.lane_of(&spec.name).unwrap_or_else(|| {
            data.endpoints
                .keys()
                .next_back()
                .copied()
                .unwrap_or_default()
                + 1
        });
        let (kept, is_enabled) = data
            .endpoints
            .get(&lane)
            .map_or((Vec::new(), true), |it| (it.secrets.clone(), it.is_enabled));
        let newest = kept.first().map(|it| it.text.clone());
        let newest = spec.secret.clone().or(newest).unwrap_or(new_secret);
        let secrets = match with_newest(kept, newest, SECRET_OVERLAP, now) {
            Ok(secrets) => secrets,
            Err(SecretsFull { ends_at }) => return Ok(PutEndpoint::SecretsFull { ends_at }),
        };
        let row = EndpointRow {
            spec,
            secrets,
            is_enabled,
        };
        let endpoint = checked(lane, &row)?;
        data.endpoints.insert(lane, row);
        data.log(&by, format!("endpoint put {}", endpoint.name), now);
        Ok(PutEndpoint::Put(endpoint))
    }

    async fn rotate_secret(
        &self,
        endpoint: &str,
        secret: NewSecret,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<SecretRotated> {
        self.data().once(&by, now, |data| {
            let lane = data.lane_of(endpoint);
            let Some(row) = lane.and_then(|lane| data.endpoints.get_mut(&lane)) else {
                return Ok(SecretRotated::NotFound);
            };
            let kept = row.secrets.clone();
            match with_newest(kept, secret.text, secret.overlap, now) {
                Ok(secrets) => row.secrets = secrets,
                Err(SecretsFull { ends_at }) => {
                    return Ok(SecretRotated::SecretsFull { ends_at });
                }
            }
            let older_end_at = row.secrets.iter().filter_map(|it| it.ends_at).collect();
            data.log(&by, format!("endpoint rotate-secret {endpoint}"), now);
            Ok(SecretRotated::Rotated {
                hash: secret.hash,
                older_end_at,
            })
        })
    }

    async fn end_secrets(&self, now: Timestamp) -> StoreResult<u64> {
        let mut ended = 0;
        for row in self.data().endpoints.values_mut() {
            let before = row.secrets.len();
            row.secrets.retain(|it| it.signs_at(now));
            ended += u64::from(row.secrets.len() < before);
        }
        Ok(ended)
    }

    async fn endpoints(&self) -> StoreResult<Vec<Endpoint>> {
        self.data()
            .endpoints
            .iter()
            .map(|(lane, row)| checked(*lane, row))
            .collect()
    }

    async fn enable_endpoint(
        &self,
        lane: i64,
        is_enabled: bool,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        self.data().once(&by, now, |data| {
            let Some(row) = data.endpoints.get_mut(&lane) else {
                return Ok(false);
            };
            row.is_enabled = is_enabled;
            data.log(&by, format!("endpoint {lane} enabled: {is_enabled}"), now);
            Ok(true)
        })
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

    async fn finish_import(
        &self,
        import: ImportId,
        skipped: u64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportFinished> {
        self.data().once(&by, now, |data| {
            let codes = data.import_finished(import)?;
            Ok(ImportFinished {
                import,
                codes,
                skipped,
            })
        })
    }

    async fn withdraw_import(
        &self,
        campaign: &str,
        prize: &str,
        import: ImportId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        self.data().once(&by, now, |data| {
            let is_there = data.import_withdrawn(campaign, prize, import);
            if is_there {
                data.log(&by, format!("code withdraw {}", import.0), now);
            }
            Ok(is_there)
        })
    }

    async fn remove_import(&self, import: Option<ImportId>) -> StoreResult<bool> {
        Ok(self.import_removed(import))
    }

    /// Nothing is sealed here.
    async fn reseal_step(&self) -> StoreResult<Resealed> {
        Ok(Resealed {
            rows: 0,
            is_done: true,
        })
    }

    async fn put_key(&self, key: ApiKey, by: Actor) -> StoreResult<ApiKey> {
        let now = key.created_at;
        self.data().once(&by, now, |data| {
            let id = i64::try_from(data.keys.len()).unwrap_or(i64::MAX - 1) + 1;
            let key = ApiKey { id, ..key };
            data.keys.push(key.clone());
            data.log(&by, format!("key create {id}"), now);
            Ok(key)
        })
    }

    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        Ok(self.data().keys.clone())
    }

    async fn revoke_key(&self, id: i64, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.data().once(&by, now, |data| {
            let Some(key) = data.keys.iter_mut().find(|key| key.id == id) else {
                return Ok(false);
            };
            key.revoked_at.get_or_insert(now);
            data.log(&by, format!("key revoke {id}"), now);
            Ok(true)
        })
    }

    async fn kept_request(&self, request: &RequestKey) -> StoreResult<Option<KeptRequest>> {
        Ok(self.data().kept_request(request))
    }

    async fn keep_answer(
        &self,
        request: RequestKey,
        answer: KeptAnswer,
        now: Timestamp,
    ) -> StoreResult<KeptAnswer> {
        self.data().keep_answer(&request, answer, now)
    }

    /// Only what is over goes: delivered and cancelled awards. A dead letter waits
    /// for a person, however old it is.
    async fn cleanup(&self, before: Timestamp) -> StoreResult<u64> {
        let mut data = self.data();
        let is_old = |state, ended_at: Option<Timestamp>| {
            matches!(state, State::Delivered | State::Cancelled)
                && ended_at.is_some_and(|at| at < before)
        };
        let rows = data.awards.len() + data.kept_requests.len();
        data.awards
            .retain(|_, it| !is_old(it.row.state, it.ended_at));
        data.kept_requests.retain(|_, it| it.at >= before);
        let left = data.awards.len() + data.kept_requests.len();
        Ok(u64::try_from(rows - left).unwrap_or(u64::MAX))
    }
}

impl Data {
    fn stock_changed(
        &mut self,
        campaign: &str,
        prize: &str,
        by_units: i64,
        by: &Actor,
        now: Timestamp,
    ) -> StockChanged {
        let row = self
            .campaigns
            .get_mut(campaign)
            .and_then(|it| it.prizes.get_mut(prize));
        let Some(row) = row else {
            return StockChanged::NotFound;
        };
        let Some(stock) = row.stock else {
            return StockChanged::Unlimited;
        };
        let left = stock - row.spent;
        let Some(left) = left.checked_add_signed(by_units) else {
            return StockChanged::NotEnough { left };
        };
        let stock = row.spent + left;
        row.stock = Some(stock);
        row.changed = row.changed.saturating_add(by_units);
        self.log(by, format!("stock {campaign}/{prize} by {by_units}"), now);
        StockChanged::Changed { stock, left }
    }

    pub(super) fn lane_of(&self, endpoint: &str) -> Option<i64> {
        self.endpoints
            .iter()
            .find(|(_, row)| row.spec.name == endpoint)
            .map(|(lane, _)| *lane)
    }
}

fn checked(lane: i64, row: &EndpointRow) -> StoreResult<Endpoint> {
    row.spec
        .check(lane, row.secrets.clone(), row.is_enabled)
        .map_err(|problem| StoreError::Row(problem.to_string()))
}

//! What stands still while awards move, on SQLite: the port's methods, each one
//! transaction of the writer. What they do is in the modules below and in `codes`,
//! `endpoints` and `keys`.

mod campaign;
mod cleanup;
pub(crate) mod log;
mod put;
mod ready;
mod stock;
#[cfg(test)]
mod tests;
mod transition;

use crate::requests::{self, once};
use crate::sql::OrStoreError as _;
use crate::store::Priority;
use crate::{Store, codes, endpoints, keys, seals};
use async_trait::async_trait;
use tombola_core::Timestamp;
use tombola_core::campaign::{Approval, CampaignFile, Transition};
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Actor, ApiKey, Catalog, CodesAdded, ImportBegun, ImportFinished, ImportId, KeptAnswer,
    KeptRequest, NewSecret, PutCampaign, PutEndpoint, RequestKey, Resealed, SecretRotated,
    StockChanged, StoreError, StoreResult, Transitioned,
};

#[async_trait]
impl Catalog for Store {
    async fn origin(&self) -> StoreResult<String> {
        Ok(Store::origin(self).to_owned())
    }

    async fn put_campaign(
        &self,
        file: CampaignFile,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutCampaign> {
        // Rules that do not check would stop every read of the campaign.
        if let Err(problems) = file.check() {
            let first = problems
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            return Err(StoreError::Row(format!(
                "the campaign file is not right: {first}"
            )));
        }
        self.write(Priority::Other, file.prize.len(), move |conn| {
            put::put_campaign(conn, &file, &by, now).or_store()
        })
        .await
    }

    async fn transition(
        &self,
        campaign: &str,
        command: Transition,
        approval: Approval,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Transitioned> {
        let slug = campaign.to_owned();
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                transition::transition(conn, &slug, (command, approval), &by, now).or_store()
            })
        })
        .await
    }

    async fn change_stock(
        &self,
        campaign: &str,
        prize: &str,
        by_units: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<StockChanged> {
        let (campaign, prize) = (campaign.to_owned(), prize.to_owned());
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                stock::change_stock(conn, &campaign, &prize, by_units, &by, now).or_store()
            })
        })
        .await
    }

    async fn put_endpoint(
        &self,
        spec: EndpointSpec,
        new_secret: String,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutEndpoint> {
        let shared = self.shared();
        self.write(Priority::Other, 1, move |conn| {
            endpoints::put(
                conn,
                &shared.seals.now(),
                spec.clone(),
                &new_secret,
                &by,
                now,
            )
        })
        .await
    }

    async fn rotate_secret(
        &self,
        endpoint: &str,
        secret: NewSecret,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<SecretRotated> {
        let (name, shared) = (endpoint.to_owned(), self.shared());
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                endpoints::rotate_secret(conn, &shared.seals.now(), &name, &secret, &by, now)
            })
        })
        .await
    }

    async fn end_secrets(&self, now: Timestamp) -> StoreResult<u64> {
        let shared = self.shared();
        self.write(Priority::Other, STEP_ROWS_MAX, move |conn| {
            endpoints::end_secrets(conn, &shared, now)
        })
        .await
    }

    async fn endpoints(&self) -> StoreResult<Vec<Endpoint>> {
        let shared = self.shared();
        self.read(move |conn| endpoints::all(conn, &shared)).await
    }

    async fn enable_endpoint(
        &self,
        lane: i64,
        is_enabled: bool,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                endpoints::enable(conn, lane, is_enabled, &by, now).or_store()
            })
        })
        .await
    }

    async fn begin_import(
        &self,
        campaign: &str,
        prize: &str,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportBegun> {
        let (campaign, prize) = (campaign.to_owned(), prize.to_owned());
        self.write(Priority::Other, 1, move |conn| {
            codes::begin(conn, &campaign, &prize, &by, now).or_store()
        })
        .await
    }

    async fn add_codes(
        &self,
        import: ImportId,
        codes: Vec<String>,
        skip_duplicates: bool,
    ) -> StoreResult<CodesAdded> {
        let shared = self.shared();
        self.write(Priority::Other, codes.len(), move |conn| {
            codes::add(conn, &shared.seals.now(), import, &codes, skip_duplicates)
        })
        .await
    }

    async fn finish_import(
        &self,
        import: ImportId,
        skipped: u64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportFinished> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                let codes = codes::finish(conn, import, now)
                    .or_store()?
                    .map_err(StoreError::Row)?;
                Ok(ImportFinished {
                    import,
                    codes,
                    skipped,
                })
            })
        })
        .await
    }

    async fn withdraw_import(
        &self,
        campaign: &str,
        prize: &str,
        import: ImportId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let place = (campaign.to_owned(), prize.to_owned());
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                codes::withdraw(conn, &place, import, &by, now).or_store()
            })
        })
        .await
    }

    async fn remove_import(&self, import: Option<ImportId>) -> StoreResult<bool> {
        self.write(Priority::Other, STEP_ROWS_MAX, move |conn| {
            codes::remove(conn, import).or_store()
        })
        .await
    }

    async fn reseal_step(&self) -> StoreResult<Resealed> {
        let shared = self.shared();
        self.write(Priority::Other, STEP_ROWS_MAX, move |conn| {
            seals::step(conn, &shared.seals.now())
        })
        .await
    }

    async fn put_key(&self, key: ApiKey, by: Actor) -> StoreResult<ApiKey> {
        self.write(Priority::Other, 1, move |conn| {
            let now = key.created_at;
            once(conn, &by, now, || {
                keys::put(conn, key.clone(), &by).or_store()
            })
        })
        .await
    }

    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        self.read(|conn| keys::all(conn).or_store()).await
    }

    async fn revoke_key(&self, id: i64, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.write(Priority::Other, 1, move |conn| {
            once(conn, &by, now, || {
                keys::revoke(conn, id, &by, now).or_store()
            })
        })
        .await
    }

    async fn kept_request(&self, request: &RequestKey) -> StoreResult<Option<KeptRequest>> {
        let request = request.clone();
        self.read(move |conn| requests::kept(conn, &request).or_store())
            .await
    }

    async fn keep_answer(
        &self,
        request: RequestKey,
        answer: KeptAnswer,
        now: Timestamp,
    ) -> StoreResult<KeptAnswer> {
        self.write(Priority::Other, 1, move |conn| {
            requests::keep_answer(conn, &request, &answer, now)
        })
        .await
    }

    async fn cleanup(&self, before: Timestamp) -> StoreResult<u64> {
        self.write(Priority::Other, STEP_ROWS_MAX, move |conn| {
            cleanup::step(conn, before).or_store()
        })
        .await
    }
}

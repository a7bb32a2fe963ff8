//! A store in hands that slip: the model, and what they do to what goes in and out.

use super::{Hands, Omitted};
use crate::ModelStore;
use async_trait::async_trait;
use tombola_core::adoption::Adoption;
use tombola_core::award::Row;
use tombola_core::campaign::{Approval, CampaignFile, Transition};
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    Acted, Action, Actor, AdoptAnswer, ApiKey, AwardPath, BulkSpec, Catalog, CodesAdded, Copy,
    CopyAnswer, DeadLetter, Deferral, DrawAnswer, DrawBatch, DueLanes, DuePage, DueQuery,
    ImportBegun, ImportFinished, ImportId, KeptAnswer, KeptMessage, KeptRequest, MarkOf, NewSecret,
    Operate, Operation, PauseScope, PointsReversed, PutCampaign, PutEndpoint, Record, Recorded,
    RequestKey, Resealed, SecretRotated, StockChanged, StoreResult, Transitioned, Written,
};
use tombola_core::reason::HoldReason;
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};
use tombola_store::conformance::{Bench, Store};

/// The model in such hands.
pub struct Sloppy {
    model: ModelStore,
    hands: Hands,
}

impl Sloppy {
    /// An empty store in these hands.
    pub fn new(hands: Hands) -> Self {
        Self {
            model: ModelStore::new(),
            hands,
        }
    }

    fn makes(&self, call: Omitted) -> bool {
        self.hands.omits != Some(call)
    }

    fn copies(&self, copies: Vec<Copy>) -> Vec<Copy> {
        (self.hands.copies)(&self.model, copies)
    }
}

#[async_trait]
impl AwardPath for Sloppy {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        self.model.reserve_ids(count).await.map(self.hands.ids)
    }

    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        self.model
            .commit_draws((self.hands.draws)(batch))
            .await
            .map(self.hands.drawn)
    }

    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        self.model
            .adopt((self.hands.adoptions)(adoptions), now)
            .await
            .map(self.hands.adopted)
    }

    async fn mark_published(
        &self,
        marks: Vec<MarkOf>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.model
            .mark_published(marks, now)
            .await
            .map(self.hands.written)
    }

    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.model
            .deliver_local(self.copies(copies), now)
            .await
            .map(self.hands.copied)
    }

    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.model
            .claim(self.copies(copies), now)
            .await
            .map(self.hands.copied)
    }

    async fn defer(
        &self,
        deferrals: Vec<Deferral>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.model
            .defer(deferrals, now)
            .await
            .map(self.hands.copied)
    }

    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>> {
        self.model
            .record(records, now)
            .await
            .map(self.hands.recorded)
    }

    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        self.model
            .claim_due((self.hands.due)(query))
            .await
            .map(self.hands.page)
    }

    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.model
            .give_back(claims, now)
            .await
            .map(self.hands.written)
    }

    async fn keep_messages(&self, messages: Vec<KeptMessage>, now: Timestamp) -> StoreResult<()> {
        self.model
            .keep_messages((self.hands.kept)(messages), now)
            .await
    }

    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        self.model.due_lanes(now).await.map(self.hands.lanes)
    }

    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64> {
        if self.makes(Omitted::BeginAlone) {
            self.model.begin_alone(now).await
        } else {
            Ok(0)
        }
    }
}

#[async_trait]
impl Catalog for Sloppy {
    async fn origin(&self) -> StoreResult<String> {
        self.model.origin().await
    }

    async fn put_campaign(
        &self,
        file: CampaignFile,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutCampaign> {
        self.model.put_campaign(file, by, now).await
    }

    async fn transition(
        &self,
        campaign: &str,
        command: Transition,
        approval: Approval,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Transitioned> {
        let approval = (self.hands.approval)(approval);
        self.model
            .transition(campaign, command, approval, (self.hands.by)(by), now)
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
        self.model
            .change_stock(
                campaign,
                prize,
                (self.hands.units)(by_units),
                (self.hands.by)(by),
                now,
            )
            .await
    }

    async fn put_endpoint(
        &self,
        spec: EndpointSpec,
        new_secret: String,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutEndpoint> {
        self.model
            .put_endpoint((self.hands.endpoint)(spec), new_secret, by, now)
            .await
    }

    async fn rotate_secret(
        &self,
        endpoint: &str,
        secret: NewSecret,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<SecretRotated> {
        let (secret, by) = ((self.hands.secret)(secret), (self.hands.by)(by));
        self.model.rotate_secret(endpoint, secret, by, now).await
    }

    async fn end_secrets(&self, now: Timestamp) -> StoreResult<u64> {
        self.model.end_secrets((self.hands.ends)(now)).await
    }

    async fn endpoints(&self) -> StoreResult<Vec<Endpoint>> {
        self.model.endpoints().await
    }

    async fn enable_endpoint(
        &self,
        lane: i64,
        is_enabled: bool,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        self.model
            .enable_endpoint(
                lane,
                (self.hands.enabled)(is_enabled),
                (self.hands.by)(by),
                now,
            )
            .await
    }

    async fn begin_import(
        &self,
        campaign: &str,
        prize: &str,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportBegun> {
        self.model.begin_import(campaign, prize, by, now).await
    }

    async fn add_codes(
        &self,
        import: ImportId,
        codes: Vec<String>,
        skip_duplicates: bool,
    ) -> StoreResult<CodesAdded> {
        self.model
            .add_codes(
                import,
                codes,
                (self.hands.skips_duplicates)(skip_duplicates),
            )
            .await
    }

    async fn finish_import(
        &self,
        import: ImportId,
        skipped: u64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportFinished> {
        self.model
            .finish_import(import, skipped, (self.hands.by)(by), now)
            .await
            .map(self.hands.finished)
    }

    async fn withdraw_import(
        &self,
        campaign: &str,
        prize: &str,
        import: ImportId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool> {
        if self.makes(Omitted::WithdrawImport) {
            self.model
                .withdraw_import(campaign, prize, import, by, now)
                .await
        } else {
            Ok(true)
        }
    }

    async fn remove_import(&self, import: Option<ImportId>) -> StoreResult<bool> {
        self.model.remove_import(import).await
    }

    async fn reseal_step(&self) -> StoreResult<Resealed> {
        self.model.reseal_step().await.map(self.hands.resealed)
    }

    async fn put_key(&self, key: ApiKey, by: Actor) -> StoreResult<ApiKey> {
        self.model
            .put_key((self.hands.key)(key), (self.hands.by)(by))
            .await
    }

    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        self.model.keys().await
    }

    async fn revoke_key(&self, id: i64, by: Actor, now: Timestamp) -> StoreResult<bool> {
        if self.makes(Omitted::RevokeKey) {
            self.model.revoke_key(id, (self.hands.by)(by), now).await
        } else {
            Ok(true)
        }
    }

    async fn kept_request(&self, request: &RequestKey) -> StoreResult<Option<KeptRequest>> {
        self.model
            .kept_request(request)
            .await
            .map(|kept| kept.map(self.hands.kept_request))
    }

    async fn keep_answer(
        &self,
        request: RequestKey,
        answer: KeptAnswer,
        now: Timestamp,
    ) -> StoreResult<KeptAnswer> {
        let stands = self.model.keep_answer(request, answer.clone(), now).await?;
        Ok((self.hands.stands)(stands, answer))
    }

    async fn cleanup(&self, before: Timestamp) -> StoreResult<u64> {
        self.model.cleanup((self.hands.cleanup)(before)).await
    }
}

#[async_trait]
impl Operate for Sloppy {
    async fn act(
        &self,
        award: AwardId,
        action: Action,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Acted> {
        self.model
            .act(award, action, (self.hands.by)(by), now)
            .await
    }

    async fn begin_operation(
        &self,
        spec: BulkSpec,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Operation> {
        let spec = (self.hands.bulk)(spec);
        self.model
            .begin_operation(spec, (self.hands.by)(by), now)
            .await
    }

    async fn step_operation(&self, id: i64, now: Timestamp) -> StoreResult<Option<Operation>> {
        let stepped = self.model.step_operation(id, now).await?;
        Ok(stepped.map(self.hands.stepped))
    }

    async fn cancel_operation(
        &self,
        id: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Option<Operation>> {
        if self.makes(Omitted::CancelOperation) {
            self.model.cancel_operation(id, by, now).await
        } else {
            self.model.step_operation(id, now).await
        }
    }

    async fn running_operations(&self) -> StoreResult<Vec<i64>> {
        self.model
            .running_operations()
            .await
            .map(self.hands.running)
    }

    async fn block_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<()> {
        if self.makes(Omitted::BlockUser) {
            self.model.block_user(user, by, now).await?;
        }
        Ok(())
    }

    async fn unblock_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<bool> {
        if self.makes(Omitted::BlockUser) {
            self.model.unblock_user(user, by, now).await
        } else {
            Ok(true)
        }
    }

    async fn reverse_points(
        &self,
        award: AwardId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PointsReversed> {
        if self.makes(Omitted::ReversePoints) {
            self.model.reverse_points(award, by, now).await
        } else {
            Ok(PointsReversed::Before)
        }
    }

    async fn dismiss(&self, letter: DeadLetter, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.model
            .dismiss(letter, by, now)
            .await
            .map(self.hands.dismissed)
    }

    async fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<()> {
        self.model
            .pause((self.hands.scope)(scope), (self.hands.by)(by), now)
            .await
    }

    async fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.model
            .resume((self.hands.scope)(scope), (self.hands.by)(by), now)
            .await
            .map(self.hands.resumed)
    }

    async fn end_holds(&self, reason: HoldReason, now: Timestamp) -> StoreResult<u64> {
        self.model
            .end_holds(reason, now)
            .await
            .map(self.hands.ended)
    }
}

#[async_trait]
impl Bench for Sloppy {
    fn store(&self) -> &dyn Store {
        self
    }

    fn schedule(&self) -> &Schedule {
        Bench::schedule(&self.model)
    }

    async fn row(&self, award: AwardId) -> Option<Row> {
        self.model.row(award)
    }

    async fn code_of(&self, award: AwardId) -> Option<String> {
        Bench::code_of(&self.model, award).await
    }

    async fn points_of(&self, user: &str) -> i64 {
        self.model.points_of(user)
    }

    async fn kept_messages(&self) -> usize {
        self.model.kept().len()
    }

    async fn log_lines(&self, award: AwardId) -> usize {
        self.model.log_of(award).len()
    }

    async fn operator_lines(&self) -> usize {
        self.model.operator_log().len()
    }

    async fn poison(&self, award: AwardId) {
        self.model.poison(award);
    }

    async fn change_secret(&self) {
        Bench::change_secret(&self.model).await;
    }
}

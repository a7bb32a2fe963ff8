//! The calls by name: what commands ask for.

use super::{Answer, Api, Call, ClientError, escape};
use crate::api::{
    ActionBody, Address, AppliedDoc, AuditQuery, AuditReport, AwardDetail, AwardDoc, AwardFact,
    AwardQuery, BulkCancelBody, BulkDoc, CampaignFact, CampaignShow, CancelBody, CodeFact,
    ConfirmBody, DeadLetterFact, DeadLetterQuery, DismissedDoc, DoctorDoc, DrawBody, DrawDoc,
    DrawQuery, DrawsDoc, EndpointFact, EndpointPutDoc, EndpointRotateBody, EndpointRotatedDoc,
    EndpointTestDoc, ExportQuery, Format, ImportQuery, ImportedDoc, KeptMessageFact, KeyBody,
    KeyDoc, KeyMadeDoc, LogFact, LogQuery, OddsDoc, OperationDoc, Page, PageQuery, PauseBody,
    PauseDoc, PointsDoc, PointsReversedDoc, RequeueBody, RequeuedDoc, SealFact, SecretRotateBody,
    SecretRotatedDoc, ShipmentBody, StockBody, StockDoc, TransitionBody, TransitionDoc,
    UserBlockDoc, UserDetail, UserFact, VersionDoc, WithdrawnDoc,
};
use axum::body::Body;
use serde::Serialize;
use tombola_core::campaign::CampaignFile;
use tombola_core::endpoint::EndpointSpec;

type Answered<T> = Result<T, ClientError>;

impl Api {
    /// Draws, under a request key; the whole answer, so that its bytes can be kept.
    pub async fn draw_answer(
        &self,
        campaign: &str,
        body: &DrawBody,
        key: &str,
    ) -> Answered<Answer> {
        let path = format!("/v1/campaigns/{}/draws", escape(campaign));
        self.answer(Call::post(path).json(body).request_key(key))
            .await
    }

    /// Draws, under a request key.
    pub async fn draw(&self, campaign: &str, body: &DrawBody, key: &str) -> Answered<DrawsDoc> {
        let path = format!("/v1/campaigns/{}/draws", escape(campaign));
        self.call(Call::post(path).json(body).request_key(key))
            .await
    }

    /// One draw.
    pub async fn draw_of(&self, id: i64) -> Answered<DrawDoc> {
        self.call(Call::get(format!("/v1/draws/{id}"))).await
    }

    /// A page of draws.
    pub async fn draws(&self, query: &DrawQuery) -> Answered<Page<DrawDoc>> {
        self.call(Call::get("/v1/draws").query(query)).await
    }

    /// A page of awards.
    pub async fn awards(&self, query: &AwardQuery) -> Answered<Page<AwardFact>> {
        self.call(Call::get("/v1/awards").query(query)).await
    }

    /// A whole list as it comes: `awards`, `draws`, `dead-letters` or `log`.
    pub async fn export(
        &self,
        list: &str,
        query: &impl Serialize,
        format: Format,
    ) -> Answered<Body> {
        let call = Call::get(format!("/v1/{list}/export")).query(query);
        let (body, _) = self.download(call.query(&ExportQuery { format })).await?;
        Ok(body)
    }

    /// One award with its timeline.
    pub async fn award(&self, id: i64) -> Answered<AwardDetail> {
        self.call(Call::get(format!("/v1/awards/{id}"))).await
    }

    async fn act<T: Serialize>(&self, id: i64, action: &str, body: &T) -> Answered<AwardDoc> {
        self.call(Call::post(format!("/v1/awards/{id}/{action}")).json(body))
            .await
    }

    /// Holds an award.
    pub async fn hold(&self, id: i64, body: &ActionBody) -> Answered<AwardDoc> {
        self.act(id, "hold", body).await
    }

    /// Ends a hold by hand.
    pub async fn release(&self, id: i64, body: &ActionBody) -> Answered<AwardDoc> {
        self.act(id, "release", body).await
    }

    /// Says that an award is delivered.
    pub async fn confirm(&self, id: i64, body: &ConfirmBody) -> Answered<AwardDoc> {
        self.act(id, "confirm", body).await
    }

    /// Ends an award.
    pub async fn cancel(&self, id: i64, body: &CancelBody) -> Answered<AwardDoc> {
        self.act(id, "cancel", body).await
    }

    /// Stores where a physical prize goes.
    pub async fn address(&self, id: i64, body: &Address) -> Answered<AwardDoc> {
        self.act(id, "address", body).await
    }

    /// Enters a shipment.
    pub async fn ship(&self, id: i64, body: &ShipmentBody) -> Answered<AwardDoc> {
        self.act(id, "shipment", body).await
    }

    /// Puts a campaign file in as a new version.
    pub async fn apply(&self, file: &CampaignFile) -> Answered<AppliedDoc> {
        let path = format!("/v1/campaigns/{}", escape(&file.campaign.slug));
        self.call(Call::put(path).json_text(file.to_json())).await
    }

    /// A page of campaigns.
    pub async fn campaigns(&self, query: &PageQuery) -> Answered<Page<CampaignFact>> {
        self.call(Call::get("/v1/campaigns").query(query)).await
    }

    /// One campaign.
    pub async fn campaign(&self, slug: &str) -> Answered<CampaignShow> {
        self.call(Call::get(format!("/v1/campaigns/{}", escape(slug))))
            .await
    }

    /// Moves a campaign.
    pub async fn transition(
        &self,
        campaign: &str,
        body: &TransitionBody,
    ) -> Answered<TransitionDoc> {
        let path = format!("/v1/campaigns/{}/transitions", escape(campaign));
        self.call(Call::post(path).json(body)).await
    }

    /// The odds of a campaign.
    pub async fn odds(&self, campaign: &str) -> Answered<OddsDoc> {
        self.call(Call::get(format!(
            "/v1/campaigns/{}/odds",
            escape(campaign)
        )))
        .await
    }

    /// What a user may still draw.
    pub async fn user(&self, campaign: &str, user: &str) -> Answered<UserFact> {
        self.call(Call::get(format!(
            "/v1/campaigns/{}/users/{}",
            escape(campaign),
            escape(user)
        )))
        .await
    }

    /// Imports codes from a stream of CSV.
    pub async fn import_codes(
        &self,
        campaign: &str,
        prize: &str,
        query: &ImportQuery,
        codes: Body,
        key: &str,
    ) -> Answered<ImportedDoc> {
        let path = prize_path(campaign, prize, "codes");
        self.call(
            Call::post(path)
                .query(query)
                .stream("text/csv", codes)
                .request_key(key),
        )
        .await
    }

    /// How many codes the prizes of a campaign have.
    pub async fn code_stats(&self, campaign: &str, query: &PageQuery) -> Answered<Page<CodeFact>> {
        let path = format!("/v1/campaigns/{}/codes", escape(campaign));
        self.call(Call::get(path).query(query)).await
    }

    /// Changes a prize's stock.
    pub async fn change_stock(
        &self,
        campaign: &str,
        prize: &str,
        body: &StockBody,
        key: &str,
    ) -> Answered<StockDoc> {
        self.call(
            Call::post(prize_path(campaign, prize, "stock"))
                .json(body)
                .request_key(key),
        )
        .await
    }

    /// All endpoints.
    pub async fn endpoints(&self, query: &PageQuery) -> Answered<Page<EndpointFact>> {
        self.call(Call::get("/v1/endpoints").query(query)).await
    }

    /// One endpoint.
    pub async fn endpoint(&self, name: &str) -> Answered<EndpointFact> {
        self.call(Call::get(format!("/v1/endpoints/{}", escape(name))))
            .await
    }

    /// Makes or replaces an endpoint.
    pub async fn put_endpoint(&self, spec: &EndpointSpec) -> Answered<EndpointPutDoc> {
        self.call(Call::put(format!("/v1/endpoints/{}", escape(&spec.name))).json(spec))
            .await
    }

    /// Makes a new secret of an endpoint, under a request key.
    pub async fn rotate_endpoint_secret(
        &self,
        name: &str,
        body: &EndpointRotateBody,
        key: &str,
    ) -> Answered<EndpointRotatedDoc> {
        let path = format!("/v1/endpoints/{}/rotate-secret", escape(name));
        self.call(Call::post(path).json(body).request_key(key))
            .await
    }

    /// Makes a test call.
    pub async fn test_endpoint(&self, name: &str) -> Answered<EndpointTestDoc> {
        self.call(Call::post(format!("/v1/endpoints/{}/test", escape(name))))
            .await
    }

    /// Enables or disables an endpoint.
    pub async fn enable_endpoint(
        &self,
        name: &str,
        is_enabled: bool,
        body: &ActionBody,
    ) -> Answered<EndpointFact> {
        let action = if is_enabled { "enable" } else { "disable" };
        self.call(Call::post(format!("/v1/endpoints/{}/{action}", escape(name))).json(body))
            .await
    }

    /// A page of dead letters.
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Answered<Page<DeadLetterFact>> {
        self.call(Call::get("/v1/dead-letters").query(query)).await
    }

    /// Puts dead letters back.
    pub async fn requeue(&self, body: &RequeueBody) -> Answered<RequeuedDoc> {
        self.call(Call::post("/v1/dead-letters/requeue").json(body))
            .await
    }

    /// Takes a dead letter off the list.
    pub async fn dismiss(&self, id: &str, body: &ActionBody) -> Answered<DismissedDoc> {
        let path = format!("/v1/dead-letters/{}/dismiss", escape(id));
        self.call(Call::post(path).json(body)).await
    }

    /// A kept message, whole.
    pub async fn kept_message(&self, id: &str) -> Answered<KeptMessageFact> {
        self.call(Call::get(format!("/v1/dead-letters/{}", escape(id))))
            .await
    }

    /// Puts all dead letters back that match.
    pub async fn requeue_matching(&self, body: &RequeueBody) -> Answered<OperationDoc> {
        self.call(Call::post("/v1/dead-letters/requeue").json(body))
            .await
    }

    /// How many dead letters match.
    pub async fn count_requeue(&self, body: &RequeueBody) -> Answered<BulkDoc> {
        self.call(Call::post("/v1/dead-letters/requeue").json(body))
            .await
    }

    /// How many awards a bulk cancel, or release, would take.
    pub async fn count_bulk(&self, is_cancel: bool, body: BulkCancelBody) -> Answered<BulkDoc> {
        self.call(bulk_call(is_cancel, body)).await
    }

    /// Cancels, or releases, all awards that match.
    pub async fn bulk(&self, is_cancel: bool, body: BulkCancelBody) -> Answered<OperationDoc> {
        self.call(bulk_call(is_cancel, body)).await
    }

    /// A page of bulk actions.
    pub async fn operations(&self, query: &PageQuery) -> Answered<Page<OperationDoc>> {
        self.call(Call::get("/v1/operations").query(query)).await
    }

    /// One bulk action.
    pub async fn operation(&self, id: i64) -> Answered<OperationDoc> {
        self.call(Call::get(format!("/v1/operations/{id}"))).await
    }

    /// Stops a bulk action.
    pub async fn cancel_operation(&self, id: i64, body: &ActionBody) -> Answered<OperationDoc> {
        let path = format!("/v1/operations/{id}/cancel");
        self.call(Call::post(path).json(body)).await
    }

    /// A user over all campaigns.
    pub async fn user_detail(&self, user: &str) -> Answered<UserDetail> {
        self.call(Call::get(format!("/v1/users/{}", escape(user))))
            .await
    }

    /// Keeps a user from drawing, or lets it draw again.
    pub async fn block_user(
        &self,
        user: &str,
        is_blocked: bool,
        body: &ActionBody,
    ) -> Answered<UserBlockDoc> {
        let action = if is_blocked { "block" } else { "unblock" };
        let path = format!("/v1/users/{}/{action}", escape(user));
        self.call(Call::post(path).json(body)).await
    }

    /// Erases a user.
    pub async fn erase_user(&self, user: &str, body: &ActionBody) -> Answered<OperationDoc> {
        let path = format!("/v1/users/{}/erase", escape(user));
        self.call(Call::post(path).json(body)).await
    }

    /// The points of a user.
    pub async fn points(&self, user: &str, query: &PageQuery) -> Answered<PointsDoc> {
        let path = format!("/v1/users/{}/points", escape(user));
        self.call(Call::get(path).query(query)).await
    }

    /// Takes back what an award gave.
    pub async fn reverse_points(
        &self,
        award: i64,
        body: &ActionBody,
    ) -> Answered<PointsReversedDoc> {
        let path = format!("/v1/awards/{award}/reverse-points");
        self.call(Call::post(path).json(body)).await
    }

    /// Takes an import of codes back.
    pub async fn withdraw_codes(
        &self,
        campaign: &str,
        prize: &str,
        import: i64,
        body: &ActionBody,
    ) -> Answered<WithdrawnDoc> {
        let path = prize_path(campaign, prize, &format!("codes/{import}/withdraw"));
        self.call(Call::post(path).json(body)).await
    }

    /// Pauses deliveries.
    pub async fn pause(&self, body: &PauseBody) -> Answered<PauseDoc> {
        self.call(Call::post("/v1/deliveries/pause").json(body))
            .await
    }

    /// Resumes deliveries.
    pub async fn resume(&self, body: &PauseBody) -> Answered<PauseDoc> {
        self.call(Call::post("/v1/deliveries/resume").json(body))
            .await
    }

    /// Makes a key.
    pub async fn create_key(&self, body: &KeyBody) -> Answered<KeyMadeDoc> {
        self.call(Call::post("/v1/keys").json(body)).await
    }

    /// All keys.
    pub async fn keys(&self, query: &PageQuery) -> Answered<Page<KeyDoc>> {
        self.call(Call::get("/v1/keys").query(query)).await
    }

    /// Revokes a key.
    pub async fn revoke_key(&self, id: i64, body: &ActionBody) -> Answered<KeyDoc> {
        self.call(Call::post(format!("/v1/keys/{id}/revoke")).json(body))
            .await
    }

    /// How the sealing stands.
    pub async fn secrets(&self) -> Answered<SealFact> {
        self.call(Call::get("/v1/secrets")).await
    }

    /// Makes a new version of the secret.
    pub async fn rotate_secret(&self, body: &SecretRotateBody) -> Answered<SecretRotatedDoc> {
        self.call(Call::post("/v1/secrets/rotate").json(body)).await
    }

    /// A page of the operator log.
    pub async fn log(&self, query: &LogQuery) -> Answered<Page<LogFact>> {
        self.call(Call::get("/v1/log").query(query)).await
    }

    /// What runs.
    pub async fn version(&self) -> Answered<VersionDoc> {
        self.call(Call::get("/version")).await
    }

    /// A backup as it comes, and its length.
    pub async fn backup(&self) -> Answered<(Body, Option<u64>)> {
        self.download(Call::get("/v1/backup")).await
    }

    /// What `doctor` finds in the server and its database.
    pub async fn doctor(&self) -> Answered<DoctorDoc> {
        self.call(Call::get("/v1/doctor")).await
    }

    /// The audit.
    pub async fn audit(&self, query: &AuditQuery) -> Answered<AuditReport> {
        self.call(Call::get("/v1/audit").query(query)).await
    }
}

fn bulk_call(is_cancel: bool, body: BulkCancelBody) -> Call {
    if is_cancel {
        Call::post("/v1/awards/cancel").json(&body)
    } else {
        Call::post("/v1/awards/release").json(&body.bulk())
    }
}

fn prize_path(campaign: &str, prize: &str, what: &str) -> String {
    format!(
        "/v1/campaigns/{}/prizes/{}/{what}",
        escape(campaign),
        escape(prize)
    )
}

//! Campaigns, endpoints and draws of a world.

use super::words::{Ask, PRIZE, Won, actor, ok, one_prize, only, ticket};
use super::{World, lock};
use tombola_core::adoption::Adoption;
use tombola_core::campaign::odds::Roll;
use tombola_core::campaign::{Approval, Transition, parse_toml};
use tombola_core::draw::DrawRequest;
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{
    AdoptAnswer, DrawAnswer, DrawBatch, PutCampaign, StockChanged, Transitioned,
};

impl World {
    pub(in crate::conformance) async fn put(&self, text: &str) -> PutCampaign {
        let file = parse_toml("case.toml", text)
            .unwrap_or_else(|problems| panic!("the case's own file is wrong: {problems:?}"));
        ok(self.store().put_campaign(file, actor(), self.now()).await)
    }

    pub(in crate::conformance) async fn move_campaign(
        &self,
        slug: &str,
        command: Transition,
    ) -> Transitioned {
        ok(self
            .store()
            .transition(slug, command, Approval::Anybody, actor(), self.now())
            .await)
    }

    /// Puts a campaign in and starts it.
    pub(in crate::conformance) async fn start(&self, slug: &str, text: &str) {
        self.put(text).await;
        for command in [Transition::Submit, Transition::Approve, Transition::Start] {
            let moved = self.move_campaign(slug, command).await;
            assert!(
                matches!(moved, Transitioned::Moved { .. }),
                "{command}: {moved:?}"
            );
        }
    }

    pub(in crate::conformance) async fn put_endpoint(
        &self,
        name: &str,
        is_idempotent: bool,
    ) -> i64 {
        let spec = EndpointSpec {
            name: name.to_owned(),
            url: format!("https://{name}.example/awards"),
            secret: None,
            idempotent: is_idempotent,
            conflict_means_delivered: false,
            timeout: "10s".to_owned(),
            concurrency: 16,
            rate: None,
            allow_private: false,
        };
        let secret = "whsec_bmV2ZXIgdG9sZA==".to_owned();
        let put = self.store().put_endpoint(spec, secret, actor(), self.now());
        let endpoint = ok(put.await).endpoint();
        endpoint.expect("a secret alone has room").lane
    }

    /// One request of a batch of its own.
    pub(in crate::conformance) async fn draw(&self, campaign: &str, ask: Ask) -> DrawAnswer {
        only(self.draw_all(campaign, vec![ask]).await)
    }

    /// One batch.
    pub(in crate::conformance) async fn draw_all(
        &self,
        campaign: &str,
        asks: Vec<Ask>,
    ) -> Vec<DrawAnswer> {
        let mut requests = Vec::with_capacity(asks.len());
        for ask in asks {
            requests.push(self.request(ask).await);
        }
        let batch = DrawBatch {
            campaign: campaign.into(),
            requests,
            now: self.now(),
            has_relay: true,
        };
        self.commit(batch).await
    }

    pub(in crate::conformance) async fn commit(&self, batch: DrawBatch) -> Vec<DrawAnswer> {
        let asked = batch.requests.len();
        let answers = ok(self.store().commit_draws(batch).await);
        assert_eq!(answers.len(), asked, "one answer for each request");
        for answer in &answers {
            if let DrawAnswer::Drawn { draws, .. } = answer {
                let won = draws.iter().filter(|draw| draw.award.is_some());
                lock(&self.won).extend(won.map(|draw| draw.id.award()));
            }
        }
        answers
    }

    pub(in crate::conformance) async fn request(&self, ask: Ask) -> DrawRequest {
        let count = u32::try_from(ask.rolls.len()).unwrap_or(u32::MAX);
        let mut ids = ok(self.store().reserve_ids(count).await);
        let next = |roll| {
            let id = ids
                .take()
                .unwrap_or_else(|| panic!("{count} ids were reserved"));
            ticket(id, roll)
        };
        DrawRequest {
            client: ask.client.as_str().into(),
            user: ask.user.as_str().into(),
            key: ask.key.as_str().into(),
            fingerprint: ask.fingerprint,
            tickets: ask.rolls.into_iter().map(next).collect(),
            traceparent: None,
            claim_key_version: 1,
        }
    }

    /// An order of another system, for a user of its own.
    pub(in crate::conformance) async fn order(&self, campaign: &str, order: i64) -> Adoption {
        let mut ids = ok(self.store().reserve_ids(1).await);
        let id = ids.take().expect("one id was reserved");
        Adoption {
            source: "java".into(),
            order,
            campaign: campaign.into(),
            prize: PRIZE.into(),
            award_type: None,
            user: format!("user-{}", self.fresh()).into(),
            ticket: ticket(id, Roll(0)),
            traceparent: None,
            claim_key_version: 1,
        }
    }

    pub(in crate::conformance) async fn adopt(&self, orders: Vec<Adoption>) -> Vec<AdoptAnswer> {
        let asked: Vec<_> = orders.iter().map(|it| it.ticket.id.award()).collect();
        let answers = ok(self.store().adopt(orders, self.now()).await);
        assert_eq!(answers.len(), asked.len(), "one answer for each order");
        let of_award = asked.into_iter().zip(&answers);
        let new = of_award.filter(|(_, answer)| matches!(answer, AdoptAnswer::Adopted(_)));
        lock(&self.won).extend(new.map(|(award, _)| award));
        answers
    }

    /// An award of a campaign of its own, whose only prize has these lines.
    pub(in crate::conformance) async fn win(&self, lines: &str) -> Won {
        only(self.win_many(lines, 1).await)
    }

    /// So many awards of one such campaign, won by one user each.
    pub(in crate::conformance) async fn win_many(&self, lines: &str, count: usize) -> Vec<Won> {
        let campaign = self.campaign_of(lines).await;
        self.win_from(&campaign, count).await
    }

    /// A started campaign whose only prize has these lines; every draw wins it.
    pub(in crate::conformance) async fn campaign_of(&self, lines: &str) -> String {
        if lines.contains("\"keen\"") {
            self.put_endpoint("keen", true).await;
        }
        if lines.contains("\"blunt\"") {
            self.put_endpoint("blunt", false).await;
        }
        let slug = format!("fair-{}", self.fresh());
        self.start(&slug, &one_prize(&slug, lines)).await;
        slug
    }

    pub(in crate::conformance) async fn win_from(&self, campaign: &str, count: usize) -> Vec<Won> {
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            let n = self.fresh();
            requests.push(
                self.request(Ask::new(&format!("user-{n}"), &format!("key-{n:08}")))
                    .await,
            );
        }
        let batch = DrawBatch {
            campaign: campaign.into(),
            requests,
            now: self.now(),
            has_relay: true,
        };
        let mut won = Vec::with_capacity(count);
        for answer in self.commit(batch).await {
            let DrawAnswer::Drawn { draws, handoffs } = answer else {
                panic!("not drawn: {answer:?}")
            };
            won.push(Won {
                handoff: handoffs.into_iter().next(),
                ..Won::of(&only(draws))
            });
        }
        won
    }

    /// Units of a prize that are left.
    pub(in crate::conformance) async fn stock_left(&self, campaign: &str, prize: &str) -> u64 {
        let changed = self
            .store()
            .change_stock(campaign, prize, 0, actor(), self.now());
        let answer = ok(changed.await);
        let StockChanged::Changed { left, .. } = answer else {
            panic!("no stock to look at: {answer:?}")
        };
        left
    }
}

//! Scratch.
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use async_trait::async_trait;
use tombola_core::ports::*;
use tombola_core::draw::DrawFact;
use tombola_core::ids::IdBlock;
use tombola_core::message::Message;
use tombola_core::campaign::Kind;
use tombola_core::*;
use tombola_engine::*;
#[derive(Default)]
struct Free(AtomicI64, AtomicU64, AtomicU64, AtomicU64, AtomicU64);
#[async_trait]
impl AwardPath for Free {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> { let next = 1+self.0.fetch_add(i64::from(count), Ordering::Relaxed); Ok(IdBlock{next, end: next+i64::from(count)}) }
    async fn commit_draws(&self, b: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        Ok(b.requests.iter().map(|r| DrawAnswer::Drawn{ draws: r.tickets.iter().map(|t| DrawFact{id:t.id,campaign:b.campaign.clone(),user:r.user.clone(),prize:Some("p".into()),drawn_at:b.now,award:None,claim_key_version:1}).collect(),
          handoffs: r.tickets.iter().map(|t| Handoff{award:t.id.award(),lease:1,message:Message{user:r.user.to_string(),award:t.id.award(),prize:"fair/p".into(),award_type:1,name:"A prize".into(),content:Some("hello there".into()),schema:1,message_id:format!("{}-abcdefghijkl",t.id),campaign:"fair".into(),drawn_at:b.now},traceparent:None,at:b.now}).collect()}).collect())
    }
    async fn mark_published(&self, m: Vec<MarkOf>, _: Timestamp) -> StoreResult<Vec<Written>> { self.2.fetch_add(m.len() as u64, Ordering::Relaxed); Ok(vec![Written::Applied; m.len()]) }
    async fn deliver_local(&self, c: Vec<Copy>, _: Timestamp) -> StoreResult<Vec<CopyAnswer>> { self.1.fetch_add(c.len() as u64, Ordering::Relaxed); self.3.fetch_add(1, Ordering::Relaxed); Ok(c.iter().map(|_| CopyAnswer::Delivered{kind:Kind::Text}).collect()) }
    async fn claim(&self, _: Vec<Copy>, _: Timestamp) -> StoreResult<Vec<CopyAnswer>> { unreachable!() }
    async fn defer(&self, _: Vec<Deferral>, _: Timestamp) -> StoreResult<Vec<CopyAnswer>> { unreachable!() }
    async fn record(&self, _: Vec<Record>, _: Timestamp) -> StoreResult<Vec<Recorded>> { unreachable!() }
    async fn claim_due(&self, _: DueQuery) -> StoreResult<DuePage> { unreachable!() }
    async fn give_back(&self, _: Vec<(AwardId, i64)>, _: Timestamp) -> StoreResult<Vec<Written>> { unreachable!() }
    async fn keep_messages(&self, _: Vec<KeptMessage>, _: Timestamp) -> StoreResult<()> { unreachable!() }
    async fn due_lanes(&self, _: Timestamp) -> StoreResult<DueLanes> { Ok(DueLanes::default()) }
    async fn begin_alone(&self, _: Timestamp) -> StoreResult<u64> { Ok(0) }
}
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async {
            let path = Arc::new(Free::default());
            let catalog = Arc::new(tombola_testkit::ModelStore::new());
            let topic = Arc::new(tombola_broker::MemoryTopic::new(Default::default()));
            let engine = Engine::start(EngineParts{ path: path.clone() as _, catalog: catalog as _, topic: topic as _, clock: Arc::new(SystemClock::new()), distributor: None, options: Default::default()}, Roles::ALL).await.unwrap();
            let desk = engine.desk().unwrap().clone();
            let began = std::time::Instant::now();
            let (total, callers): (u64, u64) = (100_000, 256);
            let mut set = tokio::task::JoinSet::new();
            for c in 0..callers { let desk = desk.clone(); set.spawn(async move {
                let (campaign, client): (Arc<str>, Arc<str>) = ("fair".into(), "shop".into());
                for n in 0..total/callers {
                    desk.draw(DrawAsk{ campaign: campaign.clone(), client: client.clone(), user: format!("user-{c}").into(), key: format!("{c}-{n:016x}").into(), fingerprint:[0;16], count:1, traceparent:None, claim_key_version:1}).await.unwrap();
                }
            }); }
            while set.join_next().await.is_some() {}
            let all = total / callers * callers;
            println!("drawn after {:?}", began.elapsed());
            while path.1.load(Ordering::Relaxed) + engine.meters().handoffs_dropped.get() < all { tokio::time::sleep(std::time::Duration::from_millis(5)).await; }
            let s = began.elapsed().as_secs_f64();
            println!("{:.0} awards/s delivered, {} dropped, {:.1} a batch, marks {}", all as f64 / s, engine.meters().handoffs_dropped.get(), path.1.load(Ordering::Relaxed) as f64/path.3.load(Ordering::Relaxed) as f64, path.2.load(Ordering::Relaxed));
    });
}

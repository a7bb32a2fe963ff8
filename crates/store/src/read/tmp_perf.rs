use super::fixture::*;
use tombola_core::ports::*;
fn t() -> std::time::Instant { std::time::Instant::now() }
fn rss() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM")).collect::<Vec<_>>().join(" ") }
#[tokio::test]
async fn codes_million() {
    let it = Fixture::new();
    it.put(FAIR).await;
    let n: usize = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let import = it.begin("fair", "gift").await;
    let s = t();
    for step in 0..n / 1000 {
        let codes = (0..1000).map(|k| format!("CODE-{:012}", step * 1000 + k)).collect();
        it.store.add_codes(import, codes, false).await.unwrap();
        if step % 100 == 99 { println!("{} {:?} {}", (step + 1) * 1000, s.elapsed(), rss()); }
    }
    println!("finish {}", it.store.finish_import(import, NOW).await.unwrap());
    println!("IMPORT {:?} db {} wal {}", s.elapsed(), std::fs::metadata(it.path()).unwrap().len() >> 20, std::fs::metadata(it.path().with_extension("db-wal")).map(|m| m.len() >> 20).unwrap_or(0));
    let s = t();
    println!("{:?} stats {:?}", it.store.code_stats("fair").await.unwrap().unwrap()[0].total, s.elapsed());
    let s = t();
    while !it.store.remove_import(Some(import)).await.unwrap() {}
    println!("REMOVE {:?}", s.elapsed());
}
#[tokio::test]
async fn audit_million() {
    use tombola_core::draw::*;
    use tombola_core::campaign::odds::Roll;
    let it = Fixture::new();
    it.store.put_endpoint(endpoint("keen"), "whsec_secret".to_owned(), actor(), NOW).await.unwrap();
    it.put(&FAIR.replace("per_user_total = 50","per_user_total = 5000").replace("per_user_per_day = 20","per_user_per_day = 2000").replace("stock = 3", "stock = 1000")).await;
    let codes: Vec<String> = (0..1000).map(|k| format!("C{k}")).collect();
    it.import("fair", "gift", &codes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    it.start("fair").await;
    let n: u64 = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let s = t();
    let mut x = 88172645463325252u64;
    for b in 0..n / 1000 {
        let mut block = it.store.reserve_ids(1000).await.unwrap();
        let requests = (0..1000).map(|k| {
            x ^= x << 13; x ^= x >> 7; x ^= x << 17;
            let id = block.take().unwrap();
            DrawRequest { client: "shop".into(), user: format!("user-{}", x % 50_000).into(), key: format!("key-{b}-{k}").into(), fingerprint: [1;16],
              tickets: vec![Ticket { id, roll: Roll(x.wrapping_mul(0x2545F4914F6CDD1D)), message_tail: x, delivery_tail: x }], traceparent: None, claim_key_version: 1 }
        }).collect();
        let a = it.store.commit_draws(DrawBatch { campaign: "fair".into(), requests, now: NOW.plus(std::time::Duration::from_secs(b * 600)), has_relay: true }).await.unwrap();
        assert!(a.iter().all(|a| matches!(a, DrawAnswer::Drawn { .. })));
    }
    println!("DRAWN {:?}", s.elapsed());
    it.shell().execute_batch("UPDATE delivery SET state='delivered', due_at=NULL, ended_at=5 WHERE kind='text'; INSERT INTO points_entry SELECT award_id, user, 10, 5 FROM delivery JOIN draw ON id=award_id WHERE kind='points'; UPDATE delivery SET state='delivered', due_at=NULL, ended_at=5 WHERE kind='points'").unwrap();
    for depth in [super::AuditDepth::Sampled, super::AuditDepth::Full] {
        let s = t();
        let r = it.store.audit(depth).await.unwrap();
        println!("AUDIT {depth:?} {:?} ok {} {:?} {}", s.elapsed(), r.ok, r.campaigns, rss());
    }
    let s = t(); it.store.gauges().await.unwrap(); println!("gauges {:?}", s.elapsed());
    let s = t(); it.store.campaign_show("fair", NOW).await.unwrap(); println!("campaign_show {:?}", s.elapsed());
    let s = t(); println!("{}", it.store.draw_list(super::DrawFilter { campaign: Some("fair".into()), user: Some("user-77".into()) }, super::PageQuery::default()).await.unwrap().items.len()); println!("draw_list user {:?}", s.elapsed());
    let s = t(); println!("{}", it.store.award_list(super::AwardFilter { state: Some(tombola_core::award::State::Dead), ..Default::default() }, super::PageQuery::default()).await.unwrap().items.len()); println!("award_list dead {:?}", s.elapsed());
    let s = t(); println!("{}", it.store.award_list(super::AwardFilter { user: Some("nobody".into()), ..Default::default() }, super::PageQuery::default()).await.unwrap().items.len()); println!("award_list nobody {:?}", s.elapsed());
    it.shell().execute_batch("VACUUM INTO '/tmp/perf/audit.db'").unwrap();
}
#[tokio::test]
async fn audit_parts() {
    let dir = tempfile::tempdir().unwrap();
    drop(dir);
    let conn = rusqlite::Connection::open("/tmp/perf/audit.db").unwrap();
    conn.pragma_update(None, "cache_size", -8192).unwrap();
    conn.pragma_update(None, "temp_store", "MEMORY").unwrap();
    super::audit::tmp_parts(&conn);
}

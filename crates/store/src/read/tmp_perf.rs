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

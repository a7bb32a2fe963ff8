//! Ordered pairs of kill points: what one death leaves is taken up by a process that
//! dies at another point.

use crate::house::House;
use crate::lives::{Book, die_at, live_on};
use crate::{PASSED_ONCE, REQUESTS};
use rand::seq::IndexedRandom as _;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use tombola_engine::kill::POINTS;

/// The variable that brings a run's pairs back.
const SEED: &str = "TOMBOLA_FAULTS_SEED";

/// Pairs of one run, of all that there are.
const PAIRS: usize = 5;

/// Aim: a restart may die as well, wherever it stands.
#[tokio::test]
async fn second_death_at_another_point_loses_nothing_and_pays_nothing_twice() {
    let seed = match std::env::var(SEED) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => ChaCha12Rng::from_os_rng().next_u64(),
    };
    println!("{SEED}={seed}");
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    for _ in 0..PAIRS {
        let points = [armed(&mut rng), armed(&mut rng)];
        println!("{points:?}");
        let (mut house, mut book) = (House::new().await, Book::new());
        for point in &points {
            die_at(&mut house, &mut book, point, REQUESTS).await;
        }
        live_on(&mut house, &mut book).await;
    }
}

/// A point, and one of its first passes.
fn armed(rng: &mut ChaCha12Rng) -> String {
    // Nothing is adopted here: the topic in memory has no other producer.
    let points = POINTS.iter().filter(|it| !it.ends_with("_adopt"));
    let points: Vec<&str> = points.copied().collect();
    let point = points.choose(rng).unwrap();
    let passes: &[u32] = if PASSED_ONCE.contains(point) {
        &[1]
    } else {
        &[1, 2]
    };
    format!("{point}:{}", passes.choose(rng).unwrap())
}

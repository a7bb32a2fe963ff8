//! Faults of a real broker. They stop it, so they run where nobody else uses it: `cargo
//! xtask test` gives them its Kafka after everybody else. `TOMBOLA_TEST_KAFKA_FAULTS` is the
//! command that takes `kill 1` and `start 1`, as `cargo xtask services kafka` does.

use super::real::RealWorld;
use crate::suite::{Reader, in_time, outgoing, reader::text, skip, taken};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use tombola_core::ports::{Polled, Report, Topic as _};

struct Nodes(String);

impl Nodes {
    fn named(test: &str) -> Option<Self> {
        let command = std::env::var("TOMBOLA_TEST_KAFKA_FAULTS").ok();
        if command.is_none() {
            let why = "TOMBOLA_TEST_KAFKA_FAULTS names no command that stops a broker";
            skip(&format!("{}::{test}", module_path!()), why);
        }
        command.map(Self)
    }

    /// Returns when it is done, for which nothing here waits.
    async fn order(&self, what: &str) {
        let line = format!("{} {what} 1", self.0);
        let done = tokio::task::spawn_blocking(move || {
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).stdout(Stdio::null()).status()
        });
        assert!(done.await.unwrap().unwrap().success(), "{what}");
    }
}

/// What was said of each text, in order.
async fn publish_on(world: &RealWorld, said: &mut Vec<Report>) -> bool {
    let numbers = said.len()..said.len() + 100;
    let place = |number: usize| i32::try_from(number % 4).unwrap();
    let batch = numbers.map(|number| outgoing(place(number), &number.to_string()));
    let reports = world.named.topic.publish_batch(batch.collect()).await;
    let is_taken = reports.iter().all(|it| matches!(it, Report::Taken { .. }));
    said.extend(reports);
    is_taken
}

/// Whatever was reported as taken lies where it was said to lie, and a member that
/// joined before reads on after. Second copies there may be: while messages of one
/// partition time out, librdkafka begins its sequence numbers anew for all of them.
#[tokio::test]
async fn broker_that_is_killed_and_comes_back_keeps_its_word() {
    let test = "broker_that_is_killed_and_comes_back_keeps_its_word";
    let Some(nodes) = Nodes::named(test) else {
        return;
    };
    let Some(world) = RealWorld::made(test).await else {
        return;
    };
    let mut reader = Reader::alone(&world, "g").await;
    let mut said = Vec::new();
    for _ in 0..5 {
        assert!(publish_on(&world, &mut said).await);
    }
    let publishing = async {
        let mut failed = 0;
        // Down, noticed, up again, and going on for a while.
        for (goal, order) in [(false, "kill"), (true, "start")] {
            let mut ordered = std::pin::pin!(nodes.order(order));
            let mut is_done = false;
            loop {
                let is_taken = tokio::select! {
                    biased;
                    () = &mut ordered, if !is_done => { is_done = true; continue; }
                    is_taken = publish_on(&world, &mut said) => is_taken,
                };
                failed += u32::from(!is_taken);
                if is_done && is_taken == goal {
                    break;
                }
            }
        }
        failed
    };
    let failed = in_time(publishing).await;
    assert!(failed > 0, "the broker was not away");
    for _ in 0..5 {
        assert!(publish_on(&world, &mut said).await);
    }
    let sure = said.iter().filter(|it| matches!(it, Report::Taken { .. }));
    let mut missing: BTreeSet<(i32, i64)> = sure.map(taken).collect();
    in_time(async {
        while !missing.is_empty() {
            // An outage is said, and then reading goes on.
            if let Ok(Polled::Messages(messages)) = reader.member.poll(500).await {
                for message in messages {
                    let number: usize = text(&message).parse().unwrap();
                    let place = (message.partition, message.offset);
                    if missing.remove(&place) {
                        assert_eq!(taken(&said[number]), place);
                    }
                }
            }
        }
    })
    .await;
}

//! The process stands still (SIGSTOP) for longer than it may hold anything, and goes on
//! as if nothing had been. With one process on SQLite nobody takes its work up
//! meanwhile; its own rescue and its own late writes meet when it wakes.

use crate::REQUESTS;
use crate::house::{House, awards, wait, wait_at_most};
use crate::lives::{Book, check};
use std::time::Duration;

/// A lease lasts 40 s at least, which no setting shortens.
const LEASE_PATIENCE: Duration = Duration::from_mins(1);

/// Nearly one draw in three wins a ride.
const DRAWS_MAX: usize = 100;

/// Aim: hand-offs that have expired and rows whose grace is over are published by
/// rescue; those who wait for an answer get it.
#[tokio::test]
async fn nothing_is_lost_or_doubled_by_a_process_that_stood_still_past_its_graces() {
    let (mut house, mut book) = (House::new().await, Book::new());
    house.start(None).await;
    let freeze = async {
        let rows = house.rows();
        wait("an award in its grace", async || {
            house.freeze();
            let is_under_way = rows.in_grace().is_ok_and(|awards| !awards.is_empty());
            if !is_under_way {
                house.thaw();
            }
            is_under_way.then_some(())
        })
        .await;
        wait("the end of every grace", async || {
            rows.in_grace().unwrap().is_empty().then_some(())
        })
        .await;
        house.thaw();
    };
    tokio::join!(book.ask_at_once(&house, REQUESTS), freeze);
    check(&mut house, &mut book).await;
}

/// Aim: of a call under way whose lease ends while the process stands still, nobody
/// knows the outcome: whoever writes that first, the call's own task or rescue, it is
/// made again, under the same key.
#[tokio::test]
async fn ride_is_paid_once_by_a_process_that_stood_still_past_the_lease_of_its_call() {
    let (mut house, mut book) = (House::new().await, Book::of_pulls(1));
    house.rides.answer(false);
    house.start(None).await;
    for _ in 0..DRAWS_MAX {
        book.ask(&mut house, 1).await;
        if !awards(&house.api(), "&kind=webhook").await.is_empty() {
            break;
        }
    }
    let calls = async || house.rides.calls().into_iter().next();
    let (award, _) = wait("its call", calls).await;
    house.freeze();
    let rows = house.rows();
    assert_eq!(rows.in_lease().unwrap(), [award]);
    let is_over = async || rows.in_lease().unwrap().is_empty().then_some(());
    wait_at_most(LEASE_PATIENCE, "the end of its lease", is_over).await;
    house.thaw();
    wait("its second call", async || {
        (house.rides.calls()[&award].len() > 1).then_some(())
    })
    .await;
    house.rides.answer(true);
    book.faults += 1;
    check(&mut house, &mut book).await;
}

//! Messages of another draw system: adopted and then delivered, or kept.

use super::*;
use tombola_core::ports::Incoming;

fn adopting() -> Setting {
    let prize = |prize: &str| PrizeOf {
        campaign: "fair".into(),
        prize: prize.into(),
    };
    Setting {
        adopt: Some(Adopt {
            source: "java".into(),
            prizes: [
                ("1".to_owned(), prize("it")),
                ("2".to_owned(), prize("gone")),
            ]
            .into(),
            claim_key_version: 1,
        }),
        ..Setting::default()
    }
}

/// As the chapter's producer sends it: without key and headers.
fn invoice(offset: i64, order: i64, prize: &str) -> Incoming {
    let value = format!(
        r#"{{"awardContent":"c","awardId":"{prize}","awardName":"n","awardType":1,"orderId":{order},"uId":"u1"}}"#
    );
    Incoming {
        key: None,
        value: Some(Arc::from(value.into_bytes())),
        headers: Vec::new(),
        ..incoming(0, offset, 1)
    }
}

const ORDER: i64 = 1_662_799_798_929_063_936;

fn kept(world: &World) -> Vec<(i64, KeptReason, Option<String>)> {
    let kept = world.path.kept.lock().unwrap();
    kept.iter()
        .map(|it| (it.position.offset, it.reason, it.key.clone()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn order_of_another_system_is_adopted_once_and_delivered_in_the_same_go() {
    let world = World::new(adopting()).await;
    world.topic.show(Polled::Messages(vec![
        invoice(0, ORDER, "1"),
        invoice(1, ORDER, "1"),
        invoice(2, ORDER + 1, "1"),
    ]));
    world.pass(200).await;
    let adopted: Vec<i64> = {
        let adopted = world.path.adopted.lock().unwrap();
        adopted.iter().map(|it| it.order).collect()
    };
    assert_eq!(adopted, [ORDER, ORDER + 1]);
    assert_eq!(world.path.delivered.lock().unwrap().concat().len(), 2);
    assert_eq!(world.topic.committed(0), Some(3));
    let meters = &world.meters;
    assert_eq!(
        (meters.adopted.get(), meters.duplicates_dropped.get()),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_it_is_kept_and_found_by_the_user_it_names() {
    let world = World::plain().await;
    world
        .topic
        .show(Polled::Messages(vec![invoice(0, ORDER, "1")]));
    world.pass(200).await;
    let foreign = (0, KeptReason::Foreign, Some("u1".to_owned()));
    assert_eq!(kept(&world), [foreign]);
    assert!(world.path.adopted.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_no_prize_here_is_kept_with_the_reason() {
    let world = World::new(adopting()).await;
    let mut other = invoice(3, ORDER, "1");
    other.headers = vec![("origin".to_owned(), "another".to_owned())];
    world.topic.show(Polled::Messages(vec![
        invoice(0, ORDER, "9"),
        invoice(1, ORDER, "2"),
        invoice(2, 0, "1"),
        other,
    ]));
    world.pass(200).await;
    let mut kept: Vec<_> = kept(&world).into_iter().map(|it| (it.0, it.1)).collect();
    kept.sort_unstable();
    let expected = [
        (0, KeptReason::Unmapped),
        (1, KeptReason::NotAdoptable),
        (2, KeptReason::Undecodable),
        (3, KeptReason::Foreign),
    ];
    assert_eq!(kept, expected);
    assert_eq!(world.topic.committed(0), Some(4));
}

#[tokio::test(start_paused = true)]
async fn offset_stays_until_the_order_is_committed() {
    let world = World::new(adopting()).await;
    let mut times = 0;
    FakePath::say(&world.path.on_adopt, move |_| {
        times += 1;
        if times < 6 {
            Err(StoreError::Unavailable("away".to_owned()))
        } else {
            Ok(())
        }
    });
    world
        .topic
        .show(Polled::Messages(vec![invoice(0, ORDER, "1")]));
    world.pass(700).await;
    assert_eq!(world.topic.committed(0), None);
    world.pass(3000).await;
    assert_eq!(world.topic.committed(0), Some(1));
    assert_eq!(world.path.delivered.lock().unwrap().concat().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_order_that_cannot_be_written_never_wedges_the_others() {
    let world = World::new(adopting()).await;
    FakePath::say(&world.path.on_adopt, |orders: &Vec<_>| {
        if orders
            .iter()
            .any(|it: &tombola_core::adoption::Adoption| it.order == ORDER + 3)
        {
            Err(StoreError::Row("its row".to_owned()))
        } else {
            Ok(())
        }
    });
    let all = (0..10).map(|n| invoice(n, ORDER + n, "1")).collect();
    world.topic.show(Polled::Messages(all));
    world.pass(300).await;
    assert_eq!(world.path.delivered.lock().unwrap().concat().len(), 9);
    let refused = (3, KeptReason::NotAdoptable, Some("u1".to_owned()));
    assert_eq!(kept(&world), [refused]);
    assert_eq!(world.topic.committed(0), Some(10));
}

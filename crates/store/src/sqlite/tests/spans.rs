//! Spans: where lists look for the draws of a campaign and of a time.

use crate::read::fixture::{Fixture, HELLO, NOTHING, NOW};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::limits::{SPAN_GRAIN, SPAN_IDS};

/// Span, first instant, first instant after it.
fn spans(it: &Fixture) -> Vec<(i64, i64, i64)> {
    let shell = it.shell();
    let sql = "SELECT span, from_at, to_at FROM draw_span ORDER BY span, campaign_id";
    let mut statement = shell.prepare_cached(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn draws_on_either_side_of_a_bound_of_spans_are_in_two_spans() {
    let it = Fixture::fair().await;
    let last = SPAN_IDS - 1;
    it.shell()
        .execute("UPDATE id_block SET next = ?1", [last])
        .unwrap();
    let draws = it.draw("ann", &[NOTHING, HELLO]).await;
    assert_eq!(
        draws.iter().map(|it| it.id.0).collect::<Vec<_>>(),
        [last, SPAN_IDS]
    );
    assert_eq!(spans(&it).iter().map(|it| it.0).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn span_says_the_time_of_its_draws_to_the_grain() {
    let it = Fixture::fair().await;
    let grain = i64::try_from(SPAN_GRAIN.as_micros()).unwrap();
    let begin = NOW.0 / grain * grain + grain;
    let span = || spans(&it)[0];
    let micro = Duration::from_micros(1);
    for (at, from_at, to_at) in [
        (Timestamp(begin), begin, begin + grain),
        (Timestamp(begin + grain).minus(micro), begin, begin + grain),
        (Timestamp(begin + grain), begin, begin + 2 * grain),
        // A clock that goes back.
        (
            Timestamp(begin).minus(micro),
            begin - grain,
            begin + 2 * grain,
        ),
        (Timestamp(begin), begin - grain, begin + 2 * grain),
    ] {
        it.draw_at("ann", &[NOTHING], at).await;
        assert_eq!(span(), (0, from_at, to_at), "after a draw at {at}");
    }
}

#[tokio::test]
async fn batch_whose_grain_is_known_writes_no_span() {
    let it = Fixture::fair().await;
    it.draw("ann", &[NOTHING]).await;
    // Whoever wrote it again would write what it says.
    it.shell()
        .execute(
            "UPDATE draw_span SET from_at = from_at - 1, to_at = to_at + 1",
            [],
        )
        .unwrap();
    let known = spans(&it);
    it.draw("bob", &[NOTHING, HELLO]).await;
    assert_eq!(spans(&it), known);
}

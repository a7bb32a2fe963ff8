//! The life of a topic. A position of one life says nothing in another: if the topic
//! is deleted and made anew, the offset of an old mark is soon taken by another
//! message, and rescue would wait for the group to come to a copy that is gone.
//!
//! Kafka gives a topic an id, which librdkafka does not pass on. So the database keeps
//! a random number beside what it was seen with: the cluster, the topic's name and how
//! far each partition had come. What no longer fits is another life.
//!
//! # What it does not see
//! A topic made anew that has outgrown the old one before anybody looked passes for the
//! old one. Publishing looks all the time (an offset below an earlier one is never of
//! the same life), so this takes a process that was down, or published nothing, from
//! before the deletion until after; and it costs rows that wait until the group has
//! passed their offsets, no longer.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tombola_core::ports::Report;

/// What the database keeps of the topic's life: one row, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEpoch {
    /// The life: positive and random, stored with every mark.
    pub epoch: i64,
    /// The cluster.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// By partition: the highest high watermark that was ever seen.
    pub highest: Vec<(i32, i64)>,
}

/// What the cluster says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The cluster.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// By partition: its high watermark.
    pub high_watermarks: Vec<(i32, i64)>,
}

/// What becomes of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// The same life, and nothing to store.
    Same,
    /// The same life, further on: to be stored.
    Grown(KeptEpoch),
    /// Another life: to be stored before it is used.
    Renewed(KeptEpoch, Why),
}

/// Why it is another life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// None was kept.
    First,
    /// The cluster is another.
    OtherCluster,
    /// The topic has another name.
    OtherTopic,
    /// A partition ends before where it once ended.
    WentBack {
        /// The partition.
        partition: i32,
        /// Where it once ended.
        was: i64,
        /// Where it ends now.
        is: i64,
    },
    /// A partition is gone; Kafka never takes one away from a topic.
    PartitionGone(i32),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("the topic is seen for the first time"),
            Self::OtherCluster => f.write_str("the cluster is another one"),
            Self::OtherTopic => f.write_str("the topic is another one"),
            Self::WentBack { partition, was, is } => {
                write!(f, "partition {partition} ended at {was} and ends at {is}")
            }
            Self::PartitionGone(partition) => write!(f, "partition {partition} is gone"),
        }
    }
}

/// Decides whether `seen` is the life that is kept. `fresh` is the number of a new
/// one, if it is not.
pub fn renewal(kept: Option<&KeptEpoch>, seen: &Seen, fresh: i64) -> Renewal {
    let Some(kept) = kept else {
        return Renewal::Renewed(begin(seen, fresh), Why::First);
    };
    if let Some(why) = difference(kept, seen) {
        return Renewal::Renewed(begin(seen, fresh), why);
    }
    let now = begin(seen, kept.epoch);
    if now == *kept {
        Renewal::Same
    } else {
        Renewal::Grown(now)
    }
}

fn begin(seen: &Seen, epoch: i64) -> KeptEpoch {
    let mut highest = seen.high_watermarks.clone();
    highest.sort_unstable();
    KeptEpoch {
        epoch,
        cluster_id: seen.cluster_id.clone(),
        topic: seen.topic.clone(),
        highest,
    }
}

fn difference(kept: &KeptEpoch, seen: &Seen) -> Option<Why> {
    if kept.cluster_id != seen.cluster_id {
        return Some(Why::OtherCluster);
    }
    if kept.topic != seen.topic {
        return Some(Why::OtherTopic);
    }
    let now: BTreeMap<i32, i64> = seen.high_watermarks.iter().copied().collect();
    kept.highest
        .iter()
        .find_map(|(partition, was)| match now.get(partition) {
            None => Some(Why::PartitionGone(*partition)),
            Some(is) if is < was => Some(Why::WentBack {
                partition: *partition,
                was: *was,
                is: *is,
            }),
            Some(_) => None,
        })
}

/// By partition: the highest offset that was reported.
pub(super) type Taken = BTreeMap<i32, i64>;

/// The life that this process publishes in.
pub(super) struct Life {
    epoch: AtomicI64,
    taken: Mutex<Taken>,
    doubt: Notify,
}

impl Life {
    pub(super) fn new(epoch: i64) -> Self {
        Self {
            epoch: AtomicI64::new(epoch),
            taken: Mutex::default(),
            doubt: Notify::new(),
        }
    }

    pub(super) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// From now on it is this life.
    pub(super) fn enter(&self, epoch: i64) {
        if self.epoch.swap(epoch, Ordering::AcqRel) != epoch {
            self.lock().clear();
        }
    }

    /// What was reported up to now: to be asked before a batch is handed over.
    pub(super) fn taken(&self) -> Taken {
        self.lock().clone()
    }

    /// Takes the reports of a batch in. One that lies below what was reported before
    /// the batch was handed over is of another life.
    pub(super) fn note(&self, before: &Taken, reports: &[Report]) {
        let mut taken = self.lock();
        for report in reports {
            let Report::Taken { partition, offset } = report else {
                continue;
            };
            match before.get(partition) {
                Some(earlier) if offset <= earlier => {
                    taken.remove(partition);
                    self.doubt.notify_one();
                }
                Some(_) | None => {
                    let highest = taken.entry(*partition).or_insert(*offset);
                    *highest = (*highest).max(*offset);
                }
            }
        }
    }

    /// Waits for a report that is of another life.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks once whether there is a doubt, and takes it away.
    async fn is_doubted(life: &Life) -> bool {
        tokio::select! {
            biased;
            () = life.doubted() => true,
            () = std::future::ready(()) => false,
        }
    }

    fn reported(offsets: &[i64]) -> Vec<Report> {
        let report = |offset: &i64| Report::Taken {
            partition: 0,
            offset: *offset,
        };
        offsets.iter().map(report).collect()
    }

    #[tokio::test]
    async fn report_below_an_earlier_one_is_doubted_once_and_side_by_side_is_no_order() {
        let life = Life::new(1);
        let before = life.taken();
        life.note(&before, &reported(&[5, 6]));
        life.note(&before, &reported(&[3, 4])); // handed over before 5 was reported
        assert!(!is_doubted(&life).await);
        let before = life.taken();
        life.note(&before, &reported(&[7]));
        assert!(!is_doubted(&life).await);
        let before = life.taken();
        life.note(&before, &reported(&[0, 1]));
        assert!(is_doubted(&life).await);
        life.enter(2);
        let before = life.taken();
        life.note(&before, &reported(&[2]));
        assert!(!is_doubted(&life).await);
    }

    fn kept(highest: &[(i32, i64)]) -> KeptEpoch {
        KeptEpoch {
            epoch: 7,
            cluster_id: "c".to_owned(),
            topic: "t".to_owned(),
            highest: highest.to_vec(),
        }
    }

    fn seen(high_watermarks: &[(i32, i64)]) -> Seen {
        Seen {
            cluster_id: "c".to_owned(),
            topic: "t".to_owned(),
            high_watermarks: high_watermarks.to_vec(),
        }
    }

    fn why(kept: &KeptEpoch, seen: &Seen) -> Option<Why> {
        match renewal(Some(kept), seen, 8) {
            Renewal::Renewed(now, why) => {
                assert_eq!(now, begin(seen, 8), "it begins with what is there");
                Some(why)
            }
            Renewal::Same | Renewal::Grown(_) => None,
        }
    }

    #[test]
    fn first_sight_begins_a_life() {
        let expected = Renewal::Renewed(
            KeptEpoch {
                epoch: 8,
                ..kept(&[(0, 3), (1, 0)])
            },
            Why::First,
        );
        assert_eq!(renewal(None, &seen(&[(1, 0), (0, 3)]), 8), expected);
    }

    #[test]
    fn life_goes_on_while_no_partition_goes_back() {
        let was = kept(&[(0, 3), (1, 5)]);
        assert_eq!(
            renewal(Some(&was), &seen(&[(0, 3), (1, 5)]), 8),
            Renewal::Same
        );
        for grown in [[(0, 3), (1, 6)].as_slice(), &[(0, 3), (1, 5), (2, 0)]] {
            assert_eq!(
                renewal(Some(&was), &seen(grown), 8),
                Renewal::Grown(kept(grown))
            );
        }
    }

    #[test]
    fn partition_that_goes_back_or_is_gone_is_another_life() {
        let was = kept(&[(0, 3), (1, 5)]);
        let back = Why::WentBack {
            partition: 1,
            was: 5,
            is: 4,
        };
        assert_eq!(why(&was, &seen(&[(0, 9), (1, 4)])), Some(back));
        assert_eq!(why(&was, &seen(&[(0, 9)])), Some(Why::PartitionGone(1)));
    }

    #[test]
    fn other_cluster_or_other_name_is_another_life_however_far_it_is() {
        let was = kept(&[(0, 3)]);
        let far = seen(&[(0, 9)]);
        let other = "x".to_owned();
        let cluster_id = other.clone();
        assert_eq!(
            why(
                &was,
                &Seen {
                    cluster_id,
                    ..far.clone()
                }
            ),
            Some(Why::OtherCluster)
        );
        assert_eq!(
            why(
                &was,
                &Seen {
                    topic: other,
                    ..far
                }
            ),
            Some(Why::OtherTopic)
        );
    }

    #[test]
    fn kept_life_is_read_as_it_was_written() {
        let was = kept(&[(0, 3), (11, 1 << 40)]);
        let text = serde_json::to_string(&was).unwrap();
        assert_eq!(
            text,
            r#"{"epoch":7,"cluster_id":"c","topic":"t","highest":[[0,3],[11,1099511627776]]}"#
        );
        assert_eq!(serde_json::from_str::<KeptEpoch>(&text).unwrap(), was);
    }
}

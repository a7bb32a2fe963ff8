//! What a topic is to be, and what came of making it so.

use std::fmt;

/// What a topic is to be made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication: i32,
    /// Replicas that must have a message before it is acknowledged; the cluster's
    /// own choice if it is absent.
    pub min_insync_replicas: Option<i32>,
}

/// What came of making a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It was not there and is now.
    New,
    /// It was there, and is as planned.
    AsPlanned,
    /// It was there, and differs; it was left as it is.
    Differs(Vec<Difference>),
}

/// One thing that is not as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, `replication` or `min.insync.replicas`.
    pub what: &'static str,
    /// As it was planned.
    pub planned: i32,
    /// As it is.
    pub is: i32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, planned, is } = self;
        write!(f, "{what} is {is}, asked was {planned}")
    }
}

/// Where `is` is not as planned.
pub(super) fn differences(plan: &TopicPlan, is: &TopicPlan) -> Vec<Difference> {
    let minimum = plan.min_insync_replicas.zip(is.min_insync_replicas);
    let pairs = [
        ("partitions", Some((plan.partitions, is.partitions))),
        ("replication", Some((plan.replication, is.replication))),
        ("min.insync.replicas", minimum),
    ];
    pairs
        .into_iter()
        .filter_map(|(what, pair)| pair.map(|(planned, is)| Difference { what, planned, is }))
        .filter(|it| it.planned != it.is)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_names_what_was_planned_and_what_is() {
        let plan = |partitions, min_insync_replicas| TopicPlan {
            partitions,
            replication: 3,
            min_insync_replicas,
        };
        assert_eq!(differences(&plan(8, None), &plan(8, Some(1))), []);
        let found = differences(&plan(8, Some(2)), &plan(4, Some(1)));
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "partitions is 4, asked was 8",
                "min.insync.replicas is 1, asked was 2"
            ]
        );
    }
}

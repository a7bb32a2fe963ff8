//! The topic: whether it is there, whether its copies can be lost, who reads it.

use super::not_checked;
use crate::api::Finding;
use crate::app::App;
use crate::config::{Broker, Config};
use tombola_broker::{Inspection, KafkaTopic, PartitionInspection, TopicWarning};
use tombola_core::limits::DOCTOR_NAMED_MAX;
use tombola_core::ports::TopicError;
use tombola_core::reason::KeptReason;
use tombola_store::read::Gauges;

/// Whether it is there.
pub(super) const TOPIC: &str = "topic";
const SETTINGS: &str = "topic.settings";
const PARTITIONS: &str = "topic.partitions";
const GROUP: &str = "topic.group";
const FOREIGN: &str = "topic.foreign";

/// Every check of a topic on Kafka, after the one whether it is there.
const MORE: [&str; 3] = [SETTINGS, PARTITIONS, GROUP];

/// The topic of a server, which knows what its workers kept as well.
pub(super) async fn of_server(app: &App) -> Vec<Finding> {
    let broker = &app.config().broker;
    let Some(topic) = app.topic().kafka() else {
        return vec![Finding::ok(
            TOPIC,
            format!("{} at {}", broker.topic, broker.url),
        )];
    };
    let mut found = seen(app.config(), topic.inspect(&broker.group).await);
    found.push(match app.gauges().await {
        Ok(gauges) => foreign(&gauges),
        Err(error) => Finding::not_checked(FOREIGN, &error.to_string()),
    });
    found
}

/// The topic on Kafka where nobody serves, in the place of the finding that it was not
/// checked.
pub(super) async fn unserved(config: &Config, found: &mut Vec<Finding>) {
    let Some(options) = config.broker.kafka(1) else {
        return;
    };
    let here = match KafkaTopic::new(options) {
        Ok(topic) => seen(config, topic.inspect(&config.broker.group).await),
        Err(error) => vec![Finding::fault(
            TOPIC,
            error.to_string(),
            "mend [broker.kafka]",
        )],
    };
    let place = found.iter().position(|it| it.name == TOPIC);
    match place {
        Some(place) => drop(found.splice(place..=place, here)),
        None => found.extend(here),
    }
}

fn seen(config: &Config, inspected: Result<Option<Inspection>, TopicError>) -> Vec<Finding> {
    let broker = &config.broker;
    let (fault, why) = match inspected {
        Ok(Some(inspection)) => return check(&broker.url, &inspection),
        Ok(None) => (
            Finding::fault(
                TOPIC,
                format!("there is no topic {} at {}", broker.topic, broker.url),
                "`tombola topic create` makes it; draws go on without it, and are delivered then",
            ),
            "there is no topic",
        ),
        Err(error) => (
            Finding::fault(
                TOPIC,
                format!("{} at {}: {error}", broker.topic, broker.url),
                look_at(broker),
            ),
            "the broker did not answer",
        ),
    };
    let mut found = vec![fault];
    found.extend(not_checked(&MORE, why));
    found
}

/// What may be wrong. Brokers that speak TLS hang up on who does not, without a word.
fn look_at(broker: &Broker) -> &'static str {
    if broker.kafka.contains_key("security.protocol") {
        "draws go on without it; look at the brokers, broker.url and [broker.kafka]"
    } else {
        "draws go on without it; look at the brokers and broker.url; \
         brokers that speak TLS or ask for a password need security.protocol in [broker.kafka]"
    }
}

fn check(url: &str, it: &Inspection) -> Vec<Finding> {
    let mut found = vec![Finding::ok(TOPIC, format!("{} at {url}", it.name))];
    let (partitions, copies) = (it.partitions.len(), it.replication());
    let min = it
        .settings
        .min_insync_replicas
        .map_or_else(|| "unknown".to_owned(), |min| min.to_string());
    let lag: i64 = it.partitions.iter().map(PartitionInspection::lag).sum();
    let members = it.group.members.len();
    let good = [
        (
            SETTINGS,
            format!("acks=all, min.insync.replicas {min} of {copies} replicas"),
        ),
        (
            PARTITIONS,
            format!("{partitions} partitions are led, and their replicas up to date"),
        ),
        (
            GROUP,
            format!("{members} members, none a stranger; {lag} messages are before them"),
        ),
    ];
    let warnings = it.warnings();
    for (name, well) in good {
        let mut amiss: Vec<Finding> = warnings
            .iter()
            .filter(|warning| name_of(warning) == name)
            .map(finding)
            .collect();
        let more = amiss.len().saturating_sub(DOCTOR_NAMED_MAX);
        amiss.truncate(DOCTOR_NAMED_MAX);
        match amiss.last_mut() {
            None => found.push(Finding::ok(name, well)),
            Some(last) if more > 0 => last.what = format!("{}; and {more} more", last.what),
            Some(_) => {}
        }
        found.extend(amiss);
    }
    found
}

fn name_of(warning: &TopicWarning) -> &'static str {
    match warning {
        TopicWarning::NoLeader { .. }
        | TopicWarning::Behind { .. }
        | TopicWarning::Dropped { .. } => PARTITIONS,
        TopicWarning::FewPartitions { .. } | TopicWarning::Stranger { .. } => GROUP,
        TopicWarning::NotReplicated
        | TopicWarning::OneInSync
        | TopicWarning::AllInSync { .. }
        | TopicWarning::ShortRetention { .. }
        | TopicWarning::RetentionBySize { .. }
        | TopicWarning::Compacted
        | TopicWarning::SmallMessages { .. }
        | TopicWarning::UncleanElection => SETTINGS,
    }
}

/// A fault where awards wait or go astray now; the rest works, and will not always.
fn finding(warning: &TopicWarning) -> Finding {
    let (what, mend) = (warning.what(), warning.mend());
    let name = name_of(warning);
    match warning {
        TopicWarning::NoLeader { .. }
        | TopicWarning::Stranger { .. }
        | TopicWarning::Compacted
        | TopicWarning::SmallMessages { .. } => Finding::fault(name, what, mend),
        TopicWarning::NotReplicated
        | TopicWarning::OneInSync
        | TopicWarning::AllInSync { .. }
        | TopicWarning::Behind { .. }
        | TopicWarning::ShortRetention { .. }
        | TopicWarning::RetentionBySize { .. }
        | TopicWarning::UncleanElection
        | TopicWarning::FewPartitions { .. }
        | TopicWarning::Dropped { .. } => Finding::warning(name, what, mend),
    }
}

fn foreign(gauges: &Gauges) -> Finding {
    match gauges.kept.get(&KeptReason::Foreign).copied() {
        None | Some(0) => Finding::ok(FOREIGN, "no message came from another database"),
        Some(count) => Finding::warning(
            FOREIGN,
            format!("{count} messages of another database or draw system were kept"),
            "two installations share the topic: give each its broker.topic; or another system \
             draws: delivery.foreign says what becomes of that; `tombola dead-letter list` shows them",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CheckState;
    use tombola_broker::{GroupInspection, MemberInspection, TopicSettings};

    fn sound() -> Inspection {
        Inspection {
            name: "t".to_owned(),
            cluster_id: Some("c".to_owned()),
            partitions: vec![PartitionInspection {
                partition: 0,
                leader: Some(1),
                replicas: vec![1, 2, 3],
                in_sync: vec![1, 2, 3],
                log_start: 0,
                high_watermark: 10,
                committed: Some(4),
            }],
            settings: TopicSettings {
                min_insync_replicas: Some(2),
                ..TopicSettings::default()
            },
            group: GroupInspection::default(),
        }
    }

    fn amiss(spoil: impl FnOnce(&mut Inspection)) -> Vec<(String, CheckState)> {
        let mut inspection = sound();
        spoil(&mut inspection);
        let found = check("kafka://h", &inspection).into_iter();
        let amiss = found.filter(|it| it.state != CheckState::Ok);
        amiss.map(|it| (it.name, it.state)).collect()
    }

    #[test]
    fn sound_topic_is_ok_under_every_name() {
        let names: Vec<_> = check("kafka://h", &sound())
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, [TOPIC, SETTINGS, PARTITIONS, GROUP]);
        assert_eq!(amiss(|_| {}), []);
    }

    #[test]
    fn each_danger_is_found_under_its_name() {
        let is = |name: &str, state| vec![(name.to_owned(), state)];
        let one = |it: &mut Inspection| it.settings.min_insync_replicas = Some(1);
        assert_eq!(amiss(one), is(SETTINGS, CheckState::Warning));
        let headless = |it: &mut Inspection| it.partitions[0].leader = None;
        assert_eq!(amiss(headless), is(PARTITIONS, CheckState::Fault));
        let stranger = |it: &mut Inspection| {
            it.group.members.push(MemberInspection {
                id: "b-1".to_owned(),
                client_id: "billing".to_owned(),
                host: "/10.0.0.1".to_owned(),
                is_ours: false,
                partitions: vec![0],
            });
        };
        assert_eq!(amiss(stranger), is(GROUP, CheckState::Fault));
    }

    #[test]
    fn topic_that_is_not_there_or_not_answered_for_is_a_fault() {
        for inspected in [Ok(None), Err(TopicError::Unavailable("refused".to_owned()))] {
            let found = seen(&Config::default(), inspected);
            let states: Vec<_> = found.iter().map(|it| it.state).collect();
            let unchecked = CheckState::NotChecked;
            assert_eq!(states, [CheckState::Fault, unchecked, unchecked, unchecked]);
        }
    }

    #[test]
    fn messages_of_another_database_are_told() {
        let kept = |count| Gauges {
            kept: [(KeptReason::Foreign, count)].into(),
            ..Gauges::default()
        };
        assert_eq!(foreign(&kept(0)).state, CheckState::Ok);
        assert_eq!(foreign(&kept(2)).state, CheckState::Warning);
    }

    #[test]
    fn brokers_that_hang_up_without_a_word_may_want_a_protocol_that_is_not_set() {
        let mend = |config: &Config| {
            let why = TopicError::Unavailable("hung up".to_owned());
            seen(config, Err(why)).swap_remove(0).mend.unwrap()
        };
        let mut config = Config::default();
        assert!(mend(&config).contains("need security.protocol"));
        let protocol = ("security.protocol".to_owned(), "SASL_SSL".to_owned());
        config.broker.kafka.extend([protocol]);
        assert!(!mend(&config).contains("security.protocol"));
    }
}

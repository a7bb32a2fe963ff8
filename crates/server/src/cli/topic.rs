//! `tombola topic …`: the topic on Kafka, by the settings of this machine. The brokers
//! are asked directly, so no server has to run and no database is opened.

use super::context::{Context, Usage};
use crate::config::Broker;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use tombola_broker::{Inspection, KafkaTopic, Made, PartitionInspection, TopicPlan, TopicWarning};

/// Replicas of a topic unless somebody says otherwise: one broker may be lost for good.
const REPLICATION: i32 = 3;
/// Of these so many must have a message before it is acknowledged: one may be away.
const MIN_INSYNC: i32 = 2;

/// The topic on Kafka.
#[derive(Debug, Clone, Subcommand)]
pub enum TopicCommand {
    /// Make the topic; what is there is never changed: exit code 1 if it differs
    Create(CreateArgs),
    /// Say what the topic is and how the workers' group stands
    Describe,
}

/// `topic create`
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Partitions: as many workers can share the work; broker.partitions unless said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: Option<i32>,
    /// Replicas of each partition; 1 where there is one broker only
    #[arg(long, value_name = "N", default_value_t = REPLICATION, value_parser = clap::value_parser!(i32).range(1..=100))]
    replication: i32,
    /// Replicas that must have a message before it is acknowledged; 2 unless said, with
    /// fewer than 3 replicas 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    min_insync: Option<i32>,
}

impl CreateArgs {
    fn plan(&self, broker: &Broker) -> Result<TopicPlan, Usage> {
        let least = if self.replication < REPLICATION {
            1
        } else {
            MIN_INSYNC
        };
        let min = self.min_insync.unwrap_or(least);
        if min > self.replication {
            let replication = self.replication;
            return Err(Usage(format!(
                "--min-insync: use at most the {replication} replicas that there are, better one less"
            )));
        }
        Ok(TopicPlan {
            partitions: self.partitions.unwrap_or(broker.partitions),
            replication: self.replication,
            min_insync_replicas: Some(min),
        })
    }
}

pub(super) async fn run(command: TopicCommand, context: &Context) -> anyhow::Result<ExitCode> {
    if context.is_afar() {
        let what = "topic asks the brokers that the settings of this machine name, not a server";
        return Err(Usage(what.to_owned()).into());
    }
    let broker = context.load_local()?.config.broker;
    let Some(options) = broker.kafka(1) else {
        return in_memory(&broker, context);
    };
    let topic = KafkaTopic::new(options)?;
    match command {
        TopicCommand::Create(args) => create(&topic, &args.plan(&broker)?, &broker, context).await,
        TopicCommand::Describe => describe(&topic, &broker, context).await,
    }
}

fn in_memory(broker: &Broker, context: &Context) -> anyhow::Result<ExitCode> {
    let document = json!({ "name": broker.topic, "url": broker.url, "in_memory": true });
    context.out.either(&document, || {
        format!(
            "{} is in the memory of the server (broker.url = \"memory:\"): there is nothing to make, and \
             nobody else sees it",
            broker.topic
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn create(
    topic: &KafkaTopic,
    plan: &TopicPlan,
    broker: &Broker,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let made = topic.make(plan).await.map_err(|error| {
        let hint = if plan.replication > 1 {
            "; with fewer brokers than replicas say --replication"
        } else {
            ""
        };
        anyhow::anyhow!("{} at {}: {error}{hint}", broker.topic, broker.url)
    })?;
    let name = &broker.topic;
    let (state, differences) = match made {
        Made::New => ("made", Vec::new()),
        Made::AsPlanned => ("as_asked", Vec::new()),
        Made::Differs(differences) => ("differs", differences),
    };
    let each = differences
        .iter()
        .map(|it| json!({ "what": it.what, "asked": it.planned, "is": it.is }));
    let document = json!({
        "name": name,
        "state": state,
        "differences": each.collect::<Vec<_>>(),
    });
    context.out.either(&document, || {
        let partitions = plan.partitions;
        match state {
            "made" => format!("{name} is made, with {partitions} partitions"),
            "as_asked" => format!("{name} is there, as asked"),
            _ => {
                let said: Vec<String> = differences.iter().map(ToString::to_string).collect();
                format!("{name} is there and is left as it is: {}", said.join(", "))
            }
        }
    })?;
    Ok(if differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn describe(
    topic: &KafkaTopic,
    broker: &Broker,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let inspected = topic.inspect(&broker.group).await;
    let (name, url) = (&broker.topic, &broker.url);
    let inspection = inspected
        .map_err(|error| anyhow::anyhow!("{name} at {url}: {error}"))?
        .ok_or_else(|| {
            anyhow::anyhow!("there is no topic {name} at {url}; `tombola topic create` makes it")
        })?;
    if context.out.is_json() {
        context.out.json(&document(&inspection))?;
    } else {
        show(&inspection, context)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn document(it: &Inspection) -> Value {
    let partition = |it: &PartitionInspection| {
        json!({
            "partition": it.partition,
            "leader": it.leader,
            "replicas": it.replicas,
            "in_sync": it.in_sync,
            "log_start": it.log_start,
            "high_watermark": it.high_watermark,
            "committed": it.committed,
            "lag": it.lag(),
        })
    };
    let members = it.group.members.iter().map(|it| {
        json!({
            "id": it.id,
            "client_id": it.client_id,
            "host": it.host,
            "is_ours": it.is_ours,
            "partitions": it.partitions,
        })
    });
    let warning =
        |it: &TopicWarning| json!({ "code": it.code(), "what": it.what(), "mend": it.mend() });
    let settings = &it.settings;
    json!({
        "name": it.name,
        "cluster_id": it.cluster_id,
        "replication": it.replication(),
        "partitions": it.partitions.iter().map(partition).collect::<Vec<_>>(),
        "settings": {
            "min.insync.replicas": settings.min_insync_replicas,
            "retention.ms": settings.retention_ms,
            "retention.bytes": settings.retention_bytes,
            "cleanup.policy": settings.cleanup_policy,
            "max.message.bytes": settings.max_message_bytes,
            "unclean.leader.election.enable": settings.is_unclean_election_allowed,
        },
        "group": {
            "name": it.group.name,
            "state": it.group.state,
            "members": members.collect::<Vec<_>>(),
        },
        "lag": lag(it),
        "warnings": it.warnings().iter().map(warning).collect::<Vec<_>>(),
    })
}

fn lag(it: &Inspection) -> i64 {
    it.partitions.iter().map(PartitionInspection::lag).sum()
}

fn show(it: &Inspection, context: &Context) -> std::io::Result<()> {
    let out = context.out;
    let settings = &it.settings;
    let cluster = it
        .cluster_id
        .as_deref()
        .unwrap_or("a cluster without a name");
    let min = or_dash(settings.min_insync_replicas);
    out.line(&format!(
        "{} on {cluster}: {} partitions of {} replicas, min.insync.replicas {min}, retention.ms {}",
        it.name,
        it.partitions.len(),
        it.replication(),
        or_dash(settings.retention_ms),
    ))?;
    let head = [
        "PARTITION",
        "LEADER",
        "REPLICAS",
        "IN SYNC",
        "BEGINS",
        "ENDS",
        "COMMITTED",
        "LAG",
    ];
    let row = |it: &PartitionInspection| {
        vec![
            it.partition.to_string(),
            or_dash(it.leader),
            list(&it.replicas),
            list(&it.in_sync),
            it.log_start.to_string(),
            it.high_watermark.to_string(),
            or_dash(it.committed),
            it.lag().to_string(),
        ]
    };
    let rows: Vec<_> = it.partitions.iter().map(row).collect();
    out.table(&head, &rows)?;
    let group = &it.group;
    out.line(&format!(
        "group {}: {}, {} members, {} messages before it",
        group.name,
        group.state,
        group.members.len(),
        lag(it),
    ))?;
    if !group.members.is_empty() {
        let row = |it: &tombola_broker::MemberInspection| {
            let whose = if it.is_ours { "ours" } else { "a stranger" };
            let partitions = list(&it.partitions);
            vec![
                it.client_id.clone(),
                it.host.clone(),
                partitions,
                whose.to_owned(),
            ]
        };
        let rows: Vec<_> = group.members.iter().map(row).collect();
        out.table(&["MEMBER", "HOST", "PARTITIONS", "WHOSE"], &rows)?;
    }
    for warning in it.warnings() {
        out.note(&format!("warning: {warning}"));
    }
    Ok(())
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn list(numbers: &[i32]) -> String {
    let all: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    if all.is_empty() {
        "-".to_owned()
    } else {
        all.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(replication: i32, min_insync: Option<i32>) -> Result<TopicPlan, Usage> {
        let args = CreateArgs {
            partitions: None,
            replication,
            min_insync,
        };
        args.plan(&Broker::default())
    }

    #[test]
    fn plan_lets_one_broker_be_away_where_three_have_a_copy() {
        let min = |replication, min| plan(replication, min).unwrap().min_insync_replicas;
        assert_eq!(min(3, None), Some(2));
        assert_eq!(min(1, None), Some(1));
        assert_eq!(min(3, Some(1)), Some(1));
        assert!(plan(1, Some(2)).is_err());
        assert_eq!(
            plan(3, None).unwrap().partitions,
            Broker::default().partitions
        );
    }
}

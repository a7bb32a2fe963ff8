//! `tombola award …`: awards listed, shown, and acted on.

use super::bulk::{self, BulkArgs};
use super::context::Context;
use super::extent::Extent;
use super::show;
use crate::api::{
    ActionBody, AwardDoc, AwardQuery, CancelBody, ConfirmBody, OutcomeWord, ShipmentBody,
};
use crate::client::{Api, ClientError};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ports::Address;
use tombola_core::reason::{DeadReason, HoldReason};

/// Awards: list, show, and act on them.
#[derive(Debug, Subcommand)]
pub enum AwardCommand {
    /// Awards, newest first
    List(ListArgs),
    /// One award with its whole timeline
    Show {
        /// The award's id
        id: i64,
    },
    /// What people do to one award
    #[command(flatten)]
    Act(ActCommand),
    /// End all awards that match, without delivering them
    CancelAll(CancelAllArgs),
    /// End all holds that match and wait for a person or an instant
    ReleaseAll(BulkArgs),
}

/// `award cancel-all`
#[derive(Debug, Args)]
pub struct CancelAllArgs {
    #[command(flatten)]
    bulk: BulkArgs,
    /// Give the units back to the stock, also where an effect may exist
    #[arg(long)]
    return_stock: bool,
}

/// What people do to one award.
#[derive(Debug, Subcommand)]
pub enum ActCommand {
    /// Hold an award until it is released
    Hold(ActArgs),
    /// End a hold that waits for a person or an instant
    Release(ActArgs),
    /// Say that an award is delivered
    Confirm(ConfirmArgs),
    /// End an award without delivering it
    Cancel(CancelArgs),
    /// Enter the shipment of a physical prize
    Ship(ShipArgs),
    /// Store where a physical prize goes
    Address(AddressArgs),
}

/// `award list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// Only of this user
    #[arg(long)]
    user: Option<String>,
    /// Only in this state
    #[arg(long, value_parser = super::words::state())]
    state: Option<State>,
    /// Only of this kind
    #[arg(long, value_parser = super::words::kind())]
    kind: Option<Kind>,
    /// Only of this prize
    #[arg(long)]
    prize: Option<String>,
    /// Only held for this reason
    #[arg(long, value_parser = super::words::hold_reason())]
    hold_reason: Option<HoldReason>,
    /// Only given up on for this reason
    #[arg(long, value_parser = super::words::dead_reason())]
    dead_reason: Option<DeadReason>,
    /// Only delivered by this endpoint
    #[arg(long)]
    endpoint: Option<String>,
    /// Only drawn since: RFC 3339, or a span such as 2h
    #[arg(long)]
    since: Option<String>,
    /// Only drawn before: RFC 3339, or a span such as 2h
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// What every action takes.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// The award's id
    id: i64,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: String,
}

/// `award confirm`
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    #[command(flatten)]
    act: ActArgs,
    /// What the other side gave as a receipt
    #[arg(long)]
    receipt: Option<String>,
    /// What is known of an unknown outcome; what was not delivered is requeued instead
    #[arg(long, value_parser = ["delivered"])]
    outcome: Option<String>,
}

/// What an operator found out about an unknown outcome.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Outcome {
    /// The call had its effect
    Delivered,
    /// The call surely had none
    NotDelivered,
}

impl From<Outcome> for OutcomeWord {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::NotDelivered => Self::NotDelivered,
        }
    }
}

/// `award cancel`
#[derive(Debug, Args)]
pub struct CancelArgs {
    #[command(flatten)]
    act: ActArgs,
    /// Give the unit back to the stock, also when an effect may exist
    #[arg(long)]
    return_stock: bool,
    /// What is known of an unknown outcome
    #[arg(long)]
    outcome: Option<Outcome>,
}

/// `award ship`
#[derive(Debug, Args)]
pub struct ShipArgs {
    /// The award's id
    id: i64,
    /// Who carries it
    #[arg(long)]
    carrier: String,
    /// The number to follow it by
    #[arg(long)]
    tracking: String,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: Option<String>,
}

/// `award address`
#[derive(Debug, Args)]
pub struct AddressArgs {
    /// The award's id
    id: i64,
    /// Who receives it
    #[arg(long)]
    name: String,
    /// Street and house; may be given more than once
    #[arg(long = "line", required = true)]
    lines: Vec<String>,
    /// Postal code
    #[arg(long)]
    postal_code: Option<String>,
    /// Town
    #[arg(long)]
    city: String,
    /// State or province
    #[arg(long)]
    region: Option<String>,
    /// Country, two letters
    #[arg(long)]
    country: String,
    /// For the carrier
    #[arg(long)]
    phone: Option<String>,
}

pub(super) async fn run(command: AwardCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    match command {
        AwardCommand::List(args) => list(args, context).await,
        AwardCommand::Show { id } => {
            let award = context.api().await?.award(id).await?;
            show::award(context.out, &award)
        }
        AwardCommand::Act(command) => {
            let api = context.api().await?;
            let award = act(&api, command).await?;
            context.out.either(&award, || show::award_line(&award))?;
            Ok(ExitCode::SUCCESS)
        }
        AwardCommand::CancelAll(args) => {
            bulk::run(args.bulk, Some(args.return_stock), context).await
        }
        AwardCommand::ReleaseAll(args) => bulk::run(args, None, context).await,
    }
}

async fn act(api: &Api, command: ActCommand) -> Result<AwardDoc, ClientError> {
    match command {
        ActCommand::Hold(args) => {
            api.hold(
                args.id,
                &ActionBody {
                    reason: Some(args.reason),
                },
            )
            .await
        }
        ActCommand::Release(args) => {
            api.release(
                args.id,
                &ActionBody {
                    reason: Some(args.reason),
                },
            )
            .await
        }
        ActCommand::Confirm(args) => {
            let body = ConfirmBody {
                receipt: args.receipt,
                reason: Some(args.act.reason),
            };
            api.confirm(args.act.id, &body).await
        }
        ActCommand::Cancel(args) => {
            let body = CancelBody {
                return_stock: args.return_stock,
                reason: Some(args.act.reason),
                outcome: args.outcome.map(OutcomeWord::from),
            };
            api.cancel(args.act.id, &body).await
        }
        ActCommand::Ship(args) => {
            let body = ShipmentBody {
                carrier: args.carrier,
                tracking: args.tracking,
                reason: args.reason,
            };
            api.ship(args.id, &body).await
        }
        ActCommand::Address(args) => api.address(args.id, &address(args)).await,
    }
}

fn address(args: AddressArgs) -> Address {
    Address {
        name: args.name,
        lines: args.lines,
        postal_code: args.postal_code,
        city: args.city,
        region: args.region,
        country: args.country,
        phone: args.phone,
    }
}

async fn list(args: ListArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let (api, extent) = (context.api().await?, args.extent);
    let query = AwardQuery {
        campaign: args.campaign,
        user: args.user,
        state: args.state,
        kind: args.kind,
        prize: args.prize,
        hold_reason: args.hold_reason,
        dead_reason: args.dead_reason,
        endpoint: args.endpoint,
        since: args.since,
        until: args.until,
        limit: extent.limit(),
        after: None,
    };
    if let Some(format) = extent.format(context.out) {
        return show::export(context.out, api.export("awards", &query, format).await?).await;
    }
    let page = async |after, limit| {
        api.awards(&AwardQuery {
            after,
            limit: Some(limit),
            ..query.clone()
        })
        .await
    };
    show::pages(
        context.out,
        extent.rows(),
        show::AWARD_HEAD,
        page,
        show::award_row,
    )
    .await
}

//! What moves an award along its path: `draw → commit → relay → topic → worker →
//! distributor`, and `rescue`, which puts whatever is overdue back on the path.
//!
//! Nothing here knows which database or broker runs, and no rule about awards is
//! here: the row decides, by `core::award::step`. Every task is spawned on
//! [`Tasks`], so that a stop waits for it; every queue, batch and wait has a bound
//! from `core::limits`.

pub mod breaker;
pub mod clock;
pub mod distributor;
pub mod draw;
mod engine;
#[cfg(test)]
mod fakes;
pub mod kill;
pub mod lanes;
pub mod meters;
pub mod relay;
pub mod rescue;
mod rolls;
mod store_calls;
pub mod tasks;
mod test_call;
pub mod worker;

pub use clock::SystemClock;
pub use distributor::{Distributor, WebhookDistributor};
pub use draw::{Desk, DeskAnswer, DeskError, DeskOptions, DeskParts, DrawAsk};
pub use engine::{Engine, EngineOptions, EngineParts, Roles, StopReport};
pub use lanes::Lanes;
pub use meters::Meters;
pub use relay::{Publisher, Relay, RelayHandle};
pub use rescue::{RescueHandle, RescueRound, Rescuer, RescuerParts};
pub use rolls::Seed;
pub use tasks::Tasks;
pub use test_call::{TestCall, TestCaller, TestRefused};
pub use worker::{Adopt, PrizeOf, Worker, WorkerOptions, WorkerParts};

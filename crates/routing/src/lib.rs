//! Where a task goes and why. Pure: no tokio, no async-nats, no I/O, no clock.
//!
//! In the order in which a task meets them:
//!
//! * [`registry`], [`policy`]: lanes, models, agents and rules; [`raw`] checks what the configuration says
//! * [`intake`]: from a task on the wire to work; [`pipeline`]: the same for each step
//! * [`screen`]: may it leave the local zone? with the [`detect`]ors
//! * [`complexity`]: how hard does it look? from [`features`] and a [`score`]r
//! * [`learn`]: the chance that a lane's answer is good enough, learned from outcomes
//! * [`evaluate`]: what a score is worth, on tasks whose outcomes are known
//! * [`route`]: the whole policy on one screen; `choose` and `adjust` are its parts
//! * [`fleet`]: the state of the lanes that a decision is held against
//! * [`bound`]: the most that a call may cost; [`budget`]: what may be spent; [`ledger`]: what is booked

mod adjust;
pub mod bound;
pub mod budget;
mod choose;
pub mod complexity;
pub mod detect;
pub mod evaluate;
pub mod features;
pub mod fleet;
pub mod intake;
pub mod learn;
pub mod ledger;
pub mod pipeline;
pub mod policy;
pub mod raw;
pub mod registry;
pub mod route;
pub mod score;
pub mod screen;
mod seeded;

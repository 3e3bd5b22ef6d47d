//! Where a task goes and why. Pure: no tokio, no async-nats, no I/O, no clock.
//!
//! In the order in which a task meets them:
//!
//! * [`registry`], [`policy`]: lanes, models, agents and rules; [`raw`] checks what the configuration says
//! * [`intake`]: from a task on the wire to work; [`pipeline`]: the same for each step
//! * [`screen`]: may it leave the local zone? with the [`detect`]ors
//! * [`complexity`]: how hard does it look? from [`features`] and a [`score`]r
//! * [`learn`]: the chance that a lane's answer is good enough, learned from outcomes; [`example`]: what is kept to learn from;
//!   [`snapshot`]: a version of it as it is stored
//! * [`evaluate`]: what a score is worth, on tasks whose outcomes are known; [`off_policy`]: what policies are worth that were
//!   not followed
//! * [`learned`]: the score with what was learned beside it
//! * [`route`]: the whole policy on one screen; `choose`, `prefer`, [`explore`] and `adjust` are its parts
//! * [`steer`]: the bar that holds a share or a sum
//! * [`validate`]: whether an answer is what its producer demands; [`improve`]: one lane up where it is not good enough;
//!   [`shadow`]: the same task once more on a local lane
//! * [`fleet`]: the state of the lanes that a decision is held against
//! * [`review`]: what became of the tasks of a week, and what to change
//! * [`bound`]: the most that a call may cost; [`budget`]: what may be spent; [`ledger`]: what is booked

mod adjust;
pub mod bound;
pub mod budget;
mod choose;
pub mod complexity;
pub mod detect;
pub mod evaluate;
pub mod example;
pub mod explore;
pub mod features;
pub mod fleet;
pub mod improve;
pub mod intake;
pub mod learn;
pub mod learned;
pub mod ledger;
pub mod off_policy;
pub mod pipeline;
pub mod policy;
mod prefer;
pub mod raw;
pub mod registry;
pub mod review;
pub mod route;
pub mod score;
pub mod screen;
mod seeded;
pub mod shadow;
pub mod snapshot;
pub mod steer;
pub mod validate;

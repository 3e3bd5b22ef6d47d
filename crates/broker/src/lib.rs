//! The only crate that speaks to NATS.
//!
//! * [`topology`]: streams, consumers and buckets as data
//! * [`connect`]: a connection that finds its way back after any restart
//! * [`provision`]: applies the topology, as often as you like
//! * [`publish`]: confirmed publishes, repeated under the same message id
//! * [`tasks`]: what producers do
//! * [`lanes`]: what the classifier puts on lanes; cloud lanes take cloud routes and nothing else
//! * [`route_log`]: the routing log, a chain
//! * [`later`]: what is not due yet
//! * [`cancel`]: what producers no longer want
//! * [`content`]: what a stored message says of itself
//! * [`delivery`]: one message in hand, and what may become of it
//! * [`pull`]: messages for free slots only, by priority
//! * [`logs`]: one reader for what has happened
//! * [`results`]: exactly one result a task
//! * [`answers`]: what is kept to learn from: examples, feedback, answers of shadows
//! * [`browse`]: stored and announced results and partial text, for those who look
//! * [`dead`]: dead letters
//! * [`letters`]: what operators do with dead letters
//! * [`stuck`]: what a queue holds and the server will never deliver again
//! * [`ledger`]: what calls cost, counted before they are made
//! * [`lessons`]: what is learned from, and what was learned of it
//! * [`learner_state`]: what a learner keeps of itself
//! * [`workers`]: signs of life
//! * [`depth`]: how long the queues are; pause and resume
//! * [`observe`]: what the monitor looks at beyond that
//! * [`pipelines`]: what is kept of a pipeline while it runs
//! * [`policy`]: the versions of the learned policy, and which is in force

pub mod answers;
pub mod browse;
pub mod cancel;
pub mod connect;
pub mod content;
pub mod dead;
pub mod delivery;
pub mod depth;
pub mod lanes;
pub mod later;
pub mod learner_state;
pub mod ledger;
pub mod lessons;
pub mod letters;
pub mod logs;
pub mod observe;
pub mod pipelines;
pub mod policy;
pub mod provision;
pub mod publish;
pub mod pull;
pub mod results;
pub mod route_log;
pub mod stuck;
pub mod tasks;
pub mod topology;
pub mod workers;

pub use connect::{Broker, ConnectError};
pub use delivery::Delivery;
pub use ledger::Ledger;
pub use trilane_trust::Role;

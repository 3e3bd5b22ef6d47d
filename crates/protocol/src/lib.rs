//! The wire contract: what travels between producers, classifier and workers, and how it is encoded.
//!
//! This crate is pure. It has no tokio, no async-nats and does no I/O, so that any program that
//! speaks to the fleet can use it. Modules in reading order:
//!
//! * [`names`]: validated identifiers (they become subject tokens)
//! * [`task`]: what a producer publishes
//! * [`generation`]: how to generate, and [`template`]: prompts of pipeline steps
//! * [`limits`]: the bounds that a task is held to
//! * [`work`]: one routable unit made from a task, and the messages between classifier and workers
//! * [`decision`]: the chosen lane with every number that led to it
//! * [`outcome`]: the result, partial text and dead letters
//! * [`validator`]: what a producer demands of an answer, and [`learning`]: what the router learns from
//! * [`money`], [`ledger`]: what calls cost, and the book of it
//! * [`chain`]: the routing log as segments that name each other's hash
//! * [`heartbeat`]: what a worker says of itself, and [`alert`]: what a person should look at
//! * [`trace`]: the trace that a task belongs to
//! * [`subjects`]: every subject name, in one place, and [`streams`]: what keeps them
//! * [`codec`]: MessagePack and JSON, strictly decoded
//! * [`nearest`]: "did you mean" for unknown names

pub mod alert;
pub mod chain;
pub mod codec;
pub mod decision;
pub mod generation;
pub mod heartbeat;
pub mod learning;
pub mod ledger;
pub mod limits;
pub mod money;
pub mod names;
pub mod nearest;
pub mod outcome;
pub mod streams;
pub mod subjects;
pub mod task;
pub mod template;
pub mod trace;
pub mod validator;
pub mod work;

pub use codec::{DecodeError, Encoding};
pub use decision::{Decision, Sensitivity, Zone};
pub use generation::Generation;
pub use money::Usd;
pub use names::{AgentName, LaneName, ModelName, TaskId};
pub use outcome::{Status, TaskResult, Usage};
pub use task::{Message, Priority, Role, Task};
pub use work::Work;

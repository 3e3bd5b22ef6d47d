//! The fire drill: the real fleet under faults, and an audit that no acknowledged task is lost or answered
//! twice and no private one reaches the cloud.
//!
//! Everything is drawn from one seed. What is planned and what is concluded are pure functions; the shells
//! between them run the processes.
//!
//! * [`drill`]: one drill from its first process to its report
//! * [`markers`]: words in prompts that say whose they are
//! * [`tasks`]: what is published, and what may become of it
//! * [`schedule`]: what goes wrong, and when
//! * [`interrupt`]: how a program here ends
//! * [`script`]: what the models answer and how they misbehave, and [`provider`]: the server that does so
//! * [`invocations`]: the log of what the models were asked
//! * [`configuration`]: the fleet's, with tight limits
//! * [`process`], [`member`], [`queue`], [`fleet`]: what runs
//! * [`producers`]: who publishes
//! * [`faults`]: carries out the schedule
//! * [`notes`]: what is noticed meanwhile
//! * [`evidence`]: what the queue holds in the end
//! * [`audit`]: what of it is wrong, [`money`]: what it cost, and [`proof`]: what `trilane prove` says of it
//! * [`report`]: all of it, for programs and for people
//! * [`scaling`]: another program, which measures throughput instead

pub mod audit;
mod completions;
pub mod configuration;
pub mod drill;
pub mod evidence;
pub mod faults;
pub mod fleet;
pub mod interrupt;
pub mod invocations;
pub mod markers;
pub mod member;
pub mod money;
pub mod notes;
pub mod process;
pub mod producers;
pub mod proof;
pub mod provider;
pub mod queue;
pub mod report;
pub mod scaling;
pub mod schedule;
pub mod script;
pub mod tasks;

//! One runtime for every worker. A binary supplies a [`Runner`]; everything else is here.
//!
//! * [`runner`]: what a binary supplies
//! * [`partials`]: partial text on its way out
//! * [`retry`]: how long until the next attempt
//! * [`signs`]: what can be seen of an answer; with `validate`, what its task demands of it
//! * [`verdict`]: what becomes of a task after an attempt, as a pure function
//! * [`mod@serve`]: the life of a worker process: pull, run, drain; `shadow` is what it does when nothing else waits
//!
//! A task's life is one function, [`mod@serve`]'s `handle`: check the seal, run, decide, conclude.

mod attempt;
mod conclude;
mod heartbeat;
mod lease;
mod measure;
pub mod partials;
pub mod retry;
pub mod runner;
pub mod serve;
mod shadow;
pub mod signs;
mod unseal;
mod validate;
pub mod verdict;

pub use runner::{Assignment, Completion, RunError, RunErrorKind, Runner};
pub use serve::{ServeError, WorkerSpec, serve};

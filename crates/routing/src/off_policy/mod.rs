//! What policies are worth that were not followed, told from what happened under the one that was.
//!
//! Each task whose answer somebody has judged, and whose lane was drawn with a known probability, is a [`Trial`]. What a
//! policy would have earned on it is estimated by inverse propensities, and doubly robust: what the direct model expects
//! of the policy's lane, and where that lane was the one tried, the surprise divided by its propensity (Dudík, Langford
//! and Li, 2011). The direct model is the candidate before it has seen the task, so nothing is judged by what it has
//! learned from (progressive validation: Blum, Kalai and Langford, 1999).
//!
//! * [`trial`]: a task with all that is needed to judge policies by it
//! * [`contender`]: the policies that are held against each other
//! * [`rule`]: which lane another policy would have taken
//! * [`support`]: what of the trials can be reckoned with: lanes that some of them took
//! * [`mod@report`]: what each is worth, with 95 % intervals
//! * [`promotion`]: whether the candidate has earned to be put in force

pub mod contender;
pub mod promotion;
pub mod report;
pub mod rule;
pub mod support;
#[cfg(test)]
mod tests;
pub mod trial;

pub use contender::Contender;
pub use promotion::{Bounds, Promotion, Why, is_next_look, promotes};
pub use report::{Comparison, Estimate, Report, report};
pub use support::{Supported, supported};
pub use trial::{InvalidTrial, Offer, Trial};

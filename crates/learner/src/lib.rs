//! Learns from outcomes which lane does for which task, and puts a new version of the policy in force where it is better.
//!
//! * `evidence`: what a result, a verdict or a shadow says of how good an answer was
//! * `judge`: whether a local answer would have done in the place of the cloud's
//! * `trials`: the judged tasks that policies are held against each other by
//! * `student`: what has been learned until now, one judged answer at a time
//! * `windows`: what of late says that something is wrong with the policy in force
//! * `state`: what is saved of all that, and by whom
//! * `gather`: looks up what belongs to an entry of a log
//! * `tenure`: learns from what comes, for as long as no other learner does
//! * `promote`: stores new versions, and puts them in force

mod evidence;
mod gather;
mod judge;
mod promote;
mod state;
mod student;
mod tenure;
mod trials;
mod windows;

use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::Config;
use trilane_service::metrics::catalogue::LEARNER_ACTIVE;
use trilane_service::start::Started;

use crate::tenure::{Ended, Tenure};

/// Why a learner cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Learns until shutdown has begun. Of several that run side by side one learns; the others stand by, and one of them goes
/// on where it stopped.
///
/// # Errors
/// [`LearnerError`] where it cannot begin; once it has, faults are ridden out.
pub async fn run(config: Config, started: &Started) -> Result<(), LearnerError> {
    let name = format!("learner-{:08x}", rand::random::<u32>());
    let broker = Broker::connect(&config, Role::Learner, &name).await?;
    started.readiness.set(true);
    tracing::info!(learner = name, "standing by");
    while let Some(claim) = state::claim(&broker, &name, &config, &started.shutdown).await {
        LEARNER_ACTIVE.set(1.0, ());
        let ended = Tenure::new(&broker, &config, claim).learn(&started.shutdown).await;
        LEARNER_ACTIVE.set(0.0, ());
        match ended {
            Ended::Shutdown => break,
            Ended::Overtaken => tracing::warn!("another learner has taken over; standing by"),
        }
    }
    started.readiness.set(false);
    broker.flush().await;
    tracing::info!("ended; what was learned is saved");
    Ok(())
}

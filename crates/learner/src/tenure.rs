//! Learns from what comes, for as long as no other learner does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use trilane_broker::Broker;
use trilane_broker::learner_state::StateError;
use trilane_broker::logs::{Log, ReadError, Start};
use trilane_broker::policy;
use trilane_broker::publish::PublishError;
use trilane_protocol::alert::Alert;
use trilane_protocol::learning::{JUDGE, Outcome};
use trilane_protocol::{AgentName, Encoding, Task, TaskId, subjects};
use trilane_service::metrics::catalogue::{NOT_LEARNED, OUTCOMES, SHADOWS_ASKED, TRIALS};
use trilane_service::metrics::labels::Lane;
use trilane_service::{Config, Shutdown};

use crate::gather::{Asks, Gatherer, Lesson, recall};
use crate::promote::Stored;
use crate::state::{Claim, Keeper, Positions};
use crate::student::{Followed, Student};
use crate::windows::is_wanted;

/// Kinds of alerts, as the monitor knows them.
const ROUTER_CONSTANT: &str = "router_constant";
const CALIBRATION_DRIFT: &str = "calibration_drift";

/// Entries that are looked up at once, in their order.
const LOOK_UPS: usize = 32;

/// Pause before something is tried again that the server did not take or answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Pause between two words on the same matter, in the log and as alerts: the monitor holds an alert for ten minutes after
/// the last word on it.
const REMINDER: Duration = Duration::from_secs(300);

/// What is learned from.
const LOGS: [(Log, &str); 3] = [
    (Log::Results, subjects::RESULTS),
    (Log::Feedback, subjects::FEEDBACK),
    (Log::Shadowed, subjects::SHADOWED),
];

/// Why a tenure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process ends; all is saved.
    Shutdown,
    /// Another learner has written.
    Overtaken,
}

/// The time in which this learner is the one that learns.
#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) broker: Broker,
    pub(crate) config: Arc<Config>,
    pub(crate) student: Student,
    /// What is in force; none before it was first seen.
    pub(crate) in_force: Option<policy::Followed>,
    /// What is stored and could not be put in force yet.
    pub(crate) stored: Option<Stored>,
    /// Outcomes that the newest stored version has learned from.
    pub(crate) stored_outcomes: u64,
    /// Outcomes when a promotion was last thought of.
    pub(crate) weighed_outcomes: u64,
    keeper: Keeper,
    positions: Positions,
    told_at: Option<Instant>,
    alerted_at: Option<Instant>,
}

impl Tenure {
    pub(crate) fn new(broker: &Broker, config: &Config, claim: Claim) -> Self {
        let Claim { keeper, student, positions, stored_outcomes } = claim;
        Self {
            broker: broker.clone(),
            config: Arc::new(config.clone()),
            student,
            in_force: None,
            stored: None,
            stored_outcomes,
            weighed_outcomes: 0,
            keeper,
            positions,
            told_at: None,
            alerted_at: None,
        }
    }

    /// Learns until shutdown has begun or another learner has taken over.
    pub(crate) async fn learn(mut self, shutdown: &Shutdown) -> Ended {
        let mut ticks = tokio::time::interval(self.config.learning.save());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(ended) = self.learn_from_logs(&mut ticks, shutdown).await {
                if ended == Ended::Shutdown {
                    self.leave().await;
                }
                return ended;
            }
            tokio::select! {
                () = shutdown.begun() => {}
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }

    /// Learns from the logs, from where it stopped, until they are to be read anew.
    async fn learn_from_logs(&mut self, ticks: &mut Interval, shutdown: &Shutdown) -> Result<(), Ended> {
        if !self.follow_in_force().await {
            return if shutdown.has_begun() { Err(Ended::Shutdown) } else { Ok(()) };
        }
        let mut lessons = match self.lessons().await {
            Ok(lessons) => lessons,
            Err(error) => {
                tracing::warn!(%error, "what is to be learned from cannot be read; trying again");
                return if shutdown.has_begun() { Err(Ended::Shutdown) } else { Ok(()) };
            }
        };
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => return Err(Ended::Shutdown),
                _ = ticks.tick() => self.tick().await?,
                lesson = lessons.next() => match lesson {
                    Some(Ok(mut lesson)) => {
                        tokio::select! {
                            () = shutdown.begun() => return Err(Ended::Shutdown),
                            () = complete(&self.broker, &mut lesson) => {}
                        }
                        self.take(&lesson);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%error, "what is to be learned from is read anew");
                        return Ok(());
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// Everything behind the positions, in the order of each log, with what belongs to it.
    async fn lessons(&mut self) -> Result<BoxStream<'static, Result<Lesson, ReadError>>, ReadError> {
        let (broker, config, nonce) =
            (self.broker.clone(), Arc::clone(&self.config), Arc::clone(&self.keeper.nonce));
        let gatherer = Gatherer { broker, config, nonce };
        let mut followed = Vec::new();
        for (log, filter) in LOGS {
            let last = self.broker.reach(log).await?.last_sequence;
            let position = self.positions.of(log);
            if *position > last {
                tracing::warn!(stream = log.stream(), "it is shorter than it was; read from its beginning");
                *position = 0;
            }
            let entries = self.broker.followed(log, filter, Start::Behind(*position)).await?;
            followed.push(entries.map_ok(move |entry| (log, entry)).boxed());
        }
        let looked_up = stream::select_all(followed).map(move |entry| {
            let gatherer = gatherer.clone();
            async move {
                let (log, entry) = entry?;
                Ok(gatherer.gather(log, &entry).await)
            }
        });
        Ok(looked_up.buffered(LOOK_UPS).boxed())
    }

    /// Learns what an entry teaches. From here to the next save nothing waits, so that an entry is either learned and
    /// passed, or neither.
    fn take(&mut self, lesson: &Lesson) {
        self.student.seen_at = self.student.seen_at.max(lesson.stored_at);
        if let Some(decision) = &lesson.decision {
            self.student.saw(decision, &self.config);
        }
        if let Some(features) = &lesson.features {
            for judged in &lesson.learned {
                let was_weaker =
                    lesson.before_of(&judged.outcome).is_some_and(|b| b.source < judged.outcome.source);
                self.student.learn(judged, features, was_weaker, &self.config);
                OUTCOMES.add(1, (Lane::of(&judged.outcome.lane), judged.outcome.source.into()));
            }
        }
        if let Some(unused) = lesson.unused {
            NOT_LEARNED.add(1, unused);
            if is_due(&mut self.told_at) {
                let (stream, sequence, why) = (lesson.log.stream(), lesson.sequence, unused.as_str());
                tracing::info!(
                    stream,
                    sequence,
                    why,
                    "this taught nothing, and others like it may not either"
                );
            }
        }
        *self.positions.of(lesson.log) = lesson.sequence;
    }

    /// Saves, which shows too that nobody else has taken over; then sees to the policy in force.
    async fn tick(&mut self) -> Result<(), Ended> {
        match self.keeper.save(&mut self.student, self.positions, self.stored_outcomes).await {
            Ok(()) => {}
            Err(StateError::Overtaken) => return Err(Ended::Overtaken),
            Err(error) => {
                tracing::warn!(%error, "what was learned is not saved yet");
                return Ok(());
            }
        }
        TRIALS.set(self.student.trials.count() as f64, ());
        if self.follow_in_force().await {
            self.alert().await;
            self.consider().await;
        }
        Ok(())
    }

    async fn leave(&mut self) {
        if let Err(error) = self.keeper.leave(&mut self.student, self.positions, self.stored_outcomes).await {
            tracing::warn!(%error, "the last of what was learned is not saved; the next learner learns it again");
        }
    }

    /// Looks at what classifiers follow. Returns whether that is known.
    pub(crate) async fn follow_in_force(&mut self) -> bool {
        let found = self.broker.policy_followed().await;
        let known = self.in_force.as_ref().map(|followed| followed.word.version);
        let followed = match found {
            Ok(found) if known == Some(found.word.version) => Ok((found, None)),
            Ok(found) => {
                self.broker.policy_weights(found.word.version).await.map(|weights| (found, Some(weights)))
            }
            Err(error) => Err(error),
        };
        match followed {
            Ok((found, weights)) => {
                if let Some(weights) = weights {
                    self.student.follow(Followed { number: found.word.version, weights });
                }
                self.in_force = Some(found);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot see which policy is in force");
                self.in_force.is_some()
            }
        }
    }

    /// Raises what is wrong with the policy in force, again and again while it is.
    async fn alert(&mut self) {
        let mut wrong = Vec::new();
        let at = self.student.seen_at;
        let lanes = &self.config.registry.lanes;
        let is_wanted =
            |lane| lanes.get(lane).is_some_and(|lane| is_wanted(lane.zone, self.config.policy.target));
        if let Some((lane, share)) = self.student.windows.constant().filter(|(lane, _)| !is_wanted(*lane)) {
            let said = format!("{:.0} % of the last public tasks went to `{lane}`", 100.0 * share);
            wrong.push(Alert::new(ROUTER_CONSTANT, lane.as_str(), said, at));
        }
        for (lane, error) in self.student.windows.drifted(self.config.learning.max_calibration_error) {
            let said = format!("quality and promised chance on `{lane}` differ by {error:.2}");
            wrong.push(Alert::new(CALIBRATION_DRIFT, lane.as_str(), said, at));
        }
        if wrong.is_empty() || !is_due(&mut self.alerted_at) {
            return;
        }
        for alert in wrong {
            tracing::warn!(kind = alert.kind, "{}", alert.message);
            self.broker.alert(&alert).await;
        }
    }
}

impl Positions {
    fn of(&mut self, log: Log) -> &mut u64 {
        match log {
            Log::Feedback => &mut self.feedback,
            Log::Shadowed => &mut self.shadowed,
            _ => &mut self.results,
        }
    }
}

impl Lesson {
    /// What was taken before of the same answer.
    fn before_of(&self, outcome: &Outcome) -> Option<&Outcome> {
        self.before.as_ref().filter(|before| before.lane == outcome.lane)
    }
}

/// Whether it is time for another word; then the time begins anew.
fn is_due(told_at: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let is_due = told_at.is_none_or(|earlier| now - earlier >= REMINDER);
    if is_due {
        *told_at = Some(now);
    }
    is_due
}

/// All of an entry that has to wait: what is on record, and what is put on record.
async fn complete(broker: &Broker, lesson: &mut Lesson) {
    recall(broker, lesson).await;
    publish(broker, lesson).await;
}

/// Publishes all that an entry leads to. Nothing of it may be missing once the entry is passed, so that what the server
/// does not take now is offered again; but for shadows, of which there are others.
async fn publish(broker: &Broker, lesson: &Lesson) {
    for judged in &lesson.learned {
        let is_kept = |before: &Outcome| before.source == judged.outcome.source;
        if !lesson.before_of(&judged.outcome).is_some_and(is_kept) {
            until_taken(broker, Words::Outcome(&judged.outcome)).await;
        }
    }
    match &lesson.asks {
        Some(Asks::Shadow(request)) => match broker.ask_for_shadow(request).await {
            Ok(()) => SHADOWS_ASKED.add(1, Lane::of(&request.lane)),
            Err(error) => tracing::debug!(%error, "no shadow was asked for"),
        },
        Some(Asks::Question(task)) => until_taken(broker, Words::Question(task)).await,
        None => {}
    }
}

/// What must not be missing.
#[derive(Clone, Copy)]
enum Words<'a> {
    Outcome(&'a Outcome),
    Question(&'a Task),
}

/// Publishes until the server has taken it, or never will.
async fn until_taken(broker: &Broker, words: Words<'_>) {
    loop {
        match say(broker, words).await {
            Ok(()) => return,
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "learning waits until this is published");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "this is not published");
                return;
            }
        }
    }
}

async fn say(broker: &Broker, words: Words<'_>) -> Result<(), PublishError> {
    match words {
        Words::Outcome(outcome) => broker.keep_outcome(outcome).await,
        Words::Question(task) => {
            let Ok(agent) = AgentName::new(JUDGE) else { return Ok(()) };
            let id = task.id.as_ref().map(TaskId::as_str);
            broker.submit(&agent, task, Encoding::Json, id).await.map(drop)
        }
    }
}

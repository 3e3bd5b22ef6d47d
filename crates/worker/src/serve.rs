//! The life of a worker process: pull for free slots, run, conclude; on shutdown finish or hand back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use trilane_broker::cancel::Cancellations;
use trilane_broker::content::name_task;
use trilane_broker::pull::{PullError, Slotted};
use trilane_broker::{Broker, ConnectError, Delivery, Role};
use trilane_protocol::heartbeat::{Heartbeat, WorkerState};
use trilane_protocol::learning::Signs;
use trilane_protocol::outcome::TaskError;
use trilane_protocol::work::LaneMessage;
use trilane_protocol::{LaneName, ModelName, Sensitivity, Work, Zone};
use trilane_service::Config;
use trilane_service::metrics::catalogue::REDELIVERIES;
use trilane_service::metrics::labels::Lane;
use trilane_service::start::Started;
use trilane_trust::{Keys, KeysError, Trusted};

use crate::attempt;
use crate::conclude::Conclusion;
use crate::heartbeat::{self, Activity, InProgress, ShadowInProgress};
use crate::lease;
use crate::measure::{count_attempt, count_verdict};
use crate::retry;
use crate::runner::{Completion, Runner};
use crate::unseal::{Refused, unseal};
use crate::validate::Validating;
use crate::verdict::{self, Attempt, Outcome, Verdict};
use crate::{shadow, signs};

/// Deliveries beyond `max_attempts` after which a message that was never concluded is taken for poison: it
/// was in flight when workers died. Hand-backs of draining workers count too, hence the allowance.
const POISON_ALLOWANCE: u32 = 6;

/// What a worker serves.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// Its lane.
    pub lane: LaneName,
    /// The lane's zone.
    pub zone: Zone,
    /// The models that it can run now.
    pub models: Vec<ModelName>,
    /// Tasks that it runs at once.
    pub slots: u32,
}

/// Why a worker cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No consumer.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// No key to check seals with.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// What every task of this worker shares.
struct Shared<R> {
    spec: WorkerSpec,
    config: Config,
    broker: Broker,
    runner: Arc<R>,
    activity: Activity,
    trusted: Trusted,
    cancellations: Cancellations,
    /// Fires when the drain's grace time is over.
    drained: CancellationToken,
}

/// Serves a lane with `runner` until shutdown has begun, then drains.
///
/// # Errors
/// [`ServeError`] where serving cannot begin; once it has, faults are ridden out.
pub async fn serve<R: Runner>(
    config: &Config,
    spec: WorkerSpec,
    runner: R,
    started: &Started,
) -> Result<(), ServeError> {
    let identity = identity(&spec);
    let role = match spec.zone {
        Zone::Local => Role::LocalWorker,
        Zone::Cloud => Role::CloudWorker,
    };
    let trusted = Keys::new(config.keys_folder()).trusted(&role)?;
    let broker = Broker::connect(config, role, &identity.worker).await?;
    let puller = broker.pull_lane(&spec.lane, spec.zone).await?;
    tracing::info!(lane = %spec.lane, worker = identity.worker, slots = spec.slots, "serving");

    let slots = Arc::new(Semaphore::new(spec.slots as usize));
    let activity = Activity::default();
    let stopped = CancellationToken::new();
    let every = config.worker.heartbeat();
    let beating =
        tokio::spawn(heartbeat::beat(broker.clone(), identity, activity.clone(), every, stopped.clone()));
    let shared = Arc::new(Shared {
        spec,
        config: config.clone(),
        broker: broker.clone(),
        runner: Arc::new(runner),
        activity,
        trusted,
        cancellations: broker.cancellations(),
        drained: CancellationToken::new(),
    });
    started.readiness.set(true);

    let mut messages = puller.start(slots, started.shutdown.begun());
    let mut tasks = JoinSet::new();
    let mut begun = std::pin::pin!(started.shutdown.begun());
    loop {
        tokio::select! {
            slotted = messages.recv() => match slotted {
                Some(slotted) => drop(tasks.spawn(handle(Arc::clone(&shared), slotted))),
                None => break,
            },
            () = &mut begun, if started.readiness.is_ready() => {
                started.readiness.set(false);
                shared.activity.start_draining();
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    drain(&shared, tasks).await;
    stopped.cancel();
    let _ = beating.await;
    broker.flush().await;
    tracing::info!("drained");
    Ok(())
}

/// Lets running tasks finish within the grace time; what is left is cancelled and handed back.
async fn drain<R: Runner>(shared: &Shared<R>, mut tasks: JoinSet<()>) {
    let grace = tokio::time::sleep(shared.config.worker.drain_grace());
    let mut grace = std::pin::pin!(grace);
    loop {
        tokio::select! {
            ended = tasks.join_next() => if ended.is_none() { return },
            () = &mut grace, if !shared.drained.is_cancelled() => shared.drained.cancel(),
        }
    }
}

/// A task's life: check the seal, run, decide, conclude.
async fn handle<R: Runner>(shared: Arc<Shared<R>>, slotted: Slotted) {
    let Slotted { delivery, slot, spare } = slotted;
    let lane = &shared.spec.lane;
    if delivery.deliveries > 1 {
        REDELIVERIES.add(1, Lane::of(lane));
    }
    let ack_wait = Duration::from_secs(shared.config.registry.lanes[lane].ack_wait_s);
    let life = async {
        match unseal(&shared.trusted, lane, &delivery, Timestamp::now()) {
            Ok(message) => {
                name_task(&message.work.agent, &message.work.task_id);
                let in_progress = InHand::of(&shared.activity, &message.work);
                let (verdict, attempt) = judge(&shared, &delivery, &message).await;
                shared.conclusion(&delivery).carry_out(&message, verdict, attempt).await;
                drop(in_progress);
            }
            Err(refused) => refuse(&shared, &delivery, refused).await,
        }
    };
    lease::hold(&delivery, lane, ack_wait, life).instrument(delivery.span()).await;
    drop(spare);
    drop(slot);
}

/// What is counted while a message is in hand.
enum InHand {
    Task { _counted: InProgress },
    Shadow { _counted: ShadowInProgress },
}

impl InHand {
    fn of(activity: &Activity, work: &Work) -> Self {
        match work.shadow {
            true => Self::Shadow { _counted: activity.start_shadow() },
            false => Self::Task { _counted: activity.start_task() },
        }
    }
}

/// What carries no valid seal is never run.
async fn refuse<R: Runner>(shared: &Shared<R>, delivery: &Delivery, refused: Refused) {
    let Refused { message, error } = refused;
    let conclusion = shared.conclusion(delivery);
    if let Some(message) = &message {
        name_task(&message.work.agent, &message.work.task_id);
    }
    conclusion.raise(&error).await;
    if let Some(message) = message {
        let attempt = first_look(shared, delivery);
        let message = abandoned(shared, &message, attempt.deliveries).await;
        let verdict = verdict::refused(&message, error, attempt);
        return conclusion.carry_out(&message, verdict, attempt).await;
    }
    match conclusion.keep_refused(error).await {
        Ok(()) => drop(delivery.terminate().await),
        Err(_) => delivery.retry_after(retry::delay(&shared.config.worker, 1, None)).await,
    }
}

fn first_look<R: Runner>(shared: &Shared<R>, delivery: &Delivery) -> Attempt {
    let now = Timestamp::now();
    let deliveries = u32::try_from(delivery.deliveries).unwrap_or(u32::MAX);
    Attempt {
        deliveries,
        max_attempts: shared.config.registry.lanes[&shared.spec.lane].max_attempts,
        started_at: now,
        ended_at: now,
        retry_delay: retry::delay(&shared.config.worker, deliveries, None),
    }
}

async fn judge<R: Runner>(
    shared: &Shared<R>,
    delivery: &Delivery,
    message: &LaneMessage,
) -> (Verdict, Attempt) {
    let mut attempt = first_look(shared, delivery);
    let Attempt { deliveries, max_attempts, started_at, .. } = attempt;
    if let Err(error) = may_run(&shared.spec, message, deliveries, max_attempts) {
        let message = abandoned(shared, message, deliveries).await;
        return (verdict::refused(&message, error, attempt), attempt);
    }
    let outcome = if message.work.deadline.is_some_and(|deadline| deadline <= started_at) {
        Outcome::DeadlinePassed(abandoned(shared, message, deliveries).await.work.spent)
    } else if shared.cancellations.has(&message.work).await {
        abandoned(shared, message, deliveries).await;
        Outcome::Cancelled
    } else {
        run(shared, message, deliveries).await
    };
    if let Outcome::Failed(error) = &outcome {
        attempt.retry_delay = retry::delay(&shared.config.worker, deliveries, error.retry_after);
        tracing::warn!(code = error.code, deliveries, %error, "an attempt failed");
    }
    attempt.ended_at = Timestamp::now();
    let verdict = verdict::verdict(message, outcome, attempt, &shared.config.policy.improve);
    count_verdict(message, &verdict);
    (verdict, attempt)
}

/// Runs the task, and looks at its answer.
async fn run<R: Runner>(shared: &Shared<R>, message: &LaneMessage, deliveries: u32) -> Outcome {
    let cancelled = shared.cancellations.watch(&message.work);
    let progress = shared.activity.progress();
    let Shared { runner, broker, drained, spec, .. } = shared;
    let given_up = drained.child_token();
    let started = Instant::now();
    let running = attempt::run(runner, broker, message, deliveries, &given_up, cancelled, progress);
    let making_room = async {
        shadow::until_in_the_way(broker, spec, &shared.activity).await;
        given_up.cancel();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = running => ended,
        () = making_room, if message.work.shadow => Err(Outcome::Drained),
    };
    let run = started.elapsed();
    let outcome = match ended {
        Ok(completion) => {
            let signs = looked_at(shared, message, &completion, &given_up).await;
            Outcome::Completed(completion, signs.into())
        }
        Err(outcome) => outcome,
    };
    count_attempt(message, &outcome, run);
    outcome
}

/// What is seen of an answer. Validators that are not done when nobody can wait any longer say nothing.
async fn looked_at<R: Runner>(
    shared: &Shared<R>,
    message: &LaneMessage,
    completion: &Completion,
    given_up: &CancellationToken,
) -> Signs {
    let work = &message.work;
    let mut signs = signs::of(completion);
    let validating = Validating {
        commands: &shared.config.validators,
        agent: &work.agent,
        zone: shared.spec.zone,
        lane: Lane::of(&shared.spec.lane),
    };
    tokio::select! {
        () = validating.judge(&work.validate, &completion.text, &mut signs) => {}
        () = attempt::until(work.deadline) => {}
        () = given_up.cancelled() => {}
    }
    signs
}

/// The message with what earlier deliveries have cost, which are not followed by another.
async fn abandoned<R: Runner>(shared: &Shared<R>, message: &LaneMessage, deliveries: u32) -> LaneMessage {
    let mut message = message.clone();
    let LaneMessage { work, decision } = &mut message;
    work.spent.cost_usd += shared.runner.abandon(work, decision, deliveries).await;
    message
}

/// What must hold before anything is run. The zone is checked again here, at the other end of the wire.
fn may_run(
    spec: &WorkerSpec,
    message: &LaneMessage,
    deliveries: u32,
    max_attempts: u32,
) -> Result<(), TaskError> {
    let LaneMessage { work, decision } = message;
    if spec.zone == Zone::Cloud && work.shadow {
        return Err(TaskError::new(
            "shadow_in_cloud",
            "a shadow reached a cloud worker and was not run; report this as a defect",
        ));
    }
    let is_private =
        work.sensitivity == Some(Sensitivity::Private) || decision.screen.sensitivity == Sensitivity::Private;
    if spec.zone == Zone::Cloud && is_private {
        let message = "a private task reached a cloud worker and was not run; report this as a defect";
        return Err(TaskError::new("private_in_cloud", message));
    }
    if decision.lane != spec.lane || decision.zone != spec.zone {
        let message = format!("a task for `{}` came to a worker of `{}`", decision.lane, spec.lane);
        return Err(TaskError::new("wrong_lane", message));
    }
    if !spec.models.contains(&decision.model) {
        let message = format!(
            "this worker does not serve `{}`; do all processes run with the same configuration?",
            decision.model
        );
        return Err(TaskError::new("model_not_served", message));
    }
    if deliveries > max_attempts.saturating_add(POISON_ALLOWANCE) {
        let message = format!(
            "the task was in flight at {} workers that died or stopped; it may be what kills them",
            deliveries - 1
        );
        return Err(TaskError::new("poison_task", message));
    }
    Ok(())
}

impl<R> Shared<R> {
    fn conclusion<'a>(&'a self, delivery: &'a Delivery) -> Conclusion<'a> {
        let WorkerSpec { lane, zone, .. } = &self.spec;
        Conclusion { broker: &self.broker, delivery, lane, zone: *zone, drained: &self.drained }
    }
}

fn identity(spec: &WorkerSpec) -> Heartbeat {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let pid = std::process::id();
    let now = Timestamp::now();
    Heartbeat {
        worker: format!("{}-{:08x}-{pid}", spec.lane, rand::random::<u32>()),
        zone: spec.zone,
        lane: spec.lane.clone(),
        models: spec.models.clone(),
        state: WorkerState::Ready,
        slots: spec.slots,
        busy: 0,
        finished: 0,
        stalled_s: 0,
        host,
        pid,
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: now,
        at: now,
    }
}

//! Money: what a cloud call costs is counted before it is made, whatever is killed, and a spent budget holds up
//! nothing but the cloud.

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use trilane_cloud_worker::Catalogue;
use trilane_protocol::decision::Reason;
use trilane_protocol::heartbeat::WorkerState;
use trilane_protocol::ledger::Amounts;
use trilane_protocol::{Status, TaskId, TaskResult};
use trilane_service::Shutdown;
use trilane_service::health::Readiness;
use trilane_service::start::Started;
use trilane_testkit::{Fleet, FleetBuilder, eventually};

use crate::processes::{Process, trilane};
use crate::scripted_http::{Reply, Server};

const AGENT: &str = "sample";

/// What the scripted answer costs on `gpt-4o`: 1,000 tokens at 2.50 and 100 at 10 dollars a million.
const ANSWER_USD: f64 = 0.0035;

/// The most that a call of [`task`] may cost: 1 message of 1 byte is at most 9 tokens; 100 are generated.
const BOUND_USD: f64 = (9.0 * 2.5 + 100.0 * 10.0) / 1e6;

fn answer() -> Reply {
    let choice = json!({"message": {"content": "Hello."}, "finish_reason": "stop"});
    Reply::json(
        200,
        &json!({"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}),
    )
}

/// A public task for the cloud.
fn task() -> serde_json::Value {
    json!({"prompt": "x", "complexity": 0.99, "max_tokens": 100})
}

fn config(server: &Server, more: &str) -> String {
    format!(
        "[providers.openai]\nbase_url = \"{}/v1\"\nkeys = [{{ env = \"TRILANE_TEST_KEY\" }}]\n\
         [worker]\nretry_initial_ms = 1\nretry_max_ms = 1\n\
         [lanes.cloud]\nmodels = [\"gpt-4o\"]\nack_wait_s = 1\n{more}",
        server.url
    )
}

/// A fleet whose cloud lane is served by the real runner, in this process.
struct CloudFleet {
    fleet: Fleet,
    worker: JoinHandle<()>,
}

impl CloudFleet {
    async fn start(config: &str) -> Self {
        let fleet = FleetBuilder::new().without_worker("cloud").config(config).start().await;
        let lane = "cloud".parse().unwrap();
        let catalogue = Catalogue::build(&fleet.config, &lane, |_| Some("key".into())).unwrap();
        let config = fleet.config.clone();
        let started = Started { shutdown: Shutdown::new(), readiness: Readiness::default() };
        let worker = tokio::spawn(async move {
            trilane_cloud_worker::run(&config, lane, catalogue, &started).await.unwrap();
        });
        let workers = fleet.broker.workers().await.unwrap();
        eventually("the cloud worker shows itself", || async {
            let alive = workers.alive().await.ok()?;
            let is_it = |state| state == WorkerState::Ready;
            alive.iter().any(|worker| worker.lane.as_str() == "cloud" && is_it(worker.state)).then_some(())
        })
        .await;
        Self { fleet, worker }
    }

    /// Runs hard public tasks until one of them ends on `lane`: the classifier sees workers and spend a while later.
    async fn runs_on(&self, lane: &str) -> TaskResult {
        eventually("the classifier sees the fleet as it is", || async {
            let result = self.fleet.run(AGENT, task()).await;
            (result.lane.as_ref()?.as_str() == lane).then_some(result)
        })
        .await
    }
}

impl Drop for CloudFleet {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

async fn total(fleet: &Fleet) -> Amounts {
    let book = fleet.broker.book().await.unwrap();
    book.days.values().fold(Amounts::default(), |sum, day| sum.plus(day.total))
}

fn assert_costs(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_on_the_same_lane_stands_in_the_result() {
    let server = Server::start(vec![answer().broken(), answer()]).await;
    let cloud = CloudFleet::start(&config(&server, "")).await;
    let result = cloud.runs_on("cloud").await;
    assert_eq!((result.status, result.attempts), (Status::Done, 2), "{:?}", result.error);
    assert_costs(result.cost_usd, BOUND_USD + ANSWER_USD);
    assert_costs(total(&cloud.fleet).await.settled.dollars(), BOUND_USD + ANSWER_USD);
    let output = trilane(&cloud.fleet, &["prove", "--json"]).await.unwrap();
    let proof: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{proof}");
    assert_eq!((&proof["ledger_entries"], &proof["ambiguous_calls"]), (&json!(4), &json!(1)));
    assert_costs(proof["spent_usd"].as_f64().unwrap(), BOUND_USD + ANSWER_USD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_degrades_public_tasks_and_touches_no_local_lane() {
    let mut server = Server::start(vec![answer(), answer()]).await;
    let cloud = CloudFleet::start(&config(&server, "[budget]\nweek_usd = 0.004\n")).await;
    let paid = cloud.runs_on("cloud").await;
    assert_costs(paid.cost_usd, ANSWER_USD);
    server.request().await;
    // By the worker at first, and by the classifier as soon as it has seen the book.
    let degraded = cloud.fleet.run(AGENT, task()).await;
    assert_eq!((degraded.status, degraded.lane.unwrap().as_str()), (Status::Done, "local-deep"));
    let decision = eventually("the classifier sees the book", || async {
        let result = cloud.fleet.run(AGENT, task()).await;
        assert_eq!(result.lane.as_ref().unwrap().as_str(), "local-deep");
        result.decision.filter(|decision| decision.reason == Reason::BudgetSpent)
    })
    .await;
    assert!(decision.explanation.contains("budget.week_usd"), "{}", decision.explanation);
    for (task, lane) in [
        (json!({"prompt": "x", "complexity": 0.99, "sensitivity": "private"}), "local-deep"),
        (json!({"prompt": "x", "complexity": 0.1}), "local-fast"),
    ] {
        let result = cloud.fleet.run(AGENT, task).await;
        let decision = result.decision.unwrap();
        assert_eq!((result.status, decision.lane.as_str()), (Status::Done, lane));
        assert!(decision.adjustments.is_empty(), "{:?}", decision.adjustments);
    }
    assert!(server.is_untouched(), "nothing more was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_task_waits_and_its_deadline_still_holds() {
    let mut server = Server::start(vec![answer()]).await;
    let park = "[budget]\nweek_usd = 0.004\n[policy.adjust]\nbudget_spent = \"park\"\ncloud_without_worker = \"park\"\n";
    let cloud = CloudFleet::start(&config(&server, park)).await;
    cloud.runs_on("cloud").await;
    server.request().await;
    // Until the classifier has seen the book, tasks reach the worker, which gives them back: to wait, or to a local lane.
    let parked = eventually("a task waits until its deadline", || async {
        let task = json!({"prompt": "x", "complexity": 0.99, "max_tokens": 100, "deadline": 2});
        let result = cloud.fleet.run(AGENT, task).await;
        (result.status == Status::Expired && result.attempts == 0).then_some(result)
    })
    .await;
    assert_eq!(parked.lane, None, "it never left the intake");
    let private = json!({"prompt": "x", "complexity": 0.99, "sensitivity": "private"});
    assert_eq!(cloud.fleet.run(AGENT, private).await.status, Status::Done);
    assert!(server.is_untouched());
}

/// A worker of its own process, on a fleet without another for the cloud.
async fn start_worker(fleet: &Fleet, config: &str) -> Process {
    let mut worker = Process::binary("trilane-cloud-worker", fleet, config, |command| {
        command.args(["--lane", "cloud"]).env("TRILANE_TEST_KEY", "sk");
    });
    worker.serves(fleet).await;
    worker
}

/// Publishes tasks until one is on its way to the provider, and kills the worker in the middle of that call.
async fn kill_in_the_middle_of_a_call(
    fleet: &Fleet,
    server: &mut Server,
    worker: Process,
    task: serde_json::Value,
) -> TaskId {
    let id = eventually("a task reaches the provider", || async {
        let id = fleet.submit(AGENT, task.clone()).await;
        let reserved = eventually("it is on its way", || async {
            let has_result = fleet.broker.result(&AGENT.parse().unwrap(), &id).await.unwrap().is_some();
            let is_reserved = total(fleet).await.reserved.dollars() > 0.0;
            (has_result || is_reserved).then_some(is_reserved)
        })
        .await;
        reserved.then_some(id)
    })
    .await;
    server.request().await;
    assert_costs(total(fleet).await.reserved.dollars(), BOUND_USD);
    worker.kill();
    id
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the built trilane-cloud-worker"]
async fn a_worker_killed_in_the_middle_of_a_call_is_paid_for_once_and_never_in_silence() {
    let mut server = Server::start(vec![Reply::stream([]).hanging(), answer()]).await;
    let config = config(&server, "");
    let fleet = FleetBuilder::new().without_worker("cloud").config(&config).start().await;
    let first = start_worker(&fleet, &config).await;
    let pinned = json!({"prompt": "x", "model": "gpt-4o", "max_tokens": 100});
    let id = kill_in_the_middle_of_a_call(&fleet, &mut server, first, pinned).await;
    let second = start_worker(&fleet, &config).await;
    let result = fleet.result(AGENT, &id).await;
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("Hello.")), "{:?}", result.error);
    assert_costs(result.cost_usd, BOUND_USD + ANSWER_USD);
    let booked = total(&fleet).await;
    assert_costs(booked.settled.dollars(), BOUND_USD + ANSWER_USD);
    assert_costs(booked.reserved.dollars(), 0.0);
    let log = second.log();
    assert!(log.contains("nobody knows how a call ended") && log.contains("is called again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the built trilane-cloud-worker"]
async fn a_task_that_expires_after_its_worker_was_killed_leaves_nothing_set_aside() {
    let mut server = Server::start(vec![Reply::stream([]).hanging()]).await;
    let config = config(&server, "");
    let fleet = FleetBuilder::new().without_worker("cloud").config(&config).start().await;
    let first = start_worker(&fleet, &config).await;
    let pinned = json!({"prompt": "x", "model": "gpt-4o", "max_tokens": 100, "deadline": 5});
    let id = kill_in_the_middle_of_a_call(&fleet, &mut server, first, pinned).await;
    let published = Timestamp::now();
    let is_over =
        || std::future::ready((published.duration_until(Timestamp::now()).as_secs() >= 5).then_some(()));
    eventually("the deadline has passed", is_over).await;
    let _second = start_worker(&fleet, &config).await;
    let result = fleet.result(AGENT, &id).await;
    assert_eq!(result.status, Status::Expired, "{:?}", result.error);
    assert_costs(result.cost_usd, BOUND_USD);
    let booked = total(&fleet).await;
    assert_costs(booked.settled.dollars(), BOUND_USD);
    assert_costs(booked.reserved.dollars(), 0.0);
    server.hang_up().await;
    assert!(server.is_untouched(), "the second worker called nobody");
}

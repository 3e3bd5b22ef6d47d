//! Answers that are not good enough: one lane up where that is allowed, once, and never at the price of an answer.

use serde_json::{Value, json};
use trilane_protocol::validator::ValidatorKind;
use trilane_protocol::work::{Ending, RerouteCause, Return, Spent};
use trilane_protocol::{Encoding, Status, TaskResult, Zone};
use trilane_testkit::{Fleet, FleetBuilder, eventually};

/// Local lanes say `weak` to this, the cloud says it again.
fn weak(complexity: f64) -> Value {
    json!({"prompt": "weak answers here", "complexity": complexity, "validate": [{"regex": "^echo:"}]})
}

async fn count(fleet: &Fleet, stream: &str) -> u64 {
    fleet.nats.get_stream(stream).await.unwrap().get_info().await.unwrap().state.messages
}

fn first_answer_stands(result: &TaskResult, lane: &str) {
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("weak")));
    assert_eq!(result.lane.as_ref().unwrap().as_str(), lane);
    assert_eq!(result.signs.as_ref().unwrap().failed, [ValidatorKind::Regex]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_task_goes_up_and_its_result_shows_both_answers() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", weak(0.5)).await;
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("echo: weak answers here")));
    assert_eq!(result.lane.unwrap().as_str(), "cloud");
    assert_eq!(result.signs.unwrap().passed, 1);
    let earlier = result.earlier.unwrap();
    assert_eq!((earlier.lane.as_str(), earlier.signs.failed), ("local-deep", vec![ValidatorKind::Regex]));
    assert_eq!((earlier.usage.completion_tokens, earlier.cost_usd), (3, 0.0));
    assert!(earlier.reason.contains("1 of the 1 validators"), "{}", earlier.reason);
    assert_eq!((result.usage.completion_tokens, result.attempts), (6, 2), "both answers are paid for");
    assert!((result.cost_usd - 0.01).abs() < 1e-9);
    assert_eq!(count(&fleet, "RESULTS").await, 1);
    assert_eq!(fleet.runners["cloud"].seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_upper_lane_refuses_or_is_too_late_the_first_answer_stands() {
    let fleet = FleetBuilder::new().start().await;
    for (prompt, deadline_s, attempts) in [("weak-or-refused x", None, 2), ("weak-or-wait x", Some(8), 2)] {
        let mut task = weak(0.5);
        task["prompt"] = prompt.into();
        if let Some(seconds) = deadline_s {
            task["deadline"] =
                (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string().into();
        }
        let result = fleet.run("sample", task).await;
        first_answer_stands(&result, "local-deep");
        assert_eq!((result.error, result.attempts), (None, attempts), "{prompt}");
        assert!(result.finish.is_some() && result.earlier.is_none(), "{prompt}: it is the answer itself");
        assert_eq!(result.usage.completion_tokens, 3, "{prompt}");
    }
    assert_eq!((count(&fleet, "DEAD").await, fleet.runners["cloud"].seen().len()), (0, 2));
    let text = |work: &trilane_protocol::Work| work.earlier.as_ref().unwrap().text.clone();
    assert_eq!(fleet.runners["cloud"].seen().iter().filter_map(text).collect::<Vec<_>>(), ["weak", "weak"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_goes_on_with_the_first_answer_where_the_upper_lane_refuses() {
    let fleet = FleetBuilder::new().start().await;
    let first = json!({"name": "a", "prompt": "weak-or-refused {{input}}", "complexity": 0.5, "validate": [{"regex": "^echo:"}]});
    let steps = json!([first, {"name": "b", "prompt": "Format {{steps.a.text}}", "complexity": 0.1}]);
    let result = fleet.run("sample", json!({"prompt": "x", "steps": steps})).await;
    assert_eq!((result.status, result.text.as_deref()), (Status::Done, Some("echo: Format weak")));
    assert_eq!((count(&fleet, "DEAD").await, result.attempts), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_up_once_and_no_further() {
    let fleet = FleetBuilder::new().start().await;
    let result = fleet.run("sample", weak(0.1)).await;
    first_answer_stands(&result, "local-deep");
    assert_eq!(result.earlier.unwrap().lane.as_str(), "local-fast");
    assert!(fleet.runners["cloud"].seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_task_goes_up_to_a_deeper_local_lane_at_most() {
    let fleet = FleetBuilder::new().start().await;
    for (complexity, lane, went_up) in [(0.1, "local-deep", true), (0.5, "local-deep", false)] {
        let mut task = weak(complexity);
        task["sensitivity"] = "private".into();
        let result = fleet.run("sample", task).await;
        first_answer_stands(&result, lane);
        assert_eq!(result.earlier.is_some(), went_up);
        assert_eq!(result.decision.unwrap().zone, Zone::Local);
    }
    assert!(fleet.runners["cloud"].seen().is_empty());
    assert_eq!(count(&fleet, "LANE_CLOUD").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_validator_is_a_secret() {
    let fleet = FleetBuilder::new().start().await;
    let mut task = weak(0.5);
    task["validate"] = json!([{"contains": "4111 1111 1111 1111"}]);
    let result = fleet.run("sample", task).await;
    assert_eq!(result.decision.unwrap().zone, Zone::Local);
    assert!(fleet.runners["cloud"].seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_stronger_may_take_it_the_first_answer_stands() {
    let spent = FleetBuilder::new().config("[budget]\nday_usd = 0.0\n").start().await;
    first_answer_stands(&spent.run("sample", weak(0.5)).await, "local-deep");
    let parked = "[budget]\nday_usd = 0.0\n[policy.adjust]\nbudget_spent = \"park\"\n";
    let parked = FleetBuilder::new().config(parked).start().await;
    first_answer_stands(&parked.run("sample", weak(0.5)).await, "local-deep");

    let config = "[policy.adjust]\ncloud_without_worker = \"park\"\n";
    let nobody = FleetBuilder::new().config(config).without_worker("cloud").start().await;
    first_answer_stands(&nobody.run("sample", weak(0.5)).await, "local-deep");
    let mut dear = weak(0.5);
    dear["max_cost_usd"] = 0.000_001.into();
    first_answer_stands(&nobody.run("sample", dear).await, "local-deep");
    let mut pinned = weak(0.5);
    pinned["model"] = "smollm2-135m".into();
    first_answer_stands(&nobody.run("sample", pinned).await, "local-fast");
    assert_eq!(count(&nobody, "DEAD").await, 0, "an answer is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_policy_every_answer_stands() {
    let fleet = FleetBuilder::new().config("[policy.improve]\nenabled = false\n").start().await;
    first_answer_stands(&fleet.run("sample", weak(0.5)).await, "local-deep");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_improved_and_its_pipeline_goes_on_with_what_came_of_it() {
    let fleet = FleetBuilder::new().start().await;
    let steps = json!([
        {"name": "a", "prompt": "weak {{input}}", "complexity": 0.5, "validate": [{"regex": "^echo:"}]},
        {"name": "b", "prompt": "Format {{steps.a.text}}", "complexity": 0.1},
    ]);
    let result = fleet.run("sample", json!({"prompt": "x", "steps": steps})).await;
    assert_eq!(result.text.as_deref(), Some("echo: Format echo: weak x"));
    assert!((result.cost_usd - 0.01).abs() < 1e-9 && result.attempts == 3, "{result:?}");
    let private = json!({"prompt": "x", "sensitivity": "private", "steps": steps});
    let result = fleet.run("sample", private).await;
    assert_eq!(
        result.text.as_deref(),
        Some("echo: Format weak"),
        "the weak answer stands, and is gone on with"
    );
    assert_eq!(fleet.runners["cloud"].seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_judges_local_answers_for_those_whom_it_trusts() {
    let config = "[validators.no-echo]\ncommand = [\"/bin/grep\", \"-qv\", \"^echo\"]\ntimeout_s = 30\nagents = [\"sample\"]\n";
    let fleet = FleetBuilder::new().config(config).start().await;
    let task = json!({"prompt": "say", "complexity": 0.5, "validate": [{"command": "no-echo"}]});
    let result = fleet.run("sample", task.clone()).await;
    assert_eq!(result.earlier.unwrap().signs.failed, [ValidatorKind::Command]);
    let signs = result.signs.unwrap();
    assert_eq!((signs.passed, signs.failed.len()), (0, 0), "cloud answers are not shown to it");
    let refused = fleet.run("stranger", task).await;
    assert_eq!(refused.status, Status::Rejected);
    let error = refused.error.unwrap();
    assert!(error.code == "invalid_task" && error.message.contains("not trusted"), "{error}");
}

/// What a cloud worker wishes for is not granted, and its answer is not lost over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_worker_cannot_have_its_answer_improved() {
    let fleet = FleetBuilder::new().start().await;
    let id = fleet.submit("sample", json!({"id": "c", "prompt": "wait here", "complexity": 0.99})).await;
    let cloud = fleet.runners["cloud"].clone();
    eventually("it runs", || async { (cloud.seen().len() == 1).then_some(()) }).await;
    let lane = fleet.nats.get_stream("LANE_CLOUD").await.unwrap();
    let message = lane.get_raw_message(1).await.unwrap();
    let error = trilane_protocol::outcome::TaskError::new("x", "y");
    let forged = TaskResult {
        text: Some("mine".into()),
        error: None,
        earlier: None,
        ..TaskResult::without_answer(
            "other".parse().unwrap(),
            "other".parse().unwrap(),
            None,
            Status::Done,
            error,
            jiff::Timestamp::now(),
        )
    };
    let cause = RerouteCause::Improve { result: Box::new(forged), reason: "r".into() };
    let returned = Return {
        message: message.payload.to_vec(),
        seal: message.headers.get("Trilane-Seal").unwrap().to_string(),
        lane: "cloud".parse().unwrap(),
        deliveries: 1,
        ending: Ending::Reroute { spent: Spent::default(), cause },
    };
    let payload = Encoding::Msgpack.encode(&returned).into();
    fleet.nats.publish("return.sample", payload).await.unwrap().await.unwrap();
    let result = fleet.result("sample", &id).await;
    assert_eq!(
        (result.text.as_deref(), result.agent.as_str()),
        (Some("mine"), "sample"),
        "bound to its own task"
    );
    cloud.release();
    eventually("the lane is empty", || async { (count(&fleet, "LANE_CLOUD").await == 0).then_some(()) })
        .await;
    assert_eq!((count(&fleet, "RESULTS").await, cloud.seen().len()), (1, 1));
}

//! The learner on a real server: what it makes of feedback, validators and shadows, and what becomes of it when it is
//! killed, doubled or lied to.

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use trilane_broker::Broker;
use trilane_protocol::decision::{
    Candidate, CandidateVerdict, Reason, Score, ScoreSource, ScreenReport, Sensitivity,
};
use trilane_protocol::learning::{Outcome, OutcomeSource, ShadowAnswer, ShadowRequest, Signs};
use trilane_protocol::outcome::{Finish, Timing};
use trilane_protocol::{
    AgentName, Decision, Encoding, Generation, LaneName, Message, Role, Status, TaskId, TaskResult, Usage,
    Zone,
};
use trilane_routing::example::{Content, Example, Text};
use trilane_routing::features::{Features, extract};
use trilane_routing::snapshot::{By, InForce};
use trilane_service::Shutdown;
use trilane_service::health::Readiness;
use trilane_service::start::Started;
use trilane_testkit::{Fleet, FleetBuilder, eventually};

/// Three lanes, the cloud at more than half of what a good answer is worth.
const LANES: [(&str, Zone, f64); 3] =
    [("local-fast", Zone::Local, 0.0), ("local-deep", Zone::Local, 0.0), ("cloud", Zone::Cloud, 0.03)];

/// Looks hard to the hand-made score, and is easy.
const EASY: &str =
    "Prove that there are infinitely many primes of the form 4k+3 and compare two proof strategies";

/// Looks easy to it, and is hard: only the cloud can do it.
const HARD: &str = "Translate 'good morning' to Basque";

/// A server with all streams, and nobody at work.
async fn fleet(learning: &str) -> Fleet {
    let builder = LANES.iter().fold(FleetBuilder::new(), |builder, (lane, ..)| builder.without_worker(lane));
    let settings = format!("[learning]\nsave_s = 1\n{learning}");
    builder.classifiers(0).config(&settings).start().await
}

/// A learner in this process.
struct Learner {
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Learner {
    fn start(fleet: &Fleet) -> Self {
        let shutdown = Shutdown::new();
        let started = Started { shutdown: shutdown.clone(), readiness: Readiness::default() };
        let config = fleet.config.clone();
        let task = tokio::spawn(async move {
            trilane_learner::run(config, &started).await.expect("a learner learns");
        });
        Self { shutdown, task }
    }

    async fn end(self) {
        self.shutdown.begin();
        self.task.await.unwrap();
    }

    /// As kill -9 would.
    fn kill(self) {
        self.task.abort();
    }
}

fn agent() -> AgentName {
    "sample".parse().unwrap()
}

fn features(prompt: &str) -> Features {
    extract(&messages(prompt), &Generation::default())
}

fn messages(prompt: &str) -> Vec<Message> {
    vec![Message { role: Role::User, content: prompt.into() }]
}

/// The decision of a router that draws each of the three lanes alike.
fn decision(lane: usize, sensitivity: Sensitivity) -> Decision {
    let candidate = |(name, _, usd): (&str, Zone, f64)| Candidate {
        lane: name.parse().unwrap(),
        model: "m".parse().unwrap(),
        chance: 0.6,
        expected_cost_usd: usd,
        verdict: CandidateVerdict::Eligible,
    };
    let (name, zone, _) = LANES[lane];
    Decision {
        lane: name.parse().unwrap(),
        zone,
        model: "m".parse().unwrap(),
        reason: Reason::Explored,
        explanation: "drawn".into(),
        screen: ScreenReport { sensitivity, findings: Vec::new() },
        score: Score {
            complexity: 0.5,
            source: ScoreSource::ColdStart,
            contributions: Vec::new(),
            prompt_tokens: 9,
        },
        threshold: 0.5,
        bar: None,
        candidates: LANES.into_iter().map(candidate).collect(),
        adjustments: Vec::new(),
        propensity: 1.0 / 3.0,
        policy_version: "shipped-1".into(),
        decided_at: Timestamp::UNIX_EPOCH,
    }
}

/// A task that has ended: what was kept of it, and its result.
async fn finished(fleet: &Fleet, id: &str, prompt: &str, lane: usize, signs: Signs) -> TaskId {
    let id: TaskId = id.parse().unwrap();
    let text = Text { messages: messages(prompt), generation: Generation::default(), validate: Vec::new() };
    let content = Content::Text(text);
    let example = Example { task_id: id.clone(), agent: agent(), task_seq: 1, content };
    store(fleet, &format!("example.sample.{id}"), Encoding::Msgpack.encode(&example)).await;
    let decision = decision(lane, Sensitivity::Public);
    let result = TaskResult {
        task_id: id.clone(),
        agent: agent(),
        task_seq: Some(1),
        status: Status::Done,
        text: Some("Egun on".into()),
        finish: Some(Finish::Stop),
        error: None,
        lane: Some(decision.lane.clone()),
        model: Some("m".parse().unwrap()),
        signs: Some(signs),
        earlier: None,
        usage: Usage::default(),
        cost_usd: LANES[lane].2,
        timing_ms: Timing::default(),
        attempts: 1,
        decision: Some(decision),
        metadata: serde_json::Map::new(),
        finished_at: Timestamp::UNIX_EPOCH,
    };
    fleet.broker.report(&result, Encoding::Json, None).await.unwrap();
    id
}

async fn store(fleet: &Fleet, subject: &str, payload: Vec<u8>) {
    let sent = fleet.nats.publish(subject.to_owned(), payload.into()).await.unwrap();
    sent.await.unwrap_or_else(|error| panic!("{subject}: {error}"));
}

async fn judge(fleet: &Fleet, id: &str, quality: f64) {
    store(fleet, &format!("feedback.sample.{id}"), json!({ "quality": quality }).to_string().into_bytes())
        .await;
}

/// Judged tasks `from..to`, every other one hard, on each lane in turn.
async fn judged_tasks(fleet: &Fleet, from: usize, to: usize) {
    for index in from..to {
        let (is_hard, lane) = (index.is_multiple_of(2), index / 2 % 3);
        let prompt = if is_hard { HARD } else { EASY };
        let id = finished(fleet, &format!("t{index}"), prompt, lane, Signs::default()).await;
        let is_good = !is_hard || LANES[lane].1 == Zone::Cloud;
        judge(fleet, id.as_str(), f64::from(u8::from(is_good))).await;
    }
}

/// What the learner has saved last.
async fn sheet(broker: &Broker) -> Option<serde_json::Value> {
    let kept = broker.learner_sheet().await.ok()??;
    serde_json::from_slice(&kept.payload).ok()
}

/// Waits until so many outcomes have been learned and saved.
async fn learned(fleet: &Fleet, outcomes: u64) -> serde_json::Value {
    eventually(&format!("{outcomes} outcomes are learned"), || async {
        sheet(&fleet.broker).await.filter(|sheet| sheet["outcomes"] == outcomes)
    })
    .await
}

async fn outcomes(fleet: &Fleet) -> Vec<Outcome> {
    fleet.broker.outcomes(None, trilane_broker::logs::Start::Oldest).await.unwrap()
}

async fn in_force(fleet: &Fleet) -> InForce {
    fleet.broker.policy_in_force().await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_makes_a_better_policy_and_an_operator_s_rollback_holds() {
    let fleet = fleet("min_trials = 200\nmin_effective_trials = 20.0").await;
    let learner = Learner::start(&fleet);
    judged_tasks(&fleet, 0, 600).await;
    let promoted = eventually("a version is in force", || async {
        Some(in_force(&fleet).await).filter(|in_force| in_force.version == 1)
    })
    .await;
    assert_eq!((promoted.by, promoted.previous), (By::Learner, Some(0)));
    let manifest = fleet.broker.policy_manifest(1).await.unwrap();
    assert!(manifest.evaluation["promotion"]["low_usd"].as_f64().unwrap() > 0.0, "{}", manifest.evaluation);
    let weights = fleet.broker.policy_weights(1).await.unwrap();
    let chance =
        |prompt, lane: &str| weights.chance(&features(prompt), &lane.parse().unwrap()).unwrap().chance;
    assert!(chance(EASY, "local-fast") > 0.5 && chance(HARD, "local-fast") < 0.5);
    assert!(chance(HARD, "cloud") > 0.5);

    let (_, revision) = fleet.broker.policy_in_force().await.unwrap();
    let back = InForce {
        version: 0,
        since: Timestamp::now(),
        by: By::Operator,
        reason: "a person says so".into(),
        previous: Some(1),
    };
    fleet.broker.put_in_force(&back, revision).await.unwrap();
    judged_tasks(&fleet, 600, 900).await;
    let saved = learned(&fleet, 900).await;
    // A promotion is thought of after each save: at the one after the next it has been.
    eventually("it has been thought of", || async {
        sheet(&fleet.broker)
            .await
            .filter(|now| now["saves"].as_u64() >= saved["saves"].as_u64().map(|saves| saves + 2))
    })
    .await;
    assert_eq!(in_force(&fleet).await, back);
    learner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_a_version_is_stored_once_and_a_person_puts_it_in_force() {
    let fleet = fleet("promote = \"manual\"\nmin_trials = 300\nmin_effective_trials = 20.0").await;
    let _learner = Learner::start(&fleet);
    judged_tasks(&fleet, 0, 590).await;
    eventually("a version is stored", || async {
        fleet.broker.policy_manifest(1).await.ok().filter(|manifest| manifest.based_on == 0)
    })
    .await;
    let saved = learned(&fleet, 590).await;
    eventually("it has been thought of again", || async {
        sheet(&fleet.broker)
            .await
            .filter(|now| now["saves"].as_u64() >= saved["saves"].as_u64().map(|saves| saves + 2))
    })
    .await;
    assert_eq!(fleet.broker.policy_versions().await.unwrap(), [1]);
    assert_eq!(in_force(&fleet).await.version, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_learners_one_learns_and_the_other_goes_on_where_it_was_killed() {
    let fleet = fleet("").await;
    let first = Learner::start(&fleet);
    judged_tasks(&fleet, 0, 30).await;
    let holder = learned(&fleet, 30).await["holder"].clone();
    let second = Learner::start(&fleet);
    judged_tasks(&fleet, 30, 40).await;
    assert_eq!(learned(&fleet, 40).await["holder"], holder, "the first one learns");
    first.kill();
    judged_tasks(&fleet, 40, 60).await;
    assert_ne!(learned(&fleet, 60).await["holder"], holder, "nothing is lost, and nothing learned twice");
    second.end().await;
    assert_eq!(sheet(&fleet.broker).await.unwrap()["holder"], "", "the next one need not wait");
    let third = Learner::start(&fleet);
    judged_tasks(&fleet, 60, 61).await;
    learned(&fleet, 61).await;
    third.end().await;
    assert_eq!(outcomes(&fleet).await.len(), 61);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_verdict_on_a_known_task_teaches_nothing() {
    let fleet = fleet("").await;
    let _learner = Learner::start(&fleet);
    judge(&fleet, "nobody-knows-it", 1.0).await;
    store(&fleet, "feedback.sample.garbage", b"\x00\x01".to_vec()).await;
    finished(&fleet, "a", HARD, 2, Signs::default()).await;
    judge(&fleet, "a", 1.0).await;
    learned(&fleet, 1).await;
    // It is stored, so that one that does not read can be mended; the first that did stands.
    judge(&fleet, "a", 0.0).await;
    finished(&fleet, "b", HARD, 2, Signs::default()).await;
    store(&fleet, "feedback.sample.b", br#"{"quality":7}"#.to_vec()).await;
    let forgotten = finished(&fleet, "c", HARD, 2, Signs::default()).await;
    let purge = trilane_protocol::subjects::example(&agent(), &forgotten);
    fleet.nats.get_stream("EXAMPLES").await.unwrap().purge().filter(purge).await.unwrap();
    judge(&fleet, "c", 1.0).await;
    finished(&fleet, "d", HARD, 2, Signs::default()).await;
    judge(&fleet, "d", 0.5).await;
    let saved = eventually("all feedback is passed", || async {
        sheet(&fleet.broker).await.filter(|sheet| sheet["positions"]["feedback"] == 7)
    })
    .await;
    assert_eq!(saved["outcomes"], 2);
    let taken = outcomes(&fleet).await;
    let shown: Vec<_> = taken.iter().map(|outcome| (outcome.task_id.as_str(), outcome.quality)).collect();
    assert_eq!(shown, [("a", 1.0), ("d", 0.5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_does_not_decode_stops_no_learning() {
    let fleet = fleet("").await;
    let _learner = Learner::start(&fleet);
    store(&fleet, "result.sample.garbage", br#"{"cost_usd":null}"#.to_vec()).await;
    judge(&fleet, "garbage", 1.0).await;
    finished(&fleet, "a", HARD, 2, Signs::default()).await;
    judge(&fleet, "a", 1.0).await;
    learned(&fleet, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_state_is_left_behind_and_the_policy_in_force_is_not_touched() {
    let fleet = fleet("").await;
    let learner = Learner::start(&fleet);
    judged_tasks(&fleet, 0, 20).await;
    let saved = learned(&fleet, 20).await;
    learner.end().await;

    // One head is another than the sheet names.
    let place = saved["parts"]["head.cloud"]["place"].as_str().unwrap();
    store(&fleet, &format!("$KV.policy.learner.head.cloud.{place}"), b"another head".to_vec()).await;
    let learner = Learner::start(&fleet);
    judged_tasks(&fleet, 20, 21).await;
    learned(&fleet, 21).await;
    learner.end().await;

    store(&fleet, "$KV.policy.learner", b"no sheet".to_vec()).await;
    let learner = Learner::start(&fleet);
    learned(&fleet, 21).await;
    learner.end().await;
    assert_eq!(in_force(&fleet).await, InForce::hand_made());
    assert_eq!(outcomes(&fleet).await.len(), 21, "what was learned again is not published again");
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_weighs_more_than_validators_whichever_comes_first() {
    let fleet = fleet("").await;
    let passed = || Signs { passed: 1, ..Signs::default() };
    finished(&fleet, "a", HARD, 0, passed()).await;
    judge(&fleet, "a", 0.0).await;
    let _learner = Learner::start(&fleet);
    eventually("both are passed", || async {
        let positions = sheet(&fleet.broker).await?["positions"].clone();
        (positions["feedback"] == 1 && positions["results"] == 1).then_some(())
    })
    .await;
    let last = fleet.broker.last_outcome(&agent(), &"a".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((last.source, last.quality), (OutcomeSource::Feedback, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_tasks_are_shadowed_and_judged() {
    let fleet = fleet("shadow_share = 1.0").await;
    let _learner = Learner::start(&fleet);
    finished(&fleet, "local", HARD, 0, Signs::default()).await;
    let id = finished(&fleet, "cloud", HARD, 2, Signs::default()).await;
    let shadows = fleet.nats.get_stream("SHADOWS").await.unwrap();
    let asked = eventually("a shadow is asked for", || async {
        shadows.get_last_raw_message_by_subject("shadow.sample").await.ok()
    })
    .await;
    let request: ShadowRequest = Encoding::Msgpack.decode(&asked.payload).unwrap();
    let deep: LaneName = "local-deep".parse().unwrap();
    assert_eq!((request.task_id, request.lane, request.messages), (id.clone(), deep.clone(), messages(HARD)));
    assert_eq!(shadows.get_info().await.unwrap().state.messages, 1, "what stayed local is not tried again");

    let answer = ShadowAnswer {
        task_id: id.clone(),
        agent: agent(),
        task_seq: 1,
        lane: deep.clone(),
        model: "m".parse().unwrap(),
        text: "egun on!".into(),
        finish: Finish::Stop,
        usage: Usage::default(),
        signs: Signs::default(),
        finished_at: Timestamp::UNIX_EPOCH,
    };
    store(&fleet, "shadowed.sample.cloud", Encoding::Msgpack.encode(&answer)).await;
    learned(&fleet, 1).await;
    let taken = outcomes(&fleet).await;
    let Outcome { lane, quality, source, propensity, cost_usd, .. } = &taken[0];
    assert_eq!((lane, *quality, *source), (&deep, 1.0, OutcomeSource::Shadow));
    assert_eq!((*propensity, *cost_usd), (1.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_judge_and_what_is_no_verdict_of_it_teaches_nothing() {
    let fleet = fleet("judge = { lane = \"local-deep\" }").await;
    let _learner = Learner::start(&fleet);
    let id = finished(&fleet, "cloud", HARD, 2, Signs::default()).await;
    let answer = ShadowAnswer {
        task_id: id.clone(),
        agent: agent(),
        task_seq: 1,
        lane: "local-deep".parse().unwrap(),
        model: "m".parse().unwrap(),
        text: "Kaixo".into(),
        finish: Finish::Stop,
        usage: Usage::default(),
        signs: Signs::default(),
        finished_at: Timestamp::UNIX_EPOCH,
    };
    store(&fleet, "shadowed.sample.cloud", Encoding::Msgpack.encode(&answer)).await;
    let tasks = fleet.nats.get_stream("TASKS").await.unwrap();
    let asked = eventually("a model is asked", || async {
        tasks.get_last_raw_message_by_subject("tasks.judge").await.ok()
    })
    .await;
    let question: trilane_protocol::Task = Encoding::Json.decode(&asked.payload).unwrap();
    assert_eq!(question.model, Some(fleet.config.registry.lanes["local-deep"].models[0].clone()));

    let verdict = |id: TaskId, text: &str| TaskResult {
        text: Some(text.into()),
        error: None,
        metadata: question.metadata.clone(),
        ..TaskResult::without_answer(
            "judge".parse().unwrap(),
            id,
            Some(1),
            Status::Done,
            trilane_protocol::outcome::TaskError::new("none", "none"),
            Timestamp::UNIX_EPOCH,
        )
    };
    for (id, text) in [
        ("another".parse().unwrap(), r#"{"good": false}"#),
        (question.id.clone().unwrap(), r#"{"good": true}"#),
    ] {
        fleet.broker.report(&verdict(id, text), Encoding::Json, None).await.unwrap();
    }
    learned(&fleet, 1).await;
    let taken = outcomes(&fleet).await;
    assert_eq!((taken.len(), taken[0].quality, taken[0].task_id.clone()), (1, 1.0, id));
}

/// Runs judged tasks of both kinds on a whole fleet, each judged by the lane that it went to.
async fn judged_by_lane(fleet: &Fleet, tasks: usize) {
    let mut running = Vec::new();
    for index in 0..tasks {
        let prompt = if index.is_multiple_of(2) { HARD } else { EASY };
        running.push((prompt, fleet.submit("sample", json!({ "prompt": prompt })).await));
    }
    for (prompt, id) in running {
        let result = fleet.result("sample", &id).await;
        let text =
            Text { messages: messages(prompt), generation: Generation::default(), validate: Vec::new() };
        let task_seq = result.task_seq.unwrap();
        let example = Example { task_id: id.clone(), agent: agent(), task_seq, content: Content::Text(text) };
        store(fleet, &format!("example.sample.{id}"), Encoding::Msgpack.encode(&example)).await;
        let is_good = prompt == EASY || result.lane.unwrap().as_str() == "cloud";
        judge(fleet, id.as_str(), f64::from(u8::from(is_good))).await;
    }
}

/// Where the hard task goes now, draws aside: by the policy and the version of the weights that decide.
async fn where_the_hard_one_goes(fleet: &Fleet, weights: u64) -> Zone {
    eventually("the version decides without a draw", || async {
        let decision = fleet.run("sample", json!({ "prompt": HARD })).await.decision?;
        let (_, version) = trilane_routing::snapshot::versions_in(&decision.policy_version);
        (version == weights && decision.reason != Reason::Explored).then_some(decision.zone)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_routes_the_same_task_elsewhere_until_it_is_rolled_back() {
    let settings = "[policy]\nexplore = 0.5\n[learning]\nsave_s = 1\nanswer_worth_usd = 0.05\nmin_trials = 150\n\
                    min_effective_trials = 20.0\nshadow_share = 0.0\n";
    let fleet = FleetBuilder::new().config(settings).start().await;
    assert_eq!(where_the_hard_one_goes(&fleet, 0).await, Zone::Local);
    let _learner = Learner::start(&fleet);
    eventually("a version is in force", || async {
        judged_by_lane(&fleet, 100).await;
        Some(in_force(&fleet).await).filter(|in_force| in_force.version == 1)
    })
    .await;
    assert_eq!(where_the_hard_one_goes(&fleet, 1).await, Zone::Cloud);

    let (_, revision) = fleet.broker.policy_in_force().await.unwrap();
    let back = InForce {
        version: 0,
        since: Timestamp::now(),
        by: By::Operator,
        reason: "a person says so".into(),
        previous: Some(1),
    };
    fleet.broker.put_in_force(&back, revision).await.unwrap();
    assert_eq!(where_the_hard_one_goes(&fleet, 0).await, Zone::Local);
}

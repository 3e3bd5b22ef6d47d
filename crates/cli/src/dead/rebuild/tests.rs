//! Letters of every kind, and what becomes of each.

use serde_json::{Value, json};
use trilane_protocol::Role;
use trilane_protocol::outcome::{SourceRef, TaskError};
use trilane_protocol::work::{Ending, RerouteCause, Spent, StepRef};
use trilane_service::Config;

use super::*;

const SEQUENCE: u64 = 17;

fn config() -> Config {
    let file = "[agents.ops]\nmodel = \"auto\"\nsensitivity = \"public\"\nsystem_prompt = \"You help.\"";
    trilane_service::config::load_from(Some(file), []).unwrap()
}

fn letter(subject: &str, code: &str, payload: Vec<u8>) -> DeadLetter {
    DeadLetter {
        task_id: Some("first".parse().unwrap()),
        agent: Some("ops".parse().unwrap()),
        place: "anywhere".into(),
        error: TaskError::new(code, "a reason"),
        deliveries: 3,
        source: SourceRef { stream: "S".into(), subject: subject.into(), sequence: 5 },
        died_at: Timestamp::UNIX_EPOCH,
        payload_bytes: payload.len() as u64,
        payload,
    }
}

fn work(changes: &Value) -> Work {
    let mut work = json!({
        "task_id": "first", "agent": "ops", "task_seq": 5, "hop": 1, "encoding": "msgpack",
        "published_at": "1970-01-01T00:00:00Z", "deadline": "1970-01-02T00:00:00Z",
        "messages": [{"role": "system", "content": "You help.\n\nBriefly."}, {"role": "user", "content": "hi"}],
        "generation": {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["."], "json_schema": {}},
        "sensitivity": "public", "tags": ["a"], "complexity": 0.3, "model": "smollm2-135m", "priority": "high",
        "max_cost_usd": 0.5, "stream": true, "metadata": {"order": 7},
        "spent": {"attempts": 3, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cached_tokens": 0}, "cost_usd": 0.1},
    });
    for (field, value) in changes.as_object().unwrap() {
        work[field] = value.clone();
    }
    serde_json::from_value(work).unwrap()
}

fn lane_message(work: Work, screened: &str) -> Vec<u8> {
    let decision = json!({
        "lane": "local-fast", "zone": "local", "model": "smollm2-135m", "reason": "good_enough", "explanation": "x",
        "screen": {"sensitivity": screened, "findings": []},
        "score": {"complexity": 0.1, "source": "producer", "contributions": [], "prompt_tokens": 1},
        "threshold": 0.5, "candidates": [], "adjustments": [], "propensity": 1.0, "policy_version": "p",
        "decided_at": "1970-01-01T00:00:00Z",
    });
    Encoding::Msgpack.encode(&LaneMessage { work, decision: serde_json::from_value(decision).unwrap() })
}

fn on_lane(work: Work, screened: &str) -> DeadLetter {
    letter("lane.local-fast.high", "poison_task", lane_message(work, screened))
}

fn at_intake(task: &Value) -> DeadLetter {
    letter("tasks.ops", "unknown_model", task.to_string().into())
}

fn replay_with(
    letter: &DeadLetter,
    pipeline: Option<&Pipeline>,
    options: Options,
) -> Result<Replay, ReplayError> {
    let config = config();
    let now = Timestamp::from_second(1_000).unwrap();
    replayed(letter, SEQUENCE, Given { registry: &config.registry, pipeline, now, options })
}

fn replay(letter: &DeadLetter) -> Result<Replay, ReplayError> {
    replay_with(letter, None, Options::default())
}

fn forced(letter: &DeadLetter) -> Result<Replay, ReplayError> {
    replay_with(letter, None, Options { force: true, ..Options::default() })
}

#[test]
fn a_task_of_the_intake_comes_back_as_it_was_under_another_id() {
    let task =
        json!({"id": "first", "prompt": "hi", "tags": ["a"], "deadline": 60.0, "metadata": {"order": 7}});
    let letter = at_intake(&task);
    let found = replay(&letter).unwrap();
    let first: Task = serde_json::from_value(task).unwrap();
    assert_eq!(found.task, Task { id: Some(id(&letter, SEQUENCE)), ..first });
    assert_eq!((found.agent.as_str(), found.encoding), ("ops", Encoding::Json));
    assert!(found.task.id.unwrap().as_str().starts_with("replay-17-"));
}

#[test]
fn a_task_in_messagepack_comes_back_in_messagepack() {
    let payload = Encoding::Msgpack.encode(&json!({"prompt": "hi"}));
    assert_eq!(replay(&letter("tasks.ops", "id_reused", payload)).unwrap().encoding, Encoding::Msgpack);
}

#[test]
fn work_of_a_lane_becomes_the_task_that_it_was_made_of() {
    let letter = on_lane(work(&json!({})), "public");
    let expected = json!({
        "id": id(&letter, SEQUENCE),
        "messages": [{"role": "system", "content": "Briefly."}, {"role": "user", "content": "hi"}],
        "sensitivity": "public", "tags": ["a"], "complexity": 0.3, "model": "smollm2-135m", "max_tokens": 9,
        "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["."], "json_schema": {}, "priority": "high",
        "max_cost_usd": 0.5, "stream": true, "metadata": {"order": 7},
    });
    let found = replay(&letter).unwrap();
    assert_eq!(found.task, serde_json::from_value(expected).unwrap());
    assert_eq!((found.agent.as_str(), found.encoding), ("ops", Encoding::Msgpack));
}

#[test]
fn what_was_private_stays_private() {
    let sensitivity = |letter: &DeadLetter| replay(letter).unwrap().task.sensitivity;
    let private = Some(Sensitivity::Private);
    for marked in [json!(null), json!("public"), json!("private")] {
        assert_eq!(sensitivity(&on_lane(work(&json!({"sensitivity": marked})), "private")), private);
    }
    assert_eq!(sensitivity(&on_lane(work(&json!({"sensitivity": "private"})), "public")), private);
    // Nobody said: then the agent's entry of today decides, and the screen.
    assert_eq!(sensitivity(&on_lane(work(&json!({"sensitivity": null})), "public")), None);
    assert_eq!(sensitivity(&at_intake(&json!({"prompt": "x", "sensitivity": "private"}))), private);
}

#[test]
fn what_a_worker_handed_back_is_replayed_too() {
    let message = lane_message(work(&json!({"sensitivity": "private"})), "private");
    let cause = RerouteCause::Degrade { reason: "x".into() };
    let returned = Return {
        message: message.clone(),
        seal: "a seal".into(),
        lane: "cloud".parse().unwrap(),
        deliveries: 1,
        ending: Ending::Reroute { spent: Spent::default(), cause },
    };
    let returned = Encoding::Msgpack.encode(&returned);
    for (subject, payload) in [
        ("reroute.ops", &returned),
        ("return.ops", &returned),
        ("return.ops", &message),
        ("due.R-1", &returned),
    ] {
        let task = replay(&letter(subject, "no_stronger_lane", payload.clone())).unwrap().task;
        assert_eq!(task.sensitivity, Some(Sensitivity::Private), "{subject}");
        assert_eq!(task.messages.unwrap().len(), 2, "{subject}");
    }
}

#[test]
fn a_task_that_was_postponed_comes_back_as_it_was() {
    let payload = json!({"prompt": "hi", "not_before": "2026-01-31T12:00:00Z"}).to_string();
    let task = replay(&letter("due.TASKS-1", "max_deliveries", payload.into())).unwrap().task;
    assert!(task.prompt.is_some() && task.not_before.is_some());
}

#[test]
fn a_deadline_that_has_passed_is_refused_or_left_out() {
    let letter = at_intake(&json!({"prompt": "x", "deadline": "1970-01-01T00:16:40Z"}));
    assert!(matches!(replay(&letter), Err(ReplayError::DeadlinePassed(_))));
    let without = Options { without_deadline: true, ..Options::default() };
    assert_eq!(replay_with(&letter, None, without).unwrap().task.deadline, None);
    let ahead = at_intake(&json!({"prompt": "x", "deadline": "1970-01-01T00:16:41Z"}));
    assert!(matches!(replay(&ahead).unwrap().task.deadline, Some(Deadline::At(_))));
    assert_eq!(replay_with(&ahead, None, without).unwrap().task.deadline, None);
}

#[test]
fn a_step_takes_its_whole_pipeline_along_where_the_record_is_its_own() {
    let step = StepRef { index: 0, count: 2, name: "a".parse().unwrap() };
    let step = work(&json!({"step": step}));
    let letter = on_lane(step.clone(), "public");
    let key = pipeline_of(&letter).unwrap();
    assert_eq!((key.0.as_str(), key.1.as_str()), ("ops", "first"));
    assert_eq!(replay(&letter), Err(ReplayError::PipelineForgotten));
    let whole = json!({"id": "first", "prompt": "in", "steps": [{"name": "a", "prompt": "{{input}}"}]});
    let task: Task = serde_json::from_value(whole).unwrap();
    let record = Pipeline::new(task.clone(), step.clone());
    let found = replay_with(&letter, Some(&record), Options::default()).unwrap();
    assert_eq!(found.task, Task { id: Some(id(&letter, SEQUENCE)), ..task.clone() });
    let another = Pipeline::new(task, Work { task_seq: 6, ..step });
    let found = replay_with(&letter, Some(&another), Options::default());
    assert_eq!(found, Err(ReplayError::PipelineForgotten), "another task has used the id");
    assert_eq!(pipeline_of(&on_lane(work(&json!({})), "public")), None);
}

#[test]
fn security_refusals_are_replayed_by_force_only_and_as_private() {
    for code in ["private_in_cloud", "seal_broken", "seal_missing", "forged_return"] {
        let forged = DeadLetter {
            error: TaskError::new(code, "x"),
            ..on_lane(work(&json!({"sensitivity": "public"})), "public")
        };
        assert_eq!(replay(&forged), Err(ReplayError::Security(code.into())));
        assert_eq!(forced(&forged).unwrap().task.sensitivity, Some(Sensitivity::Private), "{code}");
    }
    let other = on_lane(work(&json!({})), "public");
    assert_eq!(forced(&other), replay(&other), "force changes nothing else");
}

#[test]
fn a_forced_pipeline_is_private_as_a_whole() {
    let step = work(&json!({"step": {"index": 0, "count": 1, "name": "a"}}));
    let task: Task = serde_json::from_value(json!({"prompt": "in", "sensitivity": "public"})).unwrap();
    let record = Pipeline::new(task, step.clone());
    let letter = DeadLetter { error: TaskError::new("private_in_cloud", "x"), ..on_lane(step, "private") };
    let force = Options { force: true, ..Options::default() };
    let found = replay_with(&letter, Some(&record), force).unwrap();
    assert_eq!(found.task.sensitivity, Some(Sensitivity::Private));
}

#[test]
fn what_cannot_be_replayed_says_why_and_repeats_no_text() {
    let lost = DeadLetter { payload: Vec::new(), ..at_intake(&json!({"prompt": "x"})) };
    let nobody =
        DeadLetter { agent: None, ..letter("tasks.a.b", "invalid_agent", b"{\"prompt\":\"x\"}".to_vec()) };
    let cases = [
        (lost, "too large to be kept"),
        (nobody, "no valid agent"),
        (at_intake(&json!({"promt": "CANARY"})), "did you mean `prompt`?"),
        (at_intake(&json!({"prompt": ["CANARY"]})), "field `prompt`"),
        (letter("tasks.ops", "invalid_task", Vec::new()), "found nothing"),
        (letter("lane.local-fast.low", "invalid_task", b"{\"CANARY\":1}".to_vec()), "does not read"),
        (letter("other.ops", "x", b"{}".to_vec()), "where no tasks travel"),
    ];
    for (letter, expected) in cases {
        let error = replay(&letter).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("CANARY"), "{error}");
    }
}

#[test]
fn the_agent_is_read_from_the_subject_where_the_letter_names_none() {
    let letter = DeadLetter { agent: None, ..at_intake(&json!({"prompt": "x"})) };
    assert_eq!(replay(&letter).unwrap().agent.as_str(), "ops");
}

#[test]
fn a_message_without_a_seal_is_replayed_as_whom_it_names() {
    let letter = DeadLetter {
        agent: None,
        task_id: None,
        error: TaskError::new("seal_missing", "x"),
        ..on_lane(work(&json!({})), "public")
    };
    assert_eq!(forced(&letter).unwrap().agent.as_str(), "ops");
}

#[test]
fn a_letter_s_id_is_its_own_and_stays() {
    let (one, other) = (at_intake(&json!({"prompt": "x"})), at_intake(&json!({"prompt": "y"})));
    assert_eq!(id(&one, SEQUENCE), id(&one, SEQUENCE));
    assert_ne!(id(&one, SEQUENCE), id(&one, SEQUENCE + 1));
    assert_ne!(id(&one, SEQUENCE), id(&other, SEQUENCE), "the stream was made anew");
    assert!(is_replay(&id(&one, SEQUENCE)));
}

#[test]
fn the_agent_s_system_prompt_is_taken_away_whole() {
    let plain = json!([{"role": "system", "content": "You help."}, {"role": "user", "content": "hi"}]);
    let messages = replay(&on_lane(work(&json!({"messages": plain})), "public")).unwrap().task.messages;
    let roles: Vec<Role> = messages.unwrap().into_iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User]);
}

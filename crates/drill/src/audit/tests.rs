//! A drill without a fault, and what the audit says once one thing is wrong with it.

use trilane_protocol::Usage;

use super::*;
use crate::invocations::Ended;
use crate::tasks::{Kind, plan};

/// Every task acknowledged and ended as it should: answered, refused, or buried where it has no agent.
fn sound() -> Evidence {
    let tasks = plan(1, 400);
    let mut evidence = Evidence { tasks: tasks.clone(), ..Evidence::default() };
    for (task, planned) in tasks.iter().enumerate() {
        let sequence = 1_000 + task as u64;
        evidence.acknowledged.push(Acknowledged { task, sequence });
        match &planned.key {
            Some(key) => {
                evidence.announced.insert(format!("results.{}.{}", key.0, key.1), 1);
                evidence.results.push(StoredResult {
                    key: Some(key.clone()),
                    status: Some(planned.may_end[0]),
                    text: planned.answer.clone(),
                    code: None,
                });
            }
            None => evidence.buried.push(Buried {
                key: None,
                source: (TASKS.to_owned(), sequence),
                code: "invalid_agent".to_owned(),
            }),
        }
        let lane = if planned.private.is_empty() { CLOUD } else { "local-deep" };
        evidence.invocations.push(Invocation {
            id: task,
            lane,
            markers: vec![Marker { task, step: 0 }],
            charged: Usage::default(),
            ended: Ended::Answered,
        });
    }
    evidence.queues.push(QueueState { stream: TASKS.to_owned(), messages: 3, waiting: 2, in_hand: 1 });
    evidence
}

fn position(evidence: &Evidence, kind: Kind) -> usize {
    evidence.tasks.iter().position(|task| task.kind == kind).unwrap()
}

/// What the audit finds after `change`: the kinds, and how many of each.
fn found(change: impl FnOnce(&mut Evidence)) -> Vec<(&'static str, usize)> {
    let mut evidence = sound();
    change(&mut evidence);
    let findings = audit(&evidence);
    assert_eq!(findings.are_none(), findings.by_kind().iter().all(|(_, entries)| entries.is_empty()));
    let counted = findings.by_kind().map(|(kind, entries)| (kind, entries.len()));
    counted.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn remove_result(evidence: &mut Evidence, task: usize) -> Key {
    let key = evidence.tasks[task].key.clone().unwrap();
    evidence.results.retain(|result| result.key.as_ref() != Some(&key));
    key
}

#[test]
fn a_sound_drill_has_no_findings() {
    assert_eq!(found(|_| ()), []);
}

#[test]
fn a_task_without_any_trace_is_lost() {
    assert_eq!(found(|evidence| drop(remove_result(evidence, 0))), [("lost", 1)]);
    let without_agent = |evidence: &mut Evidence| drop(evidence.buried.remove(0));
    assert_eq!(found(without_agent), [("lost", 1)]);
}

#[test]
fn a_task_that_was_never_acknowledged_is_not() {
    let unacknowledged = |evidence: &mut Evidence| {
        remove_result(evidence, 0);
        evidence.acknowledged.remove(0);
    };
    assert_eq!(found(unacknowledged), []);
}

#[test]
fn a_task_that_is_queued_is_not_lost_but_the_drill_has_not_ended() {
    for (stream, sequence) in [(TASKS, 1_000), ("LANE_LOCAL", 7)] {
        let queued = |evidence: &mut Evidence| {
            let key = remove_result(evidence, 0);
            let key = (stream != TASKS).then_some(key);
            evidence.queued.push(Queued { key, source: (stream.to_owned(), sequence) });
        };
        assert_eq!(found(queued), [("still queued", 1)]);
    }
}

#[test]
fn another_copy_of_an_answered_task_is_no_work_left() {
    for (stream, sequence) in [(TASKS, 1_000), ("LANE_LOCAL", 7)] {
        let queued = |evidence: &mut Evidence| {
            let key = evidence.tasks[0].key.clone().filter(|_| stream != TASKS);
            evidence.queued.push(Queued { key, source: (stream.to_owned(), sequence) });
        };
        assert_eq!(found(queued), []);
    }
}

#[test]
fn a_dead_letter_is_no_answer() {
    let buried = |evidence: &mut Evidence| {
        let key = remove_result(evidence, 0);
        evidence.buried.push(Buried {
            key: Some(key),
            source: ("LANE_LOCAL".to_owned(), 7),
            code: String::new(),
        });
    };
    assert_eq!(found(buried), [("unanswered", 1)]);
}

#[test]
fn a_second_result_is_found_stored_or_announced() {
    let stored = |evidence: &mut Evidence| evidence.results.push(evidence.results[5].clone());
    assert_eq!(found(stored), [("answered twice", 1)]);
    let announced = |evidence: &mut Evidence| {
        let first = evidence.announced.values_mut().next().unwrap();
        *first += 1;
    };
    assert_eq!(found(announced), [("answered twice", 1)]);
}

#[test]
fn a_result_that_nobody_asked_for_or_can_read_is_found() {
    let foreign = |evidence: &mut Evidence| {
        let key = Some((AgentName::new("press-0").unwrap(), TaskId::new("m-9999").unwrap()));
        evidence.results.push(StoredResult { key, ..evidence.results[0].clone() });
    };
    assert_eq!(found(foreign), [("result of an unknown task", 1)]);
    let unreadable = |evidence: &mut Evidence| evidence.results[0].status = None;
    assert_eq!(found(unreadable), [("result of an unknown task", 1)]);
}

#[test]
fn another_task_s_text_and_an_end_that_cannot_be_are_wrong() {
    let text = |evidence: &mut Evidence| {
        let easy = evidence.tasks[position(evidence, Kind::Easy)].key.clone();
        let hard = evidence.tasks[position(evidence, Kind::Hard)].answer.clone();
        evidence.results.iter_mut().find(|result| result.key == easy).unwrap().text = hard;
    };
    assert_eq!(found(text), [("wrong result", 1)]);
    let status = |evidence: &mut Evidence| {
        let key = evidence.tasks[position(evidence, Kind::Easy)].key.clone();
        evidence.results.iter_mut().find(|result| result.key == key).unwrap().status = Some(Status::Expired);
    };
    assert_eq!(found(status), [("wrong result", 1)]);
}

#[test]
fn a_private_marker_in_the_cloud_is_found_wherever_it_stands() {
    for kind in [Kind::PrivateByAgent, Kind::PrivateByDetector, Kind::PrivateByPolicy] {
        let leaked = |evidence: &mut Evidence| {
            let task = position(evidence, kind);
            evidence.invocations[task].lane = CLOUD;
        };
        assert_eq!(found(leaked), [("private in the cloud", 1)]);
    }
    let quoted = |evidence: &mut Evidence| {
        let task = position(evidence, Kind::TaintedPipeline);
        let public = position(evidence, Kind::Hard);
        evidence.invocations[public].markers.push(Marker { task, step: 1 });
    };
    assert_eq!(found(quoted), [("private in the cloud", 1)]);
    let first_step = |evidence: &mut Evidence| {
        let task = position(evidence, Kind::TaintedPipeline);
        evidence.invocations[task].lane = CLOUD;
    };
    assert_eq!(found(first_step), [], "the step before the private one is public");
}

#[test]
fn a_message_that_is_neither_waiting_nor_in_hand_is_a_zombie() {
    let mut evidence = sound();
    evidence.queues[0].messages += 2;
    let findings = audit(&evidence);
    assert_eq!((findings.zombie_count, findings.zombies.as_slice()), (2, &["2 in TASKS".to_owned()][..]));
}

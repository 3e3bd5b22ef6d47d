//! One judged answer at a time.

use trilane_protocol::learning::{Feedback, Signs};
use trilane_protocol::validator::ValidatorKind;
use trilane_protocol::{Generation, Message, Role, TaskResult, Zone};
use trilane_routing::features::extract;

use super::*;
use crate::evidence::tests::{decision, result};
use crate::evidence::{of_feedback, of_result};

fn config() -> Config {
    trilane_service::config::load_from(None, []).unwrap()
}

fn features() -> Features {
    let message = Message { role: Role::User, content: "Translate this to French".into() };
    extract(&[message], &Generation::default())
}

fn answered(signs: Option<Signs>) -> TaskResult {
    result(decision("local-fast", Zone::Local, 0.9), signs)
}

fn by_itself(signs: Signs) -> Judged {
    let answered = answered(Some(signs));
    of_result(&answered, false, |_| Some(Zone::Local), Timestamp::UNIX_EPOCH).remove(0)
}

fn by_feedback(quality: f64) -> Judged {
    of_feedback(&answered(None), Feedback::Quality(quality), Timestamp::UNIX_EPOCH).unwrap()
}

fn failed() -> Judged {
    by_itself(Signs { failed: vec![ValidatorKind::Regex], ..Signs::default() })
}

#[test]
fn a_trial_is_noted_before_anything_is_learned_of_it() {
    let (mut student, config) = (Student::default(), config());
    student.learn(&by_feedback(0.0), &features(), false, &config);
    let trials = student.trials.counted();
    let [trial] = trials.as_slice() else { panic!("one trial: {trials:?}") };
    assert!(
        (trial.offers[0].chance - trial.offers[0].chance_in_force).abs() < 1e-12,
        "nothing was known yet"
    );
    assert_eq!((trial.chosen, trial.offers.len(), trial.propensity), (0, 3, 0.9));
    let lane = &trial.offers[0].lane;
    assert!(student.candidate.chance(&features(), lane).unwrap().chance < 0.5, "then it is learned");
    assert_eq!((student.outcomes, student.changed.len()), (1, 1));
}

#[test]
fn a_weightier_word_settles_the_trial_and_makes_no_second() {
    let (mut student, config) = (Student::default(), config());
    student.learn(&failed(), &features(), false, &config);
    student.learn(&by_feedback(0.75), &features(), true, &config);
    let trials = student.trials.counted();
    assert_eq!((trials.len(), trials[0].quality), (1, 0.75));
    assert_eq!(student.outcomes, 2);
}

#[test]
fn a_task_that_the_candidate_has_seen_makes_no_new_trial() {
    let (mut student, config) = (Student::default(), config());
    student.learn(&by_feedback(1.0), &features(), true, &config);
    assert_eq!((student.trials.count(), student.outcomes), (0, 1));
}

#[test]
fn bad_signs_count_as_a_trial_only_once_somebody_has_judged() {
    let (mut student, config) = (Student::default(), config());
    student.learn(&by_itself(Signs { refused: true, ..Signs::default() }), &features(), false, &config);
    assert_eq!(student.trials.count(), 0);
    student.learn(&by_feedback(0.5), &features(), true, &config);
    assert_eq!(student.trials.counted()[0].quality, 0.5);
}

#[test]
fn another_policy_in_force_begins_the_trials_anew_and_the_same_one_does_not() {
    let (mut student, config) = (Student::default(), config());
    student.learn(&by_feedback(1.0), &features(), false, &config);
    student.follow(Followed::default());
    assert_eq!(student.trials.count(), 1);
    student.follow(Followed { number: 2, weights: Weights::default() });
    assert_eq!((student.trials.count(), student.outcomes), (0, 1), "what was learned stays");
    assert_eq!(student.in_force.name(&config), "shipped-1+w2");
}

#[test]
fn of_too_many_trials_the_older_half_goes() {
    let (mut student, config) = (Student::default(), config());
    for task in ["a", "b", "c"] {
        let mut judged = by_feedback(1.0);
        judged.outcome.task_id = task.parse().unwrap();
        student.learn(&judged, &features(), false, &config);
    }
    assert!(student.trials.forget_half());
    assert_eq!(student.trials.count(), 1);
    assert!(
        student.trials.settle(&Outcome { task_id: "c".parse().unwrap(), ..by_feedback(0.0).outcome }, true)
    );
    assert!(student.trials.forget_half() && !student.trials.forget_half());
}

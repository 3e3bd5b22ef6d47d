//! The scheduler against a scripted model that checks every call.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod fake;

use std::sync::{Arc, Mutex};

use fake::{END, FAILS, FIRST_WORD, FakeModel, Script, Seen, bytes, prompt};
use proptest::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use trilane_local_worker::model::{ModelError, Sampling, Shape, Token};
use trilane_local_worker::scheduler::{Answer, Failure, Job, Scheduler};
use trilane_protocol::outcome::Finish;
use trilane_worker::partials::PartialSender;

/// Steps after which a test gives up.
const MAX_STEPS: usize = 10_000;
const WINDOW: usize = 128;

type End = oneshot::Receiver<Result<Answer, Failure>>;

fn greedy() -> Sampling {
    Sampling { temperature: 0.0, top_p: 1.0, seed: 0, grammar: None }
}

fn job(prompt: Vec<Token>, max_tokens: usize) -> (Job, End) {
    let (reply, end) = oneshot::channel();
    let job = Job {
        prompt,
        max_tokens,
        stop: Vec::new(),
        sampling: greedy(),
        owner: "agent".into(),
        partials: PartialSender::disabled(),
        cancel: CancellationToken::new(),
        reply,
    };
    (job, end)
}

fn scheduler(
    sequences: usize,
    batch_tokens: usize,
    script: Script,
) -> (Scheduler<FakeModel>, Arc<Mutex<Seen>>) {
    let model = FakeModel::new(Shape { window: WINDOW, batch_tokens, sequences }, script);
    let seen = Arc::clone(&model.seen);
    (Scheduler::new(model), seen)
}

fn answers(answers: impl IntoIterator<Item = (Token, Vec<Token>)>) -> Script {
    Script { answers: answers.into_iter().collect(), ..Script::default() }
}

fn run_to_end(scheduler: &mut Scheduler<FakeModel>) {
    for _ in 0..MAX_STEPS {
        if scheduler.is_idle() {
            return;
        }
        scheduler.step();
    }
    panic!("tasks are still running after {MAX_STEPS} steps");
}

fn text(end: &mut End) -> String {
    end.try_recv().unwrap().unwrap().text
}

#[test]
fn an_answer_says_how_likely_its_tokens_were() {
    let (mut scheduler, _) = scheduler(2, 8, answers([(0, bytes("abc")), (1, bytes("b"))]));
    let ends = [(0, 10), (1, 10), (0, 2)].map(|(number, most)| job(prompt(number, 4), most));
    let mut means = Vec::new();
    for (job, mut end) in ends {
        scheduler.admit(job);
        run_to_end(&mut scheduler);
        means.push(end.try_recv().unwrap().unwrap().mean_logprob);
    }
    // The tokens have 0, -1, -2 and so on; the one that ends an answer counts.
    assert_eq!(means, [Some(-1.5), Some(-0.5), Some(-0.5)]);
}

#[test]
fn a_task_joins_while_others_run_and_leaves_before_them() {
    let (mut scheduler, seen) = scheduler(2, 8, answers([(0, bytes(&"a".repeat(50))), (1, bytes("b"))]));
    let (long, mut long_end) = job(prompt(0, 4), 50);
    scheduler.admit(long);
    scheduler.step();
    scheduler.step();
    let (short, mut short_end) = job(prompt(1, 4), 10);
    assert!(scheduler.has_room());
    scheduler.admit(short);
    assert!(!scheduler.has_room());
    scheduler.step();
    let batch = seen.lock().unwrap().batches.last().unwrap().clone();
    let of_both = (batch.iter().filter(|entry| entry.sequence == 0).count(), batch.len());
    assert_eq!(of_both, (1, 5), "one token of the running task and the whole prompt of the new one");
    scheduler.step();
    assert_eq!(text(&mut short_end), "b");
    assert!(long_end.try_recv().is_err(), "the long one goes on");
    assert!(scheduler.has_room());
    run_to_end(&mut scheduler);
    assert_eq!(text(&mut long_end).len(), 50);
}

#[test]
fn a_long_prompt_goes_in_pieces_beside_a_running_task() {
    let (mut scheduler, seen) = scheduler(2, 16, answers([(0, bytes(&"a".repeat(30))), (1, bytes("b"))]));
    let (running, mut running_end) = job(prompt(0, 4), 30);
    scheduler.admit(running);
    scheduler.step();
    let (long, mut long_end) = job(prompt(1, 100), 5);
    scheduler.admit(long);
    for _ in 0..7 {
        scheduler.step();
    }
    let batches = seen.lock().unwrap().batches[1..8].to_vec();
    for batch in &batches {
        assert_eq!(
            batch.iter().filter(|entry| entry.sequence == 0).count(),
            1,
            "the running task never waits"
        );
    }
    let pieces: Vec<_> = batches.iter().map(|batch| batch.len() - 1).collect();
    assert_eq!(pieces, [15, 15, 15, 15, 15, 15, 10]);
    run_to_end(&mut scheduler);
    assert_eq!((text(&mut long_end), text(&mut running_end).len()), ("b".into(), 30));
}

#[test]
fn max_tokens_and_the_end_token_end_an_answer() {
    let (mut scheduler, _) = scheduler(2, 8, answers([(0, bytes("abcdef")), (1, bytes("ab"))]));
    let (cut, mut cut_end) = job(prompt(0, 3), 4);
    let (whole, mut whole_end) = job(prompt(1, 3), 4);
    scheduler.admit(cut);
    scheduler.admit(whole);
    run_to_end(&mut scheduler);
    let cut = cut_end.try_recv().unwrap().unwrap();
    assert_eq!((cut.text.as_str(), cut.finish), ("abcd", Finish::Length));
    assert_eq!((cut.usage.prompt_tokens, cut.usage.completion_tokens), (3, 4));
    let whole = whole_end.try_recv().unwrap().unwrap();
    assert_eq!((whole.text.as_str(), whole.finish, whole.usage.completion_tokens), ("ab", Finish::Stop, 2));
    assert!(whole.first_token_at.is_some());
}

fn streamed(script: Script, stop: &[&str]) -> (Vec<String>, Answer) {
    let (mut scheduler, _) = scheduler(1, 8, script);
    let (mut streaming, mut end) = job(prompt(0, 3), 50);
    let (partials, mut pieces) = PartialSender::channel();
    streaming.partials = partials;
    streaming.stop = stop.iter().map(ToString::to_string).collect();
    scheduler.admit(streaming);
    run_to_end(&mut scheduler);
    (drain(&mut pieces), end.try_recv().unwrap().unwrap())
}

fn drain(pieces: &mut mpsc::Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| pieces.try_recv().ok()).collect()
}

#[test]
fn a_stop_sequence_over_several_tokens_is_neither_answered_nor_streamed() {
    let words = vec!["one\n", "\nTwo", " x", "\n\nST", "OP more"];
    let answer = (0..5).map(|word| FIRST_WORD + word).collect();
    let script = Script { words, ..answers([(0, answer)]) };
    let (pieces, answer) = streamed(script, &["\n\nSTOP"]);
    assert_eq!(answer.text, "one\n\nTwo x");
    assert_eq!(answer.finish, Finish::Stop);
    assert_eq!(pieces, ["one", "\n\nTwo", " x"], "a line break may begin the stop sequence");
}

#[test]
fn characters_split_over_tokens_are_streamed_whole() {
    let (pieces, answer) = streamed(answers([(0, bytes("é🙂!"))]), &[]);
    assert_eq!(pieces, ["é", "🙂", "!"]);
    assert_eq!(answer.text, "é🙂!");
}

#[test]
fn a_cancelled_task_frees_its_sequence_at_the_next_step() {
    let (mut scheduler, seen) = scheduler(1, 8, answers([(0, bytes(&"a".repeat(50))), (1, bytes("b"))]));
    let (unwanted, mut unwanted_end) = job(prompt(0, 4), 50);
    let cancel = unwanted.cancel.clone();
    scheduler.admit(unwanted);
    scheduler.step();
    cancel.cancel();
    scheduler.step();
    assert_eq!(unwanted_end.try_recv().unwrap(), Err(Failure::Cancelled));
    assert_eq!(seen.lock().unwrap().batches.len(), 1, "nothing was decoded for it any more");
    let (next, mut next_end) = job(prompt(1, 4), 5);
    assert!(scheduler.has_room());
    scheduler.admit(next);
    run_to_end(&mut scheduler);
    assert_eq!(text(&mut next_end), "b");
}

#[test]
fn a_task_that_nobody_waits_for_is_dropped() {
    let (mut scheduler, _) = scheduler(1, 8, answers([(0, bytes(&"a".repeat(50)))]));
    let (forgotten, end) = job(prompt(0, 4), 50);
    scheduler.admit(forgotten);
    drop(end);
    scheduler.step();
    assert!(scheduler.is_idle());
}

#[test]
fn the_failure_of_one_sampler_harms_no_other_task() {
    let broken = vec![Token::from(b'x'), FAILS];
    let (mut scheduler, _) = scheduler(3, 8, answers([(0, broken), (1, bytes("fine"))]));
    let (broken, mut broken_end) = job(prompt(0, 3), 9);
    let (fine, mut fine_end) = job(prompt(1, 3), 9);
    let (mut ungrammatical, mut grammar_end) = job(prompt(1, 3), 9);
    ungrammatical.sampling.grammar = Some("bad".into());
    [broken, fine, ungrammatical].into_iter().for_each(|job| scheduler.admit(job));
    run_to_end(&mut scheduler);
    assert_eq!(broken_end.try_recv().unwrap(), Err(Failure::Model(ModelError::Sample("scripted"))));
    assert_eq!(grammar_end.try_recv().unwrap(), Err(Failure::Model(ModelError::Grammar)));
    assert_eq!(text(&mut fine_end), "fine");
}

#[test]
fn a_failed_decode_ends_its_batch_and_the_next_tasks_run() {
    // Seven batches read the prompt; the eighth fails. What the sequence holds then must not be taken for it.
    let script = Script { failing_decodes: vec![7], ..answers([(0, bytes("aaaa"))]) };
    let (mut scheduler, _) = scheduler(2, 8, script);
    let (first, mut first_end) = job(prompt(0, 50), 9);
    scheduler.admit(first);
    run_to_end(&mut scheduler);
    assert!(matches!(first_end.try_recv().unwrap(), Err(Failure::Model(ModelError::Decode(_)))));
    for cached_tokens in [0, 49] {
        let (next, mut next_end) = job(prompt(0, 50), 9);
        scheduler.admit(next);
        run_to_end(&mut scheduler);
        let answer = next_end.try_recv().unwrap().unwrap();
        assert_eq!((answer.text.as_str(), answer.usage.cached_tokens), ("aaaa", cached_tokens));
    }
}

#[test]
fn a_task_that_does_not_fit_is_refused_and_never_cut() {
    let (mut scheduler, _) = scheduler(1, 8, answers([(0, bytes("a"))]));
    let (too_long, mut end) = job(prompt(0, WINDOW), 1);
    scheduler.admit(too_long);
    let refused = Failure::DoesNotFit { prompt_tokens: WINDOW, max_tokens: 1, window: WINDOW };
    assert_eq!(end.try_recv().unwrap(), Err(refused));
    let (fitting, mut end) = job(prompt(0, WINDOW - 1), 1);
    scheduler.admit(fitting);
    run_to_end(&mut scheduler);
    assert_eq!(text(&mut end), "a");
}

fn cached_tokens_of_a_second_task(script: Script, owner: &str) -> (u64, String) {
    let (mut scheduler, _) = scheduler(2, 64, script);
    let (first, _first_end) = job(prompt(0, 40), 2);
    scheduler.admit(first);
    run_to_end(&mut scheduler);
    let (mut second, mut end) = job(prompt(0, 40), 2);
    second.owner = owner.into();
    scheduler.admit(second);
    run_to_end(&mut scheduler);
    let answer = end.try_recv().unwrap().unwrap();
    (answer.usage.cached_tokens, answer.text)
}

#[test]
fn a_prompt_known_from_a_task_of_the_same_owner_is_not_read_again() {
    let script = answers([(0, bytes("ok"))]);
    // The last token of a prompt is always decoded: its logits are needed.
    assert_eq!(cached_tokens_of_a_second_task(script.clone(), "agent"), (39, "ok".into()));
    assert_eq!(cached_tokens_of_a_second_task(script.clone(), "other"), (0, "ok".into()));
    let forgets_all = Script { forgets_all: true, ..script };
    assert_eq!(cached_tokens_of_a_second_task(forgets_all, "agent"), (0, "ok".into()));
}

#[test]
fn a_batch_smaller_than_the_number_of_tasks_serves_them_in_turn() {
    let (mut scheduler, _) = scheduler(4, 2, answers((0..4).map(|number| (number, bytes("abcdef")))));
    let mut ends: Vec<_> = (0..4)
        .map(|number| {
            let (job, end) = job(prompt(number, 5), 6);
            scheduler.admit(job);
            end
        })
        .collect();
    run_to_end(&mut scheduler);
    for end in &mut ends {
        assert_eq!(text(end), "abcdef");
    }
}

/// One task of a random run, and what must become of it.
#[derive(Debug, Clone)]
struct Plan {
    prompt_tokens: usize,
    answer: Vec<Token>,
    max_tokens: usize,
    wait_steps: usize,
    cancel_after: Option<usize>,
    owner: u8,
}

fn plan() -> impl Strategy<Value = Plan> {
    let token = prop_oneof![20 => Just(Token::from(b'a')), 1 => Just(FAILS), 1 => Just(END)];
    (
        2usize..60,
        prop::collection::vec(token, 0..30),
        1usize..30,
        0usize..4,
        prop::option::weighted(0.2, 0usize..20),
        0u8..2,
    )
        .prop_map(|(prompt_tokens, answer, max_tokens, wait_steps, cancel_after, owner)| Plan {
            prompt_tokens,
            answer,
            max_tokens,
            wait_steps,
            cancel_after,
            owner,
        })
}

impl Plan {
    fn expected(&self) -> Result<(String, Finish), ModelError> {
        let mut text = String::new();
        for token in self.answer.iter().chain([&END]) {
            match *token {
                FAILS => return Err(ModelError::Sample("scripted")),
                END => break,
                _ => text.push('a'),
            }
            if text.len() == self.max_tokens {
                return Ok((text, Finish::Length));
            }
        }
        Ok((text, Finish::Stop))
    }
}

proptest! {
    #[test]
    fn every_task_ends_exactly_once_and_as_its_script_says(
        plans in prop::collection::vec(plan(), 1..24),
        sequences in 1usize..5,
        batch_tokens in 1usize..24,
        forgets_all in any::<bool>(),
    ) {
        let numbered = plans.iter().enumerate().map(|(number, plan)| (number as Token, plan.answer.clone()));
        let script = Script { forgets_all, ..answers(numbered) };
        let (mut scheduler, _) = scheduler(sequences, batch_tokens, script);
        let (mut ends, mut cancels, mut steps) = (Vec::new(), Vec::new(), 0usize);
        let mut step = |scheduler: &mut Scheduler<FakeModel>, cancels: &[(usize, CancellationToken)]| {
            steps += 1;
            cancels.iter().filter(|(at, _)| *at <= steps).for_each(|(_, cancel)| cancel.cancel());
            scheduler.step();
            steps
        };
        for (number, plan) in plans.iter().enumerate() {
            let mut now = 0;
            for _ in 0..plan.wait_steps {
                now = step(&mut scheduler, &cancels);
            }
            while !scheduler.has_room() {
                now = step(&mut scheduler, &cancels);
                prop_assert!(now < MAX_STEPS);
            }
            let (mut job, end) = job(prompt(number as Token, plan.prompt_tokens), plan.max_tokens);
            job.owner = plan.owner.to_string();
            if let Some(after) = plan.cancel_after {
                cancels.push((now + after, job.cancel.clone()));
            }
            scheduler.admit(job);
            ends.push(end);
        }
        while !scheduler.is_idle() {
            prop_assert!(step(&mut scheduler, &cancels) < MAX_STEPS);
        }
        for (plan, end) in plans.iter().zip(&mut ends) {
            match end.try_recv().expect("every task is answered") {
                Err(Failure::Cancelled) => prop_assert!(plan.cancel_after.is_some()),
                Ok(answer) => prop_assert_eq!(Ok((answer.text, answer.finish)), plan.expected()),
                Err(Failure::Model(error)) => prop_assert_eq!(Err(error), plan.expected()),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

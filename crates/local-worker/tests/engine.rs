//! The decode thread and the runner on top of it, with a scripted model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

mod fake;

use std::sync::Arc;

use fake::{FakeModel, Script, bytes, prompt};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use trilane_local_worker::control::{ControlTexts, Piece};
use trilane_local_worker::engine::{Engine, EngineError, Request};
use trilane_local_worker::model::{Sampling, Shape, Token};
use trilane_local_worker::runner::{LlamaRunner, Preparation, Tokeniser};
use trilane_local_worker::scheduler::Failure;
use trilane_local_worker::template::ChatTemplate;
use trilane_protocol::outcome::Finish;
use trilane_worker::partials::PartialSender;
use trilane_worker::{Assignment, RunErrorKind, Runner};

const WINDOW: usize = 64;

fn engine(answers: impl IntoIterator<Item = (Token, Vec<Token>)>, sequences: usize) -> Engine {
    let script = Script { answers: answers.into_iter().collect(), ..Script::default() };
    let shape = Shape { window: WINDOW, batch_tokens: 16, sequences };
    Engine::start(4, move |jobs| jobs.serve(FakeModel::new(shape, script))).unwrap()
}

fn request(number: Token, cancel: CancellationToken) -> Request {
    Request {
        prompt: prompt(number, 5),
        max_tokens: 20,
        stop: Vec::new(),
        sampling: Sampling { temperature: 0.0, top_p: 1.0, seed: 0, grammar: None },
        owner: "agent".into(),
        partials: PartialSender::disabled(),
        cancel,
    }
}

#[tokio::test]
async fn more_tasks_than_sequences_and_places_are_all_answered() {
    let engine = engine((0..40).map(|number| (number, bytes(&format!("answer {number}")))), 3);
    let tasks: tokio::task::JoinSet<_> = (0..40)
        .map(|number| {
            let engine = engine.clone();
            async move { (number, engine.run(request(number, CancellationToken::new())).await.unwrap().text) }
        })
        .collect();
    for (number, text) in tasks.join_all().await {
        assert_eq!(text, format!("answer {number}"));
    }
}

#[tokio::test]
async fn a_cancelled_request_returns_even_while_it_waits() {
    let (_hold, held) = std::sync::mpsc::channel::<()>();
    // A thread that takes no jobs: whatever is sent waits.
    let engine = Engine::start(1, move |jobs| {
        let _ = held.recv();
        drop(jobs);
    })
    .unwrap();
    let cancel = CancellationToken::new();
    let waiting = engine.run(request(0, cancel.clone()));
    // Both are polled in order: the request waits for its answer by the time it is cancelled.
    let (end, ()) = tokio::join!(waiting, async { cancel.cancel() });
    assert_eq!(end, Err(EngineError::Task(Failure::Cancelled)));
}

#[tokio::test]
async fn a_dead_decode_thread_is_an_error_for_every_task_and_is_told() {
    // No answer 1 is scripted, so the model panics over it.
    let engine = engine([(0, bytes("a"))], 1);
    assert_eq!(engine.run(request(1, CancellationToken::new())).await, Err(EngineError::Stopped));
    engine.stopped().await;
    assert_eq!(engine.run(request(0, CancellationToken::new())).await, Err(EngineError::Stopped));
}

/// Makes the prompt that the script knows, as long as the text is.
struct CountingTokeniser;

impl Tokeniser for CountingTokeniser {
    fn tokenise(&self, pieces: &[Piece]) -> Vec<Token> {
        let bytes = pieces.iter().map(|piece| match piece {
            Piece::Rendered(text) | Piece::Plain(text) => text.len(),
        });
        let bytes = bytes.sum();
        prompt(0, bytes).into_iter().take(bytes).collect()
    }
}

fn runner(engine: Engine, template: &str) -> LlamaRunner {
    let template = ChatTemplate::new(template, "", "").unwrap();
    let preparation = Preparation {
        template,
        control: ControlTexts::new(&[]),
        tokeniser: Arc::new(CountingTokeniser),
        window: WINDOW as u32,
        default_max_tokens: 8,
    };
    LlamaRunner::new(engine, preparation)
}

fn assignment(generation: &serde_json::Value) -> Assignment {
    let now = Timestamp::UNIX_EPOCH;
    let work = json!({
        "task_id": "t1", "agent": "agent", "task_seq": 1, "hop": 0, "encoding": "json", "published_at": now,
        "messages": [{"role": "user", "content": "hello"}], "generation": generation,
        "sensitivity": "private", "tags": [], "priority": "normal", "stream": true,
        "spent": {"attempts": 0, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}, "cost_usd": 0.0},
    });
    let decision = json!({
        "lane": "local-fast", "zone": "local", "model": "tiny", "reason": "good_enough", "explanation": "",
        "screen": {"sensitivity": "private", "findings": []},
        "score": {"complexity": 0.1, "source": "cold_start", "contributions": [], "prompt_tokens": 1},
        "threshold": 0.5, "candidates": [], "adjustments": [], "propensity": 1.0, "policy_version": "1", "decided_at": now,
    });
    Assignment {
        work: serde_json::from_value(work).unwrap(),
        decision: serde_json::from_value(decision).unwrap(),
        attempt: 1,
        partials: PartialSender::disabled(),
        cancel: CancellationToken::new(),
    }
}

const CONTENT_ONLY: &str = "{{ messages[0].content }}";

#[tokio::test]
async fn an_answer_carries_its_text_usage_and_first_token() {
    let runner = runner(engine([(0, bytes("well met, END nobody"))], 1), CONTENT_ONLY);
    let mut streaming = assignment(&json!({"stop": [" END"], "max_tokens": 30}));
    let (partials, mut pieces) = PartialSender::channel();
    streaming.partials = partials;
    let completion = runner.run(streaming).await.unwrap();
    assert_eq!((completion.text.as_str(), completion.finish), ("well met,", Finish::Stop));
    assert_eq!((completion.usage.prompt_tokens, completion.usage.completion_tokens), (5, 13));
    assert!(completion.first_token.is_some());
    let streamed: String = std::iter::from_fn(|| pieces.try_recv().ok()).collect();
    assert_eq!(streamed, completion.text);
}

#[tokio::test]
async fn the_default_limit_holds_for_a_task_without_one() {
    let runner = runner(engine([(0, bytes("0123456789"))], 1), CONTENT_ONLY);
    let completion = runner.run(assignment(&json!({}))).await.unwrap();
    assert_eq!((completion.text.as_str(), completion.finish), ("01234567", Finish::Length));
}

#[tokio::test]
async fn what_no_attempt_can_answer_is_permanent() {
    let cases = [
        (CONTENT_ONLY, json!({"max_tokens": 60}), "prompt_too_long"),
        (CONTENT_ONLY, json!({"json_schema": {"type": "array", "uniqueItems": true}}), "unsupported_schema"),
        ("{{ raise_exception('no system role') }}", json!({}), "unsupported_conversation"),
        ("", json!({}), "unsupported_conversation"),
    ];
    for (template, generation, code) in cases {
        let runner = runner(engine([(0, bytes("a"))], 1), template);
        let error = runner.run(assignment(&generation)).await.unwrap_err();
        assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, code));
        assert!(!error.message.contains("hello"), "{}", error.message);
    }
}

#[tokio::test]
async fn a_cancelled_assignment_ends_as_cancelled() {
    let runner = runner(engine([(0, bytes("a"))], 1), CONTENT_ONLY);
    let unwanted = assignment(&json!({}));
    unwanted.cancel.cancel();
    assert_eq!(runner.run(unwanted).await.unwrap_err().kind, RunErrorKind::Cancelled);
}

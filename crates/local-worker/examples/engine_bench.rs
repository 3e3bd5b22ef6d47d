//! Decode throughput of a GGUF file with 1, 4, 8 and 16 greedy answers at once, or as many as are named.
//!
//! `cargo run --release -p trilane-local-worker --example engine_bench -- MODEL.gguf [THREADS [CONCURRENCY …]]`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Zoned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trilane_local_worker::control::Piece;
use trilane_local_worker::engine::{Engine, EngineError, Request};
use trilane_local_worker::llama::{ContextSettings, LlamaEngine, LoadedModel, Placement};
use trilane_local_worker::model::Sampling;
use trilane_local_worker::scheduler::Answer;
use trilane_local_worker::template::ChatTemplate;
use trilane_local_worker::wait_policy;
use trilane_protocol::{Message, Role};
use trilane_service::config::WaitPolicy;
use trilane_worker::partials::PartialSender;

const CONCURRENCY: [u32; 4] = [1, 4, 8, 16];
const ANSWER_TOKENS: usize = 128;
const BATCH_TOKENS: u32 = 512;
const WINDOW: u32 = 1_024;
const PROMPT: &str = "Write a long story about a lighthouse keeper and the sea.";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("expected: MODEL.gguf [THREADS [CONCURRENCY …]]")?);
    let threads = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let mut concurrency: Vec<u32> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;
    if concurrency.is_empty() {
        concurrency = CONCURRENCY.to_vec();
    }
    wait_policy::put_in_force(WaitPolicy::Passive)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let loaded = Arc::new(LoadedModel::load(&path, Placement::Cpu, |_| true)?);
    println!("{:>12} {:>8} {:>10} {:>8}", "concurrency", "tokens", "seconds", "tok/s");
    for sequences in concurrency {
        let settings =
            ContextSettings { window: WINDOW, sequences, batch_tokens: BATCH_TOKENS, threads, on_gpu: false };
        let model = Arc::clone(&loaded);
        let engine = Engine::start(64, move |jobs| match LlamaEngine::new(&model, settings) {
            Ok(engine) => jobs.serve(engine),
            Err(error) => eprintln!("{error}"),
        })?;
        let (tokens, seconds) = runtime.block_on(measure(&engine, &loaded, sequences))?;
        println!("{sequences:>12} {tokens:>8} {seconds:>10.2} {:>8.1}", tokens as f64 / seconds);
    }
    Ok(())
}

/// Answers of one round; the first round warms the context up and is not counted.
async fn measure(engine: &Engine, loaded: &LoadedModel, concurrency: u32) -> Outcome<(u64, f64)> {
    round(engine, loaded, concurrency).await?;
    let started = Instant::now();
    let tokens = round(engine, loaded, concurrency).await?;
    Ok((tokens, started.elapsed().as_secs_f64()))
}

async fn round(engine: &Engine, loaded: &LoadedModel, concurrency: u32) -> Outcome<u64> {
    let mut answers = JoinSet::new();
    let template = ChatTemplate::new(&loaded.chat_template()?, &loaded.beginning(), &loaded.end())?;
    for number in 0..concurrency {
        let messages = [Message { role: Role::User, content: format!("{number}. {PROMPT}") }];
        let request = Request {
            prompt: loaded.tokenise(&[Piece::Rendered(template.render(&messages, &Zoned::now())?)]),
            max_tokens: ANSWER_TOKENS,
            stop: Vec::new(),
            sampling: Sampling { temperature: 0.0, top_p: 1.0, seed: 0, grammar: None },
            owner: number.to_string(),
            partials: PartialSender::disabled(),
            cancel: CancellationToken::new(),
        };
        let engine = engine.clone();
        answers.spawn(async move { engine.run(request).await });
    }
    let answers = answers.join_all().await;
    let tokens = |answer: Result<Answer, EngineError>| Ok(answer?.usage.completion_tokens);
    answers.into_iter().map(tokens).sum()
}

//! Runs work of the lane on the engine: render, tokenise, check the size, decode.

use std::sync::Arc;
use std::time::Instant;

use jiff::Zoned;
use trilane_protocol::{Generation, Message, Work};
use trilane_worker::{Assignment, Completion, RunError, RunErrorKind, Runner};

use crate::control::{ControlTexts, Piece, Unmarkable};
use crate::engine::{Engine, EngineError, Request};
use crate::model::{Sampling, Token};
use crate::scheduler::Failure;
use crate::schema;
use crate::template::ChatTemplate;

/// Turns text into tokens of a model. Shared between threads.
pub trait Tokeniser: Send + Sync + 'static {
    /// The tokens of a rendered conversation.
    fn tokenise(&self, pieces: &[Piece]) -> Vec<Token>;
}

impl Tokeniser for crate::llama::LoadedModel {
    fn tokenise(&self, pieces: &[Piece]) -> Vec<Token> {
        Self::tokenise(self, pieces)
    }
}

/// What is known of the model before a task comes.
pub struct Preparation {
    /// How conversations are written for it.
    pub template: ChatTemplate,
    /// What must not be read as control tokens where a content spells it.
    pub control: ControlTexts,
    /// Its vocabulary.
    pub tokeniser: Arc<dyn Tokeniser>,
    /// Tokens of prompt and answer together.
    pub window: u32,
    /// Tokens generated for tasks that do not say, where the window leaves that many.
    pub default_max_tokens: u32,
}

/// Runs work on llama.cpp.
#[derive(Clone)]
pub struct LlamaRunner {
    engine: Engine,
    preparation: Arc<Preparation>,
}

/// A task turned into what the engine takes.
#[derive(Debug, PartialEq)]
struct Prepared {
    prompt: Vec<Token>,
    max_tokens: usize,
    sampling: Sampling,
}

impl LlamaRunner {
    /// A runner on a running engine.
    pub fn new(engine: Engine, preparation: Preparation) -> Self {
        Self { engine, preparation: Arc::new(preparation) }
    }

    async fn prepare(&self, work: &Work) -> Result<Prepared, RunError> {
        let preparation = Arc::clone(&self.preparation);
        let (work, now) = (work.clone(), Zoned::now());
        // A prompt may be a megabyte; to render and tokenise it would hold up the runtime's other tasks.
        let prepared = tokio::task::spawn_blocking(move || preparation.prepare(&work, &now)).await;
        prepared.unwrap_or_else(|_| {
            Err(transient("preparation_failed", "the prompt could not be prepared; try again"))
        })
    }
}

impl Runner for LlamaRunner {
    async fn run(&self, assignment: Assignment) -> Result<Completion, RunError> {
        let started = Instant::now();
        let Assignment { work, partials, cancel, .. } = assignment;
        let prepared =
            cancel.run_until_cancelled(self.prepare(&work)).await.unwrap_or_else(|| Err(cancelled()))?;
        let request = Request {
            prompt: prepared.prompt,
            max_tokens: prepared.max_tokens,
            stop: work.generation.stop.clone(),
            sampling: prepared.sampling,
            owner: work.agent.to_string(),
            partials,
            cancel,
        };
        let answer = self.engine.run(request).await.map_err(|error| run_error(&error))?;
        Ok(Completion {
            text: answer.text,
            finish: answer.finish,
            usage: answer.usage,
            cost_usd: 0.0,
            first_token: answer.first_token_at.map(|at| at.saturating_duration_since(started)),
            mean_logprob: answer.mean_logprob,
            refused: false,
        })
    }
}

impl Preparation {
    fn prepare(&self, work: &Work, now: &Zoned) -> Result<Prepared, RunError> {
        let sampling = sampling(&work.generation, default_seed(work))?;
        let render = |messages: &[Message]| {
            let rendered = self.template.render(messages, now);
            rendered.map_err(|error| permanent("unsupported_conversation", error.to_string()))
        };
        let prompt = self.tokeniser.tokenise(&self.control.render(&work.messages, render)?);
        let max_tokens = answer_budget(prompt.len(), &work.generation, self.default_max_tokens, self.window)?;
        Ok(Prepared { prompt, max_tokens, sampling })
    }
}

/// Without a temperature the likeliest token is taken, so that an answer is the same when a task is run again.
fn sampling(generation: &Generation, default_seed: u32) -> Result<Sampling, RunError> {
    let grammar = generation.json_schema.as_ref().map(schema::grammar).transpose();
    Ok(Sampling {
        temperature: generation.temperature.unwrap_or(0.0),
        top_p: generation.top_p.unwrap_or(1.0),
        seed: generation.seed.unwrap_or(default_seed),
        grammar: grammar.map_err(|error| permanent("unsupported_schema", error.to_string()))?,
    })
}

/// The seed of a task that names none: drawn from its name (FNV-1a), so that a second delivery gives the same
/// answer as the first, and two tasks with one prompt do not.
fn default_seed(work: &Work) -> u32 {
    let step = work.step.as_ref().map_or("", |step| step.name.as_str());
    let name = [work.agent.as_str(), work.task_id.as_str(), step].join("/");
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Tokens that the answer may have. A prompt is never cut: what does not fit is refused with the numbers.
fn answer_budget(
    prompt: usize,
    generation: &Generation,
    default: u32,
    window: u32,
) -> Result<usize, RunError> {
    let room = (window as usize).saturating_sub(prompt);
    let wanted = generation.max_tokens.map_or(1, |asked| asked as usize);
    if prompt == 0 {
        return Err(permanent(
            "unsupported_conversation",
            "the model's chat template makes an empty prompt of this conversation",
        ));
    }
    if wanted > room {
        let asked = match generation.max_tokens {
            Some(asked) => format!("{prompt} tokens of prompt and {asked} of answer"),
            None => format!("{prompt} tokens of prompt"),
        };
        let message = format!(
            "{asked} do not fit the model's window of {window} tokens; shorten the prompt or lower `max_tokens`"
        );
        return Err(permanent("prompt_too_long", message));
    }
    Ok(generation.max_tokens.map_or_else(|| room.min(default.max(1) as usize), |asked| asked as usize))
}

impl From<Unmarkable> for RunError {
    fn from(error: Unmarkable) -> Self {
        permanent("unsupported_conversation", error.to_string())
    }
}

fn run_error(error: &EngineError) -> RunError {
    match error {
        EngineError::Task(Failure::Cancelled) => cancelled(),
        EngineError::Task(Failure::Model(model)) if model.is_retryable() => {
            transient(model.code(), model.to_string())
        }
        EngineError::Task(Failure::Model(model)) => permanent(model.code(), model.to_string()),
        EngineError::Task(Failure::DoesNotFit { .. }) => permanent("prompt_too_long", error.to_string()),
        EngineError::Stopped => transient("engine_stopped", error.to_string()),
    }
}

fn permanent(code: &'static str, message: impl Into<String>) -> RunError {
    RunError::new(RunErrorKind::Permanent, code, message)
}

fn transient(code: &'static str, message: impl Into<String>) -> RunError {
    RunError::new(RunErrorKind::Transient, code, message)
}

fn cancelled() -> RunError {
    RunError::new(RunErrorKind::Cancelled, "cancelled", "the answer is no longer wanted")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(max_tokens: Option<u32>) -> Generation {
        Generation { max_tokens, ..Generation::default() }
    }

    #[test]
    fn an_answer_takes_what_was_asked_or_what_the_window_leaves() {
        assert_eq!(answer_budget(10, &asking(Some(90)), 512, 100).unwrap(), 90);
        assert_eq!(answer_budget(10, &asking(None), 512, 1000).unwrap(), 512);
        assert_eq!(answer_budget(10, &asking(None), 512, 100).unwrap(), 90);
        assert_eq!(answer_budget(99, &asking(None), 512, 100).unwrap(), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers_and_the_window() {
        let error = answer_budget(10, &asking(Some(91)), 512, 100).unwrap_err();
        assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "prompt_too_long"));
        assert!(
            error
                .message
                .starts_with("10 tokens of prompt and 91 of answer do not fit the model's window of 100")
        );
        assert_eq!(answer_budget(100, &asking(None), 512, 100).unwrap_err().code, "prompt_too_long");
        assert_eq!(answer_budget(5000, &asking(Some(1)), 512, 100).unwrap_err().code, "prompt_too_long");
    }

    #[test]
    fn a_task_without_temperature_is_greedy_and_a_bad_schema_is_permanent() {
        let greedy = sampling(&Generation::default(), 7).unwrap();
        assert_eq!(greedy, Sampling { temperature: 0.0, top_p: 1.0, seed: 7, grammar: None });
        let schema = serde_json::json!({"type": "number", "multipleOf": 2});
        let error =
            sampling(&Generation { json_schema: Some(schema), ..Generation::default() }, 7).unwrap_err();
        assert_eq!((error.kind, error.code), (RunErrorKind::Permanent, "unsupported_schema"));
        assert!(error.message.contains("multipleOf"), "{}", error.message);
    }
}

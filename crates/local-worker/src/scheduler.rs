//! Continuous batching: tasks join the running batch as they come and leave it as they end.
//!
//! Each step makes one batch. Sequences that generate come first with one token each; what is left of the
//! batch goes to the prompts that are still being read, in pieces, oldest task first. So a long prompt slows
//! the others down by one batch at most, and never stops them.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use trilane_protocol::Usage;
use trilane_protocol::outcome::Finish;
use trilane_service::metrics::catalogue::{BATCH_SEQUENCES, DECODE_TOKENS, PREFILL_TOKENS};
use trilane_worker::partials::PartialSender;

use crate::answer::AnswerText;
use crate::model::{Entry, Model, ModelError, Sampled, Sampling, Shape, Token};

/// Tokens that a sequence must share with a prompt to be chosen for it. Fewer are read again faster than a
/// sequence far from the others is decoded.
const MIN_SHARED_TOKENS: usize = 32;

/// One task, ready to be decoded.
#[derive(Debug)]
pub struct Job {
    /// The rendered conversation as tokens; at least one.
    pub prompt: Vec<Token>,
    /// Most tokens to generate; together with the prompt within the window.
    pub max_tokens: usize,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whose task it is. Only tasks of one owner share what a sequence holds of an earlier prompt, so that
    /// nobody can tell from a count or from the time what another has asked.
    pub owner: String,
    /// Takes partial text.
    pub partials: PartialSender,
    /// Fires when the answer is no longer wanted.
    pub cancel: CancellationToken,
    /// Takes the end of the task, whatever it is.
    pub reply: oneshot::Sender<Result<Answer, Failure>>,
}

/// How a task ended well.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The whole text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens read and generated.
    pub usage: Usage,
    /// When the first token was there.
    pub first_token_at: Option<Instant>,
    /// Mean natural logarithm of the probability of each token that was chosen, the one that ends the answer included.
    pub mean_logprob: Option<f64>,
}

/// How a task ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Its `cancel` fired, or nobody waits for it any more.
    #[error("the answer is no longer wanted")]
    Cancelled,
    /// It was admitted without checking its size.
    #[error("{prompt_tokens} tokens of prompt and {max_tokens} of answer do not fit a window of {window}")]
    DoesNotFit {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens of the answer.
        max_tokens: usize,
        /// Tokens of the window.
        window: usize,
    },
    /// The model could not go on.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Decodes many tasks at once on one model.
#[derive(Debug)]
pub struct Scheduler<M> {
    model: M,
    shape: Shape,
    slots: Vec<Slot>,
    /// Counts admissions and steps; orders tasks by age and sequences by last use.
    clock: u64,
}

/// One sequence of the model.
#[derive(Debug, Default)]
struct Slot {
    /// The tokens that the model holds for this sequence.
    held: Vec<Token>,
    /// Whose tokens they are.
    owner: String,
    /// When the sequence was last used.
    used_at: u64,
    task: Option<Running>,
}

/// A task that has a sequence.
#[derive(Debug)]
struct Running {
    job: Job,
    /// Tokens to decode: the rest of the prompt, then one sampled token at a time.
    pending: VecDeque<Token>,
    text: AnswerText,
    usage: Usage,
    first_token_at: Option<Instant>,
    logprobs: Mean,
    admitted_at: u64,
}

/// The mean of numbers that come one by one.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, number: f32) {
        // A model whose numbers overflowed says nothing.
        if number.is_finite() {
            self.sum += f64::from(number);
            self.count += 1;
        }
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

impl Running {
    fn generates(&self) -> bool {
        self.usage.completion_tokens > 0
    }

    fn is_unwanted(&self) -> bool {
        self.job.cancel.is_cancelled() || self.job.reply.is_closed()
    }
}

impl<M: Model> Scheduler<M> {
    /// A scheduler without tasks.
    pub fn new(model: M) -> Self {
        let shape = model.shape();
        let slots = std::iter::repeat_with(Slot::default).take(shape.sequences).collect();
        Self { model, shape, slots, clock: 0 }
    }

    /// Whether a sequence is free.
    pub fn has_room(&self) -> bool {
        self.slots.iter().any(|slot| slot.task.is_none())
    }

    /// Whether no task is running.
    pub fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.task.is_none())
    }

    /// Gives a task a free sequence. It is answered at once where it cannot run.
    pub fn admit(&mut self, job: Job) {
        if job.cancel.is_cancelled() {
            return answer(job.reply, Err(Failure::Cancelled));
        }
        if job.prompt.is_empty() || job.prompt.len() + job.max_tokens > self.shape.window {
            let (prompt_tokens, max_tokens) = (job.prompt.len(), job.max_tokens);
            let failure = Failure::DoesNotFit { prompt_tokens, max_tokens, window: self.shape.window };
            return answer(job.reply, Err(failure));
        }
        let Some((sequence, shared)) = self.choose_slot(&job) else {
            debug_assert!(false, "admit is called only when has_room() holds");
            return answer(job.reply, Err(Failure::Cancelled));
        };
        if let Err(error) = self.model.begin(sequence, &job.sampling) {
            return answer(job.reply, Err(error.into()));
        }
        self.start(sequence, shared, job);
    }

    /// Decodes one batch and takes every task one token further.
    pub fn step(&mut self) {
        self.drop_unwanted();
        let batch = self.next_batch();
        if batch.is_empty() {
            return;
        }
        match self.model.decode(&batch) {
            Ok(()) => {
                self.measure(&batch);
                self.advance(&batch);
            }
            Err(error) => self.fail(&batch, &error),
        }
    }

    /// The free sequence that holds most of the prompt already; where none holds enough, the first. So the
    /// running sequences stay close together, which llama.cpp needs to decode them in one go. At least one
    /// token of the prompt is left to decode.
    fn choose_slot(&self, job: &Job) -> Option<(usize, usize)> {
        let shared = |slot: &Slot| {
            if slot.owner != job.owner {
                return 0;
            }
            let common =
                slot.held.iter().zip(&job.prompt).take_while(|(held, wanted)| held == wanted).count();
            let usable = common.min(job.prompt.len() - 1);
            if usable < MIN_SHARED_TOKENS { 0 } else { usable }
        };
        let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.task.is_none());
        free.map(|(index, slot)| (index, shared(slot)))
            .max_by_key(|(index, shared)| (*shared, std::cmp::Reverse(*index)))
    }

    fn start(&mut self, sequence: usize, shared: usize, mut job: Job) {
        let kept = if self.model.keep(sequence, shared) { shared } else { 0 };
        self.clock += 1;
        let slot = &mut self.slots[sequence];
        slot.held.truncate(kept);
        slot.owner.clone_from(&job.owner);
        slot.used_at = self.clock;
        slot.task = Some(Running {
            pending: job.prompt[kept..].iter().copied().collect(),
            text: AnswerText::new(std::mem::take(&mut job.stop)),
            usage: Usage {
                prompt_tokens: job.prompt.len() as u64,
                cached_tokens: kept as u64,
                completion_tokens: 0,
            },
            first_token_at: None,
            logprobs: Mean::default(),
            admitted_at: self.clock,
            job,
        });
    }

    fn drop_unwanted(&mut self) {
        for slot in &mut self.slots {
            if let Some(running) = slot.task.take_if(|running| running.is_unwanted()) {
                answer(running.job.reply, Err(Failure::Cancelled));
            }
        }
    }

    /// Never more than `batch_tokens` entries. Where even one token for each sequence is too much, those
    /// used longest ago go first.
    fn next_batch(&self) -> Vec<Entry> {
        let mut order: Vec<_> = self.slots.iter().enumerate().collect();
        order.sort_by_key(|(_, slot)| match &slot.task {
            Some(running) if running.generates() => (0, slot.used_at),
            Some(running) => (1, running.admitted_at),
            None => (2, 0),
        });
        let mut batch = Vec::with_capacity(self.shape.batch_tokens);
        for (sequence, slot) in order {
            let Some(running) = &slot.task else { continue };
            let room = self.shape.batch_tokens - batch.len();
            for (offset, token) in running.pending.iter().take(room).enumerate() {
                let wants_next = offset + 1 == running.pending.len();
                batch.push(Entry { token: *token, position: slot.held.len() + offset, sequence, wants_next });
            }
        }
        batch
    }

    fn measure(&self, batch: &[Entry]) {
        let sequences: BTreeSet<usize> = batch.iter().map(|entry| entry.sequence).collect();
        let generates = |sequence: usize| self.slots[sequence].task.as_ref().is_some_and(Running::generates);
        let decoded = batch.iter().filter(|entry| generates(entry.sequence)).count();
        BATCH_SEQUENCES.record(sequences.len() as f64, ());
        DECODE_TOKENS.add(decoded as u64, ());
        PREFILL_TOKENS.add((batch.len() - decoded) as u64, ());
    }

    fn advance(&mut self, batch: &[Entry]) {
        self.clock += 1;
        for entry in batch {
            let slot = &mut self.slots[entry.sequence];
            slot.held.push(entry.token);
            slot.used_at = self.clock;
            if let Some(running) = &mut slot.task {
                running.pending.pop_front();
            }
        }
        for entry in batch.iter().filter(|entry| entry.wants_next) {
            let next = self.model.sample(entry.sequence);
            self.take_token(entry.sequence, next);
        }
    }

    fn take_token(&mut self, sequence: usize, next: Result<Sampled, ModelError>) {
        let Some(mut running) = self.slots[sequence].task.take() else { return };
        let Sampled { token, logprob } = match next {
            Ok(sampled) => sampled,
            Err(error) => return answer(running.job.reply, Err(error.into())),
        };
        running.logprobs.add(logprob);
        running.first_token_at.get_or_insert_with(Instant::now);
        if self.model.ends_answer(token) {
            return finish(running, Finish::Stop);
        }
        running.usage.completion_tokens += 1;
        if running.text.push(&self.model.bytes(token)) {
            return finish(running, Finish::Stop);
        }
        if running.usage.completion_tokens >= running.job.max_tokens as u64 {
            return finish(running, Finish::Length);
        }
        running.job.partials.advance();
        if running.job.partials.is_enabled() {
            running.job.partials.send(running.text.take_new());
        }
        running.pending.push_back(token);
        self.slots[sequence].task = Some(running);
    }

    /// Ends every task of a batch that could not be decoded; what their sequences hold is no longer known.
    fn fail(&mut self, batch: &[Entry], error: &ModelError) {
        for entry in batch {
            let slot = &mut self.slots[entry.sequence];
            let Some(running) = slot.task.take() else { continue };
            slot.held.clear();
            self.model.keep(entry.sequence, 0);
            answer(running.job.reply, Err(error.clone().into()));
        }
    }
}

fn finish(mut running: Running, finish: Finish) {
    running.text.finish();
    running.job.partials.send(running.text.take_new());
    let Running { text, usage, first_token_at, logprobs, job, .. } = running;
    let mean_logprob = logprobs.value();
    answer(job.reply, Ok(Answer { text: text.into_text(), finish, usage, first_token_at, mean_logprob }));
}

/// Nobody may wait any more; then the answer is of no use to anybody.
fn answer(reply: oneshot::Sender<Result<Answer, Failure>>, end: Result<Answer, Failure>) {
    let _ = reply.send(end);
}

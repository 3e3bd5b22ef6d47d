//! A runner that does what the prompt says, for tests of everything around a runner.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use trilane_protocol::outcome::Finish;
use trilane_protocol::{Usage, Work, Zone};
use trilane_worker::{Assignment, Completion, RunError, RunErrorKind, Runner};

/// Follows the first word of the last message: `fail`, `fail-once`, `panic-once`, `wait`, `too-long`,
/// `unable`; `weak` is answered by `weak` on local lanes, and so are `weak-or-refused` and `weak-or-wait`, which strong
/// lanes refuse or wait with. Anything else is answered by its echo. Cheap to clone; clones share what was seen.
#[derive(Debug, Clone, Default)]
pub struct Scripted {
    seen: Arc<Mutex<Vec<Work>>>,
    released: Arc<Notify>,
    usd_per_answer: f64,
}

impl Scripted {
    /// A runner whose answers cost this much.
    pub fn costing(usd_per_answer: f64) -> Self {
        Self { usd_per_answer, ..Self::default() }
    }

    /// All work that was run, in order, repeated attempts included.
    pub fn seen(&self) -> Vec<Work> {
        self.seen.lock().expect("no test panics while it holds this").clone()
    }

    /// Lets one task that waits go on.
    pub fn release(&self) {
        self.released.notify_one();
    }
}

impl Runner for Scripted {
    async fn run(&self, mut assignment: Assignment) -> Result<Completion, RunError> {
        self.seen.lock().expect("no test panics while it holds this").push(assignment.work.clone());
        let prompt =
            assignment.work.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        let fail =
            |kind, code: &'static str| Err(RunError::new(kind, code, format!("the script says `{code}`")));
        let is_strong = assignment.decision.zone == Zone::Cloud;
        match (prompt.split(' ').next().unwrap_or_default(), assignment.attempt) {
            ("fail", _) | ("fail-once", 1) => return fail(RunErrorKind::Transient, "scripted_failure"),
            ("panic-once", 1) => panic!("the script says so"),
            ("too-long", _) if assignment.decision.lane.as_str() == "local-fast" => {
                return fail(RunErrorKind::Permanent, "prompt_too_long");
            }
            ("unable", _) if assignment.decision.lane.as_str() == "cloud" => {
                return fail(RunErrorKind::LaneUnable, "bad_api_key");
            }
            ("weak-or-refused", _) if is_strong => {
                return fail(RunErrorKind::Permanent, "refused_by_provider");
            }
            ("wait", _) => tokio::select! {
                () = self.released.notified() => {}
                () = assignment.cancel.cancelled() => return fail(RunErrorKind::Cancelled, "cancelled"),
            },
            ("weak-or-wait", _) if is_strong => {
                assignment.cancel.cancelled().await;
                return fail(RunErrorKind::Cancelled, "cancelled");
            }
            _ => {}
        }
        let is_weak = ["weak ", "weak-or-"].iter().any(|word| prompt.starts_with(word)) && !is_strong;
        let text = if is_weak { "weak".to_owned() } else { format!("echo: {prompt}") };
        text.split_inclusive(' ').for_each(|piece| assignment.partials.send(piece));
        Ok(Completion {
            usage: Usage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: 0 },
            text,
            finish: Finish::Stop,
            cost_usd: self.usd_per_answer,
            first_token: Some(Duration::from_millis(1)),
            mean_logprob: None,
            refused: false,
        })
    }
}

//! The decode thread, and the handle that the rest of the process has of it.
//!
//! A model's context is used by one thread from its making to its end. It is an OS thread of its own: a
//! decode call may take seconds, which no async runtime may wait for.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use trilane_worker::partials::PartialSender;

use crate::model::{Model, Sampling, Token};
use crate::scheduler::{Answer, Failure, Job, Scheduler};

/// A running decode thread. It ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: mpsc::Sender<Job>,
    stopped: CancellationToken,
}

/// One task for an [`Engine`].
#[derive(Debug)]
pub struct Request {
    /// The rendered conversation as tokens; at least one.
    pub prompt: Vec<Token>,
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whose task it is.
    pub owner: String,
    /// Takes partial text.
    pub partials: PartialSender,
    /// Fires when the answer is no longer wanted.
    pub cancel: CancellationToken,
}

/// Why an [`Engine`] gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The task ended without an answer.
    #[error(transparent)]
    Task(#[from] Failure),
    /// The decode thread is gone.
    #[error("the decode thread has stopped; the worker restarts")]
    Stopped,
}

impl Engine {
    /// Starts a decode thread that runs `body`, which loads a model and calls [`Jobs::serve`] with it. At most
    /// `max_waiting` tasks wait for a free sequence.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(max_waiting: usize, body: impl FnOnce(Jobs) + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(max_waiting.max(1));
        let stopped = CancellationToken::new();
        // The guard fires however the thread ends, a panic included.
        let guard = stopped.clone().drop_guard();
        thread::Builder::new().name("decode".into()).spawn(move || {
            let _guard = guard;
            body(Jobs { receiver });
        })?;
        Ok(Self { jobs: sender, stopped })
    }

    /// Runs one task to its end. Returns at once when `request.cancel` fires; the decode thread drops the
    /// sequence before its next batch.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn run(&self, request: Request) -> Result<Answer, EngineError> {
        let cancel = request.cancel.clone();
        let (reply, end) = oneshot::channel();
        let Request { prompt, max_tokens, stop, sampling, owner, partials, cancel: job_cancel } = request;
        let job = Job { prompt, max_tokens, stop, sampling, owner, partials, cancel: job_cancel, reply };
        let whole = async {
            self.jobs.send(job).await.map_err(|_| EngineError::Stopped)?;
            end.await.map_err(|_| EngineError::Stopped)?.map_err(EngineError::Task)
        };
        cancel.run_until_cancelled(whole).await.unwrap_or(Err(EngineError::Task(Failure::Cancelled)))
    }

    /// Returns when the decode thread has ended.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

/// The decode thread's end of an [`Engine`].
#[derive(Debug)]
pub struct Jobs {
    receiver: mpsc::Receiver<Job>,
}

impl Jobs {
    /// Serves tasks on `model` until the last handle is gone.
    pub fn serve<M: Model>(mut self, model: M) {
        let mut scheduler = Scheduler::new(model);
        loop {
            if scheduler.is_idle() {
                let Some(job) = self.receiver.blocking_recv() else { return };
                scheduler.admit(job);
            }
            while scheduler.has_room() {
                let Ok(job) = self.receiver.try_recv() else { break };
                scheduler.admit(job);
            }
            scheduler.step();
        }
    }
}

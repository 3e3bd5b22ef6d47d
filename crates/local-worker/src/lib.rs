//! Serves a local lane with llama.cpp in process.
//!
//! This crate has no HTTP client: nothing that a private task says can leave through it but the queue.
//! Modules in reading order:
//!
//! * [`model`]: what the scheduler needs of a model
//! * [`answer`]: the text of an answer while it grows
//! * [`scheduler`]: continuous batching
//! * [`engine`]: the decode thread and its handle
//! * [`template`]: the model's own chat template
//! * [`control`]: contents that spell control tokens are plain text
//! * [`schema`]: from a JSON schema to a grammar
//! * [`runner`]: a task from its messages to its answer
//! * [`llama`]: llama.cpp as a model, with the `sampler` that chooses its tokens
//! * [`gguf`], [`file_check`], [`memory`], [`progress`], [`load`]: from a lane to a running engine
//! * [`wait_policy`]: what waiting decode threads do
//! * [`confine`]: no TCP connection but to the queue

pub mod answer;
pub mod confine;
pub mod control;
pub mod engine;
pub mod file_check;
pub mod gguf;
pub mod llama;
pub mod load;
mod logprob;
pub mod memory;
pub mod model;
pub mod progress;
pub mod runner;
mod sampler;
pub mod scheduler;
pub mod schema;
pub mod template;
pub mod wait_policy;

use std::path::PathBuf;

use trilane_protocol::{LaneName, Zone};
use trilane_service::Config;
use trilane_service::start::{StartError, Started};
use trilane_worker::{ServeError, WorkerSpec};

use crate::load::{Choice, LoadError, Served};

/// Exit status for a configuration or command line that does not hold (`EX_USAGE` of sysexits.h).
pub const EXIT_BAD_CONFIG: u8 = 64;

/// Runs the first model of a local lane with llama.cpp and answers its tasks.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "trilane-local-worker", version)]
pub struct Options {
    /// The lane to serve; its first model is run.
    #[arg(long)]
    pub lane: LaneName,
    /// Configuration file, put on top of the default. Also TRILANE_CONFIG.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// The GPU to run on, from 0, as llama.cpp counts them. Left out: the processor.
    #[arg(long)]
    pub gpu: Option<usize>,
}

/// Why the worker ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// Logs, health or signals.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no model to run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The queue cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The decode thread died. What it had in hand goes to other workers.
    #[error("the decode thread of model `{0}` has stopped; start the worker again")]
    EngineStopped(String),
}

impl RunFailure {
    /// The status that the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Load(error) if error.is_bad_config() => EXIT_BAD_CONFIG,
            _ => 1,
        }
    }
}

/// Loads the lane's model and serves the lane until shutdown.
///
/// # Errors
/// [`RunFailure`]. A shutdown that begins while the model is loading is none.
pub async fn run(config: &Config, options: &Options, started: &Started) -> Result<(), RunFailure> {
    let choice = load::choose(config, &options.lane)?;
    let served = match load::load(config, &choice, options.gpu, &started.shutdown).await {
        Err(LoadError::Stopped) => return Ok(()),
        loaded => loaded?,
    };
    tracing::info!(model = %choice.model, slots = choice.entry.slots, window = choice.entry.context_tokens, "loaded");
    serve(config, &choice, served, started).await
}

/// Serves until shutdown, or until the decode thread is no more: then nothing would ever be answered, and a
/// process that ends is started again.
async fn serve(
    config: &Config,
    choice: &Choice,
    served: Served,
    started: &Started,
) -> Result<(), RunFailure> {
    let Served { runner, engine } = served;
    let spec = WorkerSpec {
        lane: choice.lane.clone(),
        zone: Zone::Local,
        models: vec![choice.model.clone()],
        slots: choice.entry.slots,
    };
    tokio::select! {
        served = trilane_worker::serve(config, spec, runner, started) => Ok(served?),
        () = engine.stopped() => Err(RunFailure::EngineStopped(choice.model.to_string())),
    }
}

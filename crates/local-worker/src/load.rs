//! From a lane to a running engine: which model, is its file good, does it fit, load it, start decoding.

use std::sync::Arc;

use tokio::sync::oneshot;
use trilane_protocol::{LaneName, ModelName, Zone};
use trilane_routing::registry::{Backend, GgufModel, Model as ModelEntry};
use trilane_service::Config;
use trilane_service::shutdown::Shutdown;

use crate::control::ControlTexts;
use crate::engine::Engine;
use crate::file_check::{self, Expected, FileError};
use crate::llama::{ContextSettings, LlamaEngine, LlamaError, LoadedModel, Placement};
use crate::memory::{self, Demand, TooLarge};
use crate::progress::Progress;
use crate::runner::{LlamaRunner, Preparation};
use crate::template::{ChatTemplate, TemplateError};

/// What a lane's worker runs.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The lane.
    pub lane: LaneName,
    /// Its first model.
    pub model: ModelName,
    /// The model's entry in the registry.
    pub entry: ModelEntry,
    /// The entry's file.
    pub file: GgufModel,
}

/// A model that answers.
pub struct Served {
    /// Runs work on it.
    pub runner: LlamaRunner,
    /// Its decode thread.
    pub engine: Engine,
}

/// Why a worker has no model to run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The lane is not one that this worker can serve.
    #[error("lane `{lane}`: {problem}")]
    Lane {
        /// The lane.
        lane: LaneName,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The file is not usable.
    #[error("model `{model}`: {source}")]
    File {
        /// The model.
        model: ModelName,
        /// What is wrong with its file.
        source: FileError,
    },
    /// Memory does not suffice.
    #[error(transparent)]
    Memory(#[from] TooLarge),
    /// llama.cpp could not use it.
    #[error("model `{model}`: {source}")]
    Llama {
        /// The model.
        model: ModelName,
        /// What llama.cpp could not do.
        source: LlamaError,
    },
    /// The chat template could not be compiled.
    #[error("model `{model}`: {source}")]
    Template {
        /// The model.
        model: ModelName,
        /// What is wrong with the template.
        source: TemplateError,
    },
    /// The system gave no thread, or the thread that loaded the model died.
    #[error("the decode thread could not be started: {0}")]
    Thread(String),
    /// Shutdown began while the model was loading.
    #[error("stopped while loading")]
    Stopped,
}

impl LoadError {
    /// Whether the configuration or the command line must be changed before another start can succeed.
    pub fn is_bad_config(&self) -> bool {
        matches!(self, Self::Lane { .. } | Self::Llama { source: LlamaError::NoGpu { .. }, .. })
    }
}

/// The model that a worker of `lane` runs: the lane's first.
///
/// # Errors
/// [`LoadError::Lane`] where the lane is unknown, lies in the cloud zone or is served otherwise.
pub fn choose(config: &Config, lane: &LaneName) -> Result<Choice, LoadError> {
    let fail = |problem: String| LoadError::Lane { lane: lane.clone(), problem };
    let Some(found) = config.registry.lanes.get(lane) else {
        let names: Vec<_> = config.registry.lanes.keys().map(LaneName::as_str).collect();
        let hint = trilane_protocol::nearest::suggestion(lane.as_str(), names.iter().copied());
        return Err(fail(format!("not under [lanes], which has {}{hint}", names.join(", "))));
    };
    if found.zone != Zone::Local {
        return Err(fail("lies in the cloud zone; `trilane-cloud-worker` serves it".into()));
    }
    let model = found.models.first().ok_or_else(|| fail("has no models".into()))?;
    let entry =
        config.registry.models.get(model).ok_or_else(|| fail(format!("`{model}` is not under [models]")))?;
    match &entry.backend {
        Backend::LlamaCpp(file) => {
            Ok(Choice { lane: lane.clone(), model: model.clone(), entry: entry.clone(), file: file.clone() })
        }
        _ => Err(fail(format!("`{model}` is no GGUF model; `trilane-endpoint-worker` serves it"))),
    }
}

/// Checks and loads the chosen model and starts decoding. Stops early when shutdown begins.
///
/// # Errors
/// [`LoadError`].
pub async fn load(
    config: &Config,
    choice: &Choice,
    gpu: Option<usize>,
    shutdown: &Shutdown,
) -> Result<Served, LoadError> {
    let loaded = Arc::new(load_model(config, choice, gpu, shutdown).await?);
    let template = compile_template(choice, &loaded)?;
    warn_of_window(choice, &loaded);
    let preparation = Preparation {
        template,
        control: ControlTexts::new(&loaded.control_texts()),
        tokeniser: Arc::clone(&loaded) as _,
        window: choice.entry.context_tokens,
        default_max_tokens: config.policy.default_max_tokens,
    };
    let engine = start_engine(config, choice, gpu, loaded).await?;
    Ok(Served { runner: LlamaRunner::new(engine.clone(), preparation), engine })
}

async fn load_model(
    config: &Config,
    choice: &Choice,
    gpu: Option<usize>,
    shutdown: &Shutdown,
) -> Result<LoadedModel, LoadError> {
    let path = config.paths.model_file(&choice.file.path);
    let (choice, shutdown) = (choice.clone(), shutdown.clone());
    let whole = move || {
        let header = check_file(&path, &choice)?;
        if gpu.is_none() {
            check_memory(&path, &choice, header.kv_bytes_per_token())?;
        }
        let mut progress = Progress::new("loading", choice.model.as_str());
        let stop = shutdown.clone();
        let told = move |done| {
            progress.tell(done);
            !stop.has_begun()
        };
        let placement = placement(&choice.file, gpu);
        LoadedModel::load(&path, placement, told).map_err(|source| match source {
            LlamaError::Load if shutdown.has_begun() => LoadError::Stopped,
            source => LoadError::Llama { model: choice.model.clone(), source },
        })
    };
    tokio::task::spawn_blocking(whole).await.unwrap_or_else(|died| Err(LoadError::Thread(died.to_string())))
}

fn placement(file: &GgufModel, gpu: Option<usize>) -> Placement {
    gpu.map_or(Placement::Cpu, |index| Placement::Gpu { index, layers: file.gpu_layers })
}

fn check_file(path: &std::path::Path, choice: &Choice) -> Result<crate::gguf::Header, LoadError> {
    let expected = Expected {
        model: choice.model.as_str(),
        bytes: choice.file.bytes,
        sha256: choice.file.sha256.as_deref(),
        can_be_fetched: choice.file.source.is_some(),
    };
    let mut progress = Progress::new("verifying", choice.model.as_str());
    file_check::check(path, expected, |done| progress.tell(done))
        .map_err(|source| LoadError::File { model: choice.model.clone(), source })
}

fn check_memory(path: &std::path::Path, choice: &Choice, kv_bytes: Option<u64>) -> Result<(), LoadError> {
    let (Some(available), Ok(metadata)) = (memory::available_bytes(), std::fs::metadata(path)) else {
        return Ok(());
    };
    let demand = Demand {
        file_bytes: metadata.len(),
        kv_bytes_per_token: kv_bytes.unwrap_or(0),
        slots: choice.entry.slots,
        window: choice.entry.context_tokens,
    };
    Ok(demand.check(choice.model.as_str(), available)?)
}

fn compile_template(choice: &Choice, loaded: &LoadedModel) -> Result<ChatTemplate, LoadError> {
    let source =
        loaded.chat_template().map_err(|source| LoadError::Llama { model: choice.model.clone(), source })?;
    ChatTemplate::new(&source, &loaded.beginning(), &loaded.end())
        .map_err(|source| LoadError::Template { model: choice.model.clone(), source })
}

fn warn_of_window(choice: &Choice, loaded: &LoadedModel) {
    let trained = loaded.trained_window();
    if choice.entry.context_tokens > trained {
        let configured = choice.entry.context_tokens;
        tracing::warn!(model = %choice.model, configured, trained, "`context_tokens` is more than the model was trained with: long tasks will get poor answers");
    }
}

async fn start_engine(
    config: &Config,
    choice: &Choice,
    gpu: Option<usize>,
    loaded: Arc<LoadedModel>,
) -> Result<Engine, LoadError> {
    let settings = ContextSettings {
        window: choice.entry.context_tokens,
        sequences: choice.entry.slots,
        batch_tokens: config.local_worker.batch_tokens,
        threads: decode_threads(config.local_worker.threads),
        on_gpu: gpu.is_some(),
    };
    let (ready, made) = oneshot::channel();
    let body = move |jobs: crate::engine::Jobs| match LlamaEngine::new(&loaded, settings) {
        Ok(model) => {
            let _ = ready.send(Ok(()));
            jobs.serve(model);
        }
        Err(error) => drop(ready.send(Err(error))),
    };
    let engine = Engine::start(config.local_worker.max_waiting as usize, body)
        .map_err(|error| LoadError::Thread(error.to_string()))?;
    let made = made.await.map_err(|_| LoadError::Thread("it died while it made the context".into()))?;
    made.map_err(|source| LoadError::Llama { model: choice.model.clone(), source })?;
    Ok(engine)
}

/// 0 leaves one processor to the rest of the machine, where there is more than one.
fn decode_threads(configured: u32) -> i32 {
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if configured == 0 { (all - 1).max(1) } else { configured as usize };
    i32::try_from(threads).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        trilane_service::config::load_from(None, []).unwrap()
    }

    fn lane(name: &str) -> LaneName {
        LaneName::new(name).unwrap()
    }

    #[test]
    fn a_worker_runs_its_lanes_first_model() {
        let choice = choose(&config(), &lane("local-fast")).unwrap();
        assert_eq!(choice.model.as_str(), "smollm2-135m");
    }

    #[test]
    fn a_lane_that_it_cannot_serve_is_bad_config_and_says_who_can() {
        let cases =
            [("local-fsat", "did you mean `local-fast`?"), ("cloud", "`trilane-cloud-worker` serves it")];
        for (name, hint) in cases {
            let error = choose(&config(), &lane(name)).unwrap_err();
            assert!(error.is_bad_config());
            assert!(error.to_string().contains(hint), "{error}");
        }
        let served = "[lanes.local-deep]\nmodels = [\"ollama-llama-3.1-8b\"]";
        let config = trilane_service::config::load_from(Some(served), []).unwrap();
        let error = choose(&config, &lane("local-deep")).unwrap_err().to_string();
        assert!(error.contains("`trilane-endpoint-worker` serves it"), "{error}");
    }

    #[test]
    fn one_processor_is_left_to_the_rest() {
        assert_eq!(decode_threads(3), 3);
        let all = std::thread::available_parallelism().unwrap().get() as i32;
        assert_eq!(decode_threads(0), (all - 1).max(1));
    }
}

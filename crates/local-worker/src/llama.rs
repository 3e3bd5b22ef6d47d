//! llama.cpp: the loaded model, its vocabulary, and a context as a [`Model`].

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::LazyLock;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::{LlamaModelParams, LlamaSplitMode};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use llama_cpp_2::{
    LlamaBackendDeviceType, LogOptions, list_llama_ggml_backend_devices, send_logs_to_tracing,
};

use crate::control::Piece;
use crate::logprob::logprob;
use crate::model::{Entry, Model, ModelError, Sampled, Sampling, Shape, Token};
use crate::sampler::Sampler;

/// llama.cpp has one backend for the whole process, made at the first use.
static BACKEND: LazyLock<LlamaBackend> = LazyLock::new(|| {
    quieten();
    LlamaBackend::init().expect("this is the only place that makes the backend")
});

/// Under which name llama.cpp's own log appears.
const LOG_TARGET: &str = "llama-cpp-2";

/// llama.cpp logs every step of loading at info level; that is for debugging. Where the filter lets this
/// target through at debug level its log is passed on, else it is dropped.
fn quieten() {
    let wanted = tracing::enabled!(target: LOG_TARGET, tracing::Level::DEBUG);
    send_logs_to_tracing(LogOptions::default().with_logs_enabled(wanted));
}

/// Where and how a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On the processor.
    Cpu,
    /// On one GPU.
    Gpu {
        /// Which, from 0, among those that llama.cpp sees.
        index: usize,
        /// Layers put there; the rest stays on the processor.
        layers: u32,
    },
}

/// Why llama.cpp could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LlamaError {
    /// There is no such GPU.
    #[error("there is no GPU {index}: {seen}")]
    NoGpu {
        /// The one asked for.
        index: usize,
        /// What there is, and what to do.
        seen: String,
    },
    /// The file could not be loaded.
    #[error("llama.cpp cannot load it; run with RUST_LOG=llama-cpp-2=debug to see why")]
    Load,
    /// The context could not be made.
    #[error(
        "llama.cpp cannot make a context of {tokens} tokens; lower `context_tokens` or `slots` of the model"
    )]
    Context {
        /// Its size, all sequences together.
        tokens: u64,
    },
    /// The model says nothing about how conversations are written.
    #[error("the model has no chat template; it is a base model, so take its `instruct` version")]
    NoTemplate,
}

/// A model in memory, shared by its context and by those who tokenise for it.
#[derive(Debug)]
pub struct LoadedModel {
    model: LlamaModel,
}

/// llama.cpp's own number of a GPU.
fn gpu_device(index: usize) -> Result<usize, LlamaError> {
    let is_gpu = |kind| matches!(kind, LlamaBackendDeviceType::Gpu | LlamaBackendDeviceType::IntegratedGpu);
    let mut gpus = list_llama_ggml_backend_devices();
    gpus.retain(|device| is_gpu(device.device_type));
    let names: Vec<_> =
        gpus.iter().enumerate().map(|(index, gpu)| format!("{index} ({})", gpu.description)).collect();
    gpus.get(index).map(|gpu| gpu.index).ok_or_else(|| {
        let seen = if names.is_empty() {
            "llama.cpp sees none; build with `--features cuda`, `vulkan` or `metal`, or leave out `--gpu`"
                .into()
        } else {
            format!("choose one of {}", names.join(", "))
        };
        LlamaError::NoGpu { index, seen }
    })
}

fn model_params(placement: Placement) -> Result<LlamaModelParams, LlamaError> {
    let params = LlamaModelParams::default();
    match placement {
        // An empty list of devices also keeps a GPU build from reserving memory on a GPU that it will not use.
        Placement::Cpu => params.with_n_gpu_layers(0).with_devices(&[]).map_err(|_| LlamaError::Load),
        Placement::Gpu { index, layers } => {
            let device = gpu_device(index)?;
            let params =
                params.with_n_gpu_layers(layers).with_split_mode(LlamaSplitMode::None).with_main_gpu(0);
            params
                .with_devices(&[device])
                .map_err(|_| LlamaError::NoGpu { index, seen: "it has gone away".into() })
        }
    }
}

impl LoadedModel {
    /// Loads `path`. `progress` is told how much is done, 0 to 1, and stops the load by returning false.
    ///
    /// # Errors
    /// [`LlamaError::NoGpu`] and [`LlamaError::Load`].
    pub fn load(
        path: &Path,
        placement: Placement,
        progress: impl FnMut(f32) -> bool + 'static,
    ) -> Result<Self, LlamaError> {
        let backend = &*BACKEND;
        let params = model_params(placement)?.with_progress_callback(progress);
        let model = LlamaModel::load_from_file(backend, path, &params).map_err(|_| LlamaError::Load)?;
        Ok(Self { model })
    }

    /// The chat template that the model came with.
    ///
    /// # Errors
    /// [`LlamaError::NoTemplate`].
    pub fn chat_template(&self) -> Result<String, LlamaError> {
        let template = self.model.chat_template(None).map_err(|_| LlamaError::NoTemplate)?;
        template.to_string().map_err(|_| LlamaError::NoTemplate)
    }

    /// The text of the token that begins a text; empty where there is none.
    pub fn beginning(&self) -> String {
        self.token_text(self.model.vocab().bos())
    }

    /// The text of the token that ends a text; empty where there is none.
    pub fn end(&self) -> String {
        self.token_text(self.model.vocab().eos())
    }

    fn token_text(&self, token: LlamaToken) -> String {
        let known = (0..self.model.n_vocab()).contains(&token.0);
        let vocab = self.model.vocab();
        let text = if known { vocab.text(token) } else { None };
        text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The texts that a rendered conversation can call control tokens by.
    pub fn control_texts(&self) -> Vec<String> {
        let vocab = self.model.vocab();
        let is_control = |token: &LlamaToken| {
            vocab.is_control(*token) || vocab.attr(*token).contains(LlamaTokenAttr::Unknown)
        };
        // A text that is no UTF-8 cannot be spelled in a conversation.
        let text = |token| vocab.text(token).and_then(|text| text.to_str().ok()).map(str::to_owned);
        vocab.tokens().filter(is_control).filter_map(text).collect()
    }

    /// The tokens of a rendered conversation. The begin token is added where the model wants one and the
    /// template has not written it. Vocabularies that put a space before each text put one before each piece.
    pub fn tokenise(&self, pieces: &[Piece]) -> Vec<Token> {
        let beginning = self.beginning();
        let has_beginning = !beginning.is_empty()
            && matches!(pieces.first(), Some(Piece::Rendered(text)) if text.starts_with(&beginning));
        let vocab = self.model.vocab();
        let add_beginning = vocab.should_add_bos() && !has_beginning;
        let mut tokens: Vec<Token> = add_beginning.then(|| vocab.bos().0).into_iter().collect();
        for piece in pieces {
            let (text, has_control) = match piece {
                Piece::Rendered(text) => (text, true),
                Piece::Plain(text) => (text, false),
            };
            tokens.extend(vocab.tokenize(text.as_bytes(), false, has_control).iter().map(|token| token.0));
        }
        tokens
    }

    /// Tokens of the window that the model was trained with.
    pub fn trained_window(&self) -> u32 {
        self.model.n_ctx_train()
    }
}

/// How a context is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextSettings {
    /// Tokens of prompt and answer together that one sequence holds.
    pub window: u32,
    /// Sequences side by side.
    pub sequences: u32,
    /// Tokens in one decode call.
    pub batch_tokens: u32,
    /// Threads that decode.
    pub threads: i32,
    /// Whether attention runs on the GPU.
    pub on_gpu: bool,
}

/// A context of a loaded model. Used by one thread.
#[derive(Debug)]
pub struct LlamaEngine<'model> {
    model: &'model LlamaModel,
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
    shape: Shape,
    sequences: Vec<Sequence>,
}

#[derive(Debug, Default)]
struct Sequence {
    sampler: Option<Sampler>,
    /// Where in the last batch the logits of this sequence are.
    row: Option<i32>,
}

impl<'model> LlamaEngine<'model> {
    /// Makes a context. Each sequence has its own cache of keys and values for a whole window, so that no task
    /// can run out of room, and attention looks at nothing of the others (measured: a tenth more tokens a second
    /// than one cache for all, at 16 short sequences).
    ///
    /// # Errors
    /// [`LlamaError::Context`] where memory does not suffice.
    pub fn new(loaded: &'model LoadedModel, settings: ContextSettings) -> Result<Self, LlamaError> {
        let model = &loaded.model;
        let tokens = u64::from(settings.window) * u64::from(settings.sequences);
        let failed = || LlamaError::Context { tokens };
        let all = u32::try_from(tokens).ok().and_then(NonZeroU32::new).ok_or_else(failed)?;
        let params = LlamaContextParams::default()
            .with_n_ctx(Some(all))
            .with_n_batch(settings.batch_tokens)
            .with_n_ubatch(settings.batch_tokens)
            .with_n_seq_max(settings.sequences)
            .with_n_threads(settings.threads)
            .with_n_threads_batch(settings.threads)
            .with_kv_unified(false)
            .with_offload_kqv(settings.on_gpu)
            .with_op_offload(settings.on_gpu)
            .with_no_perf(true);
        let context = model.new_context(&BACKEND, params).map_err(|_| failed())?;
        // What llama.cpp made of the settings is what counts: it rounds them.
        let batch_tokens = context.n_batch().min(settings.batch_tokens) as usize;
        let sequences = settings.sequences as usize;
        let shape = Shape { window: settings.window as usize, batch_tokens, sequences };
        let batch = LlamaBatch::new(batch_tokens, 1);
        let sequences = std::iter::repeat_with(Sequence::default).take(sequences).collect();
        Ok(Self { model, context, batch, shape, sequences })
    }

    fn fill_batch(&mut self, entries: &[Entry]) -> Result<(), ModelError> {
        let bad = |what: &str| ModelError::Decode(what.into());
        // llama.cpp ends the whole process over a batch that is too large.
        if entries.is_empty() || entries.len() > self.shape.batch_tokens {
            return Err(bad("a batch of a wrong size was refused"));
        }
        self.batch.clear();
        self.sequences.iter_mut().for_each(|sequence| sequence.row = None);
        for (row, entry) in (0..).zip(entries) {
            let sequence = self.sequences.get_mut(entry.sequence).ok_or_else(|| bad("no such sequence"))?;
            let position = i32::try_from(entry.position).map_err(|_| bad("a position is too large"))?;
            let id = i32::try_from(entry.sequence).map_err(|_| bad("no such sequence"))?;
            self.batch
                .add(LlamaToken(entry.token), position, &[id], entry.wants_next)
                .map_err(|_| bad("a batch of a wrong size was refused"))?;
            if entry.wants_next {
                sequence.row = Some(row);
            }
        }
        Ok(())
    }
}

impl Model for LlamaEngine<'_> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn begin(&mut self, sequence: usize, sampling: &Sampling) -> Result<(), ModelError> {
        let sampler = Sampler::new(self.model, sampling)?;
        self.sequences[sequence].sampler = Some(sampler);
        Ok(())
    }

    fn decode(&mut self, batch: &[Entry]) -> Result<(), ModelError> {
        self.fill_batch(batch)?;
        self.context.decode(&mut self.batch).map_err(|error| ModelError::Decode(error.to_string()))
    }

    fn sample(&mut self, sequence: usize) -> Result<Sampled, ModelError> {
        let vocab = self.model.vocab();
        let state = &mut self.sequences[sequence];
        let row = state.row.take().ok_or(ModelError::Sample("nothing was decoded for this sequence"))?;
        let sampler = state.sampler.as_mut().ok_or(ModelError::Sample("the sequence was not begun"))?;
        let logits = self.context.get_logits_ith(row);
        let token = sampler.next(logits, |token| vocab.is_eog(LlamaToken(token)))?;
        Ok(Sampled { token, logprob: logprob(logits, token) })
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        self.model.vocab().token_to_piece(LlamaToken(token), false, None)
    }

    fn ends_answer(&self, token: Token) -> bool {
        self.model.vocab().is_eog(LlamaToken(token))
    }

    fn keep(&mut self, sequence: usize, tokens: usize) -> bool {
        let (Ok(id), Ok(from)) = (u32::try_from(sequence), u32::try_from(tokens)) else { return false };
        if tokens > 0 && self.context.clear_kv_cache_seq(Some(id), Some(from), None) == Ok(true) {
            return true;
        }
        let cleared = self.context.clear_kv_cache_seq(Some(id), None, None);
        debug_assert_eq!(cleared, Ok(true), "a whole sequence can always be dropped");
        tokens == 0
    }
}

//! What the scheduler needs of a model: decode a batch, sample a token, drop what a sequence holds.

/// A token of the model's vocabulary.
pub type Token = i32;

/// The bounds that a loaded model was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of prompt and answer together that one sequence holds.
    pub window: usize,
    /// Most tokens in one decode call. llama.cpp ends the whole process when a batch is larger.
    pub batch_tokens: usize,
    /// Sequences that decode side by side.
    pub sequences: usize,
}

/// One token of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What is decoded.
    pub token: Token,
    /// Where in its sequence, from 0.
    pub position: usize,
    /// In which sequence, from 0.
    pub sequence: usize,
    /// Whether the next token of the sequence is to be sampled after it.
    pub wants_next: bool,
}

/// How the tokens of one answer are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Probability mass that is drawn from; 1 is all of it.
    pub top_p: f32,
    /// Where the draw starts.
    pub seed: u32,
    /// GBNF grammar with the rule `root` that the answer must follow.
    pub grammar: Option<String>,
}

/// A token that was chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: Token,
    /// Natural logarithm of its probability under the model itself, before temperature, `top_p` and grammar.
    pub logprob: f32,
}

/// A loaded model with its context. Used by one thread.
pub trait Model {
    /// The bounds that it was given.
    fn shape(&self) -> Shape;

    /// Starts an answer in `sequence`: what was sampled there before no longer matters.
    ///
    /// # Errors
    /// [`ModelError::Grammar`] where the grammar cannot be used.
    fn begin(&mut self, sequence: usize, sampling: &Sampling) -> Result<(), ModelError>;

    /// Decodes a batch of at most [`Shape::batch_tokens`] entries.
    ///
    /// # Errors
    /// [`ModelError::Decode`]; what the sequences of the batch hold is then undefined until [`Model::keep`].
    fn decode(&mut self, batch: &[Entry]) -> Result<(), ModelError>;

    /// The next token of `sequence`, after a batch that held an entry of it with `wants_next`.
    ///
    /// # Errors
    /// [`ModelError::Sample`] where no token is left to choose from.
    fn sample(&mut self, sequence: usize) -> Result<Sampled, ModelError>;

    /// The bytes of a token; not always whole characters, and none for control tokens.
    fn bytes(&self, token: Token) -> Vec<u8>;

    /// Whether a token ends an answer.
    fn ends_answer(&self, token: Token) -> bool;

    /// Drops what `sequence` holds beyond its first `tokens`. Returns false where the model can only drop
    /// all of it (recurrent models), and has.
    fn keep(&mut self, sequence: usize, tokens: usize) -> bool;
}

/// Why a model could not go on with a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The grammar of a JSON schema cannot be used.
    #[error("the JSON schema makes a grammar that llama.cpp cannot use; simplify the schema")]
    Grammar,
    /// A batch could not be decoded.
    #[error(
        "llama.cpp could not decode a batch ({0}); run with RUST_LOG=llama-cpp-2=debug to see its own log"
    )]
    Decode(String),
    /// No token could be chosen.
    #[error("no next token could be chosen ({0})")]
    Sample(&'static str),
}

impl ModelError {
    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Grammar)
    }

    /// Stable code for a result's error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Grammar => "unsupported_schema",
            Self::Decode(_) => "decode_failed",
            Self::Sample(_) => "sampling_failed",
        }
    }
}

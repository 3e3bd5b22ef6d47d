//! A model that follows a script and checks every call that the scheduler makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use trilane_local_worker::model::{Entry, Model, ModelError, Sampled, Sampling, Shape, Token};

/// Ends an answer.
pub(crate) const END: Token = -1;
/// In an answer: sampling fails here.
pub(crate) const FAILS: Token = -2;
/// Tokens from here on stand for the words of [`Script::words`]; those below for single bytes.
pub(crate) const FIRST_WORD: Token = 1_000;

/// What the model says to each prompt. A prompt is `[number of its answer, its length, filler …]`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Script {
    pub(crate) answers: BTreeMap<Token, Vec<Token>>,
    pub(crate) words: Vec<&'static str>,
    /// Decode calls, counted from 0, that fail.
    pub(crate) failing_decodes: Vec<usize>,
    /// Whether `keep` can only drop everything, as with recurrent models.
    pub(crate) forgets_all: bool,
}

/// What the model has seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) batches: Vec<Vec<Entry>>,
}

#[derive(Debug)]
pub(crate) struct FakeModel {
    shape: Shape,
    script: Script,
    held: Vec<Vec<Token>>,
    ready: Vec<bool>,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl FakeModel {
    pub(crate) fn new(shape: Shape, script: Script) -> Self {
        let held = vec![Vec::new(); shape.sequences];
        let ready = vec![false; shape.sequences];
        Self { shape, script, held, ready, seen: Arc::default() }
    }
}

/// A prompt of `length` tokens that is answered with answer `number`.
pub(crate) fn prompt(number: Token, length: usize) -> Vec<Token> {
    let filler = (2..length).map(|index| 2_000_000 + Token::try_from(index).unwrap());
    [number, Token::try_from(length).unwrap()].into_iter().chain(filler).collect()
}

pub(crate) fn bytes(text: &str) -> Vec<Token> {
    text.bytes().map(Token::from).collect()
}

impl Model for FakeModel {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn begin(&mut self, _sequence: usize, sampling: &Sampling) -> Result<(), ModelError> {
        if sampling.grammar.as_deref() == Some("bad") { Err(ModelError::Grammar) } else { Ok(()) }
    }

    fn decode(&mut self, batch: &[Entry]) -> Result<(), ModelError> {
        assert!(!batch.is_empty() && batch.len() <= self.shape.batch_tokens, "{} tokens", batch.len());
        let mut seen = self.seen.lock().unwrap();
        seen.batches.push(batch.to_vec());
        self.ready.fill(false);
        if self.script.failing_decodes.contains(&(seen.batches.len() - 1)) {
            // What the sequences hold is undefined after a failure; the worst is chosen.
            batch.iter().for_each(|entry| self.held[entry.sequence].push(entry.token + 1));
            return Err(ModelError::Decode("scripted".into()));
        }
        for entry in batch {
            let held = &mut self.held[entry.sequence];
            assert_eq!(held.len(), entry.position, "positions follow each other");
            held.push(entry.token);
            assert!(held.len() <= self.shape.window, "the window is never exceeded");
            assert!(!self.ready[entry.sequence], "only the last token of a sequence wants the next");
            self.ready[entry.sequence] = entry.wants_next;
        }
        Ok(())
    }

    fn sample(&mut self, sequence: usize) -> Result<Sampled, ModelError> {
        assert!(std::mem::take(&mut self.ready[sequence]), "sampled once, after its own batch");
        let held = &self.held[sequence];
        let length = usize::try_from(held[1]).unwrap();
        assert_eq!(held[..length], prompt(held[0], length), "the whole prompt is held before sampling");
        let answer = &self.script.answers[&held[0]];
        let said = held.len() - length;
        assert_eq!(held[length..], answer[..said], "each sampled token is held");
        match answer.get(said).copied().unwrap_or(END) {
            FAILS => Err(ModelError::Sample("scripted")),
            // The further on, the less likely.
            token => Ok(Sampled { token, logprob: -(said as f32) }),
        }
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        match usize::try_from(token - FIRST_WORD) {
            Ok(word) => self.script.words[word].as_bytes().to_vec(),
            Err(_) => vec![u8::try_from(token).unwrap()],
        }
    }

    fn ends_answer(&self, token: Token) -> bool {
        token == END
    }

    fn keep(&mut self, sequence: usize, tokens: usize) -> bool {
        let all_gone = self.script.forgets_all || tokens == 0;
        self.held[sequence].truncate(if all_gone { 0 } else { tokens });
        !(self.script.forgets_all && tokens > 0)
    }
}

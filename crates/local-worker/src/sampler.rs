//! Chooses one token out of a model's logits.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use crate::model::{ModelError, Sampling, Token};

/// llama.cpp takes this seed to mean "any"; a task that asks for it gets its neighbour.
const RANDOM_SEED: u32 = u32::MAX;

/// The sampler of one answer.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// None takes the likeliest token.
    draw: Option<LlamaSampler>,
    grammar: Option<LlamaSampler>,
}

impl Sampler {
    /// Temperature comes before `top_p`, as in the cloud APIs.
    pub(crate) fn new(model: &LlamaModel, sampling: &Sampling) -> Result<Self, ModelError> {
        let draw = (sampling.temperature > 0.0).then(|| {
            let seed = if sampling.seed == RANDOM_SEED { RANDOM_SEED - 1 } else { sampling.seed };
            let temperature = LlamaSampler::temp(sampling.temperature);
            let top_p = (sampling.top_p < 1.0).then(|| LlamaSampler::top_p(sampling.top_p, 1));
            LlamaSampler::chain(
                [Some(temperature), top_p, Some(LlamaSampler::dist(seed))].into_iter().flatten(),
                true,
            )
        });
        let grammar = sampling.grammar.as_deref().map(|text| LlamaSampler::grammar(model, text, "root"));
        Ok(Self { draw, grammar: grammar.transpose().map_err(|_| ModelError::Grammar)? })
    }

    /// The next token. `is_end` tells end tokens, which a grammar is not told of: llama.cpp ends the process
    /// over an end token that the grammar did not expect.
    pub(crate) fn next(
        &mut self,
        logits: &[f32],
        is_end: impl Fn(Token) -> bool,
    ) -> Result<Token, ModelError> {
        let token = match (&self.draw, &self.grammar) {
            (None, None) => likeliest(logits)?,
            _ => self.choose(logits)?,
        };
        match &mut self.grammar {
            Some(grammar) if !is_end(token) => {
                grammar
                    .try_accept(LlamaToken(token))
                    .map_err(|_| ModelError::Sample("the grammar came to a dead end"))?;
            }
            _ => {}
        }
        Ok(token)
    }

    /// A grammar is asked about the chosen token alone first: to ask about a whole vocabulary takes longer than
    /// to decode, and most of the time the choice is right.
    fn choose(&mut self, logits: &[f32]) -> Result<Token, ModelError> {
        let first = self.draw_from(candidates(logits))?;
        let Some(grammar) = &mut self.grammar else { return Ok(first) };
        let mut alone =
            LlamaTokenDataArray::new(vec![LlamaTokenData::new(LlamaToken(first), 1.0, 0.0)], false);
        alone.apply_sampler(grammar);
        if alone.data.first().is_some_and(|candidate| candidate.logit().is_finite()) {
            return Ok(first);
        }
        let mut allowed = candidates(logits);
        allowed.apply_sampler(grammar);
        allowed.data.retain(|candidate| candidate.logit().is_finite());
        self.draw_from(allowed)
    }

    fn draw_from(&mut self, mut candidates: LlamaTokenDataArray) -> Result<Token, ModelError> {
        let finite = candidates.data.iter().any(|candidate| candidate.logit().is_finite());
        if !finite {
            return Err(ModelError::Sample("no candidate is left"));
        }
        let Some(draw) = &mut self.draw else {
            let best = candidates.data.iter().max_by(|a, b| a.logit().total_cmp(&b.logit()));
            return best.map(|best| best.id().0).ok_or(ModelError::Sample("no candidate is left"));
        };
        candidates.apply_sampler(draw);
        candidates.selected_token().map(|token| token.0).ok_or(ModelError::Sample("nothing was drawn"))
    }
}

fn candidates(logits: &[f32]) -> LlamaTokenDataArray {
    let data = (0..).zip(logits).map(|(id, logit)| LlamaTokenData::new(LlamaToken(id), *logit, 0.0));
    LlamaTokenDataArray::from_iter(data, false)
}

/// The first of the highest logits. A model whose numbers overflowed has none.
fn likeliest(logits: &[f32]) -> Result<Token, ModelError> {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            best = (id, *logit);
        }
    }
    if best.1.is_finite() { Ok(best.0) } else { Err(ModelError::Sample("the model's numbers overflowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_token_needs_a_finite_logit() {
        assert_eq!(likeliest(&[0.5, 3.0, 3.0, -1.0]), Ok(1));
        assert_eq!(likeliest(&[f32::NAN, 1.0]), Ok(1));
        assert!(likeliest(&[f32::NAN, f32::NEG_INFINITY]).is_err());
        assert!(likeliest(&[f32::INFINITY]).is_err());
        assert!(likeliest(&[]).is_err());
    }
}

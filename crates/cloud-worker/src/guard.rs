//! What is checked before anything leaves for a provider: the zone, the limits of the model, the money.

use trilane_protocol::Usage;
use trilane_protocol::{Decision, Generation, Sensitivity, Work, Zone};
use trilane_providers::estimate::upper_prompt_tokens;
use trilane_routing::detect::Detectors;
use trilane_routing::policy::Policy;
use trilane_routing::registry::{CloudModel, Price};
use trilane_routing::screen::looks_private;
use trilane_worker::{RunError, RunErrorKind};

/// Refuses what may not leave the local zone. The router has said so before, in types; this looks at the marks
/// and screens the text again, because a mistake here could not be taken back.
///
/// # Errors
/// `private_in_cloud`, permanent: no repeat makes a private task public.
pub fn check_public(work: &Work, decision: &Decision, policy: &Policy) -> Result<(), RunError> {
    let is_marked =
        work.sensitivity == Some(Sensitivity::Private) || decision.screen.sensitivity == Sensitivity::Private;
    let is_private = is_marked || looks_private(work, policy, Detectors::shared());
    if !is_private && decision.zone == Zone::Cloud {
        return Ok(());
    }
    let message = "a task that may not leave the local zone reached the cloud worker; nothing was sent. \
                   Look for who else may publish on its lane";
    Err(permanent("private_in_cloud", message))
}

/// Most tokens to generate: what the task says, else `default` as far as the model goes.
///
/// # Errors
/// `unsupported_setting` where the task asks for more than the model can generate.
pub fn max_tokens(generation: &Generation, model: &CloudModel, default: u32) -> Result<u32, RunError> {
    let most = model.max_output_tokens;
    match generation.max_tokens {
        Some(wanted) if wanted > most => {
            let message =
                format!("setting `max_tokens` is not supported here: the model generates at most {most}");
            Err(permanent("unsupported_setting", message))
        }
        Some(wanted) => Ok(wanted),
        None => Ok(default.min(most)),
    }
}

/// Refuses a call that could bring the task over its `max_cost_usd`.
///
/// # Errors
/// `over_max_cost`, permanent.
pub fn check_cost(work: &Work, price: &Price, max_tokens: u32) -> Result<(), RunError> {
    let Some(ceiling) = work.max_cost_usd else { return Ok(()) };
    let bound = upper_cost_usd(work, price, max_tokens);
    // Written so that a sum that is not a number is refused.
    if work.spent.cost_usd + bound <= ceiling {
        return Ok(());
    }
    let message = format!(
        "the task may cost {ceiling} dollars, has cost {:.6}, and this call may cost {bound:.6}; raise \
         `max_cost_usd` or lower `max_tokens`",
        work.spent.cost_usd
    );
    Err(permanent("over_max_cost", message))
}

/// Dollars that one call hardly exceeds: a generous count of the prompt, nothing of it cached, and every
/// token that may be generated.
pub fn upper_cost_usd(work: &Work, price: &Price, max_tokens: u32) -> f64 {
    let schema_bytes = work.generation.json_schema.as_ref().map_or(0, |schema| schema.to_string().len());
    let prompt_tokens = upper_prompt_tokens(&work.messages, schema_bytes as u64);
    price.cost_usd(Usage { prompt_tokens, completion_tokens: max_tokens.into(), cached_tokens: 0 })
}

fn permanent(code: &'static str, message: impl Into<String>) -> RunError {
    RunError::new(RunErrorKind::Permanent, code, message)
}

//! What is checked before anything leaves for a provider: the zone, and the limits of the model.

use trilane_protocol::{Decision, Generation, Sensitivity, Work, Zone};
use trilane_routing::detect::Detectors;
use trilane_routing::policy::Policy;
use trilane_routing::registry::CloudModel;
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

fn permanent(code: &'static str, message: impl Into<String>) -> RunError {
    RunError::new(RunErrorKind::Permanent, code, message)
}

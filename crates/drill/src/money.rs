//! What the provider charged, and the seam for what the fleet has on its books.

use crate::configuration::{INPUT_USD_PER_MTOK, OUTPUT_USD_PER_MTOK};
use crate::invocations::Invocation;

/// The lane whose models cost money.
const CLOUD: &str = "cloud";

/// Dollars that the provider charged for all invocations.
pub fn charged_usd(invocations: &[Invocation]) -> f64 {
    let charged = invocations.iter().filter(|invocation| invocation.lane == CLOUD);
    let usd = charged.map(|invocation| {
        let usage = invocation.charged;
        usage.prompt_tokens as f64 * INPUT_USD_PER_MTOK + usage.completion_tokens as f64 * OUTPUT_USD_PER_MTOK
    });
    usd.sum::<f64>() / 1e6
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Usage;

    use super::*;
    use crate::invocations::Ended;

    #[test]
    fn only_the_cloud_costs_money_and_every_invocation_of_it_does() {
        let invocation = |lane, prompt_tokens, completion_tokens, ended| Invocation {
            id: 0,
            lane,
            markers: Vec::new(),
            charged: Usage { prompt_tokens, completion_tokens, cached_tokens: 0 },
            ended,
        };
        let log = [
            invocation("local-deep", 1_000_000, 1_000_000, Ended::Answered),
            invocation("cloud", 1_000_000, 0, Ended::Abandoned),
            invocation("cloud", 0, 1_000_000, Ended::Answered),
        ];
        assert!((charged_usd(&log) - 18.0).abs() < 1e-9);
    }
}

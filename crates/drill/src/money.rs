//! What the provider charged, held against the fleet's own books.

use std::collections::BTreeMap;

use trilane_protocol::Usd;
use trilane_protocol::ledger::LedgerEntry;

use crate::audit::{Evidence, Key};
use crate::configuration::{INPUT_USD_PER_MTOK, OUTPUT_USD_PER_MTOK};
use crate::invocations::Invocation;

/// The lane whose models cost money.
const CLOUD: &str = "cloud";

/// What the ledger says of one task in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Booked {
    /// Spent, all calls together; one that nobody knows the end of counts in full.
    pub spent: Usd,
    /// Still set aside, for calls whose end nobody has booked.
    pub open: Usd,
}

impl Booked {
    /// What an entry says of its task, and of others of the same id.
    pub fn of(entry: &LedgerEntry) -> Self {
        let others = &entry.others;
        let open = entry.open.iter().chain(others.iter().filter_map(|other| other.open.as_ref()));
        Self {
            spent: others.iter().map(|other| other.spent).fold(entry.task_spent, Usd::plus),
            open: open.map(|reservation| reservation.amount).sum(),
        }
    }
}

/// Dollars that the provider charged for all invocations.
pub fn charged_usd(invocations: &[Invocation]) -> f64 {
    invocations.iter().filter_map(charge).sum::<Usd>().dollars()
}

/// Tasks that the provider charged more for than the ledger has, with the difference.
pub fn unaccounted(evidence: &Evidence) -> Vec<(Key, Usd)> {
    let mut charged: BTreeMap<&Key, Usd> = BTreeMap::new();
    for invocation in &evidence.invocations {
        let task = invocation.markers.first().and_then(|marker| evidence.tasks.get(marker.task));
        let (Some(usd), Some(key)) = (charge(invocation), task.and_then(|task| task.key.as_ref())) else {
            continue;
        };
        let sum = charged.entry(key).or_default();
        *sum = sum.plus(usd);
    }
    let missing = |(key, charged): (&Key, Usd)| {
        let Booked { spent, open } = evidence.booked.get(key).copied().unwrap_or_default();
        let missing = charged.minus(spent.plus(open));
        (missing > Usd::ZERO).then(|| (key.clone(), missing))
    };
    charged.into_iter().filter_map(missing).collect()
}

/// Dollars that are set aside for calls that nobody will ever end.
pub fn left_open_usd(evidence: &Evidence) -> f64 {
    evidence.booked.values().map(|booked| booked.open).sum::<Usd>().dollars()
}

/// What the provider charged for an invocation, where that costs money.
fn charge(invocation: &Invocation) -> Option<Usd> {
    let usage = invocation.charged;
    let per_million = usage.prompt_tokens as f64 * INPUT_USD_PER_MTOK
        + usage.completion_tokens as f64 * OUTPUT_USD_PER_MTOK;
    (invocation.lane == CLOUD).then(|| Usd::nearest(per_million / 1e6)).flatten()
}

#[cfg(test)]
mod tests {
    use trilane_protocol::Usage;

    use super::*;
    use crate::invocations::Ended;
    use crate::markers::Marker;
    use crate::tasks::plan;

    fn invocation(task: usize, lane: &'static str, prompt_tokens: u64, completion_tokens: u64) -> Invocation {
        Invocation {
            id: 0,
            lane,
            markers: vec![Marker { task, step: 0 }],
            charged: Usage { prompt_tokens, completion_tokens, cached_tokens: 0 },
            ended: Ended::Abandoned,
        }
    }

    #[test]
    fn only_the_cloud_costs_money_and_every_invocation_of_it_does() {
        let log = [
            invocation(0, "local-deep", 1_000_000, 1_000_000),
            invocation(0, CLOUD, 1_000_000, 0),
            invocation(1, CLOUD, 0, 1_000_000),
        ];
        assert!((charged_usd(&log) - 18.0).abs() < 1e-9);
    }

    #[test]
    fn a_charge_that_the_ledger_does_not_have_is_unaccounted() {
        let tasks = plan(1, 50).into_iter().filter(|task| task.key.is_some()).collect::<Vec<_>>();
        let keys = [0, 1].map(|task: usize| tasks[task].key.clone().unwrap());
        let mut evidence = Evidence { tasks, ..Evidence::default() };
        evidence.invocations = vec![
            invocation(0, CLOUD, 1_000_000, 0),
            invocation(0, CLOUD, 1_000_000, 0),
            invocation(1, CLOUD, 1_000_000, 0),
            invocation(1, "local-fast", 1_000_000, 0),
        ];
        let usd = |dollars| Usd::nearest(dollars).unwrap();
        evidence.booked.insert(keys[0].clone(), Booked { spent: usd(6.0), open: Usd::ZERO });
        evidence.booked.insert(keys[1].clone(), Booked { spent: usd(1.0), open: usd(2.0) });
        assert_eq!(unaccounted(&evidence), []);
        assert!((left_open_usd(&evidence) - 2.0).abs() < 1e-9);
        evidence.booked.insert(keys[0].clone(), Booked { spent: usd(5.5), open: Usd::ZERO });
        evidence.booked.remove(&keys[1]);
        assert_eq!(unaccounted(&evidence), [(keys[0].clone(), usd(0.5)), (keys[1].clone(), usd(3.0))]);
    }
}

//! What a call may cost, what it has cost, and who is told: the ledger before and after, the task's result.

use trilane_broker::Ledger;
use trilane_broker::ledger::{ReserveError, Ticket};
use trilane_protocol::{Decision, Usage, Usd, Work};
use trilane_providers::{Bill, ChatError};
use trilane_routing::bound::upper_cost;
use trilane_routing::ledger::{Ask, Call, Ending, Refusal};
use trilane_routing::registry::Price;
use trilane_worker::{RunError, RunErrorKind};

/// Pays for the calls of this process.
#[derive(Debug, Clone)]
pub struct Purse {
    ledger: Ledger,
    /// Who pays, as it stands in the ledger.
    worker: String,
}

impl Purse {
    /// A purse on `ledger`, for the process `worker`.
    pub fn new(ledger: Ledger, worker: String) -> Self {
        Self { ledger, worker }
    }

    /// Sets aside the most that the call may cost.
    ///
    /// # Errors
    /// `over_max_cost` and `ambiguous_call`, permanent; `budget_spent`, for the lane; `ledger_unavailable`, transient.
    pub(crate) async fn reserve(
        &self,
        work: &Work,
        decision: &Decision,
        attempt: u32,
        price: &Price,
        max_tokens: u32,
    ) -> Result<Ticket, RunError> {
        let call = self.call(work, decision, attempt);
        // A number that is no amount of money allows nothing.
        let ceiling = work.max_cost_usd.map(|usd| Usd::nearest(usd).unwrap_or(Usd::ZERO));
        let spent_before = Usd::nearest(work.spent.cost_usd);
        let spent_before = spent_before.unwrap_or(if ceiling.is_some() { Usd::MAX } else { Usd::ZERO });
        let ask = Ask { call, bound: upper_cost(work, price, max_tokens), ceiling, spent_before };
        self.ledger.reserve(ask).await.map_err(|error| run_error(work, &error))
    }

    /// Closes what an earlier delivery has left open. Returns what earlier deliveries of this hop have cost, dollars.
    pub(crate) async fn abandon(&self, work: &Work, decision: &Decision, attempt: u32) -> f64 {
        // A first delivery has none before it.
        if attempt <= 1 {
            return 0.0;
        }
        match self.ledger.abandon(self.call(work, decision, attempt)).await {
            Ok(spent) => beyond(work, spent),
            Err(error) => {
                tracing::error!(%error, "what a task has cost is not known");
                0.0
            }
        }
    }

    fn call(&self, work: &Work, decision: &Decision, attempt: u32) -> Call {
        Call {
            agent: work.agent.clone(),
            task_id: work.task_id.clone(),
            task_seq: work.task_seq,
            hop: work.hop,
            attempt,
            worker: self.worker.clone(),
            model: decision.model.clone(),
        }
    }
}

/// What these tokens cost.
pub(crate) fn cost(price: &Price, usage: Usage) -> Usd {
    Usd::nearest(price.cost_usd(usage)).unwrap_or(Usd::MAX)
}

/// How a failed call is booked.
pub(crate) fn ending(error: &ChatError, price: &Price) -> Ending {
    match error.bill {
        Bill::NotSent => Ending::Released,
        Bill::Refused => Ending::Settled { amount: Usd::ZERO, answered: false },
        Bill::Counted => Ending::Settled { amount: cost(price, error.usage), answered: false },
        Bill::Unknown => Ending::Ambiguous,
    }
}

/// What the ledger knows of the task's cost beyond what its message says: the dollars of this hop.
pub(crate) fn beyond(work: &Work, spent: Usd) -> f64 {
    (spent.dollars() - work.spent.cost_usd).max(0.0)
}

fn run_error(work: &Work, error: &ReserveError) -> RunError {
    let (kind, code, spent) = match error {
        ReserveError::Refused { refusal: Refusal::Budget(_), spent } => {
            (RunErrorKind::LaneUnable, "budget_spent", *spent)
        }
        ReserveError::Refused { refusal: Refusal::Ceiling { .. }, spent } => {
            (RunErrorKind::Permanent, "over_max_cost", *spent)
        }
        ReserveError::AmbiguousCall { spent } => (RunErrorKind::Permanent, "ambiguous_call", *spent),
        ReserveError::Unavailable(_) => (RunErrorKind::Transient, "ledger_unavailable", Usd::ZERO),
    };
    RunError::new(kind, code, error.to_string()).with_spent(Usage::default(), beyond(work, spent))
}

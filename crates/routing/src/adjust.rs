//! Where the first choice is not to be had (no live worker, a queue too long, a budget spent) the policy
//! says park, degrade, spill or reject. Nothing here can reach a cloud lane: it only moves towards local ones.

use jiff::Timestamp;
use trilane_protocol::decision::{Adjustment, Reason};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::{LaneName, ModelName, Work, Zone};

use crate::bound::{max_tokens, upper_cost};
use crate::budget::SpentBudget;
use crate::choose::{Choice, Lanes};
use crate::complexity::Scored;
use crate::policy::{Fallback, LocalFallback};
use crate::registry::Backend;
use crate::route::{Router, Unplaced};

impl Router<'_> {
    /// Holds the choice against the state of the fleet.
    pub(crate) fn adjust(
        &self,
        choice: Choice,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Scored,
        now: Timestamp,
    ) -> Result<Choice, Unplaced> {
        match choice.zone {
            Zone::Cloud => self.adjust_cloud(choice, work, lanes, score, now),
            Zone::Local => Ok(self.adjust_local(choice, work, score)),
        }
    }

    /// Whether the lane would be left as it is: somebody serves it, and there is money or room. Only such lanes are drawn
    /// when the policy explores, so that nothing but the draw decides.
    pub(crate) fn is_open(&self, lane: &LaneName, model: &ModelName, work: &Work, now: Timestamp) -> bool {
        let tasks_per_slot = self.policy.adjust.saturated_tasks_per_slot;
        self.fleet.serves(lane, model)
            && !self.fleet.is_saturated(lane, tasks_per_slot)
            && self.spent_budget(model, work, now).is_none()
    }

    fn adjust_cloud(
        &self,
        choice: Choice,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Scored,
        now: Timestamp,
    ) -> Result<Choice, Unplaced> {
        let rules = &self.policy.adjust;
        let (cause, fallback, sentence) = if !self.fleet.serves(&choice.lane, &choice.model) {
            let sentence = format!("no live worker of `{}` serves `{}`", choice.lane, choice.model);
            (Reason::NoWorker, rules.cloud_without_worker, sentence)
        } else if let Some(spent) = self.spent_budget(&choice.model, work, now) {
            if let (Fallback::Park, Some(until)) = (rules.budget_spent, spent.until) {
                return Err(Unplaced::Parked { until, reason: spent.to_string() });
            }
            // What no window has room for would wait for ever.
            let is_endless = rules.budget_spent == Fallback::Park;
            let fallback = if is_endless { Fallback::Reject } else { rules.budget_spent };
            (Reason::BudgetSpent, fallback, spent.to_string())
        } else {
            return Ok(choice);
        };
        match fallback {
            Fallback::Park => Ok(choice),
            Fallback::Reject => {
                let message = match cause {
                    Reason::BudgetSpent => sentence,
                    _ => format!("{sentence}; try again later"),
                };
                Err(TaskError::new(cause.as_str(), message).into())
            }
            Fallback::Degrade => {
                let degraded = lanes.deepest_local(work, score, self.policy, cause, &sentence)?;
                Ok(moved(choice, degraded))
            }
        }
    }

    /// The budget that has no room for what the worker would set aside before the call.
    fn spent_budget(&self, model: &ModelName, work: &Work, now: Timestamp) -> Option<Box<SpentBudget>> {
        let spending = &self.fleet.spending;
        let Backend::CloudApi(model) = &self.registry.models[model].backend else { return None };
        if spending.budgets.is_unbounded() {
            return None;
        }
        let bound = upper_cost(work, &model.price, max_tokens(work, model, self.policy));
        spending.budgets.check(&spending.book, &work.agent, bound, now).err()
    }

    fn adjust_local(&self, choice: Choice, work: &Work, score: &Scored) -> Choice {
        let rules = &self.policy.adjust;
        let is_busy = |lane: &LaneName| self.fleet.is_saturated(lane, rules.saturated_tasks_per_slot);
        let (cause, fallback) = if !self.fleet.serves(&choice.lane, &choice.model) {
            (Reason::NoWorker, rules.local_without_worker)
        } else if is_busy(&choice.lane) {
            (Reason::Saturated, rules.local_saturated)
        } else {
            return choice;
        };
        if fallback == LocalFallback::Park || choice.reason == Reason::Pinned {
            return choice;
        }
        let has_room = |lane: &LaneName| {
            let is_served =
                self.registry.lanes[lane].models.first().is_some_and(|model| self.fleet.serves(lane, model));
            *lane != choice.lane && is_served && !is_busy(lane)
        };
        let sentence = format!("`{}` has no room; another local lane takes it", choice.lane);
        match Lanes::local(self.registry, self.fleet).strongest(
            work,
            score,
            self.policy,
            cause,
            &sentence,
            has_room,
        ) {
            Ok(spilled) => moved(choice, spilled),
            Err(_) => choice,
        }
    }
}

/// The second choice, which remembers the first.
fn moved(first: Choice, second: Choice) -> Choice {
    let adjustment = Adjustment { from: first.lane, to: second.lane.clone(), cause: second.reason };
    let adjustments = first.adjustments.into_iter().chain([adjustment]).collect();
    Choice { adjustments, candidates: first.candidates, threshold: first.threshold, bar: first.bar, ..second }
}

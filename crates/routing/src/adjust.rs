//! Where the first choice is not to be had (no live worker, a queue too long, a budget spent) the policy
//! says park, degrade, spill or reject. Nothing here can reach a cloud lane: it only moves towards local ones.

use trilane_protocol::decision::{Adjustment, Reason, Score};
use trilane_protocol::outcome::TaskError;
use trilane_protocol::{LaneName, Work, Zone};

use crate::choose::{Choice, Lanes};
use crate::policy::{Fallback, LocalFallback};
use crate::route::Router;

impl Router<'_> {
    /// Holds the choice against the state of the fleet.
    pub(crate) fn adjust(
        &self,
        choice: Choice,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Score,
    ) -> Result<Choice, TaskError> {
        match choice.zone {
            Zone::Cloud => self.adjust_cloud(choice, work, lanes, score),
            Zone::Local => Ok(self.adjust_local(choice, work, score)),
        }
    }

    fn adjust_cloud(
        &self,
        choice: Choice,
        work: &Work,
        lanes: &Lanes<'_>,
        score: &Score,
    ) -> Result<Choice, TaskError> {
        let rules = &self.policy.adjust;
        let (cause, fallback, sentence) = if !self.fleet.serves(&choice.lane, &choice.model) {
            let sentence = format!("no live worker of `{}` serves `{}`", choice.lane, choice.model);
            (Reason::NoWorker, rules.cloud_without_worker, sentence)
        } else if self.fleet.is_budget_spent(&choice.lane) {
            (Reason::BudgetSpent, rules.budget_spent, format!("the budget of `{}` is spent", choice.lane))
        } else {
            return Ok(choice);
        };
        match fallback {
            Fallback::Park => Ok(choice),
            Fallback::Reject => Err(TaskError::new(cause.as_str(), format!("{sentence}; try again later"))),
            Fallback::Degrade => {
                let degraded = lanes.deepest_local(work, score, self.policy, cause, &sentence)?;
                Ok(moved(choice, degraded))
            }
        }
    }

    fn adjust_local(&self, choice: Choice, work: &Work, score: &Score) -> Choice {
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
    Choice { adjustments, candidates: first.candidates, ..second }
}

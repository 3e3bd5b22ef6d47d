//! Answers that are not good enough: which they are, and the one lane further up that may try again.

use jiff::Timestamp;
use trilane_protocol::decision::Reason;
use trilane_protocol::learning::Signs;
use trilane_protocol::{Decision, Work, Zone};

use crate::policy::ImprovePolicy;
use crate::registry::Agent;
use crate::route::{Returned, Route, Router};

/// Something that makes an answer not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It does not meet a validator of its task.
    Invalid,
    /// The model refuses.
    Refused,
    /// It says the same again and again.
    Repetitive,
    /// The model has guessed its tokens.
    Unsure,
    /// It was cut short.
    Truncated,
}

impl ImprovePolicy {
    /// The first flaw of an answer that makes it go up, the gravest first.
    pub fn flaw(&self, signs: &Signs) -> Option<Flaw> {
        let is_unsure = signs.mean_logprob.is_some_and(|mean| mean < self.min_mean_logprob);
        let flaws = [
            (Flaw::Invalid, !signs.failed.is_empty()),
            (Flaw::Refused, self.refused && signs.refused),
            (Flaw::Repetitive, signs.repetition > self.max_repetition),
            (Flaw::Unsure, is_unsure),
            (Flaw::Truncated, self.truncated && signs.truncated),
        ];
        let first = flaws.into_iter().find(|(_, holds)| *holds).map(|(flaw, _)| flaw);
        first.filter(|_| self.enabled)
    }
}

impl Flaw {
    /// What is wrong with an answer that shows these signs, as a sentence without its text.
    pub fn tell(self, signs: &Signs) -> String {
        let Signs { repetition, mean_logprob, failed, passed, .. } = signs;
        match self {
            Self::Invalid => {
                let (failed, all) = (failed.len(), *passed as usize + failed.len());
                format!("the answer fails {failed} of the {all} validators that were held against it")
            }
            Self::Refused => "the model refused to answer".into(),
            Self::Repetitive => format!("{:.0} % of the answer repeats what it has said", repetition * 100.0),
            Self::Unsure => {
                format!(
                    "the model was unsure of its words (log-probability {:.2})",
                    mean_logprob.unwrap_or_default()
                )
            }
            Self::Truncated => "the answer was cut short".into(),
        }
    }
}

impl Router<'_> {
    /// Where work goes whose answer was not good enough: onto the next stronger lane, as far as screen and money allow
    /// and a live worker serves it. `None`: the answer stands.
    pub fn improve(&self, work: Work, agent: &Agent, returned: &Returned, now: Timestamp) -> Option<Route> {
        let route = self.route(work, agent, Some(returned), now).ok()?;
        let decision = &route.message().decision;
        let skill = |lane| self.registry.lanes.get(lane).map_or(0.0, |lane| lane.skill);
        // Where a budget or a missing worker has moved it elsewhere, or would have it wait, the answer is worth more.
        let goes_up = decision.reason == Reason::Escalated
            && skill(&decision.lane) > skill(&returned.lane)
            && self.fleet.serves(&decision.lane, &decision.model);
        (goes_up && self.is_worth_it(decision)).then_some(route)
    }

    /// Whether a target that steers lets the work into the cloud. The answer at hand is known not to be good enough, so all of
    /// the chance that the cloud lane has is gained.
    fn is_worth_it(&self, decision: &Decision) -> bool {
        let chosen = decision.candidates.iter().find(|candidate| candidate.lane == decision.lane);
        let gain = chosen.map_or(0.0, |candidate| candidate.chance);
        decision.zone == Zone::Local || self.bar.is_none_or(|bar| gain >= bar)
    }
}

#[cfg(test)]
mod tests {
    use trilane_protocol::validator::ValidatorKind;

    use super::*;

    fn policy() -> ImprovePolicy {
        ImprovePolicy {
            enabled: true,
            refused: true,
            truncated: false,
            max_repetition: 0.6,
            min_mean_logprob: -2.5,
        }
    }

    #[test]
    fn each_sign_counts_as_the_policy_says() {
        let good = Signs { repetition: 0.6, mean_logprob: Some(-2.5), passed: 1, ..Signs::default() };
        let cut = Signs { truncated: true, ..good.clone() };
        let failed = Signs { failed: vec![ValidatorKind::Regex], refused: true, ..good.clone() };
        let refused = Signs { refused: true, ..good.clone() };
        let repetitive = Signs { repetition: 0.7, ..good.clone() };
        let unsure = Signs { mean_logprob: Some(-2.6), ..good.clone() };
        for (signs, flaw) in [
            (&good, None),
            (&cut, None),
            (&failed, Some(Flaw::Invalid)),
            (&refused, Some(Flaw::Refused)),
            (&repetitive, Some(Flaw::Repetitive)),
            (&unsure, Some(Flaw::Unsure)),
        ] {
            assert_eq!(policy().flaw(signs), flaw, "{signs:?}");
        }
        assert_eq!(ImprovePolicy { truncated: true, ..policy() }.flaw(&cut), Some(Flaw::Truncated));
        assert_eq!(ImprovePolicy { refused: false, ..policy() }.flaw(&refused), None);
        assert_eq!(ImprovePolicy { enabled: false, ..policy() }.flaw(&failed), None);
        assert_eq!(
            Flaw::Invalid.tell(&failed),
            "the answer fails 1 of the 2 validators that were held against it"
        );
    }
}

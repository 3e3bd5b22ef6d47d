//! Stores new versions of the policy, and puts them in force where they are better than what there is.

use jiff::SignedDuration;
use serde_json::json;
use trilane_broker::policy::{Followed, PolicyError};
use trilane_protocol::LaneName;
use trilane_routing::off_policy::{Promotion, Report, Supported, Why, promotes, report, supported};
use trilane_routing::snapshot::{By, InForce, Manifest};
use trilane_service::config::Promote;
use trilane_service::metrics::catalogue::PROMOTIONS;

use crate::tenure::Tenure;

/// A version that is stored and not in force yet.
#[derive(Debug)]
pub(crate) struct Stored {
    word: InForce,
    /// Outcomes that it has learned from.
    outcomes: u64,
}

impl Tenure {
    /// Puts the version in force that was stored and could not be; else makes a new one of the candidate, where its figures
    /// allow it and nobody is to be left alone.
    pub(crate) async fn consider(&mut self) {
        if self.is_resting() {
            return;
        }
        if let Some(stored) = self.stored.take()
            && let Err(error) = self.put_in_force(stored).await
        {
            tracing::warn!(%error, "a better version is stored and not in force yet");
            return;
        }
        let outcomes = self.student.outcomes;
        if outcomes == self.weighed_outcomes
            || self.was_stored_lately()
            || !self.student.trials.is_next_look()
        {
            return;
        }
        self.weighed_outcomes = outcomes;
        let learning = &self.config.learning;
        let Supported { trials, left_out } = supported(&self.student.trials.counted());
        let Some(report) = report(&trials, learning.answer_worth_usd) else { return };
        match promotes(&report, learning.bounds()) {
            // Nothing was looked at that luck could have a hand in.
            Err(why @ (Why::TooFewTrials { .. } | Why::TooUncertain { .. })) => {
                tracing::debug!(%why, ?left_out, "the policy in force stays");
            }
            Err(why) => {
                self.looked();
                tracing::debug!(%why, ?left_out, "the policy in force stays");
            }
            Ok(promotion) => {
                if let Err(error) = self.promote(&report, promotion, &left_out).await {
                    tracing::warn!(%error, "a better version is not in force yet");
                    self.weighed_outcomes = 0;
                    return;
                }
                self.looked();
            }
        }
    }

    fn looked(&mut self) {
        self.student.trials.looked();
        self.student.has_new_notes = true;
    }

    /// What an operator has put in force stays for a while, whatever the figures say.
    fn is_resting(&self) -> bool {
        let Some(Followed { word, stored_at, .. }) = &self.in_force else { return true };
        let rest_s = i64::try_from(self.config.learning.rest_s).unwrap_or(i64::MAX);
        // Both by the server's clock: when the word was stored, and when the newest of what was seen was.
        let until = stored_at.checked_add(SignedDuration::from_secs(rest_s));
        word.by == By::Operator && until.is_ok_and(|until| self.student.seen_at < until)
    }

    /// A version that a person has not put in force is not stored again with every outcome.
    fn was_stored_lately(&self) -> bool {
        let enough = self.config.learning.min_trials as u64;
        self.stored_outcomes > 0 && self.student.outcomes < self.stored_outcomes.saturating_add(enough)
    }

    async fn promote(
        &mut self,
        report: &Report,
        promotion: Promotion,
        left_out: &[LaneName],
    ) -> Result<(), PolicyError> {
        let Some(before) = self.in_force.as_ref().map(|followed| followed.word.version) else {
            return Ok(());
        };
        let version = self.broker.next_policy_version().await?;
        let (student, made_at) = (&self.student, self.student.seen_at);
        let manifest = Manifest {
            evaluation: json!({ "promotion": promotion, "report": report, "lanes_left_out": left_out }),
            ..Manifest::of(version, made_at, student.outcomes, before, &student.candidate)
        };
        self.broker.store_policy(&manifest, &student.candidate).await?;
        let reason = format!(
            "better by ${:.5} a task on {} trials (95 %: ${:.5} to ${:.5}){}",
            promotion.gain_usd,
            report.trials,
            promotion.low_usd,
            promotion.high_usd,
            without(left_out)
        );
        if self.config.learning.promote == Promote::Manual {
            self.stored_outcomes = self.student.outcomes;
            tracing::info!(
                version,
                reason,
                "a better version is stored; `trilane policy promote {version}` puts it in force"
            );
            return Ok(());
        }
        let word = InForce { version, since: made_at, by: By::Learner, reason, previous: Some(before) };
        self.put_in_force(Stored { word, outcomes: self.student.outcomes }).await
    }

    /// Puts a version in force that is stored, unless another one was put in force meanwhile. Where the server does not take
    /// it, it is tried again.
    async fn put_in_force(&mut self, stored: Stored) -> Result<(), PolicyError> {
        let Some(followed) = &self.in_force else { return Ok(()) };
        if stored.word.previous != Some(followed.word.version) {
            tracing::info!(version = stored.word.version, "stored, and overtaken by another version");
            return Ok(());
        }
        if let Err(error) = self.broker.put_in_force(&stored.word, followed.revision).await {
            self.stored = Some(stored);
            self.follow_in_force().await;
            return Err(error);
        }
        self.stored_outcomes = stored.outcomes;
        PROMOTIONS.add(1, ());
        tracing::info!(
            version = stored.word.version,
            reason = stored.word.reason,
            "a new version is in force"
        );
        self.follow_in_force().await;
        self.forget_old().await
    }

    /// Takes old versions out of the bucket, but never those that are in force or a rollback returns to.
    async fn forget_old(&self) -> Result<(), PolicyError> {
        let (in_force, _) = self.broker.policy_in_force().await?;
        let versions = self.broker.policy_versions().await?;
        let old = versions.len().saturating_sub(self.config.learning.keep_versions);
        for version in versions.into_iter().take(old) {
            if version != in_force.version && Some(version) != in_force.previous {
                self.broker.forget_policy(version).await?;
            }
        }
        Ok(())
    }
}

/// Lanes that nothing was reckoned on, as the end of a reason.
fn without(left_out: &[LaneName]) -> String {
    let names: Vec<String> = left_out.iter().map(|lane| format!("`{lane}`")).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("; nearly no task was put on {}, so that nothing is said of it", names.join(", "))
}

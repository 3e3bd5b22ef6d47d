//! Stores new versions of the policy, and puts them in force where they are better than what there is.

use jiff::SignedDuration;
use serde_json::json;
use trilane_broker::policy::PolicyError;
use trilane_routing::off_policy::{Promotion, Report, promotes, report};
use trilane_routing::snapshot::{By, InForce, Manifest};
use trilane_service::config::Promote;
use trilane_service::metrics::catalogue::PROMOTIONS;

use crate::tenure::Tenure;

impl Tenure {
    /// Makes a new version of the candidate, where its figures allow it and nobody is to be left alone.
    pub(crate) async fn consider(&mut self) {
        let outcomes = self.student.outcomes;
        if outcomes == self.weighed_outcomes || self.is_resting() || self.was_stored_lately() {
            return;
        }
        self.weighed_outcomes = outcomes;
        let learning = &self.config.learning;
        let trials = self.student.trials.counted();
        let Some(report) = report(&trials, learning.answer_worth_usd) else { return };
        match promotes(&report, learning.bounds()) {
            Err(why) => tracing::debug!(%why, "the policy in force stays"),
            Ok(promotion) => {
                if let Err(error) = self.promote(&report, promotion).await {
                    tracing::warn!(%error, "a better version is not in force yet");
                }
            }
        }
    }

    /// What an operator has put in force stays for a while, whatever the figures say.
    fn is_resting(&self) -> bool {
        let Some((in_force, _)) = &self.in_force else { return true };
        let rest_s = i64::try_from(self.config.learning.rest_s).unwrap_or(i64::MAX);
        let until = in_force.since.checked_add(SignedDuration::from_secs(rest_s));
        // The server's clock, by which the newest of what was seen was stored.
        in_force.by == By::Operator && until.is_ok_and(|until| self.student.seen_at < until)
    }

    /// A version that a person has not put in force is not stored again with every outcome.
    fn was_stored_lately(&self) -> bool {
        let enough = self.config.learning.min_trials as u64;
        self.stored_outcomes > 0 && self.student.outcomes < self.stored_outcomes.saturating_add(enough)
    }

    async fn promote(&mut self, report: &Report, promotion: Promotion) -> Result<(), PolicyError> {
        let Some((before, revision)) = self.in_force.clone() else { return Ok(()) };
        let version = self.broker.next_policy_version().await?;
        let (student, made_at) = (&self.student, self.student.seen_at);
        let manifest = Manifest {
            evaluation: json!({ "promotion": promotion, "report": report }),
            ..Manifest::of(version, made_at, student.outcomes, before.version, &student.candidate)
        };
        self.broker.store_policy(&manifest, &student.candidate).await?;
        self.stored_outcomes = student.outcomes;
        let reason = format!(
            "better by ${:.5} a task on {} trials (95 %: ${:.5} to ${:.5})",
            promotion.gain_usd, report.trials, promotion.low_usd, promotion.high_usd
        );
        if self.config.learning.promote == Promote::Manual {
            tracing::info!(
                version,
                reason,
                "a better version is stored; `trilane policy promote {version}` puts it in force"
            );
            return Ok(());
        }
        let in_force =
            InForce { version, since: made_at, by: By::Learner, reason, previous: Some(before.version) };
        self.broker.put_in_force(&in_force, revision).await?;
        PROMOTIONS.add(1, ());
        tracing::info!(version, reason = in_force.reason, "a new version is in force");
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

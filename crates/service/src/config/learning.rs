//! The learner's part of the configuration: what it learns from, what that is worth, and when it puts a version in force.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use trilane_protocol::learning::JUDGE;
use trilane_protocol::nearest::suggestion;
use trilane_protocol::{LaneName, Zone};
use trilane_routing::off_policy::Bounds;
use trilane_routing::policy::UnknownAgent;
use trilane_routing::registry::Registry;

use super::{Config, ConfigError};

/// What the learner does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    /// Whether `trilane up` starts a learner.
    pub enabled: bool,
    /// Whether classifiers keep what can be learned from a task.
    pub keep_examples: bool,
    /// Seconds between two saves of what was learned.
    pub save_s: u64,
    /// Dollars that a good answer is worth.
    pub answer_worth_usd: f64,
    /// Who puts new versions in force.
    pub promote: Promote,
    /// Trials that a version must rest on.
    pub min_trials: usize,
    /// Equal trials that those must say as much as.
    pub min_effective_trials: f64,
    /// Versions that are kept.
    pub keep_versions: usize,
    /// Seconds after an operator's word in which the learner puts nothing in force.
    pub rest_s: u64,
    /// Share of public cloud tasks, 0 to 1, that a local lane is to try once more.
    pub shadow_share: f64,
    /// The lane that tries; absent: the deepest local one.
    #[serde(deserialize_with = "super::named_lane")]
    pub shadow_lane: Option<LaneName>,
    /// Who says whether it would have done.
    pub judge: Judge,
    /// Mean difference between promised and seen quality, 0 to 1, above which an alert is raised.
    pub max_calibration_error: f64,
}

/// Who puts new versions in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promote {
    /// The learner, where the figures allow it.
    Auto,
    /// A person, by `trilane policy promote`.
    Manual,
}

/// Who says whether a local answer would have done in the place of the cloud's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"auto\", \"exact\", \"json\", \"contains\", \"token-f1\" or { lane = \"NAME\" }"
)]
pub enum Judge {
    /// A rule.
    Rule(JudgeRule),
    /// A model.
    Model(JudgeLane),
}

/// A rule that compares two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeRule {
    /// JSON where it is JSON, the task's validators where there are any, else the words.
    Auto,
    /// The same text but for white space.
    Exact,
    /// The same JSON value.
    Json,
    /// The cloud's answer stands in the local one.
    Contains,
    /// Enough of the same words.
    TokenF1,
}

/// A model that compares two answers: the first of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeLane {
    /// The lane.
    pub lane: LaneName,
}

impl Learning {
    /// Between two saves.
    pub fn save(&self) -> Duration {
        Duration::from_secs(self.save_s)
    }

    /// What a version has to show.
    pub fn bounds(&self) -> Bounds {
        Bounds { min_trials: self.min_trials, min_effective_trials: self.min_effective_trials }
    }

    /// The lane that tries shadows, if there is any local one.
    pub fn shadow_lane<'a>(&'a self, registry: &'a Registry) -> Option<&'a LaneName> {
        let local = registry.lanes.iter().filter(|(_, lane)| lane.zone == Zone::Local);
        let deepest = || local.max_by(|(_, a), (_, b)| a.skill.total_cmp(&b.skill)).map(|(name, _)| name);
        self.shadow_lane.as_ref().or_else(deepest)
    }
}

/// Holds the learner's part against the rest of the configuration.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Learning { shadow_share, answer_worth_usd, max_calibration_error, .. } = config.learning;
    let rules = [
        ("learning.save_s", config.learning.save_s > 0, "expected 1 or more"),
        ("learning.answer_worth_usd", answer_worth_usd > 0.0, "expected dollars above 0"),
        ("learning.min_trials", config.learning.min_trials > 1, "expected 2 or more"),
        ("learning.min_effective_trials", config.learning.min_effective_trials >= 1.0, "expected 1 or more"),
        ("learning.keep_versions", config.learning.keep_versions > 1, "expected 2 or more"),
        ("learning.shadow_share", (0.0..=1.0).contains(&shadow_share), "expected a share from 0 to 1"),
        (
            "learning.max_calibration_error",
            max_calibration_error > 0.0 && max_calibration_error <= 1.0,
            "expected a share above 0, up to 1",
        ),
    ];
    if let Some((key, _, problem)) = rules.into_iter().find(|(_, holds, _)| !holds) {
        return Err(bad(key, problem));
    }
    if let Some(lane) = &config.learning.shadow_lane {
        check_lane("learning.shadow_lane", lane, config)?;
        if config.registry.lanes[lane].zone != Zone::Local {
            return Err(bad("learning.shadow_lane", "expected a lane of the local zone"));
        }
    }
    if let Judge::Model(JudgeLane { lane }) = &config.learning.judge {
        check_lane("learning.judge.lane", lane, config)?;
        if config.registry.lanes[lane].zone != Zone::Local {
            return Err(bad(
                "learning.judge.lane",
                "expected a lane of the local zone: a judge is shown whole answers",
            ));
        }
        let has_entry = config.registry.agents.keys().any(|agent| agent.as_str() == JUDGE);
        if config.policy.unknown_agent == UnknownAgent::Reject && !has_entry {
            let problem = format!(
                "policy.unknown_agent rejects the tasks of the agent `{JUDGE}`; give it an entry [agents.{JUDGE}]"
            );
            return Err(bad("learning.judge.lane", &problem));
        }
    }
    Ok(())
}

fn check_lane(key: &str, lane: &LaneName, config: &Config) -> Result<(), ConfigError> {
    let known: Vec<&str> = config.registry.lanes.keys().map(LaneName::as_str).collect();
    if known.contains(&lane.as_str()) {
        return Ok(());
    }
    let meant = suggestion(lane.as_str(), known.iter().copied());
    Err(bad(key, &format!("there is no lane `{lane}`; lanes are {}{meant}", known.join(", "))))
}

fn bad(key: &str, problem: &str) -> ConfigError {
    ConfigError::BadKey { key: key.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    fn learning(toml: &str) -> Result<Config, String> {
        load_from(Some(&format!("[learning]\n{toml}")), []).map_err(|error| error.to_string())
    }

    #[test]
    fn a_judge_is_a_rule_or_a_lane() {
        let judge = |toml| learning(toml).unwrap().learning.judge;
        assert_eq!(judge(""), Judge::Rule(JudgeRule::Auto));
        assert_eq!(judge("judge = \"token-f1\""), Judge::Rule(JudgeRule::TokenF1));
        let lane = "local-deep".parse().unwrap();
        assert_eq!(judge("judge = { lane = \"local-deep\" }"), Judge::Model(JudgeLane { lane }));
        let error = learning("judge = \"best\"").unwrap_err();
        assert!(error.contains("learning.judge") && error.contains("token-f1"), "{error}");
    }

    #[test]
    fn shadows_are_tried_by_the_deepest_local_lane_or_by_the_one_that_is_named() {
        let named = |toml| {
            let config = learning(toml).unwrap();
            config.learning.shadow_lane(&config.registry).map(ToString::to_string)
        };
        assert_eq!(named("").as_deref(), Some("local-deep"));
        assert_eq!(named("shadow_lane = \"local-fast\"").as_deref(), Some("local-fast"));
    }

    #[test]
    fn what_does_not_hold_is_refused_by_its_key() {
        for (toml, key, words) in [
            ("shadow_share = 1.5", "learning.shadow_share", "0 to 1"),
            ("answer_worth_usd = 0.0", "learning.answer_worth_usd", "above 0"),
            ("save_s = 0", "learning.save_s", "1 or more"),
            ("shadow_lane = \"cloud\"", "learning.shadow_lane", "local zone"),
            ("shadow_lane = \"local-dep\"", "learning.shadow_lane", "did you mean `local-deep`?"),
            ("judge = { lane = \"x\" }", "learning.judge.lane", "there is no lane `x`"),
            ("judge = { lane = \"cloud\" }", "learning.judge.lane", "local zone"),
            (
                "judge = { lane = \"local-deep\" }\n[policy]\nunknown_agent = \"reject\"",
                "learning.judge.lane",
                "[agents.judge]",
            ),
        ] {
            let error = learning(toml).unwrap_err();
            assert!(error.contains(key) && error.contains(words), "{error}");
        }
    }
}

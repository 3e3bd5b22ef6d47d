//! What classifiers have decided lately: the last decisions, and how many there were for each lane. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use trilane_protocol::LaneName;
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::decision::{Reason, RouteRecord, Sensitivity};

use super::fleet::Decided;

/// Decisions that are kept: what a page shows, and enough to find a task that is still queued.
const MAX_KEPT: usize = 200;

/// Policy versions that are told apart; a fleet has one, or two for a moment.
const MAX_VERSIONS: usize = 16;

/// What classifiers have decided lately.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decisions {
    last: VecDeque<Decided>,
    by_lane: BTreeMap<LaneName, u64>,
    total: u64,
    /// The version each was last decided with, by which classifier, and when that was heard.
    versions: BTreeMap<String, (String, Instant)>,
    /// Sequence of the last segment that was read.
    read_up_to: u64,
}

impl Decisions {
    /// Takes a segment of the routing log, heard at `at`. One that was read before changes nothing; one of before this
    /// process began is shown and not counted, as it says nothing of now.
    pub(crate) fn take(&mut self, sequence: u64, segment: RouteSegment, is_new: bool, at: Instant) {
        if sequence <= self.read_up_to {
            return;
        }
        self.read_up_to = sequence;
        for record in segment.records {
            // A shadow is no task: it neither comes to a lane nor is served there.
            if is_new && record.decision.reason != Reason::Shadowed {
                self.count(&record, at);
            }
            self.last.push_front(decided(record));
        }
        self.last.truncate(MAX_KEPT);
    }

    fn count(&mut self, record: &RouteRecord, at: Instant) {
        self.total += 1;
        *self.by_lane.entry(record.decision.lane.clone()).or_default() += 1;
        let version = record.decision.policy_version.clone();
        if self.versions.len() < MAX_VERSIONS || self.versions.contains_key(&version) {
            self.versions.insert(version, (record.classifier.clone(), at));
        }
    }

    /// Sequence of the last segment that was read.
    pub(crate) fn read_up_to(&self) -> u64 {
        self.read_up_to
    }

    /// Decisions ever heard.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Decisions ever heard for a lane.
    pub(crate) fn of_lane(&self, lane: &LaneName) -> u64 {
        self.by_lane.get(lane).copied().unwrap_or_default()
    }

    /// The last decisions, newest first.
    pub(crate) fn last(&self) -> Vec<Decided> {
        self.last.iter().cloned().collect()
    }

    /// The policy versions that were in force within `window` before `at`, each with a classifier that decided by it.
    pub(crate) fn versions(&mut self, at: Instant, window: Duration) -> Vec<(String, String)> {
        self.versions.retain(|_, (_, heard)| at.duration_since(*heard) <= window);
        self.versions.iter().map(|(version, (classifier, _))| (version.clone(), classifier.clone())).collect()
    }
}

fn decided(record: RouteRecord) -> Decided {
    let RouteRecord { task_id, agent, classifier, decision, .. } = record;
    Decided {
        agent,
        task_id,
        lane: decision.lane,
        model: decision.model,
        sensitivity: match decision.screen.sensitivity {
            Sensitivity::Private => "private",
            Sensitivity::Public => "public",
        },
        reason: decision.reason.as_str(),
        explanation: decision.explanation,
        complexity: decision.score.complexity,
        policy_version: decision.policy_version,
        classifier,
        at: decision.decided_at,
    }
}

//! The report: one JSON object for programs, sentences for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use trilane_protocol::{Status, Usd};

use crate::audit::{Evidence, Findings};
use crate::invocations::{Ended, Invocation};
use crate::money;
use crate::notes::Noted;

/// Ids that are named of each kind of finding.
const MOST_NAMED: usize = 50;

const MIB: f64 = 1024.0 * 1024.0;

/// What a drill comes to. The counts from `lost` to `bad_exits` are 0 where the fleet keeps its promises.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What all faults and tasks were drawn from.
    pub seed: u64,
    /// Acknowledged tasks.
    pub acked: usize,
    /// Stored results.
    pub results: usize,
    /// Dead letters.
    pub dead: usize,
    /// Acknowledged, and gone.
    pub lost: usize,
    /// Acknowledged, with a dead letter and no result.
    pub unanswered: usize,
    /// Ids with more than one result.
    pub duplicates: usize,
    /// Results of tasks that nobody published.
    pub unknown: usize,
    /// Results that say what they cannot.
    pub wrong: usize,
    /// Invocations of cloud models with private text.
    pub private_on_cloud: usize,
    /// Dollars that the provider charged and the ledger does not have.
    pub unaccounted_usd: f64,
    /// Messages that will never be delivered.
    pub zombies: u64,
    /// Whether the routing log is whole; `null` as long as nothing here looks at it.
    pub chain: Option<&'static str>,
    /// Tasks that were still queued in the end.
    pub still_queued: usize,
    /// Processes that ended late or with a failure after SIGTERM.
    pub bad_exits: usize,
    /// Times that a model was asked.
    pub invocations: usize,
    /// Of those, for a task and step that it was asked for before.
    pub repeated_invocations: usize,
    /// Tasks whose publish was repeated because its acknowledgement did not come.
    pub ambiguous: u64,
    /// Publishes that a full intake refused.
    pub refused: u64,
    /// Publishes that producers sent for each one that was answered.
    pub offered_for_each_result: f64,
    /// Dollars that the cloud provider charged.
    pub charged_usd: f64,
    /// Dollars that the ledger has as spent; what nobody knows the end of counts in full.
    pub booked_usd: f64,
    /// Dollars that are still set aside.
    pub left_open_usd: f64,
    /// Results by status.
    pub statuses: BTreeMap<&'static str, usize>,
    /// Invocations by lane.
    pub lanes: BTreeMap<&'static str, usize>,
    /// Dead letters by code.
    pub dead_codes: BTreeMap<String, usize>,
    /// Faults carried out.
    pub faults: BTreeMap<&'static str, u64>,
    /// Most resident memory of one process of each kind.
    pub peak_rss_mib: BTreeMap<&'static str, f64>,
    /// Times that a process ended by itself and was started again.
    pub own_exits: usize,
    /// From the first publish until everything was answered.
    pub seconds: f64,
    /// Of those, after the last fault.
    pub drain_seconds: f64,
}

/// What the producers and the clock say.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// The seed.
    pub seed: u64,
    /// Publishes that were sent.
    pub offered: u64,
    /// Publishes that a full intake refused.
    pub refused: u64,
    /// Tasks whose publish was repeated.
    pub ambiguous: u64,
    /// From the first publish to the end.
    pub seconds: f64,
    /// Of those, after the last fault.
    pub drain_seconds: f64,
}

impl Report {
    /// Sums everything up.
    pub fn new(evidence: &Evidence, findings: &Findings, noted: &Noted, measured: Measured) -> Self {
        let results = evidence.results.len();
        Self {
            seed: measured.seed,
            acked: evidence.acknowledged.len(),
            results,
            dead: evidence.buried.len(),
            lost: findings.lost.len(),
            unanswered: findings.unanswered.len(),
            duplicates: findings.duplicates.len(),
            unknown: findings.unknown.len(),
            wrong: findings.wrong.len(),
            private_on_cloud: findings.private_on_cloud.len(),
            unaccounted_usd: findings.unaccounted_usd.dollars(),
            zombies: findings.zombie_count,
            chain: None,
            still_queued: findings.still_queued.len(),
            bad_exits: noted.bad_exits.len(),
            invocations: evidence.invocations.len(),
            repeated_invocations: repeated(&evidence.invocations),
            ambiguous: measured.ambiguous,
            refused: measured.refused,
            offered_for_each_result: measured.offered as f64 / results.max(1) as f64,
            charged_usd: money::charged_usd(&evidence.invocations),
            booked_usd: evidence.booked.values().map(|booked| booked.spent).sum::<Usd>().dollars(),
            left_open_usd: money::left_open_usd(evidence),
            statuses: counted(
                evidence.results.iter().map(|result| result.status.map_or("unread", Status::as_str)),
            ),
            lanes: counted(evidence.invocations.iter().map(|invocation| invocation.lane)),
            dead_codes: counted(evidence.buried.iter().map(|buried| buried.code.clone())),
            faults: noted.faults.clone(),
            peak_rss_mib: noted.peak_bytes.iter().map(|(kind, bytes)| (*kind, *bytes as f64 / MIB)).collect(),
            own_exits: noted.own_exits.len(),
            seconds: measured.seconds,
            drain_seconds: measured.drain_seconds,
        }
    }

    /// For people: what was done, what it cost, and every id at fault.
    pub fn sentences(&self, evidence: &Evidence, findings: &Findings, noted: &Noted) -> String {
        let mut text = String::new();
        let faults: u64 = self.faults.values().sum();
        let _ = writeln!(
            text,
            "seed {}: {} tasks acknowledged, {faults} faults, {:.0} s (the last {:.0} s to drain)",
            self.seed, self.acked, self.seconds, self.drain_seconds
        );
        let _ = writeln!(text, "  faults        {}", listed(&self.faults));
        let _ = writeln!(text, "  results       {} ({})", self.results, listed(&self.statuses));
        let _ = writeln!(text, "  dead letters  {} ({})", self.dead, listed(&self.dead_codes));
        let _ = writeln!(
            text,
            "  publishes     {:.1} for each result; {} refused by a full intake, {} tasks repeated without an answer",
            self.offered_for_each_result, self.refused, self.ambiguous
        );
        let _ = writeln!(
            text,
            "  models asked  {} times ({}), {} repeats; {}",
            self.invocations,
            listed(&self.lanes),
            self.repeated_invocations,
            listed(&endings(&evidence.invocations)),
        );
        let _ = writeln!(
            text,
            "  money         ${:.4} charged, ${:.4} booked, ${:.4} still set aside",
            self.charged_usd, self.booked_usd, self.left_open_usd
        );
        let _ = writeln!(text, "  ended by themselves and started again: {} processes", self.own_exits);
        let peaks = self.peak_rss_mib.iter().map(|(kind, mib)| format!("{kind} {mib:.0} MiB"));
        let _ = writeln!(text, "  most memory   {}", peaks.collect::<Vec<_>>().join(", "));
        for (kind, entries) in
            findings.by_kind().into_iter().chain([("bad exit", noted.bad_exits.as_slice())])
        {
            for entry in entries.iter().take(MOST_NAMED) {
                let _ = writeln!(text, "  {}: {entry}", kind.to_uppercase());
            }
            if entries.len() > MOST_NAMED {
                let _ = writeln!(text, "  {}: and {} more", kind.to_uppercase(), entries.len() - MOST_NAMED);
            }
        }
        text.push_str(if findings.are_none() && noted.bad_exits.is_empty() {
            "nothing lost, nothing answered twice, nothing private in the cloud"
        } else {
            "the fleet has NOT kept its promises"
        });
        text
    }
}

fn counted<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn repeated(invocations: &[Invocation]) -> usize {
    let firsts = invocations.iter().filter_map(|invocation| invocation.markers.first());
    counted(firsts).values().map(|count| count - 1).sum()
}

fn endings(invocations: &[Invocation]) -> BTreeMap<String, usize> {
    let word = |ended: Ended| match ended {
        Ended::Answered => "answered".to_owned(),
        Ended::Abandoned => "abandoned".to_owned(),
        Ended::Cut => "cut".to_owned(),
        Ended::Refused(status) => status.to_string(),
    };
    counted(invocations.iter().map(|invocation| word(invocation.ended)))
}

fn listed<K: std::fmt::Display, V: std::fmt::Display>(counts: &BTreeMap<K, V>) -> String {
    counts.iter().map(|(key, count)| format!("{key} {count}")).collect::<Vec<_>>().join(", ")
}

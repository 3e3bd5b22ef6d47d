//! What the logs say of private tasks, held against each other. Pure: it is given what is stored and how to check a
//! signature, and says what it found.
//!
//! Results and spending come first and say which records they rest on; then the routing log, segment by segment, of
//! which only the ends of its chains are kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trilane_broker::logs::Reach;
use trilane_protocol::chain::{self, RouteSegment};
use trilane_protocol::decision::RouteRecord;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::streams::{DEAD, LEDGER, RESULTS, ROUTES};
use trilane_protocol::{
    AgentName, Decision, Encoding, LaneName, Sensitivity, Status, TaskId, TaskResult, Zone, subjects,
};

use super::chains::Chains;
use super::findings::{Finding, Findings, Kind, place};
use super::ledger::Ledger;
use crate::dead::is_security_refusal;

/// How far the clocks of classifiers and server may be apart.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_mins(2);

/// A message of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) sequence: u64,
    pub(super) stored_at: Timestamp,
    pub(super) subject: &'a str,
    pub(super) payload: &'a [u8],
    /// Its seal, if it carries one.
    pub(super) seal: Option<&'a str>,
}

/// What the logs are held against.
#[derive(Debug, Clone)]
pub(super) struct Rules<V> {
    /// Whether a seal is that of a trusted key on a segment.
    pub(super) verify: V,
    /// The lanes that lie in the cloud zone, by the configuration.
    pub(super) cloud_lanes: BTreeSet<LaneName>,
    /// Only what was stored at this time or later counts; what is older is looked at where something newer rests on it.
    pub(super) since: Option<Timestamp>,
    /// How far the routing log reached before anything was read.
    pub(super) reach: Reach,
    /// The last sequence of the ledger then.
    pub(super) ledger_reached: u64,
    /// Whether age or size explain that its beginning is gone.
    pub(super) has_let_go: bool,
    /// How long after its decision a call may be made at most.
    pub(super) longest_wait: Duration,
}

/// What is said in the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Proof {
    pub(super) private_on_cloud: u64,
    pub(super) chain: Chain,
    pub(super) classifiers: usize,
    pub(super) segments: u64,
    pub(super) records: u64,
    pub(super) private_records: u64,
    pub(super) cloud_records: u64,
    pub(super) results: u64,
    pub(super) dead_letters: u64,
    pub(super) ledger_entries: u64,
    pub(super) spent_usd: f64,
    pub(super) ambiguous_calls: u64,
    pub(super) findings: Vec<Finding>,
}

/// Whether the routing log is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Chain {
    #[default]
    Whole,
    Broken,
}

/// One hop of a task.
pub(super) type Hop = (AgentName, TaskId, u16);

/// A record that something rests on.
#[derive(Debug)]
struct Needed {
    place: String,
    what: String,
    /// When the decision was made, as far as that is known.
    decided_at: Timestamp,
}

/// The proof while it is made.
#[derive(Debug)]
pub(super) struct Audit<V> {
    rules: Rules<V>,
    proof: Proof,
    findings: Findings,
    /// Decisions of results whose records are still to come, by [`fingerprint`].
    decisions: HashMap<u128, Needed>,
    /// Hops that were paid for whose records are still to come.
    calls: BTreeMap<Hop, Needed>,
    chains: Chains,
    ledger: Ledger,
}

impl<V: Fn(&str, &[u8]) -> bool> Audit<V> {
    pub(super) fn new(rules: Rules<V>) -> Self {
        Self {
            chains: Chains::new(rules.since.is_none() && !rules.has_let_go),
            ledger: Ledger::default(),
            rules,
            proof: Proof::default(),
            findings: Findings::default(),
            decisions: HashMap::new(),
            calls: BTreeMap::new(),
        }
    }

    /// Takes a result. All of them come before the routing log.
    pub(super) fn take_result(&mut self, stored: Stored<'_>) {
        self.proof.results += 1;
        let Some((encoding, result)) = self.read::<TaskResult>(RESULTS, stored) else { return };
        let place = place(RESULTS, stored.sequence);
        let what = format!("the result of task `{}` of `{}`", result.task_id, result.agent);
        if stored.subject != subjects::result(&result.agent, &result.task_id) {
            self.findings.add(Kind::Misplaced, &place, format!("{what} lies under `{}`", stored.subject));
        }
        let Some(decision) = result.decision else {
            if result.status == Status::Done {
                self.findings.add(Kind::NoDecision, place, format!("{what} is an answer without a decision"));
            }
            return;
        };
        let is_on_cloud_lane = result.lane.is_some_and(|lane| self.rules.cloud_lanes.contains(&lane));
        if is_private(&decision) && (is_on_cloud_lane || self.is_cloud(&decision)) {
            self.private_on_cloud(&place, &what, &decision);
        }
        let fingerprint = fingerprint(&result.agent, &result.task_id, &as_json(&decision, encoding));
        let decided_at = decision.decided_at;
        self.decisions.insert(fingerprint, Needed { place, what, decided_at });
    }

    /// Takes an entry of the ledger, in the order of the stream. All of them come before the routing log.
    pub(super) fn take_entry(&mut self, stored: Stored<'_>) {
        self.proof.ledger_entries += 1;
        let Some((_, entry)) = self.read(LEDGER, stored) else { return };
        let (hop, at) = self.ledger.take(entry, stored.sequence, &mut self.findings);
        let (place, what) =
            (place(LEDGER, stored.sequence), format!("a call for task `{}` of `{}`", hop.1, hop.0));
        self.calls.entry(hop).or_insert(Needed { place, what, decided_at: at });
    }

    /// Takes a dead letter.
    pub(super) fn take_letter(&mut self, stored: Stored<'_>) {
        self.proof.dead_letters += 1;
        let Some((_, letter)) = self.read::<DeadLetter>(DEAD, stored) else { return };
        if is_security_refusal(&letter.error.code) {
            let message = format!("{} at {}: {}", letter.error.code, letter.place, letter.error.message);
            self.findings.add(Kind::Refused, place(DEAD, stored.sequence), message);
        }
    }

    /// From when on the routing log is to be read: nothing older is counted or rested on. `None` for all of it.
    pub(super) fn routes_since(&self) -> Option<Timestamp> {
        let since = self.rules.since?;
        let calls = self.calls.values().map(|call| call.decided_at.checked_sub(self.rules.longest_wait));
        let calls = calls.map(|at| at.unwrap_or(Timestamp::MIN));
        let decisions = self.decisions.values().map(|result| result.decided_at);
        let oldest = decisions.chain(calls).fold(since, Timestamp::min);
        Some(oldest.checked_sub(CLOCK_ALLOWANCE).unwrap_or(oldest))
    }

    /// Takes a segment of the routing log, in the order of the stream. Nothing in one that is not sealed counts.
    pub(super) fn take_segment(&mut self, stored: Stored<'_>) {
        let counts = self.rules.since.is_none_or(|since| stored.stored_at >= since);
        self.proof.segments += u64::from(counts);
        self.chains.pass(stored, &mut self.findings);
        let is_sealed = stored.seal.is_some_and(|seal| (self.rules.verify)(seal, stored.payload));
        if !is_sealed {
            self.chains.unsealed(stored, &mut self.findings);
            return;
        }
        let Some((_, segment)) = self.read::<RouteSegment>(ROUTES, stored) else { return };
        self.chains.take(&segment, stored, &mut self.findings);
        for record in &segment.records {
            self.take_record(record, stored.sequence, counts);
        }
    }

    fn take_record(&mut self, record: &RouteRecord, sequence: u64, counts: bool) {
        let RouteRecord { agent, task_id, hop, decision, .. } = record;
        let (is_private, is_cloud) = (is_private(decision), self.is_cloud(decision));
        if counts {
            self.proof.records += 1;
            self.proof.private_records += u64::from(is_private);
            self.proof.cloud_records += u64::from(is_cloud);
        }
        if is_private && is_cloud {
            let what = format!("task `{task_id}` of `{agent}`");
            self.private_on_cloud(&place(ROUTES, sequence), &what, decision);
        }
        if !self.decisions.is_empty() {
            self.decisions.remove(&fingerprint(agent, task_id, &Encoding::Json.encode(decision)));
        }
        if is_cloud && !is_private {
            self.calls.remove(&(agent.clone(), task_id.clone(), *hop));
        }
    }

    /// Says what was found.
    pub(super) fn conclude(mut self) -> Proof {
        let Reach { first_sequence, last_sequence, .. } = self.rules.reach;
        self.chains.end(last_sequence, &mut self.findings);
        self.ledger.end(self.rules.ledger_reached, self.rules.since.is_some(), &mut self.findings);
        let kept_since = self.chains.first_stored_at(first_sequence).filter(|_| self.rules.has_let_go);
        let mut lost: Vec<Needed> = self.decisions.into_values().chain(self.calls.into_values()).collect();
        // What has gone with its age can be rested on no more.
        lost.retain(|needed| kept_since.is_none_or(|kept_since| needed.decided_at >= kept_since));
        lost.sort_by(|a, b| a.place.cmp(&b.place));
        for Needed { place, what, .. } in lost {
            let message = format!("{what} rests on a decision that no record of the routing log holds");
            self.findings.add(Kind::NoRecord, place, message);
        }
        let chain = if self.findings.is_chain_broken { Chain::Broken } else { Chain::Whole };
        Proof {
            chain,
            classifiers: self.chains.count(),
            spent_usd: self.ledger.spent_usd(),
            ambiguous_calls: self.ledger.ambiguous_calls(),
            findings: self.findings.listed(),
            ..self.proof
        }
    }

    fn private_on_cloud(&mut self, place: &str, what: &str, decision: &Decision) {
        self.proof.private_on_cloud += 1;
        let message = format!("{what} is private and was offered to `{}` in the cloud zone", decision.lane);
        self.findings.add(Kind::PrivateOnCloud, place, message);
    }

    /// The configuration has a say too, so that a record that calls a cloud lane local is seen.
    fn is_cloud(&self, decision: &Decision) -> bool {
        decision.zone == Zone::Cloud || self.rules.cloud_lanes.contains(&decision.lane)
    }

    /// Reads a message, or names it as one that does not read.
    fn read<T: DeserializeOwned>(&mut self, stream: &str, stored: Stored<'_>) -> Option<(Encoding, T)> {
        let encoding = Encoding::detect(None, stored.payload);
        match encoding.and_then(|encoding| Ok((encoding, encoding.decode(stored.payload)?))) {
            Ok(read) => Some(read),
            Err(error) => {
                let message = format!("it does not read: {error}");
                self.findings.add(Kind::Unreadable, place(stream, stored.sequence), message);
                None
            }
        }
    }
}

impl Proof {
    /// Whether nothing is wrong.
    pub(super) fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind == Kind::Refused)
    }
}

fn is_private(decision: &Decision) -> bool {
    decision.screen.sensitivity == Sensitivity::Private
}

/// What a decision and its record have in common, and no other decision.
fn fingerprint(agent: &AgentName, task_id: &TaskId, decision: &[u8]) -> u128 {
    let named = [agent.as_str().as_bytes(), b" ", task_id.as_str().as_bytes(), b" ", decision].concat();
    u128::from_str_radix(&chain::hash(&named)[..32], 16).unwrap_or_default()
}

/// A decision as a record holds it once it was read. Reading numbers from JSON may change their last bit, so what was
/// written in MessagePack goes the same way first.
fn as_json(decision: &Decision, encoding: Encoding) -> Vec<u8> {
    let json = Encoding::Json.encode(decision);
    match encoding {
        Encoding::Json => json,
        Encoding::Msgpack => {
            Encoding::Json.decode::<Decision>(&json).map_or(json, |read| Encoding::Json.encode(&read))
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether the routing log is whole: each chain from its first segment to its last, and the stream without a gap.

use std::collections::HashMap;

use jiff::Timestamp;
use trilane_protocol::chain::{self, RouteSegment};
use trilane_protocol::streams::ROUTES;
use trilane_protocol::subjects;

use super::audit::Stored;
use super::findings::{Findings, Kind, place};

/// The chains as far as they were read.
#[derive(Debug)]
pub(super) struct Chains {
    /// Whether nothing comes before what is read first.
    is_start_known: bool,
    ends: HashMap<String, End>,
    /// The sequence that was read last.
    last: Option<u64>,
    /// The sequence that was read first, and when it was stored.
    first: Option<(u64, Timestamp)>,
}

/// Where a chain goes on.
#[derive(Debug)]
struct End {
    next: u64,
    /// Hash of the segment before.
    hash: String,
}

impl Chains {
    pub(super) fn new(is_start_known: bool) -> Self {
        Self { is_start_known, ends: HashMap::new(), last: None, first: None }
    }

    /// Passes over a message of the stream. Nothing may be taken out of it, so its sequences have no gaps.
    pub(super) fn pass(&mut self, stored: Stored<'_>, findings: &mut Findings) {
        let before = self.last.unwrap_or(if self.is_start_known { 0 } else { stored.sequence - 1 });
        gap(before, stored.sequence - 1, findings);
        self.last = Some(stored.sequence);
        self.first.get_or_insert((stored.sequence, stored.stored_at));
    }

    /// Names a segment whose signature does not hold. The segment behind it will not find the one before.
    pub(super) fn unsealed(&mut self, stored: Stored<'_>, findings: &mut Findings) {
        let message = format!(
            "the signature on a segment under `{}` does not hold: it was altered, or was never written by a classifier",
            stored.subject
        );
        findings.add(Kind::Altered, place(ROUTES, stored.sequence), message);
    }

    /// Takes a segment whose signature holds.
    pub(super) fn take(&mut self, segment: &RouteSegment, stored: Stored<'_>, findings: &mut Findings) {
        let RouteSegment { chain, index, previous, .. } = segment;
        let mut add = |kind, message| findings.add(kind, place(ROUTES, stored.sequence), message);
        if stored.subject != subjects::route(chain) {
            let subject = stored.subject;
            add(Kind::Misplaced, format!("segment {index} of chain `{chain}` lies under `{subject}`"));
        }
        let known = self.ends.get(chain);
        let next = known.map_or(0, |end| end.next);
        let starts_late = known.is_none() && !self.is_start_known;
        if *index < next {
            let message = format!("segment {index} of chain `{chain}` comes behind segment {}", next - 1);
            return add(Kind::OutOfOrder, message);
        }
        if *index > next && !starts_late {
            let message = format!("chain `{chain}` lacks its segments {next} to {}", index - 1);
            add(Kind::Missing, message);
        } else if *index == next && *previous != known.map_or(chain::FIRST, |end| &end.hash) {
            let message = format!("segment {index} of chain `{chain}` does not name the one before");
            add(Kind::BrokenLink, message);
        }
        let end = End { next: index + 1, hash: chain::hash(stored.payload) };
        self.ends.insert(chain.clone(), end);
    }

    /// Ends with the sequence that the stream had reached when reading began.
    pub(super) fn end(&self, reached: u64, findings: &mut Findings) {
        if self.last.is_some() || self.is_start_known {
            gap(self.last.unwrap_or(0), reached, findings);
        }
    }

    /// When the message of this sequence was stored, where it is the first that was read.
    pub(super) fn first_stored_at(&self, sequence: u64) -> Option<Timestamp> {
        self.first.filter(|(first, _)| *first == sequence).map(|(_, stored_at)| stored_at)
    }

    /// How many chains there are: one for each start of a classifier.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }
}

/// Names the messages behind `before` up to `reached`, if there are any.
fn gap(before: u64, reached: u64, findings: &mut Findings) {
    if reached > before {
        let (first, message) =
            (before + 1, format!("{} messages were taken out of the stream", reached - before));
        findings.add(Kind::Missing, format!("{ROUTES} {first} to {reached}"), message);
    }
}

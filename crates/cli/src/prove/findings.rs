//! What an audit has found: each finding with its kind and place, up to a bound.

use serde::Serialize;
use trilane_protocol::streams::ROUTES;

/// Findings that are listed; further ones are counted.
pub(super) const MAX_FINDINGS: usize = 1_000;

/// Something that is not as it should be, or that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// Stream and sequence.
    #[serde(rename = "where")]
    pub(super) place: String,
    pub(super) message: String,
}

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A private task was offered to the cloud zone.
    PrivateOnCloud,
    /// A segment whose signature does not hold.
    Altered,
    /// Segments, or messages of the ledger, that are gone.
    Missing,
    /// A segment that does not stand where it belongs.
    OutOfOrder,
    /// A segment that does not name the one before.
    BrokenLink,
    /// A message that does not read.
    Unreadable,
    /// A message under a subject that is not its own.
    Misplaced,
    /// A result, or a call that was paid for, without its record in the routing log.
    NoRecord,
    /// An answer without a decision.
    NoDecision,
    /// A book that does not add up.
    WrongBook,
    /// An attempt to get round the trust boundary that was refused. It does not fail the proof.
    Refused,
    /// How many findings are not listed.
    More,
}

impl Kind {
    /// Whether the routing log is not whole because of it.
    fn breaks_chain(self) -> bool {
        matches!(
            self,
            Self::Altered
                | Self::Missing
                | Self::OutOfOrder
                | Self::BrokenLink
                | Self::Unreadable
                | Self::Misplaced
        )
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PrivateOnCloud => "private_on_cloud",
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::OutOfOrder => "out_of_order",
            Self::BrokenLink => "broken_link",
            Self::Unreadable => "unreadable",
            Self::Misplaced => "misplaced",
            Self::NoRecord => "no_record",
            Self::NoDecision => "no_decision",
            Self::WrongBook => "wrong_book",
            Self::Refused => "refused",
            Self::More => "more",
        }
    }
}

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: Vec<Finding>,
    left_out: u64,
    /// Whether any of them is of the routing log and breaks it, listed or not.
    pub(super) is_chain_broken: bool,
    is_any_harmful: bool,
}

impl Findings {
    pub(super) fn add(&mut self, kind: Kind, place: impl Into<String>, message: impl Into<String>) {
        let place = place.into();
        self.is_chain_broken |= kind.breaks_chain() && place.starts_with(ROUTES);
        self.is_any_harmful |= kind != Kind::Refused;
        if self.listed.len() == MAX_FINDINGS {
            self.left_out += 1;
            return;
        }
        self.listed.push(Finding { kind, place, message: message.into() });
    }

    pub(super) fn listed(mut self) -> Vec<Finding> {
        if self.left_out > 0 {
            // What is left out must not turn a failed proof into one that holds.
            let kind = if self.is_any_harmful { Kind::More } else { Kind::Refused };
            let message = format!("{} more findings are not listed", self.left_out);
            self.listed.push(Finding { kind, place: "-".into(), message });
        }
        self.listed
    }
}

/// How a message is named.
pub(super) fn place(stream: &str, sequence: u64) -> String {
    format!("{stream} {sequence}")
}

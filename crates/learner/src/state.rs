//! What is saved of a learner, and by whom: of several learners the one whose sheet is the newest learns.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trilane_broker::Broker;
use trilane_broker::learner_state::{Kept, Place, StateError};
use trilane_protocol::chain::hash;
use trilane_protocol::{Encoding, LaneName};
use trilane_service::{Config, Shutdown};

use crate::student::Student;
use crate::trials::Trials;
use crate::windows::Windows;

/// Version of the sheet. One of another version is not read, and learning begins anew.
const FORMAT: u32 = 1;

/// Saves that a learner may miss before another takes over.
const SAVES_MISSED: u32 = 3;

/// Looks at the sheet between two saves of the learner that learns.
const LOOKS_PER_SAVE: u32 = 2;

/// Times that a part is written anew because another has written its place.
const MAX_PART_TRIES: u32 = 3;

/// Most bytes of trials and windows together, so that they fit a message of NATS.
const MAX_NOTES_BYTES: usize = 900 * 1_024;

/// The part that holds trials and windows; heads are called `head.<lane>`.
const NOTES: &str = "notes";
const HEAD: &str = "head.";

/// How far each log has been learned from: sequences in the streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Positions {
    pub(crate) results: u64,
    pub(crate) feedback: u64,
    pub(crate) shadowed: u64,
}

/// What counts of all parts, and how far they go. Written by compare-and-set after the parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    format: u32,
    /// The learner that learns; empty once it has ended.
    holder: String,
    /// Counts the saves, so that each differs from the one before.
    saves: u64,
    positions: Positions,
    outcomes: u64,
    /// The version that the trials are about.
    base: u64,
    seen_at: Timestamp,
    /// Outcomes that the newest stored version has learned from.
    stored_outcomes: u64,
    parts: BTreeMap<String, Part>,
    /// What questions to a judge are named by; drawn once.
    #[serde(default)]
    nonce: String,
}

/// Which place of a part counts, and what lies there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    place: Place,
    sha256: String,
}

/// Trials and windows, as one part.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    trials: Trials,
    windows: Windows,
}

/// The right to learn, with what was learned before.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) keeper: Keeper,
    pub(crate) student: Student,
    pub(crate) positions: Positions,
    /// Outcomes that the newest stored version has learned from.
    pub(crate) stored_outcomes: u64,
}

/// Saves, as long as nobody else does.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// What only learners know, and questions to a judge are named by.
    pub(crate) nonce: Arc<str>,
    broker: Broker,
    holder: String,
    saves: u64,
    revision: u64,
    parts: BTreeMap<String, Part>,
    revisions: BTreeMap<(String, Place), u64>,
}

/// Why what was saved cannot be gone on with.
#[derive(Debug, thiserror::Error)]
enum Corrupt {
    #[error("the sheet does not read: {0}")]
    Sheet(String),
    #[error("the sheet has format {0}, this program writes {FORMAT}")]
    Format(u32),
    #[error("the part `{0}` is missing, or is not what the sheet names")]
    Part(String),
    #[error("the part `{0}` does not read: {1}")]
    Unreadable(String, String),
}

/// Waits until no other learner learns, and takes its place. None where shutdown has begun.
pub(crate) async fn claim(
    broker: &Broker,
    holder: &str,
    config: &Config,
    shutdown: &Shutdown,
) -> Option<Claim> {
    let pause = config.learning.save() / LOOKS_PER_SAVE;
    let mut seen: Option<(u64, u32)> = None;
    loop {
        match broker.learner_sheet().await {
            Ok(kept) => {
                let revision = kept.as_ref().map_or(0, |kept| kept.revision);
                let looks =
                    seen.filter(|(earlier, _)| *earlier == revision).map_or(0, |(_, looks)| looks + 1);
                seen = Some((revision, looks));
                let is_free = kept.as_ref().is_none_or(is_left) || looks >= SAVES_MISSED * LOOKS_PER_SAVE;
                if is_free {
                    match Claim::take(broker, holder, kept.as_ref()).await {
                        Ok(claim) => return Some(claim),
                        Err(error) => tracing::info!(%error, "did not take over"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot see whether another learner learns"),
        }
        tokio::select! {
            () = shutdown.begun() => return None,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether nobody holds a sheet any more. One that does not read is held by nobody either.
fn is_left(kept: &Kept) -> bool {
    sheet(kept).map_or(true, |sheet| sheet.holder.is_empty())
}

fn sheet(kept: &Kept) -> Result<Sheet, Corrupt> {
    let sheet: Sheet =
        Encoding::Json.decode(&kept.payload).map_err(|error| Corrupt::Sheet(error.to_string()))?;
    if sheet.format != FORMAT {
        return Err(Corrupt::Format(sheet.format));
    }
    Ok(sheet)
}

impl Claim {
    /// Reads what was saved and writes itself onto the sheet. What does not read is left behind: learning begins anew, from
    /// all that is kept in the logs, and the policy in force stays what it is.
    async fn take(broker: &Broker, holder: &str, kept: Option<&Kept>) -> Result<Self, StateError> {
        let read = match kept {
            None => Ok(None),
            Some(kept) => read(broker, kept).await?.map(Some),
        };
        let (mut claim, is_new) = match read {
            Ok(Some(claim)) => (claim, false),
            Ok(None) => (Self::new(broker), true),
            Err(corrupt) => {
                tracing::warn!(
                    error = %corrupt,
                    "what the learner had saved cannot be used; it learns anew from what is kept, and the policy in \
                     force is not touched"
                );
                (Self::new(broker), true)
            }
        };
        claim.keeper.holder = holder.to_owned();
        claim.keeper.revision = kept.map_or(0, |kept| kept.revision);
        let (positions, stored) = (claim.positions, claim.stored_outcomes);
        claim.keeper.save(&mut claim.student, positions, stored).await?;
        tracing::info!(outcomes = claim.student.outcomes, is_new, ?positions, "learning");
        Ok(claim)
    }

    fn new(broker: &Broker) -> Self {
        let keeper = Keeper {
            nonce: format!("{:032x}", rand::random::<u128>()).into(),
            broker: broker.clone(),
            holder: String::new(),
            saves: 0,
            revision: 0,
            parts: BTreeMap::new(),
            revisions: BTreeMap::new(),
        };
        let (student, positions) = (Student::default(), Positions::default());
        Self { keeper, student, positions, stored_outcomes: 0 }
    }
}

/// What the sheet says, with its parts. The outer error is the server's, the inner one of what is stored.
async fn read(broker: &Broker, kept: &Kept) -> Result<Result<Claim, Corrupt>, StateError> {
    let sheet = match sheet(kept) {
        Ok(sheet) => sheet,
        Err(corrupt) => return Ok(Err(corrupt)),
    };
    let mut claim = Claim::new(broker);
    for (name, part) in &sheet.parts {
        let Some(found) =
            broker.learner_part(name, part.place).await?.filter(|k| hash(&k.payload) == part.sha256)
        else {
            return Ok(Err(Corrupt::Part(name.clone())));
        };
        if let Err(corrupt) = claim.student.restore(name, &found.payload) {
            return Ok(Err(corrupt));
        }
        claim.keeper.revisions.insert((name.clone(), part.place), found.revision);
    }
    claim.student.outcomes = sheet.outcomes;
    claim.student.seen_at = sheet.seen_at;
    claim.student.in_force.number = sheet.base;
    claim.keeper.saves = sheet.saves;
    if !sheet.nonce.is_empty() {
        claim.keeper.nonce = sheet.nonce.as_str().into();
    }
    claim.keeper.parts = sheet.parts.clone();
    let Sheet { positions, stored_outcomes, .. } = sheet;
    Ok(Ok(Claim { positions, stored_outcomes, ..claim }))
}

impl Student {
    fn restore(&mut self, name: &str, payload: &[u8]) -> Result<(), Corrupt> {
        let unreadable =
            |error: &dyn std::fmt::Display| Corrupt::Unreadable(name.to_owned(), error.to_string());
        if name == NOTES {
            let notes: Notes = rmp_serde::from_slice(payload).map_err(|error| unreadable(&error))?;
            (self.trials, self.windows) = (notes.trials, notes.windows);
            return Ok(());
        }
        let lane = name.strip_prefix(HEAD).and_then(|lane| LaneName::new(lane).ok());
        let lane = lane.ok_or_else(|| unreadable(&"no such part is known"))?;
        self.candidate.insert_head(lane, payload).map_err(|error| unreadable(&error))
    }

    /// The parts that have changed since they were last saved.
    fn changed_parts(&mut self) -> Vec<(String, Vec<u8>)> {
        let head = |lane: &LaneName| Some((format!("{HEAD}{lane}"), self.candidate.head_to_bytes(lane)?));
        let mut parts: Vec<_> = self.changed.iter().filter_map(head).collect();
        if self.has_new_notes {
            parts.extend(self.notes().map(|bytes| (NOTES.to_owned(), bytes)));
        }
        parts
    }

    /// Trials and windows; of trials as many as fit, the newest.
    fn notes(&mut self) -> Option<Vec<u8>> {
        loop {
            let notes = Notes { trials: self.trials.clone(), windows: self.windows.clone() };
            match rmp_serde::to_vec(&notes) {
                Ok(bytes) if bytes.len() <= MAX_NOTES_BYTES => return Some(bytes),
                Ok(_) if self.trials.forget_half() => {}
                Ok(bytes) => {
                    tracing::error!(bytes = bytes.len(), "the trials are too large to be saved");
                    return None;
                }
                Err(error) => {
                    tracing::error!(%error, "the trials cannot be saved");
                    return None;
                }
            }
        }
    }
}

impl Keeper {
    /// Saves what has changed: parts where the sheet does not point, then the sheet. With nothing changed that says that
    /// the learner is alive.
    ///
    /// # Errors
    /// [`StateError::Overtaken`] where another learner learns now; with other errors nothing counts as saved.
    pub(crate) async fn save(
        &mut self,
        student: &mut Student,
        positions: Positions,
        stored_outcomes: u64,
    ) -> Result<(), StateError> {
        let mut parts = self.parts.clone();
        for (name, payload) in student.changed_parts() {
            let place = parts.get(&name).map_or(Place::A, |part| part.place.other());
            let sha256 = hash(&payload);
            self.write_part(&name, place, payload).await?;
            parts.insert(name, Part { place, sha256 });
        }
        let sheet = Sheet {
            format: FORMAT,
            holder: self.holder.clone(),
            saves: self.saves + 1,
            positions,
            outcomes: student.outcomes,
            base: student.in_force.number,
            seen_at: student.seen_at,
            stored_outcomes,
            parts: parts.clone(),
            nonce: self.nonce.to_string(),
        };
        self.revision = self.broker.keep_learner_sheet(Encoding::Json.encode(&sheet), self.revision).await?;
        (self.saves, self.parts) = (sheet.saves, parts);
        student.changed.clear();
        student.has_new_notes = false;
        Ok(())
    }

    /// The last save: nobody learns any more.
    pub(crate) async fn leave(
        &mut self,
        student: &mut Student,
        positions: Positions,
        stored_outcomes: u64,
    ) -> Result<(), StateError> {
        self.holder = String::new();
        self.save(student, positions, stored_outcomes).await
    }

    /// Where another has written the place and the sheet is still ours, that other one has been overtaken and did not know.
    async fn write_part(&mut self, name: &str, place: Place, payload: Vec<u8>) -> Result<(), StateError> {
        let key = (name.to_owned(), place);
        for _ in 0..MAX_PART_TRIES {
            let revision = self.revisions.get(&key).copied().unwrap_or(0);
            match self.broker.keep_learner_part(name, place, payload.clone(), revision).await {
                Ok(revision) => {
                    self.revisions.insert(key, revision);
                    return Ok(());
                }
                Err(StateError::Overtaken) => {
                    let sheet = self.broker.learner_sheet().await?;
                    if sheet.map_or(0, |sheet| sheet.revision) != self.revision {
                        return Err(StateError::Overtaken);
                    }
                    let found = self.broker.learner_part(name, place).await?;
                    self.revisions.insert(key.clone(), found.map_or(0, |found| found.revision));
                }
                Err(error) => return Err(error),
            }
        }
        Err(StateError::Overtaken)
    }
}

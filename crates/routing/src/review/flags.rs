//! The tasks that a person should look at: cloud calls that could have stayed local, and local answers that should have
//! gone up.

use std::collections::BTreeMap;

use serde::Serialize;
use trilane_protocol::Zone;
use trilane_protocol::decision::{Reason, Sensitivity};
use trilane_protocol::learning::OutcomeSource;

use super::facts::{Choice, Task, Weighed};
use super::moves::best_shadow;
use super::sample::Key;

/// Quality, 0 to 1, from which on an answer would have done.
pub(super) const DOES: f64 = 0.5;

/// How far below the bar a local lane's chance may lie for the call to be called a near miss.
const NEARLY: f64 = 0.05;

/// Cloud calls that could have stayed local, the dearest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CouldHaveStayed {
    /// All of them.
    pub tasks: u64,
    /// What they cost, dollars.
    pub usd: f64,
    /// Those where a shadow has shown it.
    pub shown_tasks: u64,
    /// What these cost, dollars.
    pub shown_usd: f64,
    /// Dollars by agent of those that a shadow has shown, the most first; a few.
    pub shown_by_agent: Vec<AgentShare>,
    /// The dearest.
    pub flags: Vec<CloudFlag>,
}

/// One agent's part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentShare {
    /// The agent.
    pub agent: String,
    /// Its tasks.
    pub tasks: u64,
    /// What they cost, dollars.
    pub usd: f64,
}

/// A cloud call that could have stayed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloudFlag {
    /// The task.
    pub task_id: String,
    /// Its agent.
    pub agent: String,
    /// What it cost, dollars.
    pub cost_usd: f64,
    /// The local lane that could have had it.
    pub lane: String,
    /// The chance that the decision gave that lane, where it weighed it.
    pub chance: Option<f64>,
    /// What says so.
    pub evidence: CloudEvidence,
    /// The same in a sentence.
    pub reason: String,
}

/// What says that a cloud call could have stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloudEvidence {
    /// A shadow ran on a local lane, and the judge said that it would have done.
    Shadow,
    /// The decision's own chance of a local lane reached the bar, or all but.
    Score,
}

/// Local answers that should have gone up, those with the weightiest evidence first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShouldHaveGoneUp {
    /// All of them.
    pub tasks: u64,
    /// By what says so.
    pub by_evidence: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub flags: Vec<LocalFlag>,
}

/// A local answer that should have gone up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocalFlag {
    /// The task.
    pub task_id: String,
    /// Its agent.
    pub agent: String,
    /// The local lane that answered.
    pub lane: String,
    /// Whether it may never leave the local zone.
    pub is_private: bool,
    /// The chance that the decision had given that lane.
    pub chance: Option<f64>,
    /// What says so.
    pub evidence: LocalEvidence,
    /// The same in a sentence.
    pub reason: String,
}

/// What says that a local answer was not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalEvidence {
    /// Its reader rejected it.
    Feedback,
    /// It failed a validator of its task.
    Validators,
    /// It refused, or said the same again and again.
    Signs,
    /// It was given up for a second answer on a stronger lane.
    Improved,
}

impl CloudEvidence {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Score => "score",
        }
    }
}

impl LocalEvidence {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::Validators => "validators",
            Self::Signs => "signs",
            Self::Improved => "improved",
        }
    }
}

/// The cloud calls that could have stayed; `most` of them are listed.
pub(super) fn could_have_stayed<'a>(
    tasks: impl Iterator<Item = (&'a Key, &'a Task)>,
    one_in: u64,
    most: usize,
) -> CouldHaveStayed {
    let mut flags: Vec<CloudFlag> = tasks.filter_map(|(key, task)| cloud_flag(key, task)).collect();
    flags.sort_by(|left, right| {
        let by_cost = right.cost_usd.total_cmp(&left.cost_usd);
        let name = |flag: &CloudFlag| (flag.evidence, flag.agent.clone(), flag.task_id.clone());
        by_cost.then_with(|| name(left).cmp(&name(right)))
    });
    let (scale, mut shown) = (one_in as f64, BTreeMap::<&str, (u64, f64)>::new());
    for flag in flags.iter().filter(|flag| flag.evidence == CloudEvidence::Shadow) {
        let (tasks, usd) = shown.entry(&flag.agent).or_default();
        *tasks += one_in;
        *usd += flag.cost_usd * scale;
    }
    let mut shown_by_agent: Vec<AgentShare> = shown
        .into_iter()
        .map(|(agent, (tasks, usd))| AgentShare { agent: agent.to_owned(), tasks, usd })
        .collect();
    shown_by_agent.sort_by(|left, right| right.usd.total_cmp(&left.usd));
    let (shown_tasks, shown_usd) =
        shown_by_agent.iter().fold((0, 0.0), |(tasks, usd), share| (tasks + share.tasks, usd + share.usd));
    shown_by_agent.truncate(most);
    CouldHaveStayed {
        tasks: (flags.len() as u64).saturating_mul(one_in),
        usd: flags.iter().map(|flag| flag.cost_usd).sum::<f64>() * scale,
        shown_tasks,
        shown_usd,
        shown_by_agent,
        flags: first(flags, most),
    }
}

/// The local answers that should have gone up; `most` of them are listed.
pub(super) fn should_have_gone_up<'a>(
    tasks: impl Iterator<Item = (&'a Key, &'a Task)>,
    one_in: u64,
    most: usize,
) -> ShouldHaveGoneUp {
    let mut flags: Vec<LocalFlag> = tasks.filter_map(|(key, task)| local_flag(key, task)).collect();
    // Of the same evidence, those that the router was surest of: there it is most wrong.
    flags.sort_by(|left, right| {
        let by_chance = right.chance.unwrap_or(0.0).total_cmp(&left.chance.unwrap_or(0.0));
        let name = |flag: &LocalFlag| (flag.agent.clone(), flag.task_id.clone());
        left.evidence.cmp(&right.evidence).then(by_chance).then_with(|| name(left).cmp(&name(right)))
    });
    let mut by_evidence = BTreeMap::new();
    for flag in &flags {
        *by_evidence.entry(flag.evidence.as_str()).or_default() += one_in;
    }
    ShouldHaveGoneUp {
        tasks: (flags.len() as u64).saturating_mul(one_in),
        by_evidence,
        flags: first(flags, most),
    }
}

fn first<T>(mut flags: Vec<T>, most: usize) -> Vec<T> {
    flags.truncate(most);
    flags
}

fn cloud_flag(key: &Key, task: &Task) -> Option<CloudFlag> {
    let answer = task.done().filter(|answer| answer.zone == Some(Zone::Cloud))?;
    if task.sensitivity() == Some(Sensitivity::Private) {
        return None;
    }
    let (lane, evidence, reason) = match best_shadow(task) {
        Some(shadow) if shadow.quality >= DOES => {
            let reason =
                format!("its shadow on {} was judged {:.2}: it would have done", shadow.lane, shadow.quality);
            (shadow.lane, CloudEvidence::Shadow, reason)
        }
        // What was tried beats what was thought.
        Some(_) => return None,
        None if answer.is_escalated => return None,
        None => {
            let choice = task.choice.as_ref()?;
            let local = best_local(choice).filter(|local| local.chance >= choice.threshold - NEARLY)?;
            (local.lane.clone(), CloudEvidence::Score, why_not(choice, local))
        }
    };
    Some(CloudFlag {
        task_id: key.1.to_string(),
        agent: key.0.to_string(),
        cost_usd: answer.cost_usd,
        chance: task.chance_of(&lane),
        lane: lane.to_string(),
        evidence,
        reason,
    })
}

fn best_local(choice: &Choice) -> Option<&Weighed> {
    let local = choice.candidates.iter().filter(|candidate| candidate.zone == Zone::Local && candidate.fits);
    local.max_by(|left, right| left.chance.total_cmp(&right.chance))
}

/// Why the cloud had it, although a local lane looked good enough or nearly so.
fn why_not(choice: &Choice, local: &Weighed) -> String {
    let bar = format!("{} had {:.2}, the bar was {:.2}", local.lane, local.chance, choice.threshold);
    match choice.reason {
        Reason::Explored => format!("{bar}; drawn at random, to learn from"),
        Reason::Pinned => format!("{bar}; the task or its agent names the model"),
        Reason::NoWorker => format!("{bar}; it had no worker"),
        Reason::Saturated => format!("{bar}; its queue was too long"),
        _ if local.chance < choice.threshold => format!("{bar}: a near miss"),
        _ => bar,
    }
}

fn local_flag(key: &Key, task: &Task) -> Option<LocalFlag> {
    let answer = task.done()?;
    let (lane, evidence, reason) = if let Some(earlier) = &answer.earlier {
        let to = answer.lane.as_deref().unwrap_or("another lane");
        (earlier.lane.clone(), LocalEvidence::Improved, format!("went up to {to}, which answered again"))
    } else if answer.zone == Some(Zone::Local) {
        let (evidence, reason) = not_good(task)?;
        (answer.lane.clone()?, evidence, reason)
    } else {
        return None;
    };
    Some(LocalFlag {
        task_id: key.1.to_string(),
        agent: key.0.to_string(),
        is_private: task.sensitivity() == Some(Sensitivity::Private),
        chance: task.chance_of(&lane),
        lane: lane.to_string(),
        evidence,
        reason,
    })
}

/// What speaks against a local answer that stands. A reader who accepted it beats every other sign.
fn not_good(task: &Task) -> Option<(LocalEvidence, String)> {
    let signs = &task.answer.as_ref()?.signs;
    match task.evidence() {
        Some(known) if known.source == OutcomeSource::Feedback => {
            let reason = format!("its reader gave it {:.2}", known.quality);
            return (known.quality < DOES).then_some((LocalEvidence::Feedback, reason));
        }
        Some(known) if known.source == OutcomeSource::Validators && known.quality < DOES => {
            return Some((LocalEvidence::Validators, "it failed what its task demands".to_owned()));
        }
        _ => {}
    }
    match signs {
        signs if signs.failed_validators > 0 => {
            let reason = format!("it failed {} of its task's validators", signs.failed_validators);
            Some((LocalEvidence::Validators, reason))
        }
        signs if signs.is_refused => Some((LocalEvidence::Signs, "the model refused".to_owned())),
        signs if signs.is_repeating => Some((LocalEvidence::Signs, "it repeats itself".to_owned())),
        _ => None,
    }
}

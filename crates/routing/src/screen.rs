//! The first step, and the one that nothing overrules: may this work leave the local zone?
//!
//! It yields a type. Only [`Cleared`] work can become a [`CloudRoute`](crate::route::CloudRoute), and only
//! this module makes it, so no later step can put private work on a cloud lane:
//!
//! ```compile_fail
//! use trilane_routing::route::CloudRoute;
//! use trilane_routing::screen::Private;
//! fn send(private: Private, decision: trilane_protocol::Decision) -> CloudRoute {
//!     CloudRoute::new(private, decision)
//! }
//! ```
//!
//! The same with cleared work compiles, so the refusal above is about the type and nothing else:
//!
//! ```
//! use trilane_routing::route::CloudRoute;
//! use trilane_routing::screen::Cleared;
//! fn send(cleared: Cleared, decision: trilane_protocol::Decision) -> CloudRoute {
//!     CloudRoute::new(cleared, decision)
//! }
//! ```

use std::collections::BTreeMap;

use trilane_protocol::decision::{Finding, FindingSource, ScreenReport};
use trilane_protocol::learning::JUDGE;
use trilane_protocol::validator::Validator;
use trilane_protocol::{Sensitivity, Work};

use crate::detect::Detectors;
use crate::detect::fold::fold;
use crate::policy::Policy;
use crate::registry::Agent;

/// Work after the screen.
#[derive(Debug)]
pub enum Screened {
    /// Stays in the local zone.
    Private(Private),
    /// May leave it.
    Cleared(Cleared),
}

/// Work that stays in the local zone.
#[derive(Debug)]
pub struct Private {
    work: Work,
    report: ScreenReport,
}

/// Work that may leave the local zone. Made by [`screen`] alone; there is no other constructor.
#[derive(Debug)]
pub struct Cleared {
    work: Work,
    report: ScreenReport,
}

impl Private {
    /// The work, now marked private for good.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// What the screen found.
    pub fn report(&self) -> &ScreenReport {
        &self.report
    }

    pub(crate) fn into_work(self) -> Work {
        self.work
    }
}

impl Cleared {
    /// The work.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// What the screen found.
    pub fn report(&self) -> &ScreenReport {
        &self.report
    }

    pub(crate) fn into_work(self) -> Work {
        self.work
    }
}

impl Screened {
    /// The work, whatever the verdict.
    pub fn work(&self) -> &Work {
        match self {
            Self::Private(private) => private.work(),
            Self::Cleared(cleared) => cleared.work(),
        }
    }

    /// What the screen found.
    pub fn report(&self) -> &ScreenReport {
        match self {
            Self::Private(private) => private.report(),
            Self::Cleared(cleared) => cleared.report(),
        }
    }
}

/// Screens `work`. Tags and detectors can only raise what the task, its agent and the policy say: every
/// finding is a ground for `private`, and without one the work is cleared.
pub fn screen(mut work: Work, agent: &Agent, policy: &Policy, detectors: &Detectors) -> Screened {
    let mut findings = Vec::from_iter(declared(&work, agent, policy));
    findings.extend(reserved(&work));
    findings.extend(private_tags(&work, policy));
    findings.extend(detected(&work, detectors));
    if findings.is_empty() {
        let report = ScreenReport { sensitivity: Sensitivity::Public, findings };
        return Screened::Cleared(Cleared { work, report });
    }
    work.sensitivity = Some(Sensitivity::Private);
    let report = ScreenReport { sensitivity: Sensitivity::Private, findings };
    Screened::Private(Private { work, report })
}

/// Whether tags or detectors make `work` private: the second look of whoever is about to send it away, who
/// need not know agents.
pub fn looks_private(work: &Work, policy: &Policy, detectors: &Detectors) -> bool {
    let is_marked = private_tags(work, policy).next().is_some() || reserved(work).is_some();
    is_marked || !detected(work, detectors).is_empty() || finds_in_earlier(work, detectors)
}

/// Whether the detectors find anything in the earlier answer that goes along with `work`. It makes no work private: it is
/// sent to no model, and is left behind where it would leave the local zone.
pub(crate) fn finds_in_earlier(work: &Work, detectors: &Detectors) -> bool {
    let text = work.earlier.as_ref().and_then(|earlier| earlier.text.as_deref());
    text.is_some_and(|text| !detectors.scan(text).is_empty())
}

/// What the task says; where it is silent, what its agent says; where both are, what the policy says.
fn declared(work: &Work, agent: &Agent, policy: &Policy) -> Option<Finding> {
    let (source, sensitivity) = match (work.sensitivity, agent.sensitivity) {
        (Some(inherited), _) if work.hop > 0 => (FindingSource::Inherited, inherited),
        (Some(said), _) => (FindingSource::Task, said),
        (None, Some(default)) => (FindingSource::Agent, default),
        (None, None) => (FindingSource::Untagged, policy.untagged),
    };
    (sensitivity == Sensitivity::Private).then(|| Finding { source, kind: "private".into(), count: 1 })
}

/// What is asked of a judge stays local whatever it says of itself: the learner reads private results, and must have no way
/// out.
fn reserved(work: &Work) -> Option<Finding> {
    let is_judge = work.agent.as_str() == JUDGE;
    is_judge.then(|| Finding { source: FindingSource::Agent, kind: JUDGE.into(), count: 1 })
}

fn private_tags<'a>(work: &'a Work, policy: &'a Policy) -> impl Iterator<Item = Finding> + 'a {
    let is_private = |tag: &&String| {
        let spelled = spelling(tag);
        policy.private_tags.iter().any(|private| spelling(private) == spelled)
    };
    work.tags.iter().filter(is_private).map(|tag| Finding {
        source: FindingSource::Tag,
        kind: tag.clone(),
        count: 1,
    })
}

/// How tags are compared: without regard to case, disguises, a leading `#`, and what stands between words.
fn spelling(tag: &str) -> String {
    let is_separator = |character: char| character.is_whitespace() || "_-.#/".contains(character);
    let folded = fold(tag).to_lowercase();
    folded.split(is_separator).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// What the detectors find in the messages of one conversation: the part of the screen that needs nothing but text,
/// for whoever measures it. Kinds in the order of their names, each with the number of times.
pub fn detected_in_messages(messages: &[&str], detectors: &Detectors) -> BTreeMap<&'static str, u32> {
    let mut hits = BTreeMap::new();
    scan_parts(messages, detectors, &mut hits);
    hits
}

/// Everything that a cloud lane would be shown: the conversation, but also stop texts, schemas, validators, tags and
/// metadata, which are as good a hiding place for a secret. Where parts of a kind meet is read once more, since a
/// secret cut in two is still there.
fn detected(work: &Work, detectors: &Detectors) -> Vec<Finding> {
    let messages: Vec<&str> = work.messages.iter().map(|message| message.content.as_str()).collect();
    let mut hits = detected_in_messages(&messages, detectors);
    let stops: Vec<&str> = work.generation.stop.iter().map(String::as_str).collect();
    let tags: Vec<&str> = work.tags.iter().map(String::as_str).collect();
    for parts in [stops, tags] {
        scan_parts(&parts, detectors, &mut hits);
    }
    let mut scan = |text: &str| scan_parts(&[text], detectors, &mut hits);
    work.generation.json_schema.iter().for_each(|schema| scan(&texts_of(schema)));
    work.validate.iter().for_each(|validator| match validator {
        Validator::JsonSchema(schema) => scan(&texts_of(schema)),
        Validator::Regex(text) | Validator::Contains(text) | Validator::Command(text) => scan(text),
    });
    work.metadata.iter().for_each(|(key, value)| scan(&format!("{key}: {}", texts_of(value))));
    let finding = |(kind, count): (&str, u32)| Finding {
        source: FindingSource::Detector,
        kind: kind.to_owned(),
        count,
    };
    hits.into_iter().map(finding).collect()
}

/// Scans each part. Where parts of a kind meet is read once more, since a secret cut in two is still there.
fn scan_parts(parts: &[&str], detectors: &Detectors, hits: &mut BTreeMap<&'static str, u32>) {
    let mut scan = |text: &str| {
        for hit in detectors.scan(text) {
            *hits.entry(hit.kind.as_str()).or_default() += hit.count;
        }
    };
    parts.iter().for_each(|part| scan(part));
    if parts.len() > 1 {
        scan(&seams(parts));
    }
}

/// Bytes at each end of a part that are read together with its neighbours; longer than any secret that a
/// detector knows by more than its head.
const SEAM_BYTES: usize = 256;

/// The parts put together without a gap, the inside of long ones left out.
fn seams(parts: &[&str]) -> String {
    let mut joined = String::new();
    for part in parts {
        let mut inside =
            (SEAM_BYTES..part.len().saturating_sub(SEAM_BYTES)).filter(|at| part.is_char_boundary(*at));
        let (first, last) = (inside.clone().next(), inside.next_back());
        match (first, last) {
            (Some(first), Some(last)) => {
                joined.push_str(&part[..first]);
                joined.push_str("\n\n");
                joined.push_str(&part[last..]);
            }
            _ => joined.push_str(part),
        }
    }
    joined
}

/// All texts and numbers of a JSON value, unescaped, a line each. The depth is bounded by the decoder.
fn texts_of(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(texts_of).collect::<Vec<_>>().join("\n"),
        Value::Object(map) => {
            let line = |(key, value): (&String, &Value)| format!("{key}: {}", texts_of(value));
            map.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

//! When an alert begins and when it is over: a state machine with two thresholds and two delays. Pure.
//!
//! Something must be wrong without a break for `fire_after_s` before its alert fires, and right without a break for
//! `resolve_after_s` before it is resolved. Between the two thresholds an alert stays what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use trilane_broker::observe::Said;
use trilane_protocol::alert::{Alert, AlertState};
use trilane_service::config::Alerts;

use super::kind::Kind;
use super::raised;
use super::reading::Reading;

/// The kind that is over where its worker is heard again, and where it has been gone for so long that nobody waits.
const WORKER_SILENT: &str = Kind::WorkerSilent.as_str();

/// Alerts that are over and still shown.
const MAX_OVER: usize = 20;

/// How long a monitor leaves an alert alone that it cannot know about: it was not there when a worker was last heard, or
/// when something was raised. As long as the monitor that was there keeps it in mind.
const UNSEEN_KEPT: Duration = Duration::from_secs(15 * 60);

/// Kind and place of an alert.
type Key = (String, String);

/// All alerts, firing or not.
#[derive(Debug)]
pub(crate) struct Lives {
    settle: Duration,
    fire_after: Duration,
    resolve_after: Duration,
    lives: BTreeMap<Key, Life>,
}

#[derive(Debug, Clone, Default)]
struct Life {
    /// Since when it has been wrong without a break, by the monitor's own clock.
    wrong_since: Option<Duration>,
    /// Since when it has been right without a break.
    right_since: Option<Duration>,
    /// Whether this monitor has itself seen it wrong.
    is_seen: bool,
    /// The last word on it; what it is now where that is `Firing`.
    said: Option<Alert>,
    /// Where that is kept.
    sequence: u64,
}

/// A word that is to be said, and what the last one was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word.
    pub(crate) alert: Alert,
    /// The sequence of the last one.
    pub(crate) after: u64,
}

impl Lives {
    pub(crate) fn new(settings: &Alerts) -> Self {
        Self {
            settle: Duration::from_secs(settings.settle_s),
            fire_after: Duration::from_secs(settings.fire_after_s),
            resolve_after: Duration::from_secs(settings.resolve_after_s),
            lives: BTreeMap::new(),
        }
    }

    /// Takes what has been said of an alert, by this monitor or another, before it started or since.
    pub(crate) fn adopt(&mut self, said: Said) {
        let key = (said.alert.kind.clone(), said.alert.lane.clone());
        let life = self.lives.entry(key).or_default();
        if said.sequence >= life.sequence {
            life.sequence = said.sequence;
            life.said = Some(said.alert);
        }
    }

    /// Takes a word that has been said and is kept nowhere.
    pub(crate) fn said(&mut self, alert: Alert) {
        let key = (alert.kind.clone(), alert.lane.clone());
        self.lives.entry(key).or_default().said = Some(alert);
    }

    /// Nothing is known of anything until `now`: what was about to begin or to end starts again.
    pub(crate) fn forget_beginnings(&mut self) {
        for life in self.lives.values_mut() {
            life.wrong_since = None;
            life.right_since = None;
        }
    }

    /// Takes what is wrong now, `since_start` after this monitor began, and tells which words are due. A word stays due
    /// until it is [adopted](Self::adopt).
    pub(crate) fn step(&mut self, readings: &[Reading], since_start: Duration, now: Timestamp) -> Vec<Word> {
        let mut words = Vec::new();
        for reading in readings {
            let key = (reading.kind.clone(), reading.place.clone());
            let life = self.lives.entry(key).or_default();
            if reading.is_wrong {
                life.right_since = None;
                life.is_seen = true;
                let wrong_since = *life.wrong_since.get_or_insert(since_start);
                let is_due = since_start >= self.settle && since_start - wrong_since >= self.fire_after;
                if !life.is_firing() && (is_due || reading.is_sudden) {
                    words.push(life.begin(reading, since_start - wrong_since, now));
                } else if let Some(said) = life.said.as_mut().filter(|said| said.state == AlertState::Firing)
                {
                    said.message.clone_from(&reading.message);
                    said.action.clone_from(&reading.action);
                }
            } else {
                (life.wrong_since, life.right_since) = (None, None);
            }
        }
        let is_named =
            |key: &Key| readings.iter().any(|reading| reading.kind == key.0 && reading.place == key.1);
        for (_, life) in self.lives.iter_mut().filter(|(key, _)| !is_named(key)) {
            life.wrong_since = None;
            let right_since = *life.right_since.get_or_insert(since_start);
            if life.is_firing()
                && since_start >= self.settle
                && since_start - right_since >= life.kept(self.resolve_after)
            {
                words.extend(life.end(now));
            }
        }
        self.forget_the_over();
        words
    }

    /// Those that fire, oldest first, then those that are over, newest first.
    pub(crate) fn shown(&self) -> Vec<Alert> {
        let said = || self.lives.values().filter_map(|life| life.said.clone());
        let mut firing: Vec<Alert> = said().filter(|alert| alert.state == AlertState::Firing).collect();
        firing.sort_by_key(|alert| alert.since);
        let mut over: Vec<Alert> = said().filter(|alert| alert.state == AlertState::Resolved).collect();
        over.sort_by_key(|alert| std::cmp::Reverse(alert.at));
        over.truncate(MAX_OVER);
        firing.into_iter().chain(over).collect()
    }

    /// What never fired and is right leaves no trace. The last word on the others is what their next one is held
    /// against; there are as many as kinds and places.
    fn forget_the_over(&mut self) {
        self.lives.retain(|_, life| life.said.is_some() || life.wrong_since.is_some());
    }
}

impl Life {
    fn is_firing(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.state == AlertState::Firing)
    }

    /// How long it must be right.
    fn kept(&self, resolve_after: Duration) -> Duration {
        let kind = self.said.as_ref().map_or("", |said| said.kind.as_str());
        let rests_on_memory = !self.is_seen && (kind == WORKER_SILENT || raised::is_raised(kind));
        if rests_on_memory { resolve_after.max(UNSEEN_KEPT) } else { resolve_after }
    }

    fn begin(&self, reading: &Reading, wrong_for: Duration, now: Timestamp) -> Word {
        let alert = Alert {
            kind: reading.kind.clone(),
            lane: reading.place.clone(),
            state: AlertState::Firing,
            message: reading.message.clone(),
            meaning: reading.meaning.clone(),
            action: reading.action.clone(),
            since: now.checked_sub(wrong_for).unwrap_or(now),
            at: now,
        };
        Word { alert, after: self.sequence }
    }

    fn end(&self, now: Timestamp) -> Option<Word> {
        let said = self.said.clone()?;
        let length = super::advice::length(now.duration_since(said.since).as_secs_f64().max(0.0));
        let over = match said.kind == WORKER_SILENT {
            true => "heard of again, or given up",
            false => "over",
        };
        let message = format!("{over} after {length}; it was: {}", said.message);
        let alert = Alert { state: AlertState::Resolved, message, action: String::new(), at: now, ..said };
        Some(Word { alert, after: self.sequence })
    }
}

#[cfg(test)]
mod tests;

//! The weekly review: from the records of a time to the figures that a person decides by.
//!
//! A [`Review`] takes results, routing records, outcomes, feedback and ledger entries, in any order, and makes [`Figures`]
//! of them. It holds numbers and names, never text of a task, and a bounded number of tasks: beyond that it goes on with a
//! share of them that a hash of their names chooses, and says so.
//!
//! * [`groups`]: by lane, agent and model; [`quality`], [`moves`], [`savings`], [`flags`], [`curve`], [`spend`], [`drift`]
//! * [`summary`]: three sentences; [`words`]: numbers as people read them
//! * `facts`, `sample`, `interval`, `calibration`: what these are made of

mod calibration;
pub mod curve;
pub mod drift;
mod facts;
pub mod flags;
pub mod groups;
mod interval;
pub mod moves;
pub mod quality;
mod sample;
pub mod savings;
pub mod spend;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod words;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use trilane_protocol::decision::{Reason, RouteRecord, Sensitivity};
use trilane_protocol::learning::{Feedback, JUDGE, Outcome};
use trilane_protocol::ledger::{Book, LedgerEntry};
use trilane_protocol::{AgentName, Decision, Status, TaskId, TaskResult, Zone};

use self::calibration::Correction;
use self::curve::Curve;
use self::drift::Drift;
use self::facts::{Answer, Choice, Evidence, Names, Task, amount};
use self::flags::{CouldHaveStayed, ShouldHaveGoneUp};
use self::groups::Group;
use self::moves::{Escalated, Shadows};
use self::quality::Quality;
use self::sample::{Key, Sample};
use self::savings::Savings;
use self::spend::{Days, Spend};
use self::summary::{Advice, AdviceKind};
use crate::budget::Budgets;
use crate::registry::Registry;

pub use self::calibration::Bin;

/// What the records are held against.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Lanes, models and prices.
    pub registry: &'a Registry,
    /// What may be spent.
    pub budgets: &'a Budgets,
    /// When the time begins.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Flags that each list holds.
    pub flags: usize,
    /// Tasks that are held at once, at less than a kilobyte each.
    pub max_tasks: usize,
    /// What intervals are drawn from.
    pub seed: u64,
}

/// What has been read so far.
#[derive(Debug)]
pub struct Review<'a> {
    terms: Terms<'a>,
    tasks: Sample<Task>,
    names: Names,
    days: Days,
    statuses: BTreeMap<&'static str, u64>,
    results_usd: f64,
    private_in_cloud: u64,
    dead_letters: u64,
}

/// All figures of the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// When the time begins.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// What was spent, what was saved, what to change.
    pub summary: Vec<String>,
    /// The last of these, for programs.
    pub advice: Advice,
    /// What the figures rest on.
    pub coverage: Coverage,
    /// All tasks together.
    pub totals: Totals,
    /// How good the results were.
    pub quality: Quality,
    /// By lane.
    pub lanes: Vec<Group>,
    /// By agent.
    pub agents: Vec<Group>,
    /// By model.
    pub models: Vec<Group>,
    /// What went up after a first try.
    pub escalated: Vec<Escalated>,
    /// What shadows have shown.
    pub shadows: Shadows,
    /// Against all-cloud.
    pub savings: Savings,
    /// Cloud calls that could have stayed local.
    pub could_have_stayed: CouldHaveStayed,
    /// Local answers that should have gone up.
    pub should_have_gone_up: ShouldHaveGoneUp,
    /// Quality against cost.
    pub curve: Curve,
    /// By day, against the budgets.
    pub spend: Spend,
    /// Whether the router changes.
    pub drift: Drift,
}

/// What the figures rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Tasks that ended in this time; always all of them.
    pub tasks: u64,
    /// Tasks that the other figures rest on.
    pub held: u64,
    /// How many tasks stand behind each of those; above 1, counts and dollars are scaled up by it.
    pub one_in: u64,
}

/// All tasks together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Totals {
    /// Those that ended, by how; always all of them.
    pub by_status: BTreeMap<&'static str, u64>,
    /// Those that were answered; always all of them.
    pub done: u64,
    /// Those that the screen let out.
    pub public: u64,
    /// Those that it did not.
    pub private: u64,
    /// Private ones that were put into the cloud zone: none, or `trilane prove` names them; always all of them.
    pub private_in_cloud: u64,
    /// Dollars that the results name; always all of them.
    pub results_usd: f64,
    /// Dollars of it that the learner's judge took.
    pub judge_usd: f64,
    /// Routed in this time, and not ended yet.
    pub under_way: u64,
    /// Dead letters of this time.
    pub dead_letters: u64,
}

impl<'a> Review<'a> {
    /// A review that has read nothing.
    pub fn new(terms: Terms<'a>) -> Self {
        Self {
            tasks: Sample::new(terms.max_tasks),
            terms,
            names: Names::default(),
            days: Days::default(),
            statuses: BTreeMap::new(),
            results_usd: 0.0,
            private_in_cloud: 0,
            dead_letters: 0,
        }
    }

    /// A result of the time.
    pub fn take_result(&mut self, result: &TaskResult) {
        *self.statuses.entry(result.status.as_str()).or_default() += 1;
        let is_leak = |decision: &&Decision| {
            decision.zone == Zone::Cloud && decision.screen.sensitivity == Sensitivity::Private
        };
        self.private_in_cloud += u64::from(result.decision.as_ref().filter(is_leak).is_some());
        let cost_usd = amount(result.cost_usd);
        self.results_usd += cost_usd;
        self.days.take_result(cost_usd, result.finished_at.clamp(self.terms.since, self.terms.until));
        let Some(task) = self.tasks.entry(&(result.agent.clone(), result.task_id.clone())) else { return };
        task.answer = Some(Answer::of(result, self.terms.registry, &mut self.names));
        if let Some(decision) = result.decision.as_ref().filter(|_| !task.is_first_choice) {
            task.choice = Some(Choice::of(decision, self.terms.registry, &mut self.names));
        }
    }

    /// A record of the routing log. Only first decisions count: the later ones of a task follow from what it met, and a
    /// shadow's are of no task.
    pub fn take_route(&mut self, record: &RouteRecord) {
        if record.hop > 0 || record.step.is_some() || record.decision.reason == Reason::Shadowed {
            return;
        }
        let Some(task) = self.tasks.entry(&(record.agent.clone(), record.task_id.clone())) else { return };
        let known = task.answer.as_ref().and_then(|answer| answer.task_seq);
        // Another task has used the same id.
        if known.is_some_and(|known| known != record.task_seq) {
            return;
        }
        task.choice = Some(Choice::of(&record.decision, self.terms.registry, &mut self.names));
        task.is_first_choice = true;
    }

    /// How good an answer was, as the learner has taken it. To be called after the results.
    pub fn take_outcome(&mut self, outcome: &Outcome) {
        if let Some(task) = self.tasks.known(&(outcome.agent.clone(), outcome.task_id.clone())) {
            task.learn(outcome, &mut self.names);
        }
    }

    /// A verdict on a result. To be called after the results.
    pub fn take_feedback(&mut self, agent: AgentName, task_id: TaskId, feedback: Feedback) {
        if let Some((task, quality)) = self.tasks.known(&(agent, task_id)).zip(feedback.quality()) {
            task.feedback = Some(quality);
        }
    }

    /// An entry of the spend ledger.
    pub fn take_entry(&mut self, entry: &LedgerEntry) {
        self.days.take_event(entry.event, entry.at.clamp(self.terms.since, self.terms.until));
    }

    /// A dead letter.
    pub fn take_letter(&mut self) {
        self.dead_letters += 1;
    }

    /// The figures of all that was taken; `book` is the ledger's as it stands.
    pub fn conclude(&self, book: &Book) -> Figures {
        let Terms { registry, budgets, since, until, flags, seed, .. } = self.terms;
        let one_in = self.tasks.one_in();
        let ended = || self.tasks.iter().filter(|(_, task)| task.answer.is_some());
        // The judge's tasks are the learner's own: there would be none without it.
        let work = || ended().filter(|((agent, _), _)| agent.as_str() != JUDGE);
        let of_work = || work().map(|(_, task)| task);
        let choices: Vec<&Choice> = of_work().filter_map(|task| task.choice.as_ref()).collect();
        let dated: Vec<(Timestamp, Evidence)> = of_work().flat_map(dated).collect();
        let evidence: Vec<Evidence> = dated.iter().map(|(_, evidence)| evidence.clone()).collect();
        let mut figures = Figures {
            since,
            until,
            summary: Vec::new(),
            advice: Advice { kind: AdviceKind::NoTasks, sentence: String::new() },
            coverage: self.coverage(ended().count()),
            totals: self.totals(),
            quality: Quality::of(of_work().filter_map(Task::evidence)),
            lanes: groups::by_lane(ended().map(|(_, task)| task), one_in),
            agents: groups::by_agent(ended(), one_in),
            models: groups::by_model(ended().map(|(_, task)| task), one_in),
            escalated: moves::escalated(of_work(), one_in),
            shadows: moves::shadows(of_work(), one_in),
            savings: savings::savings(of_work(), registry, one_in, seed),
            could_have_stayed: flags::could_have_stayed(work(), one_in, flags),
            should_have_gone_up: flags::should_have_gone_up(work(), one_in, flags),
            curve: curve::curve(&choices, registry, &Correction::fit(&evidence), one_in),
            spend: self.days.spend(budgets, book, (since, until)),
            drift: drift::drift(&choices, &dated, (since, until), one_in),
        };
        figures.advice = summary::advice(&figures);
        figures.summary = summary::sentences(&figures, &figures.advice);
        figures
    }

    fn coverage(&self, held: usize) -> Coverage {
        Coverage { tasks: self.statuses.values().sum(), held: held as u64, one_in: self.tasks.one_in() }
    }

    fn totals(&self) -> Totals {
        let one_in = self.tasks.one_in();
        let count = |is_it: &dyn Fn(&Key, &Task) -> bool| {
            (self.tasks.iter().filter(|(key, task)| is_it(key, task)).count() as u64).saturating_mul(one_in)
        };
        let of = |sensitivity| {
            count(&move |_, task| task.answer.is_some() && task.sensitivity() == Some(sensitivity))
        };
        let judges = self.tasks.iter().filter(|((agent, _), _)| agent.as_str() == JUDGE);
        let judge_usd: f64 =
            judges.filter_map(|(_, task)| task.answer.as_ref()).map(|answer| answer.cost_usd).sum();
        Totals {
            by_status: self.statuses.clone(),
            done: self.statuses.get(Status::Done.as_str()).copied().unwrap_or_default(),
            public: of(Sensitivity::Public),
            private: of(Sensitivity::Private),
            private_in_cloud: self.private_in_cloud,
            results_usd: self.results_usd,
            judge_usd: judge_usd * one_in as f64,
            under_way: count(&|_, task| task.answer.is_none()),
            dead_letters: self.dead_letters,
        }
    }
}

impl Figures {
    /// The bar that the last decision was held to, 0 to 1. Absent without decisions.
    pub fn bar(&self) -> Option<f64> {
        self.curve.today.map(|today| today.threshold)
    }
}

/// What is known of a task, with when it was decided.
fn dated(task: &Task) -> impl Iterator<Item = (Timestamp, Evidence)> {
    let at = task.choice.as_ref().map(|choice| choice.decided_at);
    at.into_iter().flat_map(|at| task.evidence_by_lane().map(move |evidence| (at, evidence)))
}

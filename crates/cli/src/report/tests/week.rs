//! A made-up week of four agents: the same records from the same time, for tests of figures and of pages.

use jiff::{SignedDuration, Timestamp};
use trilane_protocol::decision::{
    Candidate, CandidateVerdict, Reason, RouteRecord, Score, ScoreSource, ScreenReport,
};
use trilane_protocol::learning::{EarlierAnswer, Feedback, Outcome, OutcomeSource, Signs, Verdict};
use trilane_protocol::ledger::{Book, LedgerEntry, LedgerEvent};
use trilane_protocol::outcome::{TaskError, Timing};
use trilane_protocol::{
    AgentName, Decision, LaneName, ModelName, Sensitivity, Status, TaskId, TaskResult, Usage, Usd, Zone,
};

/// Tasks of the week.
pub(crate) const TASKS: u32 = 700;

/// All records of a week.
#[derive(Debug, Default)]
pub(crate) struct Week {
    pub(crate) results: Vec<TaskResult>,
    pub(crate) records: Vec<RouteRecord>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) feedback: Vec<(AgentName, TaskId, Feedback)>,
    pub(crate) entries: Vec<LedgerEntry>,
    pub(crate) book: Book,
}

/// An agent: name, share of the tasks, how hard they are from and to, whether they are private.
const AGENTS: [(&str, f64, f64, f64, bool); 4] = [
    ("support", 0.42, 0.05, 0.62, false),
    ("marketing", 0.25, 0.15, 0.75, false),
    ("research", 0.18, 0.45, 1.0, false),
    ("legal", 0.15, 0.1, 0.8, true),
];

/// A lane: name, model, how hard a task it answers half the time.
const LANES: [(&str, &str, f64); 3] = [
    ("local-fast", "smollm2-135m", 0.42),
    ("local-deep", "qwen2.5-coder-0.5b", 0.66),
    ("cloud", "claude-sonnet", 1.15),
];

/// Tasks on the days of the week before now, by how busy each is.
const BUSY: [f64; 7] = [1.0, 1.2, 1.1, 1.3, 0.9, 0.35, 0.25];

/// SplitMix64.
struct Draws(u64);

impl Draws {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.next() * (high - low)
    }
}

/// The week that ends now.
pub(crate) fn week(now: Timestamp) -> Week {
    let (mut week, mut draws) = (Week::default(), Draws(7));
    for index in 0..TASKS {
        week.add(index, now - age(f64::from(index) / f64::from(TASKS)), &mut draws);
    }
    week
}

/// How long ago the task at this share of the week was, 7 days at 0.
fn age(share: f64) -> SignedDuration {
    let mut left = share * BUSY.iter().sum::<f64>();
    for (day, busy) in (0_u32..).zip(BUSY) {
        if left < busy {
            return SignedDuration::from_secs_f64(
                (7.0 - f64::from(day) - left / busy) * 24.0 * 3_600.0 - 1.0,
            );
        }
        left -= busy;
    }
    SignedDuration::ZERO
}

impl Week {
    fn add(&mut self, index: u32, at: Timestamp, draws: &mut Draws) {
        let (agent, is_private, hard) = pick(draws);
        let task_id: TaskId = format!("{}-{index:04}", &agent.as_str()[..3]).parse().unwrap();
        let usage = Usage {
            prompt_tokens: draws.between(150.0, 2_600.0) as u64,
            completion_tokens: draws.between(40.0, 900.0) as u64,
            cached_tokens: 0,
        };
        let decision = decide(is_private, hard, usage, at, index);
        self.records.push(record(&agent, &task_id, index, &decision));
        let fate = draws.next();
        let mut result = answered(&agent, &task_id, index, &decision, usage, at, draws);
        if fate < 0.03 {
            let (status, code) = if fate < 0.02 {
                (Status::Failed, "too_many_attempts")
            } else {
                (Status::Expired, "deadline")
            };
            result.status = status;
            (result.text, result.signs) = (None, None);
            result.error = Some(TaskError::new(code, "made up"));
        } else {
            self.judge(&mut result, &decision, draws);
        }
        self.spend(&result, at);
        self.results.push(result);
    }

    /// What becomes known of an answer: a second try, feedback, validators, a shadow, or nothing.
    fn judge(&mut self, result: &mut TaskResult, decision: &Decision, draws: &mut Draws) {
        let chance = decision.candidates.iter().find(|one| one.lane == decision.lane).unwrap().chance;
        let is_good = draws.next() < chance * 0.95;
        let known = draws.next();
        let (agent, task_id) = (result.agent.clone(), result.task_id.clone());
        let mut say = |lane: &LaneName, quality: f64, source, chance| {
            self.outcomes.push(outcome(result, decision, lane, quality, source, chance));
        };
        match known {
            known if decision.lane.as_str() == "local-fast" && !is_good && known < 0.3 => {
                say(&decision.lane, 0.0, OutcomeSource::Validators, chance);
                improve(result, decision);
            }
            known if known < 0.12 => {
                let verdict = if is_good { Verdict::Accept } else { Verdict::Reject };
                self.feedback.push((agent, task_id, Feedback::Verdict(verdict)));
            }
            known if known < 0.3 => {
                say(&decision.lane, f64::from(is_good), OutcomeSource::Validators, chance);
            }
            known if known < 0.33 && !is_good => {
                say(&decision.lane, 0.0, OutcomeSource::Signs, chance);
                result.signs = Some(Signs { refused: true, ..Signs::default() });
            }
            known if known > 0.8 && decision.zone == Zone::Cloud => {
                let deep = decision.candidates[1].chance;
                let would_do = draws.next() < deep + 0.4;
                say(&LANES[1].0.parse().unwrap(), f64::from(would_do), OutcomeSource::Shadow, deep);
            }
            _ => {}
        }
    }

    fn spend(&mut self, result: &TaskResult, at: Timestamp) {
        let amount = Usd::nearest(result.cost_usd).unwrap();
        if amount == Usd::ZERO {
            return;
        }
        let day = self.book.days.entry(trilane_routing::budget::day_of(at)).or_default();
        day.total.settled = day.total.settled.plus(amount);
        let own = day.agents.entry(result.agent.clone()).or_default();
        own.settled = own.settled.plus(amount);
        self.entries.push(LedgerEntry {
            agent: result.agent.clone(),
            task_id: result.task_id.clone(),
            task_seq: result.task_seq.unwrap(),
            hop: 0,
            attempt: 1,
            worker: "cloud-1".into(),
            model: LANES[2].1.parse().unwrap(),
            event: LedgerEvent::Settled { reserved: amount, amount, answered: true },
            task_spent: amount,
            open: None,
            others: Vec::new(),
            at,
            book: self.book.clone(),
        });
    }
}

fn pick(draws: &mut Draws) -> (AgentName, bool, f64) {
    let mut left = draws.next();
    let is_it = |(_, share, ..): &&(&str, f64, f64, f64, bool)| {
        left -= share;
        left < 0.0
    };
    let (name, _, from, to, is_private) = *AGENTS.iter().find(is_it).unwrap_or(&AGENTS[0]);
    (name.parse().unwrap(), is_private, draws.between(from, to))
}

/// As the router decides, with a new policy from the middle of the week on.
fn decide(is_private: bool, hard: f64, usage: Usage, at: Timestamp, index: u32) -> Decision {
    let (version, threshold) = if index < TASKS / 2 { ("shipped-1", 0.6) } else { ("learned-2", 0.55) };
    let lanes = if is_private { 2 } else { 3 };
    let candidates: Vec<Candidate> = LANES[..lanes]
        .iter()
        .map(|(lane, model, half)| {
            let chance = 1.0 / (1.0 + ((hard - half) * 8.0).exp());
            let verdict =
                if chance < threshold { CandidateVerdict::TooWeak } else { CandidateVerdict::Eligible };
            let expected_cost_usd =
                if *lane == "cloud" { usage.prompt_tokens as f64 * 3e-6 + 0.0075 } else { 0.0 };
            let (lane, model) = (lane.parse().unwrap(), model.parse().unwrap());
            Candidate { lane, model, chance, expected_cost_usd, verdict }
        })
        .collect();
    let chosen = candidates.iter().find(|one| one.chance >= threshold).unwrap_or(&candidates[lanes - 1]);
    let zone = if chosen.lane.as_str() == "cloud" { Zone::Cloud } else { Zone::Local };
    Decision {
        lane: chosen.lane.clone(),
        zone,
        model: chosen.model.clone(),
        reason: if chosen.chance >= threshold { Reason::GoodEnough } else { Reason::Strongest },
        explanation: "made up".into(),
        screen: ScreenReport {
            sensitivity: if is_private { Sensitivity::Private } else { Sensitivity::Public },
            findings: Vec::new(),
        },
        score: Score {
            complexity: hard,
            source: ScoreSource::Learned,
            contributions: Vec::new(),
            prompt_tokens: 500,
        },
        threshold,
        bar: None,
        candidates,
        adjustments: Vec::new(),
        propensity: 1.0,
        policy_version: version.into(),
        decided_at: at,
    }
}

fn record(agent: &AgentName, task_id: &TaskId, index: u32, decision: &Decision) -> RouteRecord {
    RouteRecord {
        task_id: task_id.clone(),
        agent: agent.clone(),
        hop: 0,
        step: None,
        task_seq: index.into(),
        prompt_bytes: 1_000,
        classifier: "made-up".into(),
        decision: decision.clone(),
    }
}

fn answered(
    agent: &AgentName,
    task_id: &TaskId,
    index: u32,
    decision: &Decision,
    usage: Usage,
    at: Timestamp,
    draws: &mut Draws,
) -> TaskResult {
    let is_cloud = decision.zone == Zone::Cloud;
    let tokens = usage.completion_tokens as f64;
    TaskResult {
        task_id: task_id.clone(),
        agent: agent.clone(),
        task_seq: Some(index.into()),
        status: Status::Done,
        text: Some("a made-up answer".into()),
        finish: None,
        error: None,
        lane: Some(decision.lane.clone()),
        model: Some(decision.model.clone()),
        signs: Some(Signs::default()),
        earlier: None,
        usage,
        cost_usd: if is_cloud { usage.prompt_tokens as f64 * 3e-6 + tokens * 15e-6 } else { 0.0 },
        timing_ms: Timing {
            queued: draws.between(4.0, 30.0) as u64,
            waited: draws.between(1.0, 900.0) as u64,
            first_token: None,
            run: (tokens * if is_cloud { 14.0 } else { 9.0 }) as u64,
        },
        attempts: 1,
        decision: Some(decision.clone()),
        metadata: serde_json::Map::new(),
        finished_at: at,
    }
}

/// The deep lane has answered again.
fn improve(result: &mut TaskResult, decision: &Decision) {
    result.earlier = Some(Box::new(EarlierAnswer {
        lane: decision.lane.clone(),
        model: decision.model.clone(),
        usage: result.usage,
        cost_usd: 0.0,
        signs: Signs::default(),
        reason: "made up".into(),
        propensity: 1.0,
        policy_version: decision.policy_version.clone(),
        text: None,
        finish: None,
    }));
    result.usage = result.usage.plus(result.usage);
    result.lane = Some(LANES[1].0.parse::<LaneName>().unwrap());
    result.model = Some(LANES[1].1.parse::<ModelName>().unwrap());
}

fn outcome(
    result: &TaskResult,
    decision: &Decision,
    lane: &LaneName,
    quality: f64,
    source: OutcomeSource,
    chance: f64,
) -> Outcome {
    let (_, model, _) = LANES.iter().find(|(name, ..)| *name == lane.as_str()).unwrap();
    Outcome {
        task_id: result.task_id.clone(),
        agent: result.agent.clone(),
        task_seq: result.task_seq.unwrap(),
        lane: lane.clone(),
        zone: if lane.as_str() == "cloud" { Zone::Cloud } else { Zone::Local },
        model: model.parse().unwrap(),
        quality,
        source,
        cost_usd: result.cost_usd,
        propensity: 1.0,
        chance,
        policy_version: decision.policy_version.clone(),
        at: result.finished_at,
    }
}

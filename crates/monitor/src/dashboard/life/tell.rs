//! What the traces of a task tell: its life as a list, in order. Holds no text, answer or metadata of the task. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use trilane_protocol::decision::{Decision, FindingSource, ScreenReport, Sensitivity};
use trilane_protocol::ledger::{LedgerEntry, LedgerEvent};
use trilane_protocol::money::Usd;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::{AgentName, Status, TaskId, TaskResult};

use crate::dashboard::reading::Tone;
use crate::watch::fleet::Decided;

/// What a task has left behind.
#[derive(Debug, Default)]
pub(super) struct Traces {
    pub(super) result: Option<TaskResult>,
    /// Its decisions among the last ones of the fleet.
    pub(super) decided: Vec<Decided>,
    pub(super) spending: Vec<LedgerEntry>,
    pub(super) letters: Vec<DeadLetter>,
}

/// A task's life.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Life {
    agent: AgentName,
    task_id: TaskId,
    /// How it stands, in a word or two.
    state: &'static str,
    tone: Tone,
    /// The same in a sentence.
    sentence: String,
    entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Entry {
    at: Timestamp,
    what: What,
    detail: String,
}

/// What happened; those that come first in a life are less, for what has the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Published,
    Decided,
    Started,
    Reserved,
    FirstToken,
    Settled,
    Died,
    Finished,
}

/// Tells a task's life.
pub(super) fn life(agent: AgentName, task_id: TaskId, traces: &Traces) -> Life {
    let mut entries = entries(traces);
    entries.sort_by_key(|entry| (entry.at, entry.what));
    let (state, tone, sentence) = standing(traces);
    Life { agent, task_id, state, tone, sentence, entries }
}

fn entries(traces: &Traces) -> Vec<Entry> {
    let mut entries = Vec::new();
    let in_result = traces.result.as_ref().and_then(|result| result.decision.as_ref());
    // The result's own decision tells more than the same one among the last.
    let others = traces.decided.iter();
    let others = others.filter(|decided| in_result.is_none_or(|decision| decision.decided_at != decided.at));
    entries.extend(others.map(decided));
    if let Some(result) = &traces.result {
        entries.extend(run(result));
    }
    entries.extend(traces.spending.iter().map(spent));
    entries.extend(traces.letters.iter().map(died));
    entries
}

/// What a result tells. It holds lengths, not times, so its times rest on the clocks of those who wrote it.
fn run(result: &TaskResult) -> Vec<Entry> {
    let timing = &result.timing_ms;
    let entry = |at: Timestamp, what, detail| Entry { at, what, detail };
    let finished = entry(result.finished_at, What::Finished, ending(result));
    let Some(decision) = &result.decision else { return vec![finished] };
    let decided_at = decision.decided_at;
    let mut entries = vec![
        entry(later(decided_at, timing.queued, true), What::Published, String::new()),
        entry(decided_at, What::Decided, reasons(decision)),
        finished,
    ];
    if result.attempts > 0 {
        let started_at = later(decided_at, timing.waited, false);
        let detail =
            format!("Attempt {} began after {} on the lane.", result.attempts, length(timing.waited));
        entries.push(entry(started_at, What::Started, detail));
        if let Some(first_token) = timing.first_token {
            let detail = format!("{} after the attempt began.", length(first_token));
            entries.push(entry(later(started_at, first_token, false), What::FirstToken, detail));
        }
    }
    entries
}

fn decided(decided: &Decided) -> Entry {
    let Decided { lane, model, sensitivity, reason, explanation, complexity, policy_version, .. } = decided;
    let detail = format!(
        "To {lane} for {model}: {explanation} ({reason}, {sensitivity}, complexity {complexity:.2}, policy {policy_version})"
    );
    Entry { at: decided.at, what: What::Decided, detail }
}

fn reasons(decision: &Decision) -> String {
    let Decision { lane, model, reason, explanation, score, threshold, policy_version, .. } = decision;
    let considered = decision.candidates.iter().map(|candidate| {
        format!("{} {:.2} at ${:.4}", candidate.lane, candidate.chance, candidate.expected_cost_usd)
    });
    let considered: Vec<_> = considered.collect();
    let considered = match considered.is_empty() {
        true => String::new(),
        false => format!("; chance of a good answer, {threshold:.2} needed: {}", considered.join(", ")),
    };
    format!(
        "To {lane} for {model}: {explanation} ({}, {}, complexity {:.2}, policy {policy_version}{considered})",
        reason.as_str(),
        screened(&decision.screen),
        score.complexity,
    )
}

fn screened(screen: &ScreenReport) -> String {
    let word = match screen.sensitivity {
        Sensitivity::Public => "public",
        Sensitivity::Private => "private",
    };
    let grounds = screen.findings.iter().filter(|finding| finding.source != FindingSource::Untagged);
    let grounds: Vec<_> = grounds.map(|finding| format!("{} × {}", finding.count, finding.kind)).collect();
    if grounds.is_empty() { word.to_owned() } else { format!("{word} by {}", grounds.join(", ")) }
}

fn ending(result: &TaskResult) -> String {
    let place = match (&result.model, &result.lane) {
        (Some(model), Some(lane)) => format!(" by {model} on {lane}"),
        (None, Some(lane)) => format!(" on {lane}"),
        _ => String::new(),
    };
    let usage = &result.usage;
    let numbers = format!(
        "{} tokens in, {} out, {}, {}",
        usage.prompt_tokens,
        usage.completion_tokens,
        dollars(result.cost_usd),
        counted(result.attempts, "attempt"),
    );
    match &result.error {
        None => format!("Answered{place} in {}: {numbers}.", length(result.timing_ms.run)),
        Some(error) => format!("{}: {}. {numbers}.", error.code, error.message.trim_end_matches('.')),
    }
}

fn spent(entry: &LedgerEntry) -> Entry {
    let LedgerEntry { model, worker, attempt, .. } = entry;
    let usd = |amount: Usd| dollars(amount.dollars());
    let call = format!("for attempt {attempt} at {model} by {worker}");
    let (what, detail) = match entry.event {
        LedgerEvent::Reserved { amount } => (What::Reserved, format!("{} set aside {call}.", usd(amount))),
        LedgerEvent::Settled { reserved, amount, answered } => {
            let brought = if answered { "an answer" } else { "no answer" };
            (
                What::Settled,
                format!("{} of {} spent {call}; it brought {brought}.", usd(amount), usd(reserved)),
            )
        }
        LedgerEvent::Ambiguous { amount } => (
            What::Settled,
            format!("{} counts as spent {call}: nobody knows how the call ended.", usd(amount)),
        ),
        LedgerEvent::Released { amount } => {
            (What::Settled, format!("{} is free again {call}: the call was never made.", usd(amount)))
        }
    };
    Entry { at: entry.at, what, detail }
}

fn died(letter: &DeadLetter) -> Entry {
    let DeadLetter { place, error, deliveries, .. } = letter;
    let times = counted(u32::try_from(*deliveries).unwrap_or(u32::MAX), "delivery");
    let detail = format!("Kept as a dead letter at {place} after {times}: {error}");
    Entry { at: letter.died_at, what: What::Died, detail }
}

fn standing(traces: &Traces) -> (&'static str, Tone, String) {
    if let Some(result) = &traces.result {
        let (tone, sentence) = match result.status {
            Status::Done => (Tone::Calm, "It was answered."),
            Status::Cancelled => (Tone::Watch, "Its producer took it back."),
            Status::Expired => (Tone::Bad, "Its deadline passed before it was answered."),
            Status::Failed => (Tone::Bad, "It ended without an answer."),
            Status::Rejected => (Tone::Bad, "It was turned away."),
        };
        return (result.status.as_str(), tone, sentence.to_owned());
    }
    if let Some(letter) = traces.letters.last() {
        let sentence = format!("It has no result; its last dead letter is at {}.", letter.place);
        return ("dead", Tone::Bad, sentence);
    }
    if traces.decided.is_empty() && traces.spending.is_empty() {
        let sentence = "Nothing is known of it: no result, no spending, no dead letter of the last day, and it is not \
                        among the last decisions. It may still wait at the intake, or never have been published.";
        return ("unknown", Tone::Watch, sentence.to_owned());
    }
    let lane = traces.decided.iter().max_by_key(|decided| decided.at).map(|decided| &decided.lane);
    let place = lane.map(|lane| format!(" on {lane}")).unwrap_or_default();
    ("under way", Tone::Calm, format!("It has no result yet: it waits or runs{place}."))
}

/// A moment `milliseconds` after `at`, or before it.
fn later(at: Timestamp, milliseconds: u64, is_before: bool) -> Timestamp {
    let span = SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX));
    let moved = if is_before { at.checked_sub(span) } else { at.checked_add(span) };
    moved.unwrap_or(at)
}

fn length(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..90_000 => format!("{:.1} s", milliseconds as f64 / 1e3),
        _ => crate::dashboard::reading::length(milliseconds as f64 / 1e3),
    }
}

fn dollars(usd: f64) -> String {
    if usd == 0.0 { "$0".to_owned() } else { format!("${usd:.4}") }
}

fn counted(count: u32, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What must never be shown.
    const SECRET: &str = "the-prompt-or-its-answer";

    fn told(traces: &Traces) -> (Life, String) {
        let life = life(AgentName::new("sales").unwrap(), TaskId::new("t-1").unwrap(), traces);
        let text = serde_json::to_string(&life).unwrap();
        assert!(!text.contains(SECRET), "{text}");
        (life, text)
    }

    fn whats(life: &Life) -> Vec<What> {
        life.entries.iter().map(|entry| entry.what).collect()
    }

    fn decision() -> Value {
        json!({
            "lane": "cloud", "zone": "cloud", "model": "claude", "reason": "good_enough",
            "explanation": "the cheapest lane that is good enough",
            "screen": {"sensitivity": "public", "findings": [
                {"source": "untagged", "kind": "untagged", "count": 1},
                {"source": "detector", "kind": "iban", "count": 2},
            ]},
            "score": {"complexity": 0.72, "source": "cold_start", "contributions": [], "prompt_tokens": 90},
            "threshold": 0.7,
            "candidates": [{"lane": "cloud", "model": "claude", "chance": 0.91, "expected_cost_usd": 0.002, "verdict": "eligible"}],
            "adjustments": [], "propensity": 1.0, "policy_version": "v1", "decided_at": "2026-11-22T10:00:01Z",
        })
    }

    fn result() -> TaskResult {
        serde_json::from_value(json!({
            "task_id": "t-1", "agent": "sales", "task_seq": 7, "status": "done", "text": SECRET, "finish": "stop",
            "lane": "cloud", "model": "claude",
            "usage": {"prompt_tokens": 90, "completion_tokens": 40, "cached_tokens": 0},
            "cost_usd": 0.0021, "timing_ms": {"queued": 250, "waited": 2_000, "first_token": 400, "run": 1_500},
            "attempts": 2, "decision": decision(), "metadata": {"mine": SECRET}, "finished_at": "2026-11-22T10:00:04.5Z",
        }))
        .unwrap()
    }

    fn ledger(event: &Value, at: &str) -> LedgerEntry {
        serde_json::from_value(json!({
            "agent": "sales", "task_id": "t-1", "task_seq": 7, "hop": 0, "attempt": 1, "worker": "cloud-1",
            "model": "claude", "event": event, "task_spent": 0, "at": at, "book": {"days": {}},
        }))
        .unwrap()
    }

    fn in_fleet(at: &str) -> Decided {
        Decided {
            agent: AgentName::new("sales").unwrap(),
            task_id: TaskId::new("t-1").unwrap(),
            lane: trilane_protocol::LaneName::new("local-fast").unwrap(),
            model: trilane_protocol::ModelName::new("smollm2").unwrap(),
            sensitivity: "public",
            reason: "good_enough",
            explanation: "cheapest".into(),
            complexity: 0.2,
            policy_version: "v1".into(),
            classifier: "classifier-1".into(),
            at: at.parse().unwrap(),
        }
    }

    #[test]
    fn an_answered_task_s_life_is_told_in_order() {
        let traces = Traces {
            result: Some(result()),
            // The first hop, and the decision that the result holds too.
            decided: vec![in_fleet("2026-11-22T10:00:00.9Z"), in_fleet("2026-11-22T10:00:01Z")],
            spending: vec![
                ledger(
                    &json!({"settled": {"reserved": 9_000_000, "amount": 2_100_000, "answered": true}}),
                    "2026-11-22T10:00:04.4Z",
                ),
                ledger(&json!({"reserved": {"amount": 9_000_000}}), "2026-11-22T10:00:03.1Z"),
            ],
            letters: vec![],
        };
        let (life, text) = told(&traces);
        use What::*;
        let order = [Published, Decided, Decided, Started, Reserved, FirstToken, Settled, Finished];
        assert_eq!(whats(&life), order);
        let at: Vec<String> = life.entries.iter().map(|entry| entry.at.to_string()).collect();
        assert_eq!((at[0].as_str(), at[3].as_str()), ("2026-11-22T10:00:00.75Z", "2026-11-22T10:00:03Z"));
        assert_eq!(life.state, "done");
        for part in [
            "public by 2 × iban",
            "0.70 needed: cloud 0.91 at $0.0020",
            "90 tokens in, 40 out, $0.0021, 2 attempts",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_failed_task_tells_of_its_letter() {
        let letter: DeadLetter = serde_json::from_value(json!({
            "task_id": "t-1", "agent": "sales", "place": "cloud", "error": {"code": "poison_task", "message": "too many"},
            "deliveries": 1, "source": {"stream": "S", "subject": "s", "sequence": 1},
            "died_at": "2026-11-22T10:00:04Z", "payload_bytes": 3, "payload": SECRET,
        }))
        .unwrap();
        let error = Some(trilane_protocol::outcome::TaskError::new("poison_task", "too many."));
        let failed = TaskResult { status: Status::Failed, text: None, finish: None, error, ..result() };
        let (life, text) =
            told(&Traces { result: Some(failed), letters: vec![letter.clone()], ..Traces::default() });
        assert_eq!((life.state, life.tone), ("failed", Tone::Bad));
        assert_eq!(whats(&life)[3..], [What::FirstToken, What::Died, What::Finished]);
        assert!(text.contains("at cloud after 1 delivery: poison_task: too many"), "{text}");
        let (life, _) = told(&Traces { letters: vec![letter], ..Traces::default() });
        assert_eq!(life.state, "dead");
    }

    #[test]
    fn a_task_without_a_result_is_under_way_or_unknown() {
        let (life, text) =
            told(&Traces { decided: vec![in_fleet("2026-11-22T10:00:01Z")], ..Traces::default() });
        assert_eq!((life.state, whats(&life)), ("under way", vec![What::Decided]));
        assert!(text.contains("on local-fast"), "{text}");
        let (life, _) = told(&Traces::default());
        assert_eq!((life.state, life.entries.len()), ("unknown", 0));
    }

    #[test]
    fn a_task_that_never_got_onto_a_lane_has_its_end_only() {
        let rejected = TaskResult {
            status: Status::Rejected,
            decision: None,
            attempts: 0,
            error: Some(trilane_protocol::outcome::TaskError::new("invalid_task", "unknown field `promt`")),
            ..result()
        };
        let (life, _) = told(&Traces { result: Some(rejected), ..Traces::default() });
        assert_eq!(whats(&life), [What::Finished]);
    }
}

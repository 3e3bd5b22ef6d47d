//! A whole set of logs, and one planted fault at a time.

use jiff::civil::date;
use serde_json::{Value, json};
use trilane_protocol::ledger::{Book, LedgerEntry, LedgerEvent};
use trilane_protocol::{TaskId, Usd};

use super::super::findings::MAX_FINDINGS;
use super::*;

/// The logs of a small fleet.
#[derive(Clone, Default)]
struct Logs {
    routes: Vec<Message>,
    results: Vec<Message>,
    ledger: Vec<Message>,
    letters: Vec<Message>,
    /// How far the routing log and the ledger ever reached.
    reached: u64,
    ledger_reached: u64,
}

#[derive(Clone)]
struct Message {
    sequence: u64,
    stored_at: Timestamp,
    subject: String,
    payload: Vec<u8>,
    seal: Option<String>,
}

impl Message {
    fn stored(&self) -> Stored<'_> {
        Stored {
            sequence: self.sequence,
            stored_at: self.stored_at,
            subject: &self.subject,
            payload: &self.payload,
            seal: self.seal.as_deref(),
        }
    }
}

/// What stands for a signature here.
fn seal(payload: &[u8]) -> String {
    format!("key {}", chain::hash(payload))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Numbers whose last bit reading from JSON is known to change sometimes.
const CHANCES: [f64; 4] = [0.924_141_819_978_756_6, 1.000_000_000_000_000_2e-5, 0.1 + 0.2, 1.0 / 3.0];

fn decision(sensitivity: &str, lane: &str, second: i64) -> Decision {
    let zone = if lane == "cloud" { "cloud" } else { "local" };
    let candidates: Vec<Value> = CHANCES
        .iter()
        .map(|chance| json!({"lane": lane, "model": "m", "chance": chance, "expected_cost_usd": chance / 7.0, "verdict": "eligible"}))
        .collect();
    serde_json::from_value(json!({
        "lane": lane, "zone": zone, "model": "m", "reason": "good_enough", "explanation": "x",
        "screen": {"sensitivity": sensitivity, "findings": []},
        "score": {"complexity": 0.1, "source": "producer", "contributions": [], "prompt_tokens": 1},
        "threshold": 0.5, "candidates": candidates, "adjustments": [], "propensity": 1.0, "policy_version": "p",
        "decided_at": at(second),
    }))
    .unwrap()
}

impl Logs {
    /// Six tasks, each with a decision in a segment of its own and a result: private and local, public and local, public
    /// and cloud, in turn; those of the cloud with what they have spent. The last ones are in a second chain.
    fn whole() -> Self {
        let mut logs = Self::default();
        for index in 0..6_i64 {
            let (sensitivity, lane) =
                [("private", "local-fast"), ("public", "local-deep"), ("public", "cloud")]
                    [index as usize % 3];
            let decision = decision(sensitivity, lane, 100 * index);
            let task_id: TaskId = format!("t{index}").parse().unwrap();
            let chain = if index < 4 { "c1" } else { "c2" };
            logs.route(chain, &[(task_id.clone(), decision.clone())], 100 * index + 1);
            if lane == "cloud" {
                logs.spend(&task_id, json!({"reserved": {"amount": 900}}), 100 * index + 2);
                let settled = json!({"settled": {"reserved": 900, "amount": 500, "answered": true}});
                logs.spend(&task_id, settled, 100 * index + 3);
            }
            let encoding = if index % 2 == 0 { Encoding::Msgpack } else { Encoding::Json };
            logs.result(&task_id, Some(decision), encoding, 100 * index + 4);
        }
        logs
    }

    fn route(&mut self, chain: &str, records: &[(TaskId, Decision)], second: i64) {
        let before = self.routes.iter().rev().find(|message| message.subject == subjects::route(chain));
        let index = self.routes.iter().filter(|message| message.subject == subjects::route(chain)).count();
        let record = |(task_id, decision): &(TaskId, Decision)| RouteRecord {
            task_id: task_id.clone(),
            agent: "a".parse().unwrap(),
            hop: 0,
            step: None,
            task_seq: 1,
            prompt_bytes: 5,
            classifier: chain.into(),
            decision: decision.clone(),
        };
        let segment = RouteSegment {
            chain: chain.into(),
            index: index as u64,
            previous: before.map_or(chain::FIRST.to_owned(), |message| chain::hash(&message.payload)),
            records: records.iter().map(record).collect(),
        };
        let payload = Encoding::Json.encode(&segment);
        let seal = Some(seal(&payload));
        let sequence = self.routes.len() as u64 + 1;
        let subject = subjects::route(chain);
        self.routes.push(Message { sequence, stored_at: at(second), subject, payload, seal });
        self.reached = self.reached.max(sequence);
    }

    fn result(&mut self, task_id: &TaskId, decision: Option<Decision>, encoding: Encoding, second: i64) {
        let result: TaskResult = serde_json::from_value(json!({
            "task_id": task_id, "agent": "a", "status": "done", "text": "x", "finish": "stop",
            "lane": decision.as_ref().map(|decision| &decision.lane),
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}, "cost_usd": 0.0,
            "timing_ms": {"queued": 0, "waited": 0, "run": 0}, "attempts": 1, "finished_at": at(second),
        }))
        .unwrap();
        let payload = encoding.encode(&TaskResult { decision, ..result });
        let sequence = self.results.len() as u64 + 1;
        let subject = format!("result.a.{task_id}");
        self.results.push(Message { sequence, stored_at: at(second), subject, payload, seal: None });
    }

    fn spend(&mut self, task_id: &TaskId, event: Value, second: i64) {
        let before = self.ledger.last().map(|message| Encoding::Json.decode(&message.payload).unwrap());
        let mut book = before.map_or_else(Book::default, |entry: LedgerEntry| entry.book);
        let event: LedgerEvent = serde_json::from_value(event).unwrap();
        let day = book.days.entry(date(1970, 1, 1)).or_default();
        let nanos = |amount: Usd| i64::try_from(amount.nanos()).unwrap();
        let (settled, reserved) = match event {
            LedgerEvent::Reserved { amount } => (0, nanos(amount)),
            LedgerEvent::Settled { reserved, amount, .. } => (nanos(amount), -nanos(reserved)),
            LedgerEvent::Ambiguous { amount } => (nanos(amount), -nanos(amount)),
            LedgerEvent::Released { amount } => (0, -nanos(amount)),
        };
        let by = |amount: Usd, change: i64| Usd::from_nanos(amount.nanos().strict_add_signed(change));
        let agent = day.agents.entry("default".parse().unwrap()).or_default();
        for amounts in [&mut day.total, agent] {
            amounts.settled = by(amounts.settled, settled);
            amounts.reserved = by(amounts.reserved, reserved);
        }
        let entry = json!({
            "agent": "a", "task_id": task_id, "task_seq": 1, "hop": 0, "attempt": 1, "worker": "w", "model": "m",
            "event": event, "task_spent": 0, "at": at(second), "book": book,
        });
        let sequence = self.ledger.len() as u64 + 1;
        let (subject, payload) = (format!("spend.a.{task_id}"), entry.to_string().into_bytes());
        self.ledger_reached = self.ledger_reached.max(sequence);
        self.ledger.push(Message { sequence, stored_at: at(second), subject, payload, seal: None });
    }

    fn letter(&mut self, code: &str) {
        let letter = json!({
            "place": "cloud", "error": {"code": code, "message": "x"}, "deliveries": 1,
            "source": {"stream": "LANE_CLOUD", "subject": "lane.cloud.normal", "sequence": 1},
            "died_at": at(1), "payload_bytes": 0, "payload": "",
        });
        let sequence = self.letters.len() as u64 + 1;
        let (subject, payload) = ("dead.cloud".to_owned(), letter.to_string().into_bytes());
        self.letters.push(Message { sequence, stored_at: at(1), subject, payload, seal: None });
    }

    fn proof(&self) -> Proof {
        self.proof_of(None, false)
    }

    fn proof_of(&self, since: Option<Timestamp>, has_let_go: bool) -> Proof {
        let first_sequence = self.routes.first().map_or(1, |message| message.sequence);
        let mut audit = Audit::new(Rules {
            verify: |found: &str, payload: &[u8]| found == seal(payload),
            cloud_lanes: ["cloud".parse().unwrap()].into(),
            since,
            reach: Reach {
                first_sequence,
                last_sequence: self.reached,
                messages: 0,
                bytes: 0,
                created_at: at(0),
            },
            ledger_reached: self.ledger_reached,
            has_let_go,
            longest_wait: Duration::from_secs(120),
        });
        let is_newer = |start: Option<Timestamp>| {
            move |message: &&Message| start.is_none_or(|start| message.stored_at >= start)
        };
        self.ledger.iter().filter(is_newer(since)).for_each(|message| audit.take_entry(message.stored()));
        self.results.iter().filter(is_newer(since)).for_each(|message| audit.take_result(message.stored()));
        self.letters.iter().filter(is_newer(since)).for_each(|message| audit.take_letter(message.stored()));
        let start = audit.routes_since();
        self.routes.iter().filter(is_newer(start)).for_each(|message| audit.take_segment(message.stored()));
        audit.conclude()
    }
}

/// Kind and place of each finding.
fn found(proof: &Proof) -> Vec<(Kind, &str)> {
    proof.findings.iter().map(|finding| (finding.kind, finding.place.as_str())).collect()
}

#[test]
fn whole_logs_prove_it_with_figures() {
    let proof = Logs::whole().proof();
    assert_eq!(found(&proof), []);
    let expected = Proof {
        classifiers: 2,
        segments: 6,
        records: 6,
        private_records: 2,
        cloud_records: 2,
        results: 6,
        ledger_entries: 4,
        spent_usd: 1e-6,
        ..Proof::default()
    };
    assert_eq!(proof, expected);
    assert!(proof.holds());
}

#[test]
fn nothing_at_all_proves_it_too() {
    assert_eq!(Logs::default().proof(), Proof::default());
    assert_eq!(Logs::default().proof_of(Some(at(0)), false), Proof::default());
}

#[test]
fn an_altered_byte_is_named() {
    let mut logs = Logs::whole();
    let text = String::from_utf8(logs.routes[1].payload.clone()).unwrap();
    logs.routes[1].payload = text.replace("\"prompt_bytes\":5", "\"prompt_bytes\":6").into_bytes();
    let proof = logs.proof();
    assert_eq!(proof.chain, Chain::Broken);
    assert_eq!(
        found(&proof),
        [(Kind::Altered, "ROUTES 2"), (Kind::Missing, "ROUTES 3"), (Kind::NoRecord, "RESULTS 2"),],
        "what is behind it lacks it, and what rests on it has nothing to rest on"
    );
}

#[test]
fn a_record_that_was_made_public_later_is_named() {
    let mut logs = Logs::whole();
    let text = String::from_utf8(logs.routes[0].payload.clone()).unwrap();
    logs.routes[0].payload = text.replace("private", "public").into_bytes();
    assert_eq!(found(&logs.proof())[0], (Kind::Altered, "ROUTES 1"));
}

#[test]
fn a_missing_segment_is_named_wherever_it_was() {
    for (index, place) in [(0, "ROUTES 1 to 1"), (2, "ROUTES 3 to 3"), (5, "ROUTES 6 to 6")] {
        let mut logs = Logs::whole();
        logs.routes.remove(index);
        let proof = logs.proof();
        assert_eq!(proof.chain, Chain::Broken);
        assert!(found(&proof).contains(&(Kind::Missing, place)), "{:?}", proof.findings);
        let result = format!("RESULTS {}", index + 1);
        assert!(found(&proof).contains(&(Kind::NoRecord, &result)), "{:?}", proof.findings);
    }
}

#[test]
fn a_missing_segment_is_named_by_its_chain_where_the_sequences_were_mended() {
    let mut logs = Logs::whole();
    logs.routes.remove(1);
    for (message, sequence) in logs.routes.iter_mut().zip(1..) {
        message.sequence = sequence;
    }
    let proof = logs.proof();
    assert!(found(&proof).contains(&(Kind::Missing, "ROUTES 2")), "{:?}", proof.findings);
}

#[test]
fn a_log_that_begins_late_is_whole_where_age_explains_it() {
    let mut logs = Logs::whole();
    logs.routes.drain(..2);
    assert_eq!(logs.proof().chain, Chain::Broken);
    let proof = logs.proof_of(None, true);
    assert_eq!(
        (found(&proof), proof.chain),
        (vec![], Chain::Whole),
        "results that rest on what is gone are excused"
    );
    logs.routes.remove(1);
    assert_eq!(logs.proof_of(None, true).chain, Chain::Broken, "what is gone from the middle has no excuse");
}

#[test]
fn swapped_segments_are_named() {
    let mut logs = Logs::whole();
    let (first, second) = (logs.routes[1].clone(), logs.routes[2].clone());
    logs.routes[1] = Message { sequence: 2, ..second };
    logs.routes[2] = Message { sequence: 3, ..first };
    let kinds: Vec<Kind> = logs.proof().findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::Missing, Kind::OutOfOrder]);
}

#[test]
fn a_segment_of_another_history_is_named() {
    let mut logs = Logs::whole();
    let mut other = Logs::default();
    other.route("c1", &[("x".parse().unwrap(), decision("public", "local-fast", 1))], 1);
    other.route("c1", &[("t1".parse().unwrap(), decision("public", "local-deep", 100))], 101);
    logs.routes[1] = other.routes[1].clone();
    let found_kinds = found(&logs.proof()).iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    assert_eq!(found_kinds, [Kind::BrokenLink, Kind::BrokenLink], "neither it nor what follows fits");
}

#[test]
fn what_no_classifier_has_sealed_is_named_and_counts_for_nothing() {
    let mut logs = Logs::whole();
    logs.result(&"forged".parse().unwrap(), Some(decision("public", "cloud", 600)), Encoding::Json, 604);
    logs.route("c2", &[("forged".parse().unwrap(), decision("public", "cloud", 600))], 601);
    logs.routes[6].seal = None;
    let proof = logs.proof();
    assert_eq!(found(&proof), [(Kind::Altered, "ROUTES 7"), (Kind::NoRecord, "RESULTS 7")]);
    assert_eq!(proof.cloud_records, 2);
}

#[test]
fn a_segment_under_another_s_subject_is_named() {
    let mut logs = Logs::whole();
    logs.routes[5].subject = "route.c1".into();
    assert!(found(&logs.proof()).contains(&(Kind::Misplaced, "ROUTES 6")));
}

#[test]
fn private_on_cloud_is_counted_wherever_it_shows() {
    let mut logs = Logs::whole();
    let leak = decision("private", "cloud", 600);
    logs.route("c2", &[("leak".parse().unwrap(), leak.clone())], 601);
    let proof = logs.proof();
    assert_eq!((found(&proof), proof.private_on_cloud), (vec![(Kind::PrivateOnCloud, "ROUTES 7")], 1));
    assert!(!proof.holds() && proof.chain == Chain::Whole);
    logs.result(&"leak".parse().unwrap(), Some(leak), Encoding::Json, 604);
    assert_eq!(logs.proof().private_on_cloud, 2);
    let called_local = Decision { zone: Zone::Local, ..decision("private", "cloud", 700) };
    logs.route("c2", &[("called-local".parse().unwrap(), called_local)], 701);
    assert_eq!(logs.proof().private_on_cloud, 3, "the configuration says where a lane lies");
}

#[test]
fn a_result_whose_decision_was_never_logged_is_named() {
    let mut logs = Logs::whole();
    let other = Decision { threshold: 0.6, ..decision("public", "cloud", 600) };
    logs.route("c2", &[("other".parse().unwrap(), decision("public", "cloud", 600))], 601);
    logs.result(&"other".parse().unwrap(), Some(other), Encoding::Json, 604);
    logs.result(&"none".parse().unwrap(), None, Encoding::Json, 605);
    assert_eq!(found(&logs.proof()), [(Kind::NoDecision, "RESULTS 8"), (Kind::NoRecord, "RESULTS 7")]);
}

#[test]
fn a_result_under_another_s_subject_is_named() {
    let mut logs = Logs::whole();
    logs.results[0].subject = "result.a.other".into();
    assert_eq!(found(&logs.proof()), [(Kind::Misplaced, "RESULTS 1")]);
}

#[test]
fn what_was_spent_needs_a_public_record_of_its_hop_in_the_cloud_zone() {
    for (task_id, lane) in [("t0", "private"), ("t1", "local"), ("stranger", "none")] {
        let mut logs = Logs::whole();
        logs.spend(&task_id.parse().unwrap(), json!({"reserved": {"amount": 5}}), 700);
        assert_eq!(found(&logs.proof()), [(Kind::NoRecord, "LEDGER 5")], "{lane}");
    }
}

#[test]
fn books_that_do_not_add_up_are_named() {
    let altered = |index: usize, from: &str, to: &str| {
        let mut logs = Logs::whole();
        let text = String::from_utf8(logs.ledger[index].payload.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        logs.ledger[index].payload = text.replace(from, to).into_bytes();
        found(&logs.proof()).iter().map(|(kind, place)| (*kind, (*place).to_owned())).collect::<Vec<_>>()
    };
    let wrong = |sequence: u64| (Kind::WrongBook, place(LEDGER, sequence));
    // What the event says, what the day says, what its agent says.
    assert_eq!(altered(1, "\"amount\":500", "\"amount\":400"), [wrong(2)]);
    assert_eq!(
        altered(1, "\"total\":{\"settled\":500}", "\"total\":{\"settled\":400}"),
        [wrong(2), wrong(2), wrong(3)]
    );
    let gone = {
        let mut logs = Logs::whole();
        logs.ledger.remove(1);
        logs
    };
    assert_eq!(found(&gone.proof()), [(Kind::Missing, "LEDGER 3")]);
    assert_eq!(gone.proof().chain, Chain::Whole, "the routing log is not concerned");
    let mut cut = Logs::whole();
    cut.ledger.truncate(2);
    assert_eq!(found(&cut.proof()), [(Kind::Missing, "LEDGER 3 to 4")]);
    cut.ledger.clear();
    assert_eq!(found(&cut.proof()), [(Kind::Missing, "LEDGER 1 to 4")]);
    assert_eq!(found(&cut.proof_of(Some(at(590)), false)), [], "nothing of it in the window");
}

#[test]
fn ambiguous_calls_are_counted_and_spent() {
    let mut logs = Logs::whole();
    logs.spend(&"t5".parse().unwrap(), json!({"reserved": {"amount": 1_000}}), 700);
    logs.spend(&"t5".parse().unwrap(), json!({"ambiguous": {"amount": 1_000}}), 701);
    let proof = logs.proof();
    assert_eq!((found(&proof), proof.ambiguous_calls, proof.spent_usd), (vec![], 1, 2e-6));
}

#[test]
fn refused_attempts_are_named_and_do_not_fail_the_proof() {
    let mut logs = Logs::whole();
    for code in ["poison_task", "seal_broken", "private_in_cloud", "forged_return"] {
        logs.letter(code);
    }
    let proof = logs.proof();
    let refused = [2, 3, 4].map(|sequence| (Kind::Refused, place(DEAD, sequence)));
    assert_eq!(found(&proof), refused.each_ref().map(|(kind, place)| (*kind, place.as_str())));
    assert!(proof.holds() && proof.chain == Chain::Whole);
}

#[test]
fn what_does_not_read_is_named_without_its_text() {
    let mut logs = Logs::whole();
    logs.results[0].payload = b"{\"CANARY\":1}".to_vec();
    logs.ledger[0].payload = b"CANARY".to_vec();
    logs.routes[5].payload = b"{\"CANARY\":1}".to_vec();
    logs.routes[5].seal = Some(seal(&logs.routes[5].payload));
    let proof = logs.proof();
    let unreadable = |place| (Kind::Unreadable, place);
    let found = found(&proof);
    for place in ["RESULTS 1", "LEDGER 1", "ROUTES 6"] {
        assert!(found.contains(&unreadable(place)), "{found:?}");
    }
    assert!(!format!("{:?}", proof.findings).contains("CANARY\":"), "{:?}", proof.findings);
}

#[test]
fn a_window_counts_what_is_newer_and_looks_back_where_something_rests_on_it() {
    let mut logs = Logs::whole();
    // Decided long before the window, ended in it.
    logs.results[3].stored_at = at(500);
    let proof = logs.proof_of(Some(at(450)), false);
    assert_eq!(found(&proof), []);
    assert_eq!((proof.segments, proof.records, proof.results, proof.ledger_entries), (1, 1, 2, 2));
    logs.routes.remove(3);
    let proof = logs.proof_of(Some(at(450)), false);
    assert!(found(&proof).contains(&(Kind::NoRecord, "RESULTS 4")), "{:?}", proof.findings);
}

#[test]
fn a_call_is_looked_for_as_far_back_as_its_task_may_have_waited() {
    let mut logs = Logs::whole();
    for message in &mut logs.ledger[2..] {
        message.stored_at = at(680);
        let text = String::from_utf8(message.payload.clone()).unwrap();
        message.payload = text.replace(&at(502).to_string(), &at(680).to_string()).into_bytes();
    }
    logs.results.truncate(5);
    assert_eq!(found(&logs.proof_of(Some(at(670)), false)), []);
}

#[test]
fn findings_beyond_the_bound_are_counted() {
    let mut logs = Logs::whole();
    for index in 0..=MAX_FINDINGS {
        let decision = decision("public", "local-fast", 600);
        logs.result(&format!("n{index}").parse().unwrap(), Some(decision), Encoding::Json, 604);
    }
    let proof = logs.proof();
    assert_eq!(proof.findings.len(), MAX_FINDINGS + 1);
    let last = proof.findings.last().unwrap();
    assert_eq!((last.kind, last.message.as_str()), (Kind::More, "1 more findings are not listed"));
    assert!(!proof.holds());
}

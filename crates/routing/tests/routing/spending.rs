//! What no sequence of events may break: a budget is never exceeded when money is set aside, and books add up.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use trilane_protocol::Usd;
use trilane_protocol::ledger::{Book, LedgerEntry, LedgerEvent, Reservation};
use trilane_routing::budget::{Budgets, Limits, Window, day_of, taken};
use trilane_routing::ledger::{self, Ask, Asked, Call, Earlier, Ending, MAX_OTHERS};

/// What happens next. Indices are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Reserve {
        task: usize,
        nanos: u64,
    },
    End {
        held: usize,
        ending: Ending,
    },
    Abandon {
        task: usize,
    },
    /// Clocks of different hosts disagree, so time may go back.
    Wait {
        hours: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let settled = (0_u64..80, any::<bool>())
        .prop_map(|(nanos, answered)| Ending::Settled { amount: Usd::from_nanos(nanos), answered });
    let ending = prop_oneof![4 => settled, 1 => Just(Ending::Ambiguous), 1 => Just(Ending::Released)];
    prop_oneof![
        6 => (0_usize..8, 1_u64..60).prop_map(|(task, nanos)| Step::Reserve { task, nanos }),
        4 => (any::<usize>(), ending).prop_map(|(held, ending)| Step::End { held, ending }),
        1 => (0_usize..8).prop_map(|task| Step::Abandon { task }),
        2 => (-3_i64..14).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// A ledger in memory, and beside it the sums that it must show, kept in the simplest way.
struct World {
    now: Timestamp,
    budgets: Budgets,
    book: Book,
    last: BTreeMap<String, LedgerEntry>,
    held: Vec<(Call, Reservation)>,
    spent: BTreeMap<(String, u64), u64>,
    open: BTreeMap<(String, u64), u64>,
}

/// Eight tasks of two agents with and one without an entry; two of them share an id.
fn call(task: usize) -> Call {
    Call {
        agent: ["a", "b", "stranger"][task % 3].parse().unwrap(),
        task_id: format!("t{}", task % 6).parse().unwrap(),
        task_seq: task as u64,
        hop: 0,
        attempt: 1,
        worker: "w".into(),
        model: "m".parse().unwrap(),
    }
}

fn subject(call: &Call) -> String {
    format!("{}.{}", call.agent, call.task_id)
}

impl World {
    fn new() -> Self {
        let limits =
            |day, week| Limits { day: Some(Usd::from_nanos(day)), week: Some(Usd::from_nanos(week)) };
        let agents = [
            ("a".parse().unwrap(), limits(90, 200)),
            ("b".parse().unwrap(), Limits::default()),
            ("default".parse().unwrap(), limits(70, 170)),
        ];
        Self {
            now: "2026-11-19T10:00:00Z".parse().unwrap(),
            budgets: Budgets { total: limits(150, 400), agents: agents.into() },
            book: Book::default(),
            last: BTreeMap::new(),
            held: Vec::new(),
            spent: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wait { hours } => self.now += SignedDuration::from_hours(hours),
            Step::Reserve { task, nanos } => self.reserve(call(task), nanos),
            Step::End { held, ending } if !self.held.is_empty() => {
                let (call, reservation) = self.held.swap_remove(held % self.held.len());
                let last = self.last.get(&subject(&call));
                if let Some(entry) = ledger::close(&self.book, last, &call, &reservation, ending, self.now) {
                    self.append(&call, entry);
                }
            }
            Step::End { .. } => {}
            Step::Abandon { task } => {
                let call = call(task);
                let last = self.last.get(&subject(&call));
                if let Some(entry) = ledger::abandon(&self.book, last, &call, self.now) {
                    self.append(&call, entry);
                }
            }
        }
    }

    fn reserve(&mut self, call: Call, nanos: u64) {
        let ask = Ask { call, bound: Usd::from_nanos(nanos), ceiling: None, spent_before: Usd::ZERO };
        loop {
            let last = self.last.get(&subject(&ask.call));
            match ledger::reserve(&self.book, last, &ask, &self.budgets, self.now) {
                Asked::CloseFirst(entry) => self.append(&ask.call, *entry),
                Asked::Refuse(_) => return,
                Asked::Reserve(entry) => {
                    self.held.push((ask.call.clone(), entry.open.clone().unwrap()));
                    self.append(&ask.call, *entry);
                    return self.assert_within_budgets(&ask.call);
                }
            }
        }
    }

    fn append(&mut self, call: &Call, entry: LedgerEntry) {
        let key = (subject(call), call.task_seq);
        let spent = self.spent.entry(key.clone()).or_default();
        match entry.event {
            LedgerEvent::Reserved { amount } => drop(self.open.insert(key, amount.nanos())),
            LedgerEvent::Released { .. } => drop(self.open.remove(&key)),
            LedgerEvent::Ambiguous { amount } => {
                *spent += amount.nanos();
                self.open.remove(&key);
            }
            LedgerEvent::Settled { reserved, amount, .. } => {
                *spent += amount.nanos();
                if reserved != Usd::ZERO {
                    self.open.remove(&key);
                }
            }
        }
        assert_eq!(entry.task_spent.nanos(), self.spent[&(subject(call), call.task_seq)]);
        self.book = entry.book.clone();
        self.last.insert(subject(call), entry);
    }

    /// Calls may end up dearer than what was set aside, so other purses may be over their bound; those that have
    /// just allowed something may not.
    fn assert_within_budgets(&self, call: &Call) {
        let account = self.budgets.account_of(&call.agent);
        for (account, limits) in [(None, self.budgets.total), (Some(&account), self.budgets.agents[&account])]
        {
            for (window, limit) in [(Window::Day, limits.day), (Window::Week, limits.week)] {
                let taken = taken(&self.book, account, window, day_of(self.now));
                let is_within = limit.is_none_or(|limit| taken.taken() <= limit);
                assert!(is_within, "{account:?} {window:?} {taken:?}");
            }
        }
    }

    fn assert_adds_up(&self) {
        let days = || self.book.days.values();
        let sum = |amounts: &mut dyn Iterator<Item = Usd>| amounts.map(Usd::nanos).sum::<u64>();
        assert_eq!(sum(&mut days().map(|day| day.total.settled)), self.spent.values().sum::<u64>());
        assert_eq!(sum(&mut days().map(|day| day.total.reserved)), self.open.values().sum::<u64>());
        for day in days().filter(|day| !day.agents.is_empty()) {
            assert_eq!(sum(&mut day.agents.values().map(|agent| agent.settled)), day.total.settled.nanos());
            assert_eq!(sum(&mut day.agents.values().map(|agent| agent.reserved)), day.total.reserved.nanos());
            assert!(day.agents.keys().all(|name| name.as_str() != "stranger"), "strangers share `default`");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_budget_is_never_exceeded_and_books_add_up(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            // Beyond this many days the book forgets, and the plain sums would not.
            if world.book.days.len() >= 14 {
                break;
            }
            world.take(step);
            world.assert_adds_up();
        }
    }
}

fn ask(call: Call, nanos: u64) -> Ask {
    Ask { call, bound: Usd::from_nanos(nanos), ceiling: None, spent_before: Usd::ZERO }
}

fn granted(book: &Book, last: Option<&LedgerEntry>, ask: &Ask) -> LedgerEntry {
    match ledger::reserve(book, last, ask, &Budgets::default(), Timestamp::UNIX_EPOCH) {
        Asked::Reserve(entry) => *entry,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_answer_to_a_call_that_was_written_off_adds_only_what_it_cost_more() {
    let first = ask(call(0), 50);
    let reserved = granted(&Book::default(), None, &first);
    let open = reserved.open.clone().unwrap();
    let second = Ask { call: Call { attempt: 2, ..call(0) }, ..first.clone() };
    let now = Timestamp::UNIX_EPOCH;
    let Asked::CloseFirst(closed) =
        ledger::reserve(&reserved.book, Some(&reserved), &second, &Budgets::default(), now)
    else {
        panic!("the first call is closed first")
    };
    assert_eq!((closed.attempt, closed.task_spent.nanos()), (1, 50), "the entry names the call that it ends");
    assert_eq!(ledger::earlier(Some(&closed), &second.call), Earlier::Ambiguous);
    let late = |nanos| {
        let ending = Ending::Settled { amount: Usd::from_nanos(nanos), answered: true };
        ledger::close(&closed.book, Some(&closed), &first.call, &open, ending, now)
    };
    assert_eq!(late(50), None);
    assert_eq!(late(53).unwrap().task_spent.nanos(), 53);
}

#[test]
fn an_answer_that_was_paid_for_is_known_to_the_same_hop_only() {
    let reserved = granted(&Book::default(), None, &ask(call(0), 50));
    let ending = |answered| Ending::Settled { amount: Usd::from_nanos(9), answered };
    let settled = |answered| {
        let open = reserved.open.as_ref().unwrap();
        let (book, now) = (&reserved.book, Timestamp::UNIX_EPOCH);
        ledger::close(book, Some(&reserved), &call(0), open, ending(answered), now).unwrap()
    };
    let again = Call { attempt: 2, ..call(0) };
    assert_eq!(ledger::earlier(Some(&settled(true)), &again), Earlier::Answered);
    assert_eq!(
        ledger::earlier(Some(&settled(false)), &again),
        Earlier::Nothing,
        "it failed, and is repeated"
    );
    assert_eq!(ledger::earlier(Some(&settled(true)), &Call { hop: 1, ..call(0) }), Earlier::Nothing);
    assert_eq!(ledger::earlier(Some(&settled(true)), &Call { task_seq: 9, ..call(0) }), Earlier::Nothing);
}

#[test]
fn a_ceiling_counts_all_that_the_task_has_cost() {
    let with = |ceiling, before| Ask {
        ceiling: Some(Usd::from_nanos(ceiling)),
        spent_before: Usd::from_nanos(before),
        ..ask(call(0), 50)
    };
    let asked =
        |ask: &Ask| ledger::reserve(&Book::default(), None, ask, &Budgets::default(), Timestamp::UNIX_EPOCH);
    assert!(matches!(asked(&with(60, 10)), Asked::Reserve(_)));
    let Asked::Refuse(refusal) = asked(&with(60, 11)) else { panic!("61 is more than 60") };
    assert!(refusal.to_string().contains("max_cost_usd"), "{refusal}");
}

#[test]
fn an_id_that_is_used_again_and_again_does_not_make_entries_grow() {
    let (mut book, mut last) = (Book::default(), None);
    for task_seq in 0..20 {
        let entry = granted(&book, last.as_ref(), &ask(Call { task_seq, ..call(0) }, 10));
        assert!(entry.others.len() <= MAX_OTHERS);
        book = entry.book.clone();
        last = Some(entry);
    }
    let total = book.days.values().next().unwrap().total;
    let open = 1 + MAX_OTHERS as u64;
    assert_eq!((total.reserved.nanos(), total.settled.nanos()), (open * 10, (20 - open) * 10));
}

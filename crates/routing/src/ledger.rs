//! What an event does to the book and to its task: reserve, settle, ambiguous, release. Pure; the shell around it
//! appends what comes out of here, and only where nobody has appended anything in between.

use jiff::Timestamp;
use jiff::civil::Date;
use trilane_protocol::ledger::{Amounts, Book, LedgerEntry, LedgerEvent, OtherTask, Reservation};
use trilane_protocol::{AgentName, ModelName, TaskId, Usd};

use crate::budget::{Budgets, SpentBudget, day_of};

/// Days that the book keeps: this week, the one before, and one more for clocks that disagree.
pub const KEPT_DAYS: usize = 15;

/// Days of which the book keeps each agent's part: this week, and one more for clocks that disagree.
pub const KEPT_DAYS_BY_AGENT: usize = 8;

/// Other tasks of the same id that an entry remembers.
pub const MAX_OTHERS: usize = 4;

/// One delivery's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose task it is for.
    pub agent: AgentName,
    /// The task.
    pub task_id: TaskId,
    /// Its sequence in the TASKS stream.
    pub task_seq: u64,
    /// How many lanes the task has been on before.
    pub hop: u16,
    /// Which delivery of the hop, from 1.
    pub attempt: u32,
    /// Who calls.
    pub worker: String,
    /// What is called.
    pub model: ModelName,
}

/// A wish to set money aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// For what.
    pub call: Call,
    /// The most that it may cost.
    pub bound: Usd,
    /// What the task may cost, all hops and deliveries together.
    pub ceiling: Option<Usd>,
    /// What the task is known to have cost; the ledger's own sum counts where it is larger.
    pub spent_before: Usd,
}

/// What a wish leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// This entry sets it aside.
    Reserve(Box<LedgerEntry>),
    /// An earlier call of the task was never closed; this entry closes it as ambiguous. Ask again after it.
    CloseFirst(Box<LedgerEntry>),
    /// Nothing may be set aside.
    Refuse(Refusal),
}

/// Why nothing may be set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A budget has no room.
    #[error(transparent)]
    Budget(Box<SpentBudget>),
    /// The task could cost more than it may.
    #[error(
        "the task may cost {ceiling}, has cost {spent}, and this call may cost {bound}; raise `max_cost_usd` or \
         lower `max_tokens`"
    )]
    Ceiling {
        /// What it may cost.
        ceiling: Usd,
        /// What it has cost.
        spent: Usd,
        /// What the call may cost.
        bound: Usd,
    },
}

/// How a call ended, as far as money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was counted.
    Settled {
        /// What it cost.
        amount: Usd,
        /// Whether it brought an answer.
        answered: bool,
    },
    /// Nobody knows.
    Ambiguous,
    /// It was never made.
    Released,
}

/// What an earlier delivery of the same hop has left in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing that a repetition would bill twice.
    Nothing,
    /// A call whose end nobody knows.
    Ambiguous,
    /// An answer that was paid for and never became a result.
    Answered,
}

/// What is known of one task.
#[derive(Debug, Default)]
struct Task {
    spent: Usd,
    open: Option<Reservation>,
    others: Vec<OtherTask>,
}

/// Decides on a wish. `last` is the last entry of the task's subject.
pub fn reserve(
    book: &Book,
    last: Option<&LedgerEntry>,
    ask: &Ask,
    budgets: &Budgets,
    now: Timestamp,
) -> Asked {
    let task = Task::of(last, &ask.call);
    if let Some(open) = task.open.clone() {
        let (call, ending) = (caller_of(&ask.call, &open), Ending::Ambiguous);
        return Asked::CloseFirst(Box::new(task.close(book, &call, &open, ending, now)));
    }
    let spent = task.spent.max(ask.spent_before);
    if let Some(ceiling) = ask.ceiling.filter(|ceiling| spent.plus(ask.bound) > *ceiling) {
        return Asked::Refuse(Refusal::Ceiling { ceiling, spent, bound: ask.bound });
    }
    if let Err(spent) = budgets.check(book, &ask.call.agent, ask.bound, now) {
        return Asked::Refuse(Refusal::Budget(spent));
    }
    let reservation = Reservation {
        amount: ask.bound,
        day: day_of(now),
        account: budgets.account_of(&ask.call.agent),
        hop: ask.call.hop,
        attempt: ask.call.attempt,
        worker: ask.call.worker.clone(),
        at: now,
    };
    let mut book = book.clone();
    change(&mut book, reservation.day, &reservation.account, |amounts| {
        amounts.reserved = amounts.reserved.plus(ask.bound);
    });
    let task = Task { spent, open: Some(reservation), others: task.others };
    Asked::Reserve(Box::new(task.entry(book, &ask.call, LedgerEvent::Reserved { amount: ask.bound }, now)))
}

/// The entry that ends a call; `None` where there is nothing left to write: somebody has closed it meanwhile, as
/// spent in full, and it did not cost more than that.
pub fn close(
    book: &Book,
    last: Option<&LedgerEntry>,
    call: &Call,
    reservation: &Reservation,
    ending: Ending,
    now: Timestamp,
) -> Option<LedgerEntry> {
    let task = Task::of(last, call);
    if task.open.as_ref() == Some(reservation) {
        return Some(task.close(book, call, reservation, ending, now));
    }
    let Ending::Settled { amount, answered } = ending else { return None };
    let excess = amount.minus(reservation.amount);
    if excess == Usd::ZERO {
        return None;
    }
    let mut book = book.clone();
    change(&mut book, reservation.day, &reservation.account, |amounts| {
        amounts.settled = amounts.settled.plus(excess);
    });
    let event = LedgerEvent::Settled { reserved: Usd::ZERO, amount: excess, answered };
    let task = Task { spent: task.spent.plus(excess), ..task };
    Some(task.entry(book, call, event, now))
}

/// The entry that closes what an earlier delivery of a task has left open, for a task that is not run any more.
pub fn abandon(book: &Book, last: Option<&LedgerEntry>, call: &Call, now: Timestamp) -> Option<LedgerEntry> {
    let task = Task::of(last, call);
    let open = task.open.clone()?;
    Some(task.close(book, &caller_of(call, &open), &open, Ending::Ambiguous, now))
}

/// What the task of `call` has cost until now.
pub fn spent(last: Option<&LedgerEntry>, call: &Call) -> Usd {
    Task::of(last, call).spent
}

/// What an earlier delivery of the same hop has left in the ledger.
pub fn earlier(last: Option<&LedgerEntry>, call: &Call) -> Earlier {
    let Some(last) = last.filter(|last| last.task_seq == call.task_seq && last.hop == call.hop) else {
        return Earlier::Nothing;
    };
    match last.event {
        LedgerEvent::Ambiguous { .. } => Earlier::Ambiguous,
        LedgerEvent::Settled { answered: true, .. } => Earlier::Answered,
        LedgerEvent::Settled { .. } | LedgerEvent::Released { .. } | LedgerEvent::Reserved { .. } => {
            Earlier::Nothing
        }
    }
}

/// The call that has made `reservation`, of the same task as `call`: entries name whose call they end.
fn caller_of(call: &Call, reservation: &Reservation) -> Call {
    let Reservation { hop, attempt, worker, .. } = reservation;
    Call { hop: *hop, attempt: *attempt, worker: worker.clone(), ..call.clone() }
}

impl Task {
    /// What the last entry of a subject says of the task of `call`; the subject is shared by tasks of one id.
    fn of(last: Option<&LedgerEntry>, call: &Call) -> Self {
        let Some(last) = last else { return Self::default() };
        if last.task_seq == call.task_seq {
            return Self { spent: last.task_spent, open: last.open.clone(), others: last.others.clone() };
        }
        let newer = OtherTask { task_seq: last.task_seq, spent: last.task_spent, open: last.open.clone() };
        let mut others: Vec<_> = last.others.iter().cloned().chain([newer]).collect();
        let own = others.iter().position(|other| other.task_seq == call.task_seq);
        let own = own.map(|index| others.remove(index));
        let (spent, open) = own.map_or((Usd::ZERO, None), |own| (own.spent, own.open));
        Self { spent, open, others }
    }

    fn close(
        self,
        book: &Book,
        call: &Call,
        reservation: &Reservation,
        ending: Ending,
        now: Timestamp,
    ) -> LedgerEntry {
        let reserved = reservation.amount;
        let (event, cost) = match ending {
            Ending::Settled { amount, answered } => {
                (LedgerEvent::Settled { reserved, amount, answered }, amount)
            }
            Ending::Ambiguous => (LedgerEvent::Ambiguous { amount: reserved }, reserved),
            Ending::Released => (LedgerEvent::Released { amount: reserved }, Usd::ZERO),
        };
        let mut book = book.clone();
        settle(&mut book, reservation, cost);
        Self { spent: self.spent.plus(cost), open: None, ..self }.entry(book, call, event, now)
    }

    fn entry(mut self, mut book: Book, call: &Call, event: LedgerEvent, now: Timestamp) -> LedgerEntry {
        self.forget_oldest(&mut book);
        prune(&mut book);
        LedgerEntry {
            agent: call.agent.clone(),
            task_id: call.task_id.clone(),
            task_seq: call.task_seq,
            hop: call.hop,
            attempt: call.attempt,
            worker: call.worker.clone(),
            model: call.model.clone(),
            event,
            task_spent: self.spent,
            open: self.open,
            others: self.others,
            at: now,
            book,
        }
    }

    /// An id that is used again and again must not make entries grow. What is forgotten counts as spent in full.
    fn forget_oldest(&mut self, book: &mut Book) {
        self.others.sort_by_key(|other| other.task_seq);
        while self.others.len() > MAX_OTHERS {
            if let Some(open) = self.others.remove(0).open {
                settle(book, &open, open.amount);
            }
        }
    }
}

fn settle(book: &mut Book, reservation: &Reservation, cost: Usd) {
    change(book, reservation.day, &reservation.account, |amounts| {
        amounts.reserved = amounts.reserved.minus(reservation.amount);
        amounts.settled = amounts.settled.plus(cost);
    });
}

fn change(book: &mut Book, day: Date, account: &AgentName, change: impl Fn(&mut Amounts)) {
    let day = book.days.entry(day).or_default();
    change(&mut day.total);
    change(day.agents.entry(account.clone()).or_default());
}

/// By the number of days and not by their distance from today: a single wrong clock cannot empty the book.
fn prune(book: &mut Book) {
    while book.days.len() > KEPT_DAYS {
        book.days.pop_first();
    }
    for day in book.days.values_mut().rev().skip(KEPT_DAYS_BY_AGENT) {
        day.agents.clear();
    }
}

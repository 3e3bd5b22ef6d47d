//! The one writer of this process: takes one command after the other, so that its own events never get in each
//! other's way.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use trilane_protocol::ledger::{LedgerEntry, LedgerEvent};
use trilane_protocol::{AgentName, TaskId, Usd};
use trilane_routing::budget::OnAmbiguous;
use trilane_routing::ledger::{self, Ask, Asked, Call, Earlier, Ending};
use trilane_service::metrics::catalogue::{AMBIGUOUS_CALLS, COST, REPEATED_CALLS};
use trilane_service::metrics::labels::{Agent, Cause, Lane, Model};

use crate::connect::Broker;
use crate::ledger::append::{Appender, NotAppended, Page};
use crate::ledger::{Held, LedgerError, ReserveError, Terms, Ticket};

/// Times that the server may fail to answer before a call is given up for now.
const MAX_SILENCES: u32 = 6;

/// The same for an event that ends a call: it is worth more patience, since without it the money stays set aside.
const MAX_CLOSING_SILENCES: u32 = 60;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Command {
    Reserve {
        ask: Box<Ask>,
        /// The task's last entry, if it could be read.
        last: Option<Option<Page>>,
        reply: oneshot::Sender<Result<Ticket, ReserveError>>,
    },
    Close {
        held: Held,
        ending: Ending,
        reply: Option<oneshot::Sender<Usd>>,
    },
    Abandon {
        call: Box<Call>,
        reply: oneshot::Sender<Result<Usd, LedgerError>>,
    },
    Flush {
        reply: oneshot::Sender<()>,
    },
}

/// The writer.
pub(super) struct Service {
    appender: Appender,
    terms: Terms,
    /// The last entries of tasks with a ticket here; so a call's end needs no look at the ledger. Holds as many as
    /// there are tickets.
    open: HashMap<(AgentName, TaskId), Page>,
    commands: mpsc::WeakSender<Command>,
}

impl Service {
    pub(super) fn new(broker: Broker, terms: Terms, commands: mpsc::WeakSender<Command>) -> Self {
        Self { appender: Appender::new(broker), terms, open: HashMap::new(), commands }
    }

    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Command>) {
        while let Some(command) = waiting.recv().await {
            match command {
                Command::Reserve { ask, last, reply } => {
                    let answer = self.reserve(&ask, last).await;
                    // Nobody waits any more, so nothing was sent.
                    if let Err(Ok(mut ticket)) = reply.send(answer)
                        && let Some(held) = ticket.held.take()
                    {
                        self.close(&held, Ending::Released).await;
                    }
                }
                Command::Close { held, ending, reply } => {
                    let spent = self.close(&held, ending).await;
                    reply.map(|reply| reply.send(spent));
                }
                Command::Abandon { call, reply } => drop(reply.send(self.abandon(&call).await)),
                Command::Flush { reply } => drop(reply.send(())),
            }
        }
    }

    async fn reserve(&mut self, ask: &Ask, mut last: Option<Option<Page>>) -> Result<Ticket, ReserveError> {
        let Some(commands) = self.commands.upgrade() else { return Err(super::stopped().into()) };
        loop {
            let mut earlier = Earlier::Nothing;
            let Terms { budgets, on_ambiguous } = &self.terms;
            let decide = |book: &_, last: Option<&LedgerEntry>| {
                let asked = ledger::reserve(book, last, ask, budgets, Timestamp::now());
                earlier = ledger::earlier(last, &ask.call);
                let spent = ledger::spent(last, &ask.call).max(ask.spent_before);
                match asked {
                    Asked::CloseFirst(entry) => Ok(Some(*entry)),
                    _ if earlier == Earlier::Ambiguous && *on_ambiguous == OnAmbiguous::Fail => {
                        Err(ReserveError::AmbiguousCall { spent })
                    }
                    Asked::Reserve(entry) => Ok(Some(*entry)),
                    Asked::Refuse(refusal) => Err(ReserveError::Refused { refusal, spent }),
                }
            };
            let appended = self.appender.append(&ask.call, last.take(), MAX_SILENCES, decide).await;
            let page = match appended {
                Ok(page) => page.ok_or(LedgerError::Contended)?,
                Err(NotAppended::Refused(error)) => return Err(error),
                Err(NotAppended::Failed(error)) => return Err(error.into()),
            };
            let (event, open) = (page.entry.event, page.entry.open.clone());
            let Some(reservation) = open.filter(|_| matches!(event, LedgerEvent::Reserved { .. })) else {
                tell_closed(&page.entry);
                last = Some(Some(page));
                continue;
            };
            tell_repeated(&ask.call, earlier);
            let held = Held { call: ask.call.clone(), reservation, spent_before: page.entry.task_spent };
            self.open.insert(key(&ask.call), page);
            return Ok(Ticket { held: Some(held), commands });
        }
    }

    /// Returns what the task has cost with this call.
    async fn close(&mut self, held: &Held, ending: Ending) -> Usd {
        let Held { call, reservation, .. } = held;
        let last = self.open.remove(&key(call)).map(Some);
        let mut before = Usd::ZERO;
        let decide = |book: &_, last: Option<&LedgerEntry>| -> Result<_, std::convert::Infallible> {
            before = ledger::spent(last, call);
            Ok(ledger::close(book, last, call, reservation, ending, Timestamp::now()))
        };
        match self.appender.append(call, last, MAX_CLOSING_SILENCES, decide).await {
            Ok(Some(page)) => {
                tell_closed(&page.entry);
                page.entry.task_spent
            }
            Ok(None) => before,
            Err(NotAppended::Refused(never)) => match never {},
            Err(NotAppended::Failed(error)) => {
                let Call { agent, task_id, .. } = call;
                tracing::error!(%error, %agent, %task_id, "what a call cost is not booked; its money stays set aside");
                held.likely_spent(ending)
            }
        }
    }

    async fn abandon(&mut self, call: &Call) -> Result<Usd, LedgerError> {
        let mut before = Usd::ZERO;
        let decide = |book: &_, last: Option<&LedgerEntry>| -> Result<_, std::convert::Infallible> {
            before = ledger::spent(last, call);
            Ok(ledger::abandon(book, last, call, Timestamp::now()))
        };
        match self.appender.append(call, None, MAX_SILENCES, decide).await {
            Ok(Some(page)) => {
                tell_closed(&page.entry);
                Ok(page.entry.task_spent)
            }
            Ok(None) => Ok(before),
            Err(NotAppended::Refused(never)) => match never {},
            Err(NotAppended::Failed(error)) => Err(error),
        }
    }
}

fn key(call: &Call) -> (AgentName, TaskId) {
    (call.agent.clone(), call.task_id.clone())
}

fn tell_closed(entry: &LedgerEntry) {
    let LedgerEntry { agent, task_id, attempt, worker, model, event, .. } = entry;
    let (LedgerEvent::Settled { amount, .. } | LedgerEvent::Ambiguous { amount }) = event else { return };
    COST.add(amount.nanos(), (Lane::serving(model), Model::of(model), Agent::of(agent)));
    if !matches!(event, LedgerEvent::Ambiguous { .. }) {
        return;
    }
    AMBIGUOUS_CALLS.add(1, ());
    tracing::warn!(%agent, %task_id, attempt, worker, %amount, "nobody knows how a call ended; it counts as spent in full");
}

/// Nothing is billed twice in silence.
fn tell_repeated(call: &Call, earlier: Earlier) {
    let Call { agent, task_id, attempt, .. } = call;
    let cause = match earlier {
        Earlier::Nothing => return,
        Earlier::Ambiguous => Cause::Ambiguous,
        Earlier::Answered => Cause::Answered,
    };
    REPEATED_CALLS.add(1, cause);
    match earlier {
        Earlier::Answered => {
            tracing::warn!(%agent, %task_id, attempt, "a task is called again: its answer was paid for and got lost");
        }
        _ => tracing::warn!(%agent, %task_id, attempt, "a task is called again, and may be billed twice"),
    }
}

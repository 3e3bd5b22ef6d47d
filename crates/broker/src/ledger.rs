//! The spend ledger: money is set aside before a call and counted after it, however many workers call.
//!
//! [`Ledger`] is a cheap handle on one service of this process, which appends one event after the other. A
//! [`Ticket`] is money set aside; whatever becomes of its call, and of the task that holds it, it is closed once:
//! dropped without an end it counts as spent in full.
//!
//! * `append`: compare-and-set on the stream
//! * `service`: the one writer of this process
//! * `browse`: the book, and what is set aside, for those who look

mod append;
mod browse;
mod service;

use tokio::sync::{mpsc, oneshot};
use trilane_protocol::Usd;
use trilane_protocol::ledger::Reservation;
use trilane_routing::budget::{Budgets, OnAmbiguous};
use trilane_routing::ledger::{Ask, Call, Ending, Refusal};

use crate::connect::Broker;
use crate::ledger::service::{Command, Service};

/// Events that may wait for the service; callers wait when it has so many.
const MAX_WAITING_EVENTS: usize = 256;

/// What the ledger goes by.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What may be spent.
    pub budgets: Budgets,
    /// What becomes of a task whose earlier call ended nobody knows how.
    pub on_ambiguous: OnAmbiguous,
}

/// Why the ledger cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The server did not confirm, however often it was asked.
    #[error(
        "the spend ledger cannot be reached: {0}; is the stream LEDGER there (`trilane provision`), and may this role \
         use it?"
    )]
    Unreachable(String),
    /// Others were quicker each time.
    #[error("the spend ledger is written by too many workers at once; the task is tried again")]
    Contended,
    /// An entry of another version.
    #[error("an entry of the spend ledger does not read: {0}; do all processes have the same version?")]
    Unreadable(String),
}

/// Why no money was set aside. What the task has cost so far stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// A budget, or the task's own bound.
    #[error("{refusal}")]
    Refused {
        /// Which, and until when.
        refusal: Refusal,
        /// What the task has cost.
        spent: Usd,
    },
    /// An earlier call of the task ended nobody knows how, and the configuration forbids another.
    #[error(
        "an earlier call of the task broke off, and nobody knows whether it was billed; it counts as spent. Publish \
         the task again, or set budget.on_ambiguous to \"repeat\""
    )]
    AmbiguousCall {
        /// What the task has cost.
        spent: Usd,
    },
    /// The ledger cannot be written; without it nothing is called.
    #[error(transparent)]
    Unavailable(#[from] LedgerError),
}

/// The ledger of this process. Cheap to clone; clones share one writer.
#[derive(Debug, Clone)]
pub struct Ledger {
    broker: Broker,
    commands: mpsc::Sender<Command>,
}

/// Money that is set aside for one call.
#[derive(Debug)]
pub struct Ticket {
    held: Option<Held>,
    commands: mpsc::Sender<Command>,
}

/// Whose money it is.
#[derive(Debug, Clone)]
struct Held {
    call: Call,
    reservation: Reservation,
    /// What the task had cost before.
    spent_before: Usd,
}

impl Broker {
    /// Starts the ledger's writer. It ends when the last handle and the last ticket are gone.
    pub fn ledger(&self, terms: Terms) -> Ledger {
        let (commands, waiting) = mpsc::channel(MAX_WAITING_EVENTS);
        let service = Service::new(self.clone(), terms, commands.downgrade());
        tokio::spawn(service.run(waiting));
        Ledger { broker: self.clone(), commands }
    }
}

impl Ledger {
    /// Sets money aside for a call. What an earlier delivery of the task has left open is booked as spent first.
    ///
    /// # Errors
    /// [`ReserveError`]; nothing is set aside then.
    pub async fn reserve(&self, ask: Ask) -> Result<Ticket, ReserveError> {
        // Read beside the writer, which so has one round trip to make and not two.
        let last = append::last_of_task(&self.broker, &ask.call).await.ok();
        let (reply, answer) = oneshot::channel();
        self.send(Command::Reserve { ask: Box::new(ask), last, reply }).await?;
        answer.await.map_err(|_| stopped())?
    }

    /// Closes what an earlier delivery of a task has left open, for a task that is not run any more. Returns what the
    /// task has cost.
    ///
    /// # Errors
    /// [`LedgerError`]; what is open then stays set aside.
    pub async fn abandon(&self, call: Call) -> Result<Usd, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Abandon { call: Box::new(call), reply }).await?;
        answer.await.map_err(|_| stopped())?
    }

    /// Waits until all that was told to the ledger before is written, or given up.
    pub async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Flush { reply }).await.is_ok() {
            let _ = answer.await;
        }
    }

    async fn send(&self, command: Command) -> Result<(), LedgerError> {
        self.commands.send(command).await.map_err(|_| stopped())
    }
}

fn stopped() -> LedgerError {
    LedgerError::Unreachable("its writer has stopped".into())
}

impl Ticket {
    /// Closes it. Returns what the task has cost with this call.
    pub async fn end(mut self, ending: Ending) -> Usd {
        // The place comes first: were this future dropped while it waits, the ticket would still be whole.
        let permit = self.commands.clone().reserve_owned().await;
        let Some(held) = self.held.take() else { return Usd::ZERO };
        let likely = held.likely_spent(ending);
        let (reply, answer) = oneshot::channel();
        if let Ok(permit) = permit {
            permit.send(Command::Close { held, ending, reply: Some(reply) });
        }
        answer.await.unwrap_or(likely)
    }
}

impl Held {
    /// What the task has cost with this call, should the ledger not be able to say.
    fn likely_spent(&self, ending: Ending) -> Usd {
        self.spent_before.plus(match ending {
            Ending::Settled { amount, .. } => amount,
            Ending::Ambiguous => self.reservation.amount,
            Ending::Released => Usd::ZERO,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let call = held.call.clone();
        let command = Command::Close { held, ending: Ending::Ambiguous, reply: None };
        if self.commands.try_send(command).is_err() {
            let Call { agent, task_id, .. } = call;
            tracing::warn!(%agent, %task_id, "a call was given up and its money stays set aside");
        }
    }
}

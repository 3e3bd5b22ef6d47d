//! What became of one task: looks it up where it has left traces, within bounds.
//!
//! * [`tell`]: what the traces tell, a pure function of them

mod tell;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use trilane_broker::logs::{Log, ReadError, Start};
use trilane_protocol::ledger::LedgerEntry;
use trilane_protocol::outcome::DeadLetter;
use trilane_protocol::{AgentName, Status, TaskId, TaskResult, subjects};

use super::answer;
use super::routes::Dashboard;
use tell::Traces;

/// Tasks looked up at once; each may read thousands of messages.
const MAX_LOOK_UPS: usize = 4;

/// How long one look-up may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Entries of the ledger that are read for one task.
const MAX_SPENDING: usize = 256;

/// Dead letters that are looked through for one task.
const MAX_LETTERS: usize = 2_048;

/// A dead letter is stored shortly before its task's result, by another clock.
const LETTER_MARGIN: SignedDuration = SignedDuration::from_mins(2);

/// How far back dead letters are looked through for a task without a result.
const LETTER_SPAN: SignedDuration = SignedDuration::from_hours(24);

/// How many tasks may be looked up at once.
pub(super) fn room() -> Semaphore {
    Semaphore::new(MAX_LOOK_UPS)
}

/// `GET /api/tasks/{agent}/{id}`.
pub(super) async fn of_task(
    State(dashboard): State<Arc<Dashboard>>,
    Path((agent, task_id)): Path<(String, String)>,
) -> Response {
    let (agent, task_id) = match (AgentName::new(agent), TaskId::new(task_id)) {
        (Ok(agent), Ok(task_id)) => (agent, task_id),
        (Err(error), _) | (_, Err(error)) => return answer::error(StatusCode::BAD_REQUEST, error),
    };
    let Ok(_room) = dashboard.look_ups.try_acquire() else {
        let message = "other tasks are being looked up; try again";
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    match tokio::time::timeout(PATIENCE, dashboard.traces(&agent, &task_id)).await {
        Ok(Ok(traces)) => answer::json(StatusCode::OK, &tell::life(agent, task_id, &traces)),
        Ok(Err(error)) => answer::error(StatusCode::BAD_GATEWAY, error),
        Err(_) => {
            let message = format!("the server has not answered within {} s; try again", PATIENCE.as_secs());
            answer::error(StatusCode::GATEWAY_TIMEOUT, message)
        }
    }
}

impl Dashboard {
    async fn traces(&self, agent: &AgentName, task_id: &TaskId) -> Result<Traces, ReadError> {
        let result = self.broker.result(agent, task_id).await?;
        let decisions = self.shown.borrow().as_ref().map(|shown| Arc::clone(&shown.fleet));
        let decisions = decisions.iter().flat_map(|fleet| &fleet.decisions);
        let is_it = |decided: &&_| {
            let decided: &crate::watch::fleet::Decided = decided;
            decided.agent == *agent && decided.task_id == *task_id
        };
        Ok(Traces {
            decided: decisions.filter(is_it).cloned().collect(),
            spending: self.spending(agent, task_id).await?,
            letters: self.letters(agent, task_id, result.as_ref()).await?,
            result,
        })
    }

    async fn spending(&self, agent: &AgentName, task_id: &TaskId) -> Result<Vec<LedgerEntry>, ReadError> {
        let filter = subjects::spend(agent, task_id);
        let mut entries = pin!(self.broker.stored(Log::Ledger, &filter, Start::Oldest).await?);
        let mut spending = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            match entry.decode() {
                Ok(entry) => spending.push(entry),
                Err(error) => tracing::warn!(%error, entry.sequence, "an entry of the ledger does not read"),
            }
            if spending.len() == MAX_SPENDING {
                break;
            }
        }
        Ok(spending)
    }

    /// Dead letters cannot be asked for by task, so those around its end are looked through.
    async fn letters(
        &self,
        agent: &AgentName,
        task_id: &TaskId,
        result: Option<&TaskResult>,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        let Some((from, until)) = span(result, Timestamp::now()) else { return Ok(Vec::new()) };
        let (mut letters, mut seen) = (Vec::new(), 0);
        let mut entries = pin!(self.broker.stored(Log::Dead, &subjects::dead("*"), Start::At(from)).await?);
        while let Some(entry) = entries.try_next().await? {
            seen += 1;
            if entry.stored_at > until || seen > MAX_LETTERS {
                break;
            }
            let Ok(letter) = entry.decode::<DeadLetter>() else { continue };
            if letter.agent.as_ref() == Some(agent) && letter.task_id.as_ref() == Some(task_id) {
                letters.push(DeadLetter { payload: Vec::new(), ..letter });
            }
        }
        Ok(letters)
    }
}

/// When a task's dead letter was stored, if it may have one.
fn span(result: Option<&TaskResult>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let (first, last) = match result {
        None => (now.checked_sub(LETTER_SPAN), Ok(now)),
        Some(result) => match result.status {
            Status::Failed | Status::Rejected => {
                let at = result.finished_at;
                (at.checked_sub(LETTER_MARGIN), at.checked_add(LETTER_MARGIN))
            }
            // What was answered, called off or too late leaves none.
            Status::Done | Status::Cancelled | Status::Expired => return None,
        },
    };
    Some((first.ok()?, last.ok()?))
}

//! What is learned from: examples, shadows, verdicts of a judge; and the outcomes that are made of it.

use async_nats::jetstream::stream::DirectGetErrorKind;
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use trilane_protocol::learning::{Outcome, ShadowAnswer, ShadowRequest};
use trilane_protocol::{AgentName, Encoding, TaskId, subjects};
use trilane_routing::example::Example;

use crate::connect::Broker;
use crate::logs::{Log, ReadError, Start};
use crate::publish::{Outgoing, PublishError};

impl Broker {
    /// What was kept of a task to learn from, where it is kept and reads.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn example(&self, agent: &AgentName, task_id: &TaskId) -> Result<Option<Example>, ReadError> {
        self.last_of(Log::Examples, subjects::example(agent, task_id)).await
    }

    /// What a local lane would have answered, where one has.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn shadow_answer(
        &self,
        agent: &AgentName,
        task_id: &TaskId,
    ) -> Result<Option<ShadowAnswer>, ReadError> {
        self.last_of(Log::Shadowed, subjects::shadowed(agent, task_id)).await
    }

    /// The last outcome that was taken of a task.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn last_outcome(
        &self,
        agent: &AgentName,
        task_id: &TaskId,
    ) -> Result<Option<Outcome>, ReadError> {
        self.last_of(Log::Outcomes, subjects::outcome(agent, task_id)).await
    }

    /// All outcomes that are kept from somewhere on, oldest first: of one task, or of all. What does not read is left out.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn outcomes(
        &self,
        task: Option<(&AgentName, &TaskId)>,
        start: Start,
    ) -> Result<Vec<Outcome>, ReadError> {
        let filter = task.map_or(subjects::OUTCOMES.to_owned(), |(agent, id)| subjects::outcome(agent, id));
        let mut entries = std::pin::pin!(self.stored(Log::Outcomes, &filter, start).await?);
        let mut outcomes = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            match entry.decode() {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => tracing::warn!(%error, subject = entry.subject, "an outcome does not read"),
            }
        }
        Ok(outcomes)
    }

    /// Keeps an outcome. One of the same lane and source is kept once within the duplicate window.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored.
    pub async fn keep_outcome(&self, outcome: &Outcome) -> Result<(), PublishError> {
        let Outcome { agent, task_id, task_seq, lane, source, .. } = outcome;
        let id = format!("outcome.{agent}.{task_id}.{task_seq}.{lane}.{}", source.as_str());
        let payload = Encoding::Json.encode(outcome);
        let subject = subjects::outcome(agent, task_id);
        let message = Outgoing { message_id: Some(id), ..Outgoing::new(subject, payload, Encoding::Json) };
        self.publish(message).await.map(drop)
    }

    /// Asks for a shadow of a task, once within the duplicate window.
    ///
    /// # Errors
    /// [`PublishError::Full`] where enough others wait.
    pub async fn ask_for_shadow(&self, request: &ShadowRequest) -> Result<(), PublishError> {
        let ShadowRequest { agent, task_id, task_seq, .. } = request;
        let id = format!("shadow.{agent}.{task_id}.{task_seq}");
        let payload = Encoding::Msgpack.encode(request);
        let message = Outgoing {
            message_id: Some(id),
            ..Outgoing::new(subjects::shadow(agent), payload, Encoding::Msgpack)
        };
        self.publish(message).await.map(drop)
    }

    /// The last message on a subject of a log, where there is one and it reads.
    async fn last_of<T: DeserializeOwned>(&self, log: Log, subject: String) -> Result<Option<T>, ReadError> {
        let failed = |error: &dyn std::fmt::Display| ReadError::new(log, error);
        let stream = self.context().get_stream_no_info(log.stream()).await.map_err(|error| failed(&error))?;
        let message = match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let read = Encoding::detect(None, &message.payload).and_then(|e| e.decode(&message.payload));
        Ok(read
            .inspect_err(|error| tracing::debug!(%error, stream = log.stream(), "an entry does not read"))
            .ok())
    }
}

//! Exactly one result a task: the server refuses a second one, resting on what it has stored.

use trilane_protocol::work::Work;
use trilane_protocol::{AgentName, Encoding, TaskId, TaskResult, subjects};

use crate::connect::Broker;
use crate::logs::{Log, ReadError};
use crate::publish::{Outgoing, PublishError};
use crate::topology::RESULTS;

/// What became of a result on its way to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is the task's result.
    Stored,
    /// The task has one already, as what it was to be or as cancelled; this one is dropped.
    AlreadyThere,
    /// Another task has used the id, and the result is that one's.
    AnotherTasks,
}

impl Broker {
    /// Publishes the result of a task, in the encoding of the task. One that is larger than the server takes becomes a
    /// failure that says so.
    ///
    /// # Errors
    /// [`PublishError`] where it could not be stored.
    pub async fn report(
        &self,
        result: &TaskResult,
        encoding: Encoding,
        traceparent: Option<&str>,
    ) -> Result<Reported, PublishError> {
        match self.report_once(result, encoding, traceparent).await {
            Err(PublishError::TooLarge { bytes, most, .. }) => {
                self.report_once(&result.too_large(bytes, most), encoding, traceparent).await
            }
            other => other,
        }
    }

    async fn report_once(
        &self,
        result: &TaskResult,
        encoding: Encoding,
        traceparent: Option<&str>,
    ) -> Result<Reported, PublishError> {
        let message = Outgoing {
            expected_last: Some(0),
            traceparent: traceparent.map(str::to_owned),
            ..Outgoing::new(
                subjects::result(&result.agent, &result.task_id),
                encoding.encode(result),
                encoding,
            )
        };
        match self.publish(message).await {
            Ok(_) => Ok(Reported::Stored),
            Err(PublishError::NotFirst { .. }) => self.whose(result).await,
            Err(error) => Err(error),
        }
    }

    /// Whose result it is that is there already.
    async fn whose(&self, result: &TaskResult) -> Result<Reported, PublishError> {
        let (agent, task_id) = (&result.agent, &result.task_id);
        let unconfirmed =
            |reason: String| PublishError::Unconfirmed { subject: subjects::result(agent, task_id), reason };
        let stored = self.result(agent, task_id).await.map_err(|error| unconfirmed(error.to_string()))?;
        let stored = stored.ok_or_else(|| unconfirmed("the result cannot be read yet".into()))?;
        Ok(match stored.is_of(result.task_seq) {
            // The acknowledgement was lost.
            _ if stored == *result => Reported::Stored,
            true => Reported::AlreadyThere,
            false => Reported::AnotherTasks,
        })
    }

    /// Publishes partial text, unstored.
    pub async fn report_partial(&self, work: &Work, partial: &trilane_protocol::outcome::Partial) {
        let subject = subjects::partial(&work.agent, &work.task_id);
        self.publish_unstored(subject, work.encoding.encode(partial).into()).await;
    }

    /// The result of one task, if it has one.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn result(&self, agent: &AgentName, task_id: &TaskId) -> Result<Option<TaskResult>, ReadError> {
        let stream = self.context().get_stream_no_info(RESULTS).await.map_err(read_error)?;
        match stream.direct_get_last_for_subject(subjects::result(agent, task_id)).await {
            Ok(message) => Ok(Some(decode(&message.payload)?)),
            Err(error) if error.kind() == async_nats::jetstream::stream::DirectGetErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(read_error(error)),
        }
    }
}

fn decode(payload: &[u8]) -> Result<TaskResult, ReadError> {
    let read = Encoding::detect(None, payload).and_then(|encoding| encoding.decode(payload));
    read.map_err(|error| ReadError::garbage(Log::Results, error))
}

fn read_error(error: impl std::fmt::Display) -> ReadError {
    ReadError::new(Log::Results, error)
}

//! What operators and producers look at: stored results, those that are announced, and partial text as it comes.

use std::collections::VecDeque;

use futures_util::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use trilane_protocol::outcome::Partial;
use trilane_protocol::{AgentName, Encoding, TaskId, TaskResult, subjects};

use crate::connect::Broker;
use crate::logs::{Entry, Log, ReadError, Start};

/// Why announced results or partial text cannot be heard.
#[derive(Debug, thiserror::Error)]
#[error("cannot subscribe to `{subject}`: {reason}; may this role do so?")]
pub struct SubscribeError {
    subject: String,
    reason: String,
}

/// Which stored results are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Of this agent; absent: of all.
    pub agent: Option<&'a AgentName>,
    /// Of this task; absent: of all.
    pub task_id: Option<&'a TaskId>,
    /// Stored at this time or later; absent: all that are kept.
    pub since: Option<Timestamp>,
    /// The newest so many.
    pub most: usize,
}

impl Broker {
    /// The results that are stored now, oldest first. Those that do not read are left out and logged.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn stored_results(&self, wanted: Wanted<'_>) -> Result<Vec<TaskResult>, ReadError> {
        let agent = wanted.agent.map_or("*", AgentName::as_str);
        let task_id = wanted.task_id.map_or("*", TaskId::as_str);
        let start = wanted.since.map_or(Start::Oldest, Start::At);
        let entries = self.stored(Log::Results, &format!("result.{agent}.{task_id}"), start).await?;
        let mut entries = std::pin::pin!(entries);
        let mut found = VecDeque::new();
        while let Some(entry) = entries.try_next().await? {
            match entry.decode() {
                Ok(result) => found.push_back(result),
                Err(error) => tracing::warn!(%error, subject = entry.subject, "a result does not read"),
            }
            if found.len() > wanted.most {
                found.pop_front();
            }
        }
        Ok(found.into())
    }

    /// Results of one agent or of all, from somewhere on, then those that come.
    ///
    /// # Errors
    /// [`ReadError`] where the stream cannot be read.
    pub async fn results(
        &self,
        agent: Option<&AgentName>,
        start: Start,
    ) -> Result<impl Stream<Item = Result<TaskResult, ReadError>> + Send + use<>, ReadError> {
        let filter = agent.map_or_else(|| subjects::RESULTS.to_owned(), subjects::results_of);
        let entries = self.followed(Log::Results, &filter, start).await?;
        let decode = |entry: Entry| entry.decode().map_err(|error| ReadError::garbage(Log::Results, error));
        Ok(entries.map(move |entry| entry.and_then(decode)))
    }

    /// Results of one agent as the server announces them, of one task or of all. A producer may do this. What is
    /// announced while nobody listens is stored all the same, so subscribe before publishing and look up the rest.
    ///
    /// # Errors
    /// [`SubscribeError`] where the server cannot be told.
    pub async fn announced_results(
        &self,
        agent: &AgentName,
        task_id: Option<&TaskId>,
    ) -> Result<impl Stream<Item = TaskResult> + Send + use<>, SubscribeError> {
        self.heard(subjects::announced(agent, task_id)).await
    }

    /// Partial text of one task from now on. Nothing of it is stored, so subscribe before the task is published.
    ///
    /// # Errors
    /// [`SubscribeError`] where the server cannot be told.
    pub async fn partials(
        &self,
        agent: &AgentName,
        task_id: &TaskId,
    ) -> Result<impl Stream<Item = Partial> + Send + use<>, SubscribeError> {
        self.heard(subjects::partial(agent, task_id)).await
    }

    /// What comes on a subject of core NATS, as far as it reads: the answers to whatever this connection publishes
    /// from now on are among it.
    async fn heard<T: serde::de::DeserializeOwned + Send>(
        &self,
        subject: String,
    ) -> Result<impl Stream<Item = T> + Send + use<T>, SubscribeError> {
        Ok(self.heard_with_subject(subject).await?.map(|(_, heard)| heard))
    }

    /// The same, each with the subject that it came on.
    pub(crate) async fn heard_with_subject<T: serde::de::DeserializeOwned + Send>(
        &self,
        subject: String,
    ) -> Result<impl Stream<Item = (String, T)> + Send + use<T>, SubscribeError> {
        let failed = |reason: String| SubscribeError { subject: subject.clone(), reason };
        let subscribed = self.client().subscribe(subject.clone()).await;
        let messages = subscribed.map_err(|error| failed(error.to_string()))?;
        self.client().flush().await.map_err(|error| failed(error.to_string()))?;
        Ok(messages.filter_map(|message| async move {
            let encoding = Encoding::detect(None, &message.payload).ok()?;
            let heard = encoding.decode(&message.payload).ok()?;
            Some((message.subject.into_string(), heard))
        }))
    }
}

//! What operators and producers look at: stored results up to now, and partial text as it comes.

use std::collections::VecDeque;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use trilane_protocol::outcome::Partial;
use trilane_protocol::{AgentName, Encoding, TaskId, TaskResult, subjects};

use crate::connect::Broker;
use crate::topology::RESULTS;

/// Why stored results or partial text cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what}: {reason}; was the fleet provisioned (`trilane provision`)?")]
pub struct BrowseError {
    what: &'static str,
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
    /// [`BrowseError`] where the stream cannot be read.
    pub async fn stored_results(&self, wanted: Wanted<'_>) -> Result<Vec<TaskResult>, BrowseError> {
        let failed =
            |error: &dyn std::fmt::Display| BrowseError { what: "results", reason: error.to_string() };
        let reader = reader(wanted).map_err(|error| failed(&error))?;
        let consumer = self
            .context()
            .create_consumer_on_stream(reader, RESULTS)
            .await
            .map_err(|error| failed(&error))?;
        let mut left = consumer.cached_info().num_pending;
        let mut found = VecDeque::new();
        if left == 0 {
            return Ok(Vec::new());
        }
        let mut messages = consumer.messages().await.map_err(|error| failed(&error))?;
        while left > 0 {
            let Some(message) = messages.next().await else { break };
            let message = message.map_err(|error| failed(&error))?;
            left -= 1;
            match Encoding::detect(None, &message.payload)
                .and_then(|encoding| encoding.decode(&message.payload))
            {
                Ok(result) => found.push_back(result),
                Err(error) => tracing::warn!(%error, subject = %message.subject, "a result does not read"),
            }
            if found.len() > wanted.most {
                found.pop_front();
            }
        }
        Ok(found.into())
    }

    /// Results of one agent or of all that were stored at `since` or later, then those that come.
    ///
    /// # Errors
    /// [`BrowseError`] where the stream cannot be read.
    pub async fn results_since(
        &self,
        agent: Option<&AgentName>,
        since: Timestamp,
    ) -> Result<impl Stream<Item = Result<TaskResult, BrowseError>> + Send + use<>, BrowseError> {
        let failed =
            |error: &dyn std::fmt::Display| BrowseError { what: "results", reason: error.to_string() };
        let wanted = Wanted { agent, task_id: None, since: Some(since), most: usize::MAX };
        let reader = reader(wanted).map_err(|error| failed(&error))?;
        let consumer = self
            .context()
            .create_consumer_on_stream(reader, RESULTS)
            .await
            .map_err(|error| failed(&error))?;
        let messages = consumer.messages().await.map_err(|error| failed(&error))?;
        Ok(messages.map(move |message| {
            let message = message.map_err(|error| failed(&error))?;
            let encoding = Encoding::detect(None, &message.payload).map_err(|error| failed(&error))?;
            encoding.decode(&message.payload).map_err(|error| failed(&error))
        }))
    }

    /// Partial text of one task from now on. Nothing of it is stored, so subscribe before the task is published.
    ///
    /// # Errors
    /// [`BrowseError`] where the server refuses.
    pub async fn partials(
        &self,
        agent: &AgentName,
        task_id: &TaskId,
    ) -> Result<impl Stream<Item = Partial> + Send + use<>, BrowseError> {
        let subscribed = self.client().subscribe(subjects::partial(agent, task_id)).await;
        let messages =
            subscribed.map_err(|error| BrowseError { what: "partial text", reason: error.to_string() })?;
        Ok(messages.filter_map(|message| async move {
            Encoding::detect(None, &message.payload)
                .and_then(|encoding| encoding.decode(&message.payload))
                .ok()
        }))
    }
}

fn reader(wanted: Wanted<'_>) -> Result<pull::OrderedConfig, String> {
    let agent = wanted.agent.map_or("*", AgentName::as_str);
    let task_id = wanted.task_id.map_or("*", TaskId::as_str);
    let deliver_policy = match wanted.since {
        None => DeliverPolicy::All,
        Some(since) => {
            let start_time = async_nats::datetime::DateTime::from_unix_timestamp_nanos(since.as_nanosecond());
            DeliverPolicy::ByStartTime { start_time: start_time.map_err(|error| error.to_string())? }
        }
    };
    let filter_subject = format!("result.{agent}.{task_id}");
    Ok(pull::OrderedConfig { filter_subject, deliver_policy, ..pull::OrderedConfig::default() })
}

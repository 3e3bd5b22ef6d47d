//! Reads what the streams hold of the time into a review, one message after the other.

use std::pin::pin;

use futures_util::TryStreamExt;
use trilane_broker::Broker;
use trilane_broker::logs::{Entry, Log, Start};
use trilane_protocol::chain::RouteSegment;
use trilane_protocol::learning::{Feedback, Outcome};
use trilane_protocol::ledger::LedgerEntry;
use trilane_protocol::{AgentName, DecodeError, TaskId, TaskResult, subjects};
use trilane_routing::review::{Figures, Review, Terms};

/// Makes the figures of all that was stored since the terms begin. Says how many messages did not read; they are left out.
///
/// # Errors
/// A stream that cannot be read.
pub(super) async fn figures(broker: &Broker, terms: Terms<'_>) -> anyhow::Result<(Figures, u64)> {
    let mut reader =
        Reader { broker, start: Start::At(terms.since), review: Review::new(terms), unreadable: 0 };
    reader.each(Log::Ledger, subjects::SPENDING, take_entry).await?;
    // What speaks of results comes after them.
    reader.each(Log::Results, subjects::RESULTS, take_result).await?;
    reader.each(Log::Routes, subjects::ROUTES, take_segment).await?;
    reader.each(Log::Outcomes, subjects::OUTCOMES, take_outcome).await?;
    reader.each(Log::Feedback, subjects::FEEDBACK, take_feedback).await?;
    reader.each(Log::Dead, subjects::DEAD, take_letter).await?;
    let book = broker.book().await?;
    Ok((reader.review.conclude(&book), reader.unreadable))
}

struct Reader<'a> {
    broker: &'a Broker,
    start: Start,
    review: Review<'a>,
    unreadable: u64,
}

impl<'a> Reader<'a> {
    async fn each(
        &mut self,
        log: Log,
        filter: &str,
        take: fn(&mut Review<'a>, &Entry) -> Result<(), DecodeError>,
    ) -> anyhow::Result<()> {
        let mut entries = pin!(self.broker.stored(log, filter, self.start).await?);
        while let Some(entry) = entries.try_next().await? {
            if let Err(error) = take(&mut self.review, &entry) {
                self.unreadable += 1;
                tracing::debug!(%error, stream = log.stream(), sequence = entry.sequence, "a message does not read");
            }
        }
        Ok(())
    }
}

fn take_entry(review: &mut Review<'_>, entry: &Entry) -> Result<(), DecodeError> {
    entry.decode::<LedgerEntry>().map(|entry| review.take_entry(&entry))
}

fn take_result(review: &mut Review<'_>, entry: &Entry) -> Result<(), DecodeError> {
    entry.decode::<TaskResult>().map(|result| review.take_result(&result))
}

fn take_segment(review: &mut Review<'_>, entry: &Entry) -> Result<(), DecodeError> {
    let segment: RouteSegment = entry.decode()?;
    segment.records.iter().for_each(|record| review.take_route(record));
    Ok(())
}

fn take_outcome(review: &mut Review<'_>, entry: &Entry) -> Result<(), DecodeError> {
    entry.decode::<Outcome>().map(|outcome| review.take_outcome(&outcome))
}

fn take_feedback(review: &mut Review<'_>, entry: &Entry) -> Result<(), DecodeError> {
    let feedback: Feedback = entry.decode()?;
    if let Some((agent, task_id)) = named(&entry.subject) {
        review.take_feedback(agent, task_id, feedback);
    }
    Ok(())
}

fn take_letter(review: &mut Review<'_>, _: &Entry) -> Result<(), DecodeError> {
    review.take_letter();
    Ok(())
}

/// The agent and the task in `feedback.<agent>.<task id>`.
fn named(subject: &str) -> Option<(AgentName, TaskId)> {
    let (agent, task_id) = subject.strip_prefix("feedback.")?.split_once('.')?;
    Some((agent.parse().ok()?, task_id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_names_its_task_by_its_subject() {
        let (agent, task_id) = named("feedback.sales.order-7").unwrap();
        assert_eq!((agent.as_str(), task_id.as_str()), ("sales", "order-7"));
        assert_eq!(named("feedback.sales"), None);
    }
}

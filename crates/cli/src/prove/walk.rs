//! Reads the logs for the audit: what was spent, what came out, what died, and then the routing log.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use trilane_broker::Broker;
use trilane_broker::lanes::SEAL;
use trilane_broker::logs::{Entry, Log, Reach, Start};
use trilane_protocol::{Zone, subjects};
use trilane_service::Config;
use trilane_service::config::Streams;
use trilane_trust::{Keys, Role};

use super::audit::{Audit, Proof, Rules, Stored};

/// Share of its largest size from which on a log may have let go of its oldest messages.
const NEARLY_FULL: f64 = 0.9;

/// Reads what the logs hold and says what was found.
///
/// # Errors
/// A log that cannot be read, or no key to check signatures with.
pub(super) async fn proof(
    broker: &Broker,
    config: &Config,
    since: Option<Duration>,
) -> anyhow::Result<Proof> {
    let trusted = Keys::new(config.keys_folder()).trusted(&Role::Observer)?;
    let now = Timestamp::now();
    let reach = broker.reach(Log::Routes).await?;
    let since = since.map(|length| now.checked_sub(length).unwrap_or(Timestamp::MIN));
    let zones = config.zones().into_iter();
    let mut audit = Audit::new(Rules {
        verify: |seal: &str, payload: &[u8]| trusted.verify_log(seal, payload),
        cloud_lanes: zones.filter(|(_, zone)| *zone == Zone::Cloud).map(|(lane, _)| lane).collect(),
        since,
        reach,
        ledger_reached: broker.reach(Log::Ledger).await?.last_sequence,
        has_let_go: may_have_let_go(&reach, &config.streams, now),
        longest_wait: Duration::from_secs(config.security.seal_valid_s),
    });
    let start = since.map_or(Start::Oldest, Start::At);
    each(broker, Log::Ledger, subjects::SPENDING, start, |entry| audit.take_entry(entry)).await?;
    each(broker, Log::Results, subjects::RESULTS, start, |entry| audit.take_result(entry)).await?;
    each(broker, Log::Dead, subjects::DEAD, start, |entry| audit.take_letter(entry)).await?;
    // A decision is logged before anything rests on it, so the routing log is read last.
    let start = audit.routes_since().map_or(Start::Oldest, Start::At);
    each(broker, Log::Routes, subjects::ROUTES, start, |entry| audit.take_segment(entry)).await?;
    Ok(audit.conclude())
}

async fn each(
    broker: &Broker,
    log: Log,
    filter: &str,
    start: Start,
    mut take: impl FnMut(Stored<'_>),
) -> anyhow::Result<()> {
    let mut entries = pin!(broker.stored(log, filter, start).await?);
    while let Some(entry) = entries.try_next().await? {
        take(stored(&entry));
    }
    Ok(())
}

fn stored(entry: &Entry) -> Stored<'_> {
    Stored {
        sequence: entry.sequence,
        stored_at: entry.stored_at,
        subject: &entry.subject,
        payload: &entry.payload,
        seal: entry.header(SEAL),
    }
}

/// Whether age or size explain that the beginning of the routing log is gone. Nobody can say so of one that is younger
/// than what it keeps, and has room.
fn may_have_let_go(reach: &Reach, streams: &Streams, now: Timestamp) -> bool {
    let max_age = Duration::from_secs(streams.routes_max_age_s);
    let is_old = reach.created_at.checked_add(max_age).is_ok_and(|over| over <= now);
    let is_nearly_full = reach.bytes as f64 >= streams.routes_max_bytes as f64 * NEARLY_FULL;
    reach.first_sequence > 1 && (is_old || is_nearly_full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_age_and_size_explain_that_the_beginning_is_gone() {
        let streams = trilane_service::config::load_from(None, []).unwrap().streams;
        let max_age_s = i64::try_from(streams.routes_max_age_s).unwrap();
        let max_bytes = u64::try_from(streams.routes_max_bytes).unwrap();
        let now = Timestamp::from_second(2 * max_age_s).unwrap();
        let explained = |first_sequence, age_s, bytes| {
            let created_at = Timestamp::from_second(2 * max_age_s - age_s).unwrap();
            let reach = Reach { first_sequence, last_sequence: 99, messages: 0, bytes, created_at };
            may_have_let_go(&reach, &streams, now)
        };
        assert!(explained(2, max_age_s, 0));
        assert!(explained(2, 60, max_bytes));
        assert!(!explained(2, max_age_s - 1, max_bytes / 2));
        assert!(!explained(1, max_age_s, max_bytes), "nothing is gone");
    }
}

//! Finds what no advisory told of: a janitor was away for too long, or the server crashed before it spoke.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use trilane_broker::stuck::Place;
use trilane_service::Shutdown;

use super::Janitor;

/// Sweeps all queues, again and again, until shutdown has begun.
pub(crate) async fn keep_sweeping(
    janitor: &Janitor,
    queues: Vec<String>,
    every: Duration,
    zombies: watch::Sender<u64>,
    shutdown: &Shutdown,
) {
    let mut suspects = vec![Suspects::default(); queues.len()];
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut begun = std::pin::pin!(shutdown.begun());
    loop {
        tokio::select! {
            () = &mut begun => return,
            _ = interval.tick() => {}
        }
        let mut found = 0;
        for (queue, suspects) in queues.iter().zip(&mut suspects) {
            tokio::select! {
                () = &mut begun => return,
                in_queue = sweep(janitor, queue, suspects) => found += in_queue,
            }
        }
        zombies.send_replace(found);
    }
}

/// Returns the zombies that it saw. A sweep that is cut short leaves nothing half done that the next one does not find
/// again.
async fn sweep(janitor: &Janitor, queue: &str, suspects: &mut Suspects) -> u64 {
    let seen = match janitor.look_at(queue).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(%error, "a queue cannot be swept; trying again");
            return 0;
        }
    };
    for place in suspects.confirmed_by(seen.found) {
        if let Err(error) = janitor.end_at(&place).await {
            tracing::warn!(%error, place.stream, place.sequence, "a stuck message is not ended yet; trying again");
        }
    }
    seen.zombies
}

/// What the last sweep has found in one queue. A message that is just being acknowledged is found once at most.
#[derive(Debug, Clone, Default)]
struct Suspects(BTreeSet<u64>);

impl Suspects {
    /// Those that were found last time too.
    fn confirmed_by(&mut self, found: Vec<Place>) -> Vec<Place> {
        let earlier = std::mem::replace(&mut self.0, found.iter().map(|place| place.sequence).collect());
        found.into_iter().filter(|place| earlier.contains(&place.sequence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(sequences: &[u64]) -> Vec<Place> {
        let place = |sequence: &u64| Place {
            stream: "Q".into(),
            sequence: *sequence,
            consumer: "c".into(),
            deliveries: 1,
        };
        sequences.iter().map(place).collect()
    }

    #[test]
    fn only_what_two_sweeps_in_a_row_have_found_is_stuck() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.confirmed_by(places(&[1, 2])), []);
        assert_eq!(suspects.confirmed_by(places(&[2, 3])), places(&[2]));
        assert_eq!(suspects.confirmed_by(places(&[])), []);
        assert_eq!(suspects.confirmed_by(places(&[2])), [], "not in a row");
    }
}

//! What every open page is sent: the fleet with its meaning, written once for all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use trilane_protocol::LaneName;
use trilane_protocol::alert::Alert;

use super::Shown;
use super::reading::{self, Reading};
use crate::watch::fleet::Fleet;

/// Looks that a lane's trend holds: five minutes at two seconds each.
const TREND_LOOKS: usize = 150;

/// A state of the fleet as JSON; one copy, however many look.
pub(super) type View = Arc<str>;

/// A state of the fleet, and what the page needs to show it.
#[derive(Debug, Serialize)]
struct State<'a> {
    fleet: &'a Fleet,
    alerts: &'a [Alert],
    /// By lane.
    readings: BTreeMap<&'a LaneName, Reading>,
    /// Tasks waiting or in flight at the last looks, oldest first, by lane.
    trends: &'a BTreeMap<LaneName, VecDeque<u64>>,
    /// Looks that a full trend holds.
    trend_looks: usize,
    /// Seconds between two looks.
    look_s: u64,
}

/// Makes a view of each state until none comes any more.
pub(super) async fn keep_making(
    mut shown: watch::Receiver<Option<Shown>>,
    views: watch::Sender<Option<View>>,
    look_s: u64,
) {
    let mut trends = Trends::default();
    loop {
        let latest = shown.borrow_and_update().clone();
        if let Some(shown) = latest {
            trends.add(&shown.fleet);
            views.send_replace(Some(written(&shown, &trends, look_s)));
        }
        if shown.changed().await.is_err() {
            // The monitor stops; what was seen last stays until it has.
            return std::future::pending().await;
        }
    }
}

fn written(shown: &Shown, trends: &Trends, look_s: u64) -> View {
    let lanes = shown.fleet.lanes.iter();
    let state = State {
        fleet: &shown.fleet,
        alerts: &shown.alerts,
        readings: lanes.map(|lane| (&lane.name, reading::of(lane))).collect(),
        trends: &trends.0,
        trend_looks: TREND_LOOKS,
        look_s,
    };
    // All keys are names and all values numbers and texts: that cannot fail.
    serde_json::to_string(&state).unwrap_or_default().into()
}

/// How long each lane was at the last looks.
#[derive(Debug, Default)]
struct Trends(BTreeMap<LaneName, VecDeque<u64>>);

impl Trends {
    fn add(&mut self, fleet: &Fleet) {
        self.0.retain(|name, _| fleet.lanes.iter().any(|lane| lane.name == *name));
        for lane in &fleet.lanes {
            let trend = self.0.entry(lane.name.clone()).or_default();
            if trend.len() == TREND_LOOKS {
                trend.pop_front();
            }
            trend.push_back(lane.waiting + lane.in_flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::tests::synthetic::Synthetic;

    #[test]
    fn trends_are_bounded_and_forget_lanes_that_are_gone() {
        let (mut trends, mut synthetic) = (Trends::default(), Synthetic::flooded());
        for _ in 0..TREND_LOOKS * 2 {
            trends.add(&synthetic.step());
        }
        assert_eq!(trends.0.len(), 3);
        assert!(trends.0.values().all(|trend| trend.len() == TREND_LOOKS));
        let fleet = synthetic.step();
        let last = &fleet.lanes[0];
        trends.add(&fleet);
        assert_eq!(trends.0[&last.name].back(), Some(&(last.waiting + last.in_flight)));
        trends.add(&Fleet { lanes: Vec::new(), ..fleet });
        assert!(trends.0.is_empty());
    }

    #[tokio::test]
    async fn each_state_becomes_a_view_and_only_the_last_is_kept() {
        let mut synthetic = Synthetic::flooded();
        let (states, shown) = watch::channel(None);
        let (views, mut seen) = watch::channel(None);
        let task = tokio::spawn(keep_making(shown, views, 2));
        for _ in 0..3 {
            states.send_replace(Some(synthetic.shown()));
        }
        let view = seen.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let view: serde_json::Value = serde_json::from_str(&view).unwrap();
        assert_eq!(view["readings"]["local-fast"]["word"], "filling");
        assert_eq!(view["fleet"]["lanes"].as_array().unwrap().len(), 3);
        assert_eq!(view["trends"]["cloud"].as_array().unwrap().len(), 1, "skipped, not queued");
        task.abort();
    }
}

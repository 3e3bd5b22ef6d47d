//! The colour of each lane: greens stay inside, blues leave.

use std::collections::BTreeSet;

use trilane_protocol::Zone;
use trilane_routing::review::Figures;

/// Shades that a zone has; further lanes share the last one.
const SHADES: usize = 3;

/// Lanes with the class that colours them, from the weakest local lane to the cloud.
#[derive(Debug)]
pub(super) struct Palette(Vec<(String, String)>);

impl Palette {
    pub(super) fn of(figures: &Figures) -> Self {
        let zone =
            |lane: &str| figures.lanes.iter().find(|group| group.name == lane).and_then(|group| group.zone);
        let chosen = figures.drift.days.iter().flat_map(|day| day.by_lane.keys());
        let names: BTreeSet<&String> = chosen.chain(figures.lanes.iter().map(|group| &group.name)).collect();
        // By name backwards, `local-fast` stands before `local-deep`, as on every other page.
        let (cloud, local): (Vec<&String>, Vec<&String>) =
            names.into_iter().rev().partition(|lane| zone(lane) == Some(Zone::Cloud));
        let shaded = |lanes: Vec<&String>, zone: &str| {
            let shade =
                |(index, lane): (usize, &String)| (lane.clone(), format!("{zone}-{}", index.min(SHADES - 1)));
            lanes.into_iter().enumerate().map(shade).collect::<Vec<_>>()
        };
        Self([shaded(local, "local"), shaded(cloud, "cloud")].concat())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(lane, class)| (lane.as_str(), class.as_str()))
    }
}

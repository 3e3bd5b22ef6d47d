//! Names that others choose, as label values: those of the configuration, a bounded number of others, and one word for
//! all the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::SharedString;
use trilane_protocol::{AgentName, LaneName, ModelName, subjects};
use trilane_routing::registry::Registry;

/// What stands for every name beyond the bound.
pub(super) const OTHER: &str = "other";

/// Agents that the registry does not name and that have a label value of their own. Any producer can make up names; each
/// costs a series for every lane and outcome.
pub(super) const MAX_OTHER_AGENTS: usize = 100;

/// Error codes with a label value of their own. The fleet has some forty.
pub(super) const MAX_CODES: usize = 100;

/// Versions, of policies and programs, with a label value of their own in one process.
pub(super) const MAX_VERSIONS: usize = 16;

pub(super) static LANES: Names = Names::new(0);
pub(super) static MODELS: Names = Names::new(0);
pub(super) static AGENTS: Names = Names::new(MAX_OTHER_AGENTS);
pub(super) static CODES: Names = Names::new(MAX_CODES);
pub(super) static VERSIONS: Names = Names::new(MAX_VERSIONS);

/// Which lane serves which model.
static LANE_OF_MODEL: RwLock<BTreeMap<String, Arc<str>>> = RwLock::new(BTreeMap::new());

/// Learns the names of the configuration, which are always told apart.
pub(super) fn learn(registry: &Registry) {
    LANES.learn(registry.lanes.keys().map(LaneName::as_str));
    LANES.learn([subjects::INTAKE]);
    MODELS.learn(registry.models.keys().map(ModelName::as_str));
    AGENTS.learn(registry.agents.keys().map(AgentName::as_str));
    let mut lanes = LANE_OF_MODEL.write().unwrap_or_else(PoisonError::into_inner);
    for (name, lane) in &registry.lanes {
        lanes.extend(lane.models.iter().map(|model| (model.to_string(), Arc::from(name.as_str()))));
    }
}

/// The lane that serves a model.
pub(super) fn lane_of_model(model: &str) -> SharedString {
    let lanes = LANE_OF_MODEL.read().unwrap_or_else(PoisonError::into_inner);
    lanes.get(model).map_or(SharedString::const_str(OTHER), |lane| Arc::clone(lane).into())
}

/// Names that have a label value of their own.
pub(super) struct Names {
    most_others: usize,
    seen: RwLock<Seen>,
}

struct Seen {
    learned: BTreeSet<Arc<str>>,
    others: BTreeSet<Arc<str>>,
}

impl Names {
    const fn new(most_others: usize) -> Self {
        Self { most_others, seen: RwLock::new(Seen { learned: BTreeSet::new(), others: BTreeSet::new() }) }
    }

    fn learn<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.learned.extend(names.into_iter().map(Arc::from));
    }

    /// The name itself where it is known or there is room for it, else `other`.
    pub(super) fn value(&self, name: &str) -> SharedString {
        let known = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(name);
        known.or_else(|| self.make_room(name)).map_or(SharedString::const_str(OTHER), SharedString::from)
    }

    fn make_room(&self, name: &str) -> Option<Arc<str>> {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been quicker.
        seen.get(name).or_else(|| {
            let new: Option<Arc<str>> = (seen.others.len() < self.most_others).then(|| name.into());
            seen.others.extend(new.clone());
            new
        })
    }
}

impl Seen {
    fn get(&self, name: &str) -> Option<Arc<str>> {
        self.learned.get(name).or_else(|| self.others.get(name)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_is_always_told_apart_and_the_rest_up_to_the_bound() {
        let names = Names::new(2);
        names.learn(["configured"]);
        let values = ["a", "b", "c", "a", "configured", "d"].map(|name| names.value(name).to_string());
        assert_eq!(values, ["a", "b", "other", "a", "configured", "other"]);
        names.learn(["c"]);
        assert_eq!(&*names.value("c"), "c");
    }
}

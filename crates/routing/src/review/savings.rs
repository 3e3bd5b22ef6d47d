//! What the tasks that local lanes answered would have cost in the cloud.

use serde::Serialize;
use trilane_protocol::decision::Sensitivity;
use trilane_protocol::{Usage, Zone};

use super::facts::Task;
use super::interval::of_sum;
use crate::registry::{Backend, Registry};

/// What was saved against a fleet that answers everything in the cloud.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Savings {
    /// The lane that it is held against: the strongest of the cloud; absent where there is none.
    pub cloud_lane: Option<String>,
    /// Its first model, whose price counts.
    pub cloud_model: Option<String>,
    /// Public tasks that local lanes answered: those that could have gone.
    pub public: Saving,
    /// All tasks that local lanes answered. The private ones among them could not have gone; their part is what a
    /// fleet without a local zone would pay.
    pub all: Saving,
    /// What the decisions themselves expected of the public ones: another view of the same sum.
    pub expected_public_usd: f64,
    /// Public tasks whose decision says so.
    pub expected_public_tasks: u64,
    /// What these figures rest on, in a sentence.
    pub assumption: String,
}

/// A sum with its interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Saving {
    /// Tasks.
    pub tasks: u64,
    /// Dollars.
    pub usd: f64,
    /// Lower end of the 95 % interval (bootstrap over the tasks).
    pub low_usd: f64,
    /// Upper end.
    pub high_usd: f64,
}

pub(super) fn savings<'a>(
    tasks: impl Iterator<Item = &'a Task>,
    registry: &Registry,
    one_in: u64,
    seed: u64,
) -> Savings {
    let cloud = strongest_cloud(registry);
    let (mut public, mut private) = (Vec::new(), Vec::new());
    let (mut expected_usd, mut expected_tasks) = (0.0, 0_u64);
    for task in tasks {
        let Some(answer) = task.done().filter(|answer| answer.zone == Some(Zone::Local)) else { continue };
        let cost_usd = cloud.map_or(0.0, |cloud| cloud.price(answer.usage));
        if task.sensitivity() != Some(Sensitivity::Public) {
            private.push(cost_usd);
            continue;
        }
        public.push(cost_usd);
        let candidates = task.choice.iter().flat_map(|choice| choice.candidates.iter());
        let dearest =
            candidates.filter(|candidate| candidate.zone == Zone::Cloud).map(|cloud| cloud.cost_usd);
        if let Some(expected) = dearest.max_by(f64::total_cmp) {
            expected_usd += expected;
            expected_tasks += 1;
        }
    }
    let of_public = Saving::of(&public, one_in, seed);
    public.extend(private);
    Savings {
        cloud_lane: cloud.map(|cloud| cloud.lane.to_owned()),
        cloud_model: cloud.map(|cloud| cloud.model.to_owned()),
        public: of_public,
        all: Saving::of(&public, one_in, seed),
        expected_public_usd: expected_usd * one_in as f64,
        expected_public_tasks: expected_tasks.saturating_mul(one_in),
        assumption: assumption(cloud),
    }
}

impl Saving {
    fn of(values: &[f64], one_in: u64, seed: u64) -> Self {
        let scale = one_in as f64;
        let interval = of_sum(values, seed);
        Self {
            tasks: (values.len() as u64).saturating_mul(one_in),
            usd: values.iter().sum::<f64>() * scale,
            low_usd: interval.low * scale,
            high_usd: interval.high * scale,
        }
    }
}

/// The lane that everything would have gone to.
#[derive(Clone, Copy)]
struct Cloud<'a> {
    lane: &'a str,
    model: &'a str,
    backend: &'a Backend,
}

impl Cloud<'_> {
    fn price(&self, usage: Usage) -> f64 {
        match self.backend {
            Backend::CloudApi(model) => model.price.cost_usd(usage),
            Backend::LlamaCpp(_) | Backend::LocalServer(_) => 0.0,
        }
    }
}

fn strongest_cloud(registry: &Registry) -> Option<Cloud<'_>> {
    let lanes = registry.lanes.iter().filter(|(_, lane)| lane.zone == Zone::Cloud);
    let (name, lane) = lanes.max_by(|(_, left), (_, right)| left.skill.total_cmp(&right.skill))?;
    let model = lane.models.first()?;
    Some(Cloud { lane: name.as_str(), model: model.as_str(), backend: &registry.models.get(model)?.backend })
}

fn assumption(cloud: Option<Cloud<'_>>) -> String {
    let Some(Cloud { model, lane, .. }) = cloud else {
        return "no lane of the configuration lies in the cloud zone, so nothing could have been spent"
            .to_owned();
    };
    format!(
        "each task that a local lane answered is priced as if {model}, the first model of the lane {lane}, had read the \
         same prompt and written as many tokens (cached ones at the cached price); nothing is charged for local hardware"
    )
}

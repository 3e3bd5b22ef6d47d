//! The shipped registry and policy, and work to route.

use std::sync::Arc;

use jiff::Timestamp;
use trilane_protocol::work::Spent;
use trilane_protocol::{Encoding, Generation, LaneName, Message, Priority, Role, Work};
use trilane_routing::budget::{Budgets, Limits};
use trilane_routing::fleet::{FleetState, LaneState, Spending};
use trilane_routing::policy::Policy;
use trilane_routing::raw::RawRegistry;
use trilane_routing::registry::{Agent, ModelChoice, Registry};
use trilane_routing::route::{Returned, Route, Router, Unrouted};
use trilane_routing::score::{ColdStart, Scorer};

/// Everything that a decision rests on, to be changed by a test.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) policy: Policy,
    pub(crate) fleet: FleetState,
    pub(crate) agent: Agent,
    pub(crate) scorer: Arc<dyn Scorer>,
    pub(crate) bar: Option<f64>,
}

impl World {
    /// The shipped configuration with a worker for every model of every lane, and an agent that says nothing. Nothing
    /// is drawn at random, nothing learned and nothing steered.
    pub(crate) fn shipped() -> Self {
        let text = include_str!("../../../../config/trilane.toml");
        let mut table: toml::Table = toml::from_str(text).unwrap();
        let policy: Policy = table.remove("policy").unwrap().try_into().unwrap();
        let policy = Policy { explore: 0.0, ..policy };
        const REGISTRY: [&str; 4] = ["lanes", "models", "providers", "agents"];
        table.retain(|key, _| REGISTRY.contains(&key));
        let registry = toml::Value::Table(table).try_into::<RawRegistry>().unwrap().check().unwrap();
        let state = |served: &[_]| LaneState { served: served.to_vec(), slots: 4, ..LaneState::default() };
        let lanes = registry.lanes.iter().map(|(name, lane)| (name.clone(), state(&lane.models))).collect();
        let agent = Agent {
            model: ModelChoice::Auto,
            sensitivity: None,
            system_prompt: None,
            budget_day_usd: None,
            budget_week_usd: None,
        };
        let fleet = FleetState { lanes, ..FleetState::default() };
        Self { registry, policy, fleet, agent, scorer: Arc::new(ColdStart), bar: None }
    }

    pub(crate) fn lane(&mut self, name: &str) -> &mut LaneState {
        self.fleet.lanes.get_mut(name).unwrap()
    }

    /// Lets all agents together spend this much in a day, and this agent alone.
    pub(crate) fn allow(&mut self, total_usd: Option<f64>, agent: &str, agent_usd: Option<f64>) {
        let agents = [
            ("default".parse().unwrap(), Limits::default()),
            (agent.parse().unwrap(), Limits::new(agent_usd, None)),
        ];
        let budgets = Budgets { total: Limits::new(total_usd, None), agents: agents.into() };
        self.fleet.spending = Spending { book: Arc::default(), budgets: Arc::new(budgets) };
    }

    pub(crate) fn route(&self, work: Work, returned: Option<&Returned>) -> Result<Route, Unrouted> {
        let Self { registry, policy, fleet, agent, scorer, bar } = self;
        let router = Router { registry, policy, scorer: &**scorer, bar: *bar, fleet };
        router.route(work, agent, returned, Timestamp::UNIX_EPOCH)
    }

    /// The lane and reason of a route, or the code of a rejection.
    pub(crate) fn outcome(&self, work: Work, returned: Option<&Returned>) -> (String, String) {
        match self.route(work, returned) {
            Ok(route) => {
                let decision = &route.message().decision;
                (decision.lane.to_string(), decision.reason.as_str().to_owned())
            }
            Err(Unrouted::Rejected(rejected)) => ("rejected".to_owned(), rejected.error.code),
            Err(Unrouted::Parked(parked)) => ("parked".to_owned(), parked.until.to_string()),
        }
    }
}

/// Public work that asks `prompt`, of a given complexity.
pub(crate) fn public(prompt: &str, complexity: f64) -> Work {
    Work {
        task_id: "t".parse().unwrap(),
        agent: "a".parse().unwrap(),
        task_seq: 1,
        hop: 0,
        step: None,
        encoding: Encoding::Json,
        published_at: Timestamp::UNIX_EPOCH,
        deadline: None,
        messages: vec![Message { role: Role::User, content: prompt.to_owned() }],
        generation: Generation::default(),
        sensitivity: Some(trilane_protocol::Sensitivity::Public),
        tags: Vec::new(),
        complexity: Some(complexity),
        model: None,
        priority: Priority::Normal,
        max_cost_usd: None,
        stream: false,
        metadata: serde_json::Map::new(),
        validate: Vec::new(),
        earlier: None,
        shadow: false,
        spent: Spent::default(),
    }
}

/// The same, marked private.
pub(crate) fn private(prompt: &str, complexity: f64) -> Work {
    Work { sensitivity: Some(trilane_protocol::Sensitivity::Private), ..public(prompt, complexity) }
}

pub(crate) fn lane(name: &str) -> LaneName {
    name.parse().unwrap()
}

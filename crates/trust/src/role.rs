//! Who a process is to the server.

use trilane_protocol::AgentName;

/// Who a process is to the server. Each role has keys, permissions and an inbox of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// Publishes tasks of any agent and reads their results: the operator's own producer.
    Producer,
    /// Publishes tasks of one agent and reads their results.
    Agent(AgentName),
    /// Puts tasks on lanes.
    Classifier,
    /// Serves a lane of the local zone.
    LocalWorker,
    /// Serves a lane of the cloud zone.
    CloudWorker,
    /// Looks at results, routing log, ledger and dead letters, and changes nothing.
    Observer,
    /// Clears away what is stuck.
    Monitor,
    /// Posts alerts to webhooks.
    Notifier,
    /// Learns from outcomes and publishes policies.
    Learner,
    /// Creates streams, consumers and buckets; may do everything.
    Admin,
}

/// The account that a role's user lives in: a space of subjects that others only reach through what is exported.
///
/// The server publishes an answer on whatever reply subject a request names, and asks no permission for it. In an account
/// of its own such a reply goes nowhere; in the core it could be stored on a lane or as a result. So only those who may
/// write there anyway live in the core.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Streams, classifiers, administrators.
    Core,
    /// Local workers.
    Local,
    /// Cloud workers.
    Cloud,
    /// Those who look, and the monitor.
    Operators,
    /// Those who tell others of alerts.
    Notifiers,
    /// Those who learn: the only ones but the core that see the text of public tasks again.
    Learners,
    /// The operator's own producer, and clients without a key.
    Producers,
    /// The producer of one agent.
    Agent(AgentName),
}

impl Account {
    /// Its name in the server's configuration.
    pub fn name(&self) -> String {
        match self {
            Self::Core => "CORE".into(),
            Self::Local => "LOCAL".into(),
            Self::Cloud => "CLOUD".into(),
            Self::Operators => "OPERATORS".into(),
            Self::Notifiers => "NOTIFIERS".into(),
            Self::Learners => "LEARNERS".into(),
            Self::Producers => "PRODUCERS".into(),
            Self::Agent(agent) => format!("AGENT_{agent}"),
        }
    }

    /// Where JetStream is asked from inside this account.
    pub fn api_prefix(&self) -> &'static str {
        match self {
            Self::Core => "$JS.API",
            // Requests on `$JS.API` would be answered by the server for this very account, which has no streams.
            _ => "CORE.API",
        }
    }
}

impl Role {
    /// The roles that every fleet has, agents aside.
    pub const FIXED: [Self; 9] = [
        Self::Producer,
        Self::Classifier,
        Self::LocalWorker,
        Self::CloudWorker,
        Self::Observer,
        Self::Monitor,
        Self::Notifier,
        Self::Learner,
        Self::Admin,
    ];

    /// Its folder among the keys.
    pub fn folder(&self) -> String {
        match self {
            Self::Agent(agent) => format!("agents/{agent}"),
            role => role.name(),
        }
    }

    /// The role of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix("agent.") {
            Some(agent) => AgentName::new(agent).ok().map(Self::Agent),
            None => Self::FIXED.into_iter().find(|role| role.name() == name),
        }
    }

    /// Its word in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Producer => "producer".into(),
            Self::Agent(agent) => format!("agent.{agent}"),
            Self::Classifier => "classifier".into(),
            Self::LocalWorker => "local".into(),
            Self::CloudWorker => "cloud".into(),
            Self::Observer => "observer".into(),
            Self::Monitor => "monitor".into(),
            Self::Notifier => "notifier".into(),
            Self::Learner => "learner".into(),
            Self::Admin => "admin".into(),
        }
    }

    /// Where its user lives.
    pub fn account(&self) -> Account {
        match self {
            Self::Producer => Account::Producers,
            Self::Agent(agent) => Account::Agent(agent.clone()),
            Self::CloudWorker => Account::Cloud,
            Self::LocalWorker => Account::Local,
            Self::Observer | Self::Monitor => Account::Operators,
            Self::Notifier => Account::Notifiers,
            Self::Learner => Account::Learners,
            Self::Classifier | Self::Admin => Account::Core,
        }
    }

    /// The prefix of its inboxes. Not below `_INBOX`, which clients without credentials may hear all of.
    pub fn inbox_prefix(&self) -> String {
        match self {
            Self::Agent(agent) => format!("_INBOX_AGENT.{agent}"),
            role => format!("_INBOX_ROLE.{}", role.name()),
        }
    }
}

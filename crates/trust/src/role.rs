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
    /// Creates streams, consumers and buckets; may do everything.
    Admin,
}

/// The account that a role's user lives in: a space of subjects that others only reach through what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Streams, classifiers, local workers, operators.
    Core,
    /// Cloud workers.
    Cloud,
    /// Producers.
    Producers,
}

impl Account {
    /// Every account, the one with the streams first.
    pub const ALL: [Self; 3] = [Self::Core, Self::Cloud, Self::Producers];

    /// Its name in the server's configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Core => "CORE",
            Self::Cloud => "CLOUD",
            Self::Producers => "PRODUCERS",
        }
    }

    /// Where JetStream is asked from inside this account.
    pub fn api_prefix(self) -> &'static str {
        match self {
            Self::Core => "$JS.API",
            // Requests on `$JS.API` would be answered by the server for this very account, which has no streams.
            Self::Cloud | Self::Producers => "CORE.API",
        }
    }
}

impl Role {
    /// The roles that every fleet has, agents aside.
    pub const FIXED: [Self; 7] = [
        Self::Producer,
        Self::Classifier,
        Self::LocalWorker,
        Self::CloudWorker,
        Self::Observer,
        Self::Monitor,
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
            Self::Admin => "admin".into(),
        }
    }

    /// Where its user lives.
    pub fn account(&self) -> Account {
        match self {
            Self::Producer | Self::Agent(_) => Account::Producers,
            Self::CloudWorker => Account::Cloud,
            Self::Classifier | Self::LocalWorker | Self::Observer | Self::Monitor | Self::Admin => {
                Account::Core
            }
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

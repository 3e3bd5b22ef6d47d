//! Everything that runs: the queue, the models, the fleet's processes, each behind a proxy of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use trilane_broker::topology::Topology;
use trilane_broker::{Broker, Role as BrokerRole};
use trilane_service::config::{Config, load_from};
use trilane_testkit::Proxy;
use trilane_trust::Keys;

use crate::configuration::{self, KEY_VARIABLE};
use crate::member::Member;
use crate::notes::Notes;
use crate::process::Recipe;
use crate::provider::Provider;
use crate::queue::{Queue, free_addresses};
use crate::schedule::{FLEET, Link, Role};

/// Between two looks at the processes: who has ended, who needs how much memory.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long the fleet may take to start; a cluster elects its leaders first.
const LONGEST_START: Duration = Duration::from_secs(60);

/// Between two tries of what the queue does not do yet.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// The running fleet. Every process ends when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// The queue.
    pub queue: Queue,
    /// The models.
    pub provider: Provider,
    /// The processes, as [`FLEET`] lists them.
    pub members: Vec<Arc<Member>>,
    /// Their connections. Whoever faults one holds its lock.
    pub links: Vec<Mutex<Proxy>>,
    /// The producers' connections.
    pub producers_link: Mutex<Proxy>,
    /// Where the producers connect.
    pub producers_address: SocketAddr,
    /// A connection that no fault touches, with every right.
    pub admin: Broker,
    /// Where that connects.
    pub admin_address: SocketAddr,
    /// The fleet's configuration.
    pub config: Config,
    /// The file that holds it.
    pub config_file: PathBuf,
    /// The keys of its roles.
    pub keys: Keys,
    /// What is noticed.
    pub notes: Arc<Notes>,
    _admin_link: Proxy,
    looking: JoinHandle<()>,
}

impl Fleet {
    /// Starts everything in `folder` and waits until every worker has shown itself.
    ///
    /// # Errors
    /// Where a part cannot be started, or does not come up in time.
    pub async fn start(seed: u64, nodes: usize, folder: &Path) -> anyhow::Result<Self> {
        let notes = Arc::new(Notes::default());
        let provider = Provider::start(seed).await?;
        let keys = Keys::new(folder.join("keys"));
        let text = configuration::toml(seed, nodes, &provider, keys.folder());
        let file = folder.join("trilane.toml");
        std::fs::write(&file, &text)?;

        let addresses = free_addresses(nodes)?;
        let admin_link = Proxy::start(addresses.clone()).await?;
        let admin_address = admin_link.address();
        let config = load_from(Some(&text), [("TRILANE__NATS__URL".to_owned(), url(admin_address))])?;
        keys.init(&config.zones(), true)?;
        let accounts = std::fs::read_to_string(keys.accounts_file())?;
        let queue = Queue::start(addresses, &accounts, folder, &notes)?;
        let admin = provisioned(&config).await?;

        let producers_link = Proxy::start(queue.addresses.clone()).await?;
        let producers_address = producers_link.address();
        let (mut members, mut links) = (Vec::new(), Vec::new());
        for (index, role) in FLEET.into_iter().enumerate() {
            let link = Proxy::start(queue.addresses.clone()).await?;
            let recipe = recipe(index, role, link.address(), &file, folder)?;
            members.push(Arc::new(Member::start(role, recipe, Arc::clone(&notes))?));
            links.push(Mutex::new(link));
        }
        let all = members.iter().chain(&queue.nodes).map(Arc::clone).collect();
        let looking = tokio::spawn(look_after(all));
        let fleet = Self {
            queue,
            provider,
            members,
            links,
            producers_link: Mutex::new(producers_link),
            producers_address,
            admin,
            admin_address,
            config,
            config_file: file,
            keys,
            notes,
            _admin_link: admin_link,
            looking,
        };
        fleet.wait_for_workers().await?;
        Ok(fleet)
    }

    /// The proxies of a link.
    pub fn proxies(&self, link: Link) -> Vec<&Mutex<Proxy>> {
        match link {
            Link::One(index) => vec![&self.links[index]],
            Link::Fleet => self.links.iter().collect(),
            Link::Producers => vec![&self.producers_link],
        }
    }

    /// Lets every lane go on and every model answer. All else that a fault changes, it changes back itself.
    pub async fn calm(&self) {
        self.provider.calm();
        for (name, lane) in &self.config.registry.lanes {
            let deadline = Instant::now() + LONGEST_START;
            while self.admin.resume(name, lane.zone).await.is_err() && Instant::now() < deadline {
                sleep(RETRY_INTERVAL).await;
            }
        }
    }

    /// Tells every process of the fleet to stop and waits until it has; the queue stays.
    pub async fn stop(&self) {
        self.looking.abort();
        let stopping = self.members.iter().map(|member| async {
            let mut process = member.lock().await;
            member.measure();
            member.terminate(&mut process).await;
        });
        futures_util::future::join_all(stopping).await;
    }

    async fn wait_for_workers(&self) -> anyhow::Result<()> {
        let wanted = FLEET.iter().filter(|role| matches!(role, Role::Endpoint(_) | Role::Cloud)).count();
        let workers = self.admin.workers().await?;
        let deadline = Instant::now() + LONGEST_START;
        loop {
            let alive = workers.alive().await.map(|alive| alive.len()).unwrap_or_default();
            if alive >= wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("only {alive} of {wanted} workers came up; see their logs (--keep DIR)");
            }
            sleep(RETRY_INTERVAL).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// The URL of a server.
pub fn url(address: SocketAddr) -> String {
    format!("nats://{address}")
}

/// Connects and applies the topology, as soon as the queue lets it.
pub(crate) async fn provisioned(config: &Config) -> anyhow::Result<Broker> {
    let topology = Topology::new(config);
    let deadline = Instant::now() + LONGEST_START;
    loop {
        let reason = match Broker::connect(config, BrokerRole::Admin, "drill").await {
            Ok(broker) => match broker.provision(&topology).await {
                Ok(()) => return Ok(broker),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            bail!("the queue does not come up: {reason}");
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// How to start a process of the fleet that finds the queue at `queue`; its log lies in `folder`.
pub(crate) fn recipe(
    index: usize,
    role: Role,
    queue: SocketAddr,
    config: &Path,
    folder: &Path,
) -> anyhow::Result<Recipe> {
    let (program, lane) = match role {
        Role::Server => bail!("a server is no member of the fleet"),
        Role::Classifier => ("trilane-classifier", None),
        Role::Endpoint(lane) => ("trilane-endpoint-worker", Some(lane)),
        Role::Cloud => ("trilane-cloud-worker", Some("cloud")),
        Role::Monitor => ("trilane-monitor", None),
    };
    let mut arguments = vec!["--config".into(), config.into()];
    arguments.extend(lane.into_iter().flat_map(|lane| ["--lane".into(), lane.into()]));
    let mut environment = vec![("TRILANE__NATS__URL".to_owned(), url(queue))];
    if role == Role::Cloud {
        environment.push((KEY_VARIABLE.to_owned(), "sk-drill".to_owned()));
    }
    let name = format!("{}-{index}", role.name());
    let log = folder.join(format!("{name}.log"));
    Ok(Recipe { name, program: binary(program)?, arguments, environment, log })
}

/// The fleet's binaries lie beside the drill's own.
///
/// # Errors
/// Where one is not built.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    if !path.exists() {
        bail!(
            "{} is not there; start this by its script (scripts/fire-drill, scripts/bench-scaling), which builds it",
            path.display()
        );
    }
    path.canonicalize().with_context(|| format!("cannot use {}", path.display()))
}

async fn look_after(members: Vec<Arc<Member>>) {
    loop {
        for member in &members {
            member.measure();
            member.revive();
        }
        sleep(LOOK_INTERVAL).await;
    }
}

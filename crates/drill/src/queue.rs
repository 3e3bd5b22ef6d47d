//! The queue's servers: one nats-server, or a cluster of three, each with a store and a port that stay its own.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Mutex;
use trilane_testkit::nats;

use crate::member::Member;
use crate::notes::Notes;
use crate::process::Recipe;
use crate::schedule::Role;

/// Nodes of a cluster; with as many copies of each stream, any one may be gone.
pub const CLUSTER_NODES: usize = 3;

/// The running servers.
#[derive(Debug)]
pub struct Queue {
    /// Their processes.
    pub nodes: Vec<Arc<Member>>,
    /// Where they take clients.
    pub addresses: Vec<SocketAddr>,
    /// Held by whoever faults a node: a cluster bears the loss of one at a time.
    pub turn: Mutex<()>,
}

impl Queue {
    /// Starts a node on each address, with its store in `folder` and these accounts.
    ///
    /// # Errors
    /// Where a server cannot be started.
    pub fn start(
        addresses: Vec<SocketAddr>,
        accounts: &str,
        folder: &Path,
        notes: &Arc<Notes>,
    ) -> anyhow::Result<Self> {
        let routes = free_addresses(addresses.len())?;
        let start = |index: usize| {
            let name = format!("nats-{index}");
            let file = folder.join(format!("{name}.conf"));
            let settings = settings(index, &addresses, &routes, &folder.join(&name));
            std::fs::write(&file, settings + accounts)?;
            let recipe = Recipe {
                program: nats::binary(),
                arguments: vec!["-c".into(), file.into()],
                environment: Vec::new(),
                log: folder.join(format!("{name}.log")),
                name,
            };
            Member::start(Role::Server, recipe, Arc::clone(notes)).map(Arc::new)
        };
        let nodes = (0..addresses.len()).map(start).collect::<anyhow::Result<_>>()?;
        Ok(Self { nodes, addresses, turn: Mutex::new(()) })
    }
}

/// Ports that the system has chosen. A node of a cluster must know those of the others before it starts, so
/// they are given back for a moment in between.
///
/// # Errors
/// Where the system has none.
pub fn free_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

fn settings(index: usize, addresses: &[SocketAddr], routes: &[SocketAddr], store: &Path) -> String {
    let mut text = format!(
        "server_name: drill-{index}\nlisten: \"{}\"\n\
         jetstream {{\n  store_dir: \"{}\"\n  max_file_store: 8GB\n  max_memory_store: 64MB\n}}\n",
        addresses[index],
        store.display()
    );
    if addresses.len() > 1 {
        let others = routes.iter().map(|route| format!("\"nats://{route}\"")).collect::<Vec<_>>().join(", ");
        // Clients that learnt of the other nodes would go around the proxies.
        let _ = write!(
            text,
            "cluster {{\n  name: drill\n  listen: \"{}\"\n  no_advertise: true\n  routes: [{others}]\n}}\n",
            routes[index]
        );
    }
    text
}

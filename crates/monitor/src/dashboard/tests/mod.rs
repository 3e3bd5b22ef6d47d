//! The dashboard as a whole, served to clients of all kinds.

mod browser;
mod http;
pub(crate) mod synthetic;

use std::net::SocketAddr;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use trilane_broker::{Broker, Role};
use trilane_service::{Config, Shutdown};
use trilane_testkit::{Fleet, FleetBuilder};

use super::Shown;

/// A dashboard on a queue of its own, whose states the test makes up.
struct Served {
    fleet: Fleet,
    address: SocketAddr,
    states: watch::Sender<Option<Shown>>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Served {
    /// On loopback, at a port of the system's choice.
    async fn new() -> Self {
        Self::on("[dashboard]\nlisten = \"127.0.0.1:0\"\n").await
    }

    async fn on(toml: &str) -> Self {
        let builder = FleetBuilder::new().classifiers(0).config(toml);
        let lanes = ["local-fast", "local-deep", "cloud"];
        let fleet = lanes.into_iter().fold(builder, FleetBuilder::without_worker).start().await;
        let (states, _) = watch::channel(None);
        let config = fleet.config.clone();
        let (address, shutdown, task) = served(&config, &states).await;
        Self { fleet, address, states, shutdown, task }
    }

    /// Ends the dashboard, and waits until it has.
    async fn stop(&mut self) {
        self.shutdown.begin();
        (&mut self.task).await.unwrap();
    }

    /// Serves it again at the same address.
    async fn restart(&mut self) {
        let mut config = self.fleet.config.clone();
        config.dashboard.listen = self.address;
        (self.address, self.shutdown, self.task) = served(&config, &self.states).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn served(
    config: &Config,
    states: &watch::Sender<Option<Shown>>,
) -> (SocketAddr, Shutdown, JoinHandle<()>) {
    let broker = Broker::connect(config, Role::Monitor, "dashboard").await.unwrap();
    let (listener, access) = super::open(config).await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let (config, shown, begun) = (config.clone(), states.subscribe(), shutdown.clone());
    let task = tokio::spawn(async move {
        super::run(&config, broker, shown, &begun, listener, access).await;
    });
    (address, shutdown, task)
}

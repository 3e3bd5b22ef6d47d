//! `trilane provision`: streams, consumers and buckets as the configuration describes them.

use trilane_broker::topology::Topology;
use trilane_broker::{Broker, Role};
use trilane_service::Config;

/// Runs `trilane provision`.
///
/// # Errors
/// No connection, or what the server refused.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let broker = crate::connect(config, Role::Admin).await?;
    apply(&broker, config).await?;
    let topology = topology(config);
    eprintln!(
        "{} streams, {} consumers and {} buckets are as the configuration says, on {}",
        topology.streams.len(),
        topology.consumers.len(),
        topology.buckets.len(),
        crate::configuration::without_credentials(&config.nats.url),
    );
    Ok(())
}

/// Applies the topology of `config`.
pub(crate) async fn apply(broker: &Broker, config: &Config) -> anyhow::Result<()> {
    Ok(broker.provision(&topology(config)).await?)
}

/// The topology of `config`.
pub(crate) fn topology(config: &Config) -> Topology {
    Topology::new(config)
}

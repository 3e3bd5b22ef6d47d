//! Applies the topology: creates what is missing, updates what differs, leaves the rest alone.

use async_nats::jetstream::consumer::pull;

use crate::connect::Broker;
use crate::topology::Topology;

/// What could not be created or updated.
#[derive(Debug, thiserror::Error)]
#[error("cannot provision {kind} `{name}`: {reason}")]
pub struct ProvisionError {
    kind: &'static str,
    name: String,
    reason: String,
}

impl ProvisionError {
    fn new(kind: &'static str, name: &str, error: &impl std::fmt::Display) -> Self {
        Self { kind, name: name.to_owned(), reason: error.to_string() }
    }
}

impl Broker {
    /// Applies `topology`. Running it again changes nothing.
    ///
    /// # Errors
    /// The first part that the server refused, with its reason.
    pub async fn provision(&self, topology: &Topology) -> Result<(), ProvisionError> {
        for stream in &topology.streams {
            let applied = self.context().create_or_update_stream(stream.clone()).await;
            applied.map_err(|error| ProvisionError::new("stream", &stream.name, &error))?;
        }
        for (stream, consumer) in &topology.consumers {
            let name = consumer.durable_name.clone().unwrap_or_default();
            let applied =
                self.context().create_consumer_on_stream::<pull::Config, _>(consumer.clone(), *stream).await;
            applied.map_err(|error| ProvisionError::new("consumer", &name, &error))?;
        }
        for bucket in &topology.buckets {
            let applied = self.context().create_or_update_key_value(bucket.clone()).await;
            applied.map_err(|error| ProvisionError::new("bucket", &bucket.bucket, &error))?;
        }
        Ok(())
    }
}

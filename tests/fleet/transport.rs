//! What is on the wire and on the disk: TLS where certificates are given, encryption at rest where it is switched on.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use trilane_broker::topology::Topology;
use trilane_broker::{Broker, Role};
use trilane_protocol::{AgentName, Encoding, Task};
use trilane_service::config::{self, Config};
use trilane_testkit::NatsServer;
use trilane_trust::Keys;

/// A text that must not be found where it does not belong.
const CANARY: &str = "canary-7f3a-in-a-prompt";

fn configuration(keys: &Path, url: &str) -> Config {
    let keys = keys.display().to_string();
    let variables = [("TRILANE__SECURITY__KEYS", keys.as_str()), ("TRILANE__NATS__URL", url)];
    config::load_from(None, variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

/// Writes an authority's certificate, and one for 127.0.0.1 that it has signed.
fn certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, text) in
        [("ca.pem", authority.pem()), ("cert.pem", server.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_nothing_goes_without_tls() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let keys = Keys::new(folder.path().join("keys"));
    let mut config = configuration(keys.folder(), "nats://127.0.0.1:4222");
    keys.init(&config.zones(), true).unwrap();
    let accounts = std::fs::read_to_string(keys.accounts_file()).unwrap();
    let file = |name: &str| folder.path().join(name);
    let tls = format!("tls {{ cert_file: {:?}, key_file: {:?} }}\n", file("cert.pem"), file("key.pem"));
    let server = NatsServer::start_with(&(accounts + &tls)).await;
    config.nats.url = server.url();

    let error = Broker::connect(&config, Role::Admin, "test").await.unwrap_err().to_string();
    assert!(
        error.contains("cannot connect"),
        "whoever does not know the authority does not connect: {error}"
    );
    config.nats.tls.ca = file("ca.pem");
    let broker = Broker::connect(&config, Role::Admin, "test").await.unwrap();
    broker.provision(&Topology::new(&config)).await.unwrap();

    let plain = NatsServer::start_with("").await;
    config.nats.url = plain.url();
    let error = Broker::connect(&config, Role::Admin, "test").await.unwrap_err().to_string();
    assert!(error.contains("cannot connect"), "a server without TLS is not spoken to: {error}");
}

async fn store_a_task(configuration_of_server: &str) -> NatsServer {
    let server = NatsServer::start_with(configuration_of_server).await;
    let keys = TempDir::new().unwrap();
    let config = configuration(keys.path(), &server.url());
    let broker = Broker::connect(&config, Role::Admin, "test").await.unwrap();
    broker.provision(&Topology::new(&config)).await.unwrap();
    let task = Task { prompt: Some(CANARY.into()), ..Task::default() };
    broker.submit(&AgentName::new("sample").unwrap(), &task, Encoding::Json, None).await.unwrap();
    server
}

fn is_on_disk(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_on_disk(&path);
        }
        std::fs::read(&path).unwrap_or_default().windows(CANARY.len()).any(|found| found == CANARY.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_store_holds_no_prompt_that_can_be_read() {
    let mut plain = store_a_task("").await;
    // What the server still holds back is on disk once it has started again.
    plain.crash_and_restart().await;
    assert!(is_on_disk(plain.folder()), "the search finds what is there");
    let mut encrypted = store_a_task("jetstream { key: \"secret\", cipher: chachapoly }\n").await;
    encrypted.crash_and_restart().await;
    assert!(!is_on_disk(encrypted.folder()));
}

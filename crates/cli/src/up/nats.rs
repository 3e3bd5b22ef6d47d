//! The server: where it listens, how it is configured, and when it answers.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use trilane_broker::{Broker, ConnectError, Role};
use trilane_service::Config;
use trilane_trust::Keys;

use super::child::ChildSpec;
use super::store::{ACCOUNTS_FILE, Store};
use crate::doctor::facts::{Address, Port, address_of, who_answers};
use crate::provision;

/// How long a server that was started may take to answer: a large queue is read first.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries to connect to it.
const CONNECT_INTERVAL: Duration = Duration::from_millis(50);

/// Largest message, bytes: a task, and what the classifier adds to it.
const MAX_PAYLOAD_BYTES: u64 = 4 << 20;

/// What the buckets in memory may take, bytes. Signs of life are all there is.
const MEMORY_STORE_BYTES: u64 = 256 << 20;

/// What the files may take beyond the bounds of all streams, bytes.
const FILE_STORE_MARGIN_BYTES: u64 = 1 << 30;

/// Makes sure that a server can be started where the configuration wants it.
///
/// # Errors
/// An address that is taken or not ours, with what to do.
pub(super) async fn check_address(config: &Config) -> anyhow::Result<()> {
    let address = address(config)?;
    let Err(error) = tokio::net::TcpListener::bind((address.host.as_str(), address.port)).await else {
        return Ok(());
    };
    let Address { host, port } = &address;
    if error.kind() != ErrorKind::AddrInUse {
        bail!(
            "cannot listen on {host}:{port} (nats.url): {error}; for a server on another machine say \
             `trilane up --nats {}`",
            crate::configuration::without_credentials(&config.nats.url)
        );
    }
    bail!("{}", taken(&address, &who_answers(&address).await))
}

/// What to do where the port is in use.
fn taken(address: &Address, answers: &Port) -> String {
    let Address { host, port } = address;
    let by = match answers {
        Port::Nats { version, has_jetstream: true } => format!("a nats-server {version} with JetStream"),
        Port::Nats { version, has_jetstream: false } => format!("a nats-server {version} without JetStream"),
        Port::Foreign | Port::Free => "another program".to_owned(),
    };
    let use_it = match answers {
        Port::Nats { has_jetstream: true, .. } => format!("use it with `--nats nats://{host}:{port}`, or "),
        _ => "stop it, or name a server that runs with `--nats URL`, or ".to_owned(),
    };
    let other = port.checked_add(1).unwrap_or(4_222);
    format!(
        "port {port} on {host} is in use by {by}: {use_it}start one on another port with \
         TRILANE__NATS__URL=nats://{host}:{other}"
    )
}

/// The server's binary: the one that is named, else the pinned one, fetched where it is missing.
pub(super) async fn program(config: &Config) -> anyhow::Result<PathBuf> {
    if !config.nats.server.is_empty() {
        return Ok(PathBuf::from(&config.nats.server));
    }
    let fetched = trilane_artifacts::nats_server(&config.paths.models_dir()).await;
    fetched.context("cannot fetch nats-server; name one that is installed in `nats.server`")
}

/// Makes the keys that are missing. Clients without credentials are let in only where nobody else can reach the server.
pub(super) fn make_keys(config: &Config) -> anyhow::Result<Keys> {
    let keys = Keys::new(config.keys_folder());
    keys.init(&config.zones(), lets_strangers_in(config))?;
    Ok(keys)
}

/// Whether clients without credentials may publish tasks.
pub(crate) fn lets_strangers_in(config: &Config) -> bool {
    let is_loopback = address(config).is_ok_and(|address| is_loopback(&address.host));
    config.security.anonymous_producers && is_loopback
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The server as a process, with its configuration written.
pub(super) fn child(
    config: &Config,
    store: &Store,
    keys: &Keys,
    program: PathBuf,
) -> anyhow::Result<ChildSpec> {
    let file = store.nats_config();
    let accounts = keys.accounts_file();
    let copy = store.accounts();
    std::fs::copy(&accounts, &copy).with_context(|| format!("cannot copy {}", accounts.display()))?;
    let text = server_config(config, &address(config)?, store)?;
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut variables = Vec::new();
    if config.nats.encrypt_at_rest {
        variables.push((STORE_KEY.to_owned(), keys.store_key()?));
    }
    let arguments = vec!["-c".into(), file.into()];
    Ok(ChildSpec { name: "nats-server".into(), program, arguments, variables })
}

/// Lets a server that `trilane up` has started begin anew with other accounts; says whether there is one. It is started
/// again by `up`. To reload it would be quicker, but a running server does not join new accounts to old ones.
///
/// # Errors
/// Files that cannot be written.
pub(crate) fn restart(config: &Config, keys: &Keys) -> anyhow::Result<bool> {
    let folder = &config.paths.data;
    let Ok(text) = std::fs::read_to_string(folder.join(PID_FILE)) else { return Ok(false) };
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(false) };
    std::fs::copy(keys.accounts_file(), folder.join(ACCOUNTS_FILE)).context("cannot copy the accounts")?;
    Ok(kill_process(pid, Signal::TERM).is_ok())
}

/// Names the key of the server's files to it.
const STORE_KEY: &str = "TRILANE_STORE_KEY";

/// Where the server writes its process id, inside the folder of `trilane up`.
const PID_FILE: &str = "nats.pid";

/// Connects, to a server that was started just now as soon as it answers.
pub(super) async fn connect(config: &Config, runs_already: bool) -> anyhow::Result<Broker> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        match crate::connect(config, Role::Admin).await {
            Err(ConnectError::Unreachable { .. }) if !runs_already && Instant::now() < deadline => {
                tokio::time::sleep(CONNECT_INTERVAL).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

fn address(config: &Config) -> anyhow::Result<Address> {
    let url = &config.nats.url;
    if url.contains('@') || url.contains(',') {
        bail!(
            "`trilane up` starts one server without credentials; start yours and say `trilane up --nats URL`"
        );
    }
    address_of(url).with_context(|| format!("`nats.url` is no address: {url}"))
}

/// The server's configuration: one listener, JetStream on disk, and no other port.
fn server_config(config: &Config, address: &Address, store: &Store) -> anyhow::Result<String> {
    let quoted = |text: &str| serde_json::to_string(text);
    let host = match address.host.contains(':') {
        true => format!("[{}]", address.host),
        false => address.host.clone(),
    };
    let listen = quoted(&format!("{host}:{}", address.port))?;
    let folder = store.jetstream();
    let folder = quoted(folder.to_str().context("`paths.data`: expected a path in UTF-8")?)?;
    let file_bytes = file_store_bytes(config);
    let pid_file = quoted(store.file(PID_FILE).to_str().context("`paths.data`: expected a path in UTF-8")?)?;
    let encryption = match config.nats.encrypt_at_rest {
        true => format!("  key: ${STORE_KEY}\n  cipher: chachapoly\n"),
        false => String::new(),
    };
    let tls = tls_config(config)?;
    Ok(format!(
        "# Written by `trilane up` at each start; changes are lost.\n\
         listen: {listen}\n\
         server_name: trilane\n\
         max_payload: {MAX_PAYLOAD_BYTES}\n\
         jetstream {{\n  store_dir: {folder}\n  sync_interval: \"1s\"\n  max_memory_store: {MEMORY_STORE_BYTES}\n  \
         max_file_store: {file_bytes}\n{encryption}}}\n{tls}pid_file: {pid_file}\ninclude \"{ACCOUNTS_FILE}\"\n"
    ))
}

/// Certificates, where they are given; clients then need none of their own.
fn tls_config(config: &Config) -> anyhow::Result<String> {
    let tls = &config.nats.tls;
    if tls.server_cert.as_os_str().is_empty() {
        return Ok(String::new());
    }
    let path = |path: &Path| -> anyhow::Result<String> {
        let path =
            std::path::absolute(path).with_context(|| format!("`nats.tls`: no path: {}", path.display()))?;
        Ok(serde_json::to_string(path.to_str().context("`nats.tls`: expected paths in UTF-8")?)?)
    };
    let (cert, key) = (path(&tls.server_cert)?, path(&tls.server_key)?);
    Ok(format!("tls {{\n  cert_file: {cert}\n  key_file: {key}\n}}\n"))
}

/// The server takes a stream only where its bound still fits, so it is told room for all of them.
fn file_store_bytes(config: &Config) -> u64 {
    let topology = provision::topology(config);
    let streams = topology.streams.iter().map(|stream| stream.max_bytes);
    let buckets = topology.buckets.iter().map(|bucket| bucket.max_bytes);
    let bounds = streams.chain(buckets).filter_map(|bytes| u64::try_from(bytes).ok());
    bounds.fold(FILE_STORE_MARGIN_BYTES, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        let variables = [("TRILANE__NATS__URL".to_owned(), url.to_owned())];
        trilane_service::config::load_from(None, variables).unwrap()
    }

    #[test]
    fn the_server_listens_once_and_keeps_its_store_where_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let config = config("nats://127.0.0.1:4300");
        let text = server_config(&config, &address(&config).unwrap(), &store).unwrap();
        assert!(
            text.contains("listen: \"127.0.0.1:4300\"") && text.contains("sync_interval: \"1s\""),
            "{text}"
        );
        assert!(
            text.contains(folder.path().to_str().unwrap()) && text.contains("max_payload: 4194304"),
            "{text}"
        );
        assert!(!text.contains("http") && !text.contains("cluster") && !text.contains("tls"), "{text}");
        assert!(text.contains("include \"accounts.conf\"") && !text.contains("chachapoly"), "{text}");
        assert!(file_store_bytes(&config) > 17 << 30);
    }

    #[test]
    fn files_are_encrypted_and_certificates_shown_where_the_configuration_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut config = config("nats://127.0.0.1:4300");
        config.nats.encrypt_at_rest = true;
        config.nats.tls.server_cert = "/etc/c.pem".into();
        config.nats.tls.server_key = "/etc/k.pem".into();
        let text = server_config(&config, &address(&config).unwrap(), &store).unwrap();
        assert!(text.contains("key: $TRILANE_STORE_KEY") && text.contains("cipher: chachapoly"), "{text}");
        assert!(
            text.contains("cert_file: \"/etc/c.pem\"") && text.contains("key_file: \"/etc/k.pem\""),
            "{text}"
        );
    }

    #[test]
    fn strangers_are_let_in_on_loopback_only() {
        for (host, expected) in [("127.0.0.1", true), ("localhost", true), ("::1", true), ("0.0.0.0", false)]
        {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_names_both_ways_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            // Takes the greeting's place: something that is no nats-server.
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 hello\r\n").await;
            }
        });
        let error =
            check_address(&config(&format!("nats://127.0.0.1:{port}"))).await.unwrap_err().to_string();
        for expected in [&port.to_string(), "another program", "--nats", "TRILANE__NATS__URL"] {
            assert!(error.contains(expected), "{error}");
        }
        let address = Address { host: "127.0.0.1".into(), port: 4222 };
        let own = taken(&address, &Port::Nats { version: "2.15.1".into(), has_jetstream: true });
        assert!(own.contains("2.15.1") && own.contains("--nats nats://127.0.0.1:4222"), "{own}");
    }

    #[test]
    fn a_server_with_credentials_is_not_ours_to_start() {
        let error = address(&config("nats://me:secret@127.0.0.1:4222")).unwrap_err().to_string();
        assert!(error.contains("--nats URL") && !error.contains("secret"), "{error}");
    }
}

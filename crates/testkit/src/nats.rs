//! A real nats-server for one test: its own port, its own store, ended when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use trilane_trust::Keys;
use trilane_trust::permissions::Lanes;

use crate::eventually::eventually;

/// Names the server binary; `scripts/test` sets it.
const BINARY_VARIABLE: &str = "TRILANE_NATS_SERVER";

/// The server's configuration, inside its folder.
const CONFIGURATION: &str = "nats.conf";

/// A running server.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    store: TempDir,
    port: u16,
}

impl NatsServer {
    /// Starts a server that knows no roles, on a port that the system chooses.
    ///
    /// # Panics
    /// Where no server binary can be found or started.
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a server on which each role may do what it is permitted, in a fleet with these lanes.
    ///
    /// # Panics
    /// As [`NatsServer::start`], or where no keys can be made.
    pub async fn secured(keys: &Keys, lanes: &Lanes) -> Self {
        keys.init(lanes, true).expect("keys can be made");
        let accounts = std::fs::read_to_string(keys.accounts_file()).expect("the accounts are there");
        Self::start_with(&accounts).await
    }

    /// Starts a server with this configuration on top.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub async fn start_with(configuration: &str) -> Self {
        let store = TempDir::new().expect("a temporary folder can be made");
        write(store.path(), configuration);
        let child = spawn(store.path(), -1);
        let port = announced_port(store.path(), child.id()).await;
        Self { child, store, port }
    }

    /// Starts the server anew with another configuration, on the same port with the same store.
    pub async fn restart_with(&mut self, configuration: &str) {
        write(self.store.path(), configuration);
        self.crash_and_restart().await;
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its files.
    pub fn folder(&self) -> &Path {
        self.store.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a crash would, and starts it again on the same port with the same store.
    pub async fn crash_and_restart(&mut self) {
        self.stop();
        self.child = spawn(self.store.path(), i32::from(self.port));
        announced_port(self.store.path(), self.child.id()).await;
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes the configuration. The server takes a stream only where its bound fits the disk, though none is ever filled
/// here, so it is told that there is room.
fn write(store: &Path, configuration: &str) {
    let (opened, room) = ("jetstream {", "jetstream { max_file_store: 1TB\n");
    let text = match configuration.contains(opened) {
        true => configuration.replacen(opened, room, 1),
        false => format!("{configuration}\n{room}}}\n"),
    };
    std::fs::write(store.join(CONFIGURATION), text).expect("the folder can be written");
}

fn spawn(store: &Path, port: i32) -> Child {
    let binary = binary();
    Command::new(&binary)
        .arg("-c")
        .arg(store.join(CONFIGURATION))
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string()])
        .arg("-sd")
        .arg(store)
        .arg("--ports_file_dir")
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {}: {error}; run the tests by ./scripts/test", binary.display())
        })
}

/// The server: the one that `scripts/test` names, else the one that `trilane up` fetches, else one on the PATH.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARY_VARIABLE) {
        return named.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let fetched = cache.map(|cache| cache.join("trilane/bin/nats-server-2.15.1"));
    fetched.filter(|path| path.exists()).unwrap_or_else(|| "nats-server".into())
}

/// The server writes its ports into a file that carries its process id.
async fn announced_port(folder: &Path, pid: u32) -> u16 {
    let suffix = format!("_{pid}.ports");
    eventually("nats-server writes its ports file", || async {
        let entries = std::fs::read_dir(folder).ok()?.flatten();
        let file =
            entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with(&suffix))?;
        let ports: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
    })
    .await
}

//! The folder that holds the keys: one folder for each role with what a process of that role needs, so that a host or
//! a container can be given its own and nothing else.
//!
//! ```text
//! <keys>/classifier/nats.nk  seal.nk      what a classifier connects and seals with
//! <keys>/local/nats.nk  seal.pub          a local worker: connects, and checks seals
//! <keys>/cloud/nats.nk  seal.pub          a cloud worker
//! <keys>/admin/, observer/, notifier/, producer/
//! <keys>/monitor/nats.nk  dashboard.token what the monitor's page asks for where it can be reached from elsewhere
//! <keys>/agents/NAME/nats.nk              one producer, by `trilane keys agent NAME`
//! <keys>/server/users/*.pub               every public key
//! <keys>/server/accounts.conf             for the server: those and what they may do
//! <keys>/server/store.key                 what it encrypts its files with, where it is to
//! ```

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use trilane_protocol::AgentName;

use crate::accounts::Accounts;
use crate::permissions::Lanes;
use crate::role::Role;
use crate::seal::{SealKey, Trusted};

/// What the files of public keys end in.
const PUBLIC: &str = "pub";
/// A role's seed for the server.
const USER_FILE: &str = "nats.nk";
/// The seed that classifiers seal with.
const SEAL_FILE: &str = "seal.nk";
/// The public keys whose seals are trusted, one a line.
const TRUSTED_FILE: &str = "seal.pub";
/// What the monitor's page asks for, in the monitor's folder.
const DASHBOARD_FILE: &str = "dashboard.token";
/// The server's folder.
const SERVER: &str = "server";
/// The folder of public keys inside it.
const USERS: &str = "users";
/// The key of the server's files inside it.
const STORE_FILE: &str = "store.key";
/// The configuration of accounts inside it.
const ACCOUNTS_FILE: &str = "accounts.conf";

/// Bytes of randomness in a password that nobody types.
const PASSWORD_BYTES: usize = 24;

/// Bytes of randomness in the dashboard's token.
const TOKEN_BYTES: usize = 32;

/// The folder of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(PathBuf);

/// Why a key cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not there.
    #[error("{} is not there; `trilane keys init` makes it, or copy the folder of the role to this host", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It does not read, or cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no key.
    #[error("{} holds no {expected}; take the file that `trilane keys init` has made", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
}

impl Keys {
    /// The keys in `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The configuration of accounts, for the server to include.
    pub fn accounts_file(&self) -> PathBuf {
        self.0.join(SERVER).join(ACCOUNTS_FILE)
    }

    /// Makes what is missing and writes the configuration of accounts anew. Keys that are there stay as they are.
    ///
    /// # Errors
    /// [`KeysError`] where the folder cannot be written or holds something else.
    pub fn init(&self, lanes: &Lanes, is_anonymous_let_in: bool) -> Result<(), KeysError> {
        for role in Role::FIXED {
            self.make_user(&role)?;
        }
        let seal = self.file(&Role::Classifier, SEAL_FILE);
        write_new(&seal, || SealKey::generate().seed(), Secrecy::Secret)?;
        let trusted = self.seal_key()?.public_key().to_owned();
        for role in Role::FIXED.into_iter().filter(|role| *role != Role::Producer) {
            write_new(&self.file(&role, TRUSTED_FILE), || format!("{trusted}\n"), Secrecy::Public)?;
        }
        write_new(&self.file(&Role::Monitor, DASHBOARD_FILE), token, Secrecy::Secret)?;
        self.write_accounts(lanes, is_anonymous_let_in)
    }

    /// Makes the key of one producer, and lets the server know it.
    ///
    /// # Errors
    /// As [`Keys::init`].
    pub fn add_agent(
        &self,
        agent: &AgentName,
        lanes: &Lanes,
        is_anonymous_let_in: bool,
    ) -> Result<PathBuf, KeysError> {
        // Else this is some other folder, and no server would ever know the key.
        let known = self.public_file(&Role::Admin);
        if !known.exists() {
            return Err(KeysError::Missing { path: known });
        }
        let role = Role::Agent(agent.clone());
        self.make_user(&role)?;
        self.write_accounts(lanes, is_anonymous_let_in)?;
        Ok(self.file(&role, USER_FILE))
    }

    /// The seed that `role` connects with; `None` where there is none here.
    ///
    /// # Errors
    /// [`KeysError`] where the file is there and does not read.
    pub fn user_seed(&self, role: &Role) -> Result<Option<String>, KeysError> {
        match read(&self.file(role, USER_FILE)) {
            Ok(text) => {
                let seed = text.trim().to_owned();
                self.user(role, &seed)?;
                Ok(Some(seed))
            }
            Err(KeysError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The key that a classifier seals with.
    ///
    /// # Errors
    /// [`KeysError`] where it is not there or is no key.
    pub fn seal_key(&self) -> Result<SealKey, KeysError> {
        let path = self.file(&Role::Classifier, SEAL_FILE);
        SealKey::from_seed(read(&path)?.trim())
            .ok_or(KeysError::Malformed { path, expected: "seed of a seal key" })
    }

    /// The keys whose seals `role` trusts.
    ///
    /// # Errors
    /// [`KeysError`] where the file is not there, names no key, or holds something else.
    pub fn trusted(&self, role: &Role) -> Result<Trusted, KeysError> {
        let path = self.file(role, TRUSTED_FILE);
        Trusted::from_lines(&read(&path)?)
            .ok_or(KeysError::Malformed { path, expected: "public key of a seal, one a line" })
    }

    /// What the server encrypts its files with; made where it is missing.
    ///
    /// # Errors
    /// [`KeysError`] where the folder cannot be read or written.
    pub fn store_key(&self) -> Result<String, KeysError> {
        let path = self.0.join(SERVER).join(STORE_FILE);
        write_new(&path, password, Secrecy::Secret)?;
        Ok(read(&path)?.trim().to_owned())
    }

    /// The server's folder gets the public half, so that its accounts can be written where no seed is.
    fn make_user(&self, role: &Role) -> Result<(), KeysError> {
        let path = self.file(role, USER_FILE);
        write_new(&path, || KeyPair::new_user().seed().unwrap_or_default(), Secrecy::Secret)?;
        let public_key = self.user(role, read(&path)?.trim())?.public_key();
        write_new(&self.public_file(role), || public_key, Secrecy::Public)
    }

    fn public_file(&self, role: &Role) -> PathBuf {
        self.0.join(SERVER).join(USERS).join(format!("{}.{PUBLIC}", role.name()))
    }

    fn user(&self, role: &Role, seed: &str) -> Result<KeyPair, KeysError> {
        let is_user = seed.starts_with("SU");
        let pair = KeyPair::from_seed(seed).ok().filter(|_| is_user);
        let path = || self.file(role, USER_FILE);
        pair.ok_or_else(|| KeysError::Malformed { path: path(), expected: "seed of a NATS user (SU…)" })
    }

    fn write_accounts(&self, lanes: &Lanes, is_anonymous_let_in: bool) -> Result<(), KeysError> {
        let users = self.users()?;
        let anonymous = is_anonymous_let_in.then(password);
        let text = Accounts { lanes, users: &users, anonymous }.render();
        let path = self.accounts_file();
        let failed = |source| KeysError::Io { path: path.clone(), source };
        fs::create_dir_all(self.0.join(SERVER)).map_err(failed)?;
        // Written beside and moved, so that the server never reads half of it.
        let draft = path.with_extension("conf.new");
        fs::write(&draft, text).map_err(failed)?;
        fs::rename(&draft, &path).map_err(failed)
    }

    /// Every user that the server is to know, with its public key.
    fn users(&self) -> Result<Vec<(Role, String)>, KeysError> {
        let folder = self.0.join(SERVER).join(USERS);
        let entries = fs::read_dir(&folder).map_err(|source| KeysError::Io { path: folder, source })?;
        let mut users = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != PUBLIC) {
                continue;
            }
            let Some(role) = path.file_stem().and_then(OsStr::to_str).and_then(Role::from_name) else {
                continue;
            };
            let public_key = read(&path)?.trim().to_owned();
            if KeyPair::from_public_key(&public_key).is_err() || !public_key.starts_with('U') {
                return Err(KeysError::Malformed { path, expected: "public key of a NATS user (U…)" });
            }
            users.push((role, public_key));
        }
        users.sort_by_key(|(role, _)| role.name());
        Ok(users)
    }

    fn file(&self, role: &Role, name: &str) -> PathBuf {
        self.0.join(role.folder()).join(name)
    }
}

fn read(path: &Path) -> Result<String, KeysError> {
    fs::read_to_string(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => KeysError::Missing { path: path.to_owned() },
        _ => KeysError::Io { path: path.to_owned(), source },
    })
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq)]
enum Secrecy {
    Secret,
    Public,
}

/// Writes a file that is not there yet; one that is stays as it is, also where two processes meet here.
fn write_new(path: &Path, text: impl FnOnce() -> String, secrecy: Secrecy) -> Result<(), KeysError> {
    let failed = |source| KeysError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secrecy == Secrecy::Secret { 0o600 } else { 0o644 });
    }
    match options.open(path) {
        Ok(mut file) => file.write_all(text().as_bytes()).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn password() -> String {
    (0..PASSWORD_BYTES).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

/// Without padding: a form sends it as it is.
fn token() -> String {
    format!("{}\n", URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes() -> Lanes {
        let lane = |name: &str| trilane_protocol::LaneName::new(name).unwrap();
        [(lane("local-fast"), trilane_protocol::Zone::Local), (lane("cloud"), trilane_protocol::Zone::Cloud)]
            .into()
    }

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path());
        keys.init(&lanes(), true).unwrap();
        let seed = keys.user_seed(&Role::CloudWorker).unwrap().unwrap();
        let trusted = format!("{:?}", keys.trusted(&Role::CloudWorker).unwrap());
        let token = || fs::read_to_string(folder.path().join("monitor/dashboard.token")).unwrap();
        let first = token();
        keys.init(&lanes(), false).unwrap();
        assert_eq!(keys.user_seed(&Role::CloudWorker).unwrap().unwrap(), seed);
        assert!(first == token() && first.trim().len() == 43, "32 bytes, made once");
        assert_eq!(trusted, format!("[{:?}]", keys.seal_key().unwrap().public_key()));
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        for secret in ["cloud/nats.nk", "classifier/seal.nk", "admin/nats.nk", "monitor/dashboard.token"] {
            assert_eq!(mode(secret), 0o600, "{secret}");
        }
        assert!(!folder.path().join("cloud/seal.nk").exists(), "only classifiers can seal");
    }

    #[test]
    fn the_accounts_know_every_key_and_no_seed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path());
        keys.init(&lanes(), true).unwrap();
        let agent = AgentName::new("marketing").unwrap();
        keys.add_agent(&agent, &lanes(), true).unwrap();
        let text = fs::read_to_string(keys.accounts_file()).unwrap();
        for role in Role::FIXED.into_iter().chain([Role::Agent(agent)]) {
            let seed = keys.user_seed(&role).unwrap().unwrap();
            let public_key = KeyPair::from_seed(&seed).unwrap().public_key();
            assert!(text.contains(&public_key) && !text.contains(&seed), "{role:?}");
        }
        assert!(text.contains("no_auth_user") && text.contains("\"tasks.marketing\""));
        // Where no seed is, they are written all the same.
        fs::remove_dir_all(folder.path().join("admin")).unwrap();
        let other = AgentName::new("sales").unwrap();
        keys.add_agent(&other, &lanes(), false).unwrap();
        let text = fs::read_to_string(keys.accounts_file()).unwrap();
        assert!(
            text.contains("tasks.sales") && text.contains("allow: [\">\"]") && !text.contains("no_auth_user")
        );
    }

    #[test]
    fn what_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(folder.path());
        let agent = AgentName::new("marketing").unwrap();
        let elsewhere = keys.add_agent(&agent, &lanes(), true).unwrap_err().to_string();
        assert!(
            elsewhere.contains("trilane keys init") && !folder.path().join("agents").exists(),
            "{elsewhere}"
        );
        let missing = keys.trusted(&Role::LocalWorker).unwrap_err().to_string();
        assert!(missing.contains("local/seal.pub") && missing.contains("trilane keys init"), "{missing}");
        assert_eq!(keys.user_seed(&Role::Admin).unwrap(), None);
        fs::create_dir_all(folder.path().join("admin")).unwrap();
        fs::write(folder.path().join("admin/nats.nk"), "nonsense").unwrap();
        assert!(keys.user_seed(&Role::Admin).unwrap_err().to_string().contains("admin/nats.nk"));
    }
}

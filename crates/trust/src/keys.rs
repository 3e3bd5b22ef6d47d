//! The folder that holds the keys: one folder for each role with what a process of that role needs, so that a host or
//! a container can be given its own and nothing else.
//!
//! ```text
//! <keys>/classifier/nats.nk  seal.nk      what a classifier connects and seals with
//! <keys>/local/nats.nk  seal.pub          a local worker: connects, and checks seals
//! <keys>/cloud/nats.nk  seal.pub          a cloud worker
//! <keys>/admin/, observer/, monitor/, producer/
//! <keys>/agent.NAME/nats.nk               one producer, by `trilane keys agent NAME`
//! <keys>/server/accounts.conf             for the server: public keys and permissions
//! <keys>/server/store.key                 what it encrypts its files with, where it is to
//! ```

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use nkeys::KeyPair;
use trilane_protocol::AgentName;

use crate::accounts::Accounts;
use crate::permissions::Lanes;
use crate::role::Role;
use crate::seal::{SealKey, Trusted};

/// A role's seed for the server.
const USER_FILE: &str = "nats.nk";
/// The seed that classifiers seal with.
const SEAL_FILE: &str = "seal.nk";
/// The public keys whose seals are trusted, one a line.
const TRUSTED_FILE: &str = "seal.pub";
/// The server's folder.
const SERVER: &str = "server";
/// The key of the server's files inside it.
const STORE_FILE: &str = "store.key";
/// The configuration of accounts inside it.
const ACCOUNTS_FILE: &str = "accounts.conf";

/// Bytes of randomness in a password that nobody types.
const PASSWORD_BYTES: usize = 24;

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
        let trusted = self.seal_key()?.public_key();
        for role in [
            Role::Classifier,
            Role::LocalWorker,
            Role::CloudWorker,
            Role::Observer,
            Role::Monitor,
            Role::Admin,
        ] {
            write_new(&self.file(&role, TRUSTED_FILE), || format!("{trusted}\n"), Secrecy::Public)?;
        }
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

    fn make_user(&self, role: &Role) -> Result<(), KeysError> {
        let seed = || KeyPair::new_user().seed().unwrap_or_default();
        write_new(&self.file(role, USER_FILE), seed, Secrecy::Secret)
    }

    fn user(&self, role: &Role, seed: &str) -> Result<KeyPair, KeysError> {
        let is_user = seed.starts_with("SU");
        let pair = KeyPair::from_seed(seed).ok().filter(|_| is_user);
        let path = || self.file(role, USER_FILE);
        pair.ok_or_else(|| KeysError::Malformed { path: path(), expected: "seed of a NATS user (SU…)" })
    }

    fn write_accounts(&self, lanes: &Lanes, is_anonymous_let_in: bool) -> Result<(), KeysError> {
        let mut users = Vec::new();
        for role in Role::FIXED.into_iter().chain(self.agents()?) {
            let Some(seed) = self.user_seed(&role)? else { continue };
            let public_key = self.user(&role, &seed)?.public_key();
            users.push((role, public_key));
        }
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

    fn agents(&self) -> Result<Vec<Role>, KeysError> {
        let entries =
            fs::read_dir(&self.0).map_err(|source| KeysError::Io { path: self.0.clone(), source })?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let agents = names.filter_map(|name| AgentName::new(name.strip_prefix("agent.")?).ok());
        let mut roles: Vec<Role> = agents.map(Role::Agent).collect();
        roles.sort_by_key(Role::name);
        Ok(roles)
    }

    fn file(&self, role: &Role, name: &str) -> PathBuf {
        self.0.join(role.name()).join(name)
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

//! Where this command's configuration comes from: a file, the environment, and what the command line changes.

use std::path::{Path, PathBuf};

use trilane_service::config::{self, Config, ConfigError};

/// Names the operator's file where `--config` does not.
const FILE_VARIABLE: &str = "TRILANE_CONFIG";

/// The sources of the configuration. Processes that this one starts are given the same.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `--config`; absent: `TRILANE_CONFIG`.
    pub file: Option<PathBuf>,
    /// On top of everything: `TRILANE__…` variables with their values.
    overrides: Vec<(String, String)>,
}

impl Settings {
    /// The settings for a named file, or for none.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, overrides: Vec::new() }
    }

    /// Sets a key, as the environment would: `NATS__URL` stands for `nats.url`.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        let variable = format!("TRILANE__{key}");
        self.overrides.retain(|(known, _)| *known != variable);
        self.overrides.push((variable, value.into()));
    }

    /// What a started process needs in its environment.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.overrides
    }

    /// Loads and checks the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the key at fault.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let named = std::env::var_os(FILE_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = self.file.clone().or(named).map(|path| read(&path)).transpose()?;
        let is_overridden = |variable: &str| self.overrides.iter().any(|(known, _)| known == variable);
        let environment = std::env::vars_os()
            .filter_map(|(variable, value)| Some((variable.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(variable, _)| !is_overridden(variable));
        config::load_from(text.as_deref(), environment.chain(self.overrides.iter().cloned()))
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_last_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[nats]\nurl = \"nats://file:1\"").unwrap();
        let mut settings = Settings::new(Some(file.path().to_owned()));
        assert_eq!(settings.load().unwrap().nats.url, "nats://file:1");
        settings.set("NATS__URL", "nats://first:2");
        settings.set("NATS__URL", "nats://second:3");
        assert_eq!(settings.load().unwrap().nats.url, "nats://second:3");
        assert_eq!(settings.variables().len(), 1);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Settings::new(Some("/nowhere/trilane.toml".into())).load().unwrap_err().to_string();
        assert!(error.contains("/nowhere/trilane.toml"), "{error}");
    }
}

//! The user's own package index and certificates, as pip is told of them.

use std::path::PathBuf;

/// The index of everybody who names no other.
pub const DEFAULT_INDEX_URL: &str = "https://pypi.org/simple/";

/// What pip's environment variables and files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipSettings {
    /// Base URL of a package index after PEP 503. May hold credentials, so it is never shown as it is.
    pub index_url: String,
    /// Files of certificates (PEM) that are trusted beside the system's own, with what named each.
    pub certificates: Vec<(String, PathBuf)>,
}

/// Variables that name a file of certificates. `SSL_CERT_FILE` takes the place of the system's own
/// certificates; reading it here too does no harm.
const CERTIFICATE_VARIABLES: [&str; 3] = ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];

impl PipSettings {
    /// Reads this process's environment and pip's files.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::read(variable, |path| std::fs::read_to_string(path).ok())
    }

    fn read(
        variable: impl Fn(&str) -> Option<String>,
        file: impl Fn(&std::path::Path) -> Option<String>,
    ) -> Self {
        let texts: Vec<String> = config_files(&variable).iter().filter_map(|path| file(path)).collect();
        let from_files = |key: &str| texts.iter().rev().find_map(|text| global_value(text, key));
        let index_url = variable("PIP_INDEX_URL").or_else(|| from_files("index-url"));
        let named =
            CERTIFICATE_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?)));
        let in_file = from_files("cert").map(|path| ("`cert` of pip.conf".to_owned(), path));
        Self {
            index_url: index_url.unwrap_or_else(|| DEFAULT_INDEX_URL.into()),
            certificates: named.chain(in_file).map(|(name, path)| (name, PathBuf::from(path))).collect(),
        }
    }
}

/// Pip's files, later ones win: the machine's, the user's, and the one that `PIP_CONFIG_FILE` names.
fn config_files(variable: &impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/pip.conf")];
    if let Some(home) = variable("HOME").map(PathBuf::from) {
        files.push(home.join(".pip/pip.conf"));
        if cfg!(target_os = "macos") {
            files.push(home.join("Library/Application Support/pip/pip.conf"));
        }
        let config = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        files.push(config.join("pip/pip.conf"));
    }
    files.extend(variable("PIP_CONFIG_FILE").map(PathBuf::from));
    files
}

/// A key of the section `[global]`, in either spelling that pip takes (`index-url`, `index_url`).
fn global_value(text: &str, key: &str) -> Option<String> {
    let mut section = "";
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
        }
        let Some((name, value)) = line.split_once(['=', ':']) else { continue };
        let is_wanted = section == "global" && name.trim().to_ascii_lowercase().replace('_', "-") == key;
        if is_wanted && !line.starts_with(['#', ';']) && !value.trim().is_empty() {
            found = Some(value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(variables: &[(&str, &str)], files: &[(&str, &str)]) -> PipSettings {
        let value = |pairs: &[(&str, &str)], wanted: &str| {
            pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        };
        PipSettings::read(|name| value(variables, name), |path: &Path| value(files, path.to_str().unwrap()))
    }

    #[test]
    fn nothing_said_means_the_public_index() {
        let found = settings(&[], &[]);
        assert_eq!(found, PipSettings { index_url: DEFAULT_INDEX_URL.into(), certificates: Vec::new() });
    }

    #[test]
    fn the_environment_wins_over_the_user_and_the_user_over_the_machine() {
        let machine = ("/etc/pip.conf", "[global]\nindex-url = https://machine/simple\n");
        let user = ("/home/u/.config/pip/pip.conf", "[global]\n# no\nindex_url: https://user/simple\n");
        let home = ("HOME", "/home/u");
        assert_eq!(settings(&[], &[machine]).index_url, "https://machine/simple");
        assert_eq!(settings(&[home], &[machine, user]).index_url, "https://user/simple");
        let variable = ("PIP_INDEX_URL", "https://variable/simple");
        assert_eq!(settings(&[home, variable], &[machine, user]).index_url, "https://variable/simple");
    }

    #[test]
    fn only_the_global_section_counts_and_comments_do_not() {
        let text = "[install]\nindex-url = https://other\n[global]\n;index-url = https://comment\n";
        assert_eq!(global_value(text, "index-url"), None);
        assert_eq!(global_value("[global]\ncert=/a.pem", "cert").as_deref(), Some("/a.pem"));
    }

    #[test]
    fn certificates_come_from_every_place_that_names_some() {
        let file = ("/etc/pip.conf", "[global]\ncert = /etc/company.pem");
        let found = settings(&[("PIP_CERT", "/pip.pem"), ("REQUESTS_CA_BUNDLE", "/requests.pem")], &[file]);
        let paths: Vec<&str> = found.certificates.iter().map(|(_, path)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/pip.pem", "/requests.pem", "/etc/company.pem"]);
    }
}

